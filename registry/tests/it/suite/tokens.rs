//! Tokens: made by an admin, told once, ended at once.

use std::collections::BTreeSet;

use registry::{Principal, RegistryError, Role};

use super::{Place, act, on_every_database, scientist};

async fn a_token_names_its_holder_until_it_ends(place: Place) {
    let admin = Principal::local();
    let roles = BTreeSet::from([Role::DataScientist]);
    let made = place.registry.token_create(act(&admin), "ann", &roles, Some(9_000)).await.expect("made");
    assert!(made.secret.starts_with("mps_") && !format!("{:?}", made.info).contains(&made.secret[20..]));
    let place = place.reopen().await;
    let holder = async |secret: &str, now| place.registry.token_holder(secret, now).await.expect("asked");
    assert_eq!(holder(&made.secret, 8_999).await, Some(scientist("ann")));
    assert_eq!(holder(&made.secret, 9_000).await, None, "its time is over");
    for wrong in
        ["", "mps_", "mps__", "mps_x_y", &made.secret[..made.secret.len() - 1], &format!("{}0", made.secret)]
    {
        assert_eq!(holder(wrong, 1).await, None, "{wrong}");
    }
    place.registry.token_revoke(act(&admin), "ann").await.expect("revoked");
    assert_eq!(holder(&made.secret, 1).await, None, "it was ended");
    let listed = place.registry.tokens().await.expect("listed");
    assert_eq!(listed.len(), 1);
    assert!(listed[0].revoked_ms.is_some());
}

async fn only_admins_make_tokens_and_names_are_given_once(place: Place) {
    let roles = BTreeSet::from([Role::User]);
    let refused = place.registry.token_create(act(&scientist("ann")), "x", &roles, None).await.err();
    assert!(matches!(refused, Some(RegistryError::Forbidden(_))));
    let admin = Principal::local();
    place
        .registry
        .token_create(act(&admin), "x", &roles, None)
        .await
        .map_err(|error| error.to_string())
        .err();
    let again = place.registry.token_create(act(&admin), "x", &roles, None).await.err();
    assert!(matches!(again, Some(RegistryError::Exists(_))));
    for bad in ["", "local", "a b", "ä"] {
        let refused = place.registry.token_create(act(&admin), bad, &roles, None).await.err();
        assert!(matches!(refused, Some(RegistryError::Invalid { .. })), "{bad}");
    }
}

on_every_database!(a_token_names_its_holder_until_it_ends, only_admins_make_tokens_and_names_are_given_once);
