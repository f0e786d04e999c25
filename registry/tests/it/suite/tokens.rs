//! Tokens: made by an admin, told once, ended at once.

use std::collections::{BTreeMap, BTreeSet};

use registry::{Principal, RegistryError, Role, Scope};

use super::{Place, act, on_every_database, scientist};

async fn a_token_names_its_holder_until_it_ends(place: Place) {
    let admin = Principal::local();
    let roles = BTreeSet::from([Role::DataScientist]);
    let made = place
        .registry
        .token_create(act(&admin), "ann", &roles, &Scope::default(), Some(9_000))
        .await
        .expect("made");
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
    let refused =
        place.registry.token_create(act(&scientist("ann")), "x", &roles, &Scope::default(), None).await.err();
    assert!(matches!(refused, Some(RegistryError::Forbidden(_))));
    let admin = Principal::local();
    place
        .registry
        .token_create(act(&admin), "x", &roles, &Scope::default(), None)
        .await
        .map_err(|error| error.to_string())
        .err();
    let again = place.registry.token_create(act(&admin), "x", &roles, &Scope::default(), None).await.err();
    assert!(matches!(again, Some(RegistryError::Exists(_))));
    for bad in ["", "local", "a b", "ä"] {
        let refused =
            place.registry.token_create(act(&admin), bad, &roles, &Scope::default(), None).await.err();
        assert!(matches!(refused, Some(RegistryError::Invalid { .. })), "{bad}");
    }
}

async fn a_token_may_be_for_some_models_only(place: Place) {
    let admin = Principal::local();
    let (roles, models) = (BTreeSet::from([Role::DataScientist]), Scope::of(["thyroid*"]).expect("names"));
    let made = place.registry.token_create(act(&admin), "ann", &roles, &models, None).await.expect("made");
    let place = place.reopen().await;
    let ann = place.registry.token_holder(&made.secret, 1).await.expect("asked").expect("counts");
    assert_eq!(ann, scientist("ann").within(models));
    let create = async |name: &str| place.registry.model_create(act(&ann), name, "", &BTreeMap::new()).await;
    create("thyroid-next").await.expect("one of hers");
    let refused = create("glucose").await.expect_err("another's").to_string();
    assert!(refused.contains("glucose") && refused.contains("thyroid*"), "{refused}");
    let renamed = place.registry.model_rename(act(&ann), "thyroid-next", "glucose").await;
    assert!(matches!(renamed, Err(RegistryError::Forbidden(_))));
    let described = place.registry.model_describe(act(&ann), "thyroid-next", "text").await;
    assert!(described.is_ok());
}

on_every_database!(
    a_token_names_its_holder_until_it_ends,
    only_admins_make_tokens_and_names_are_given_once,
    a_token_may_be_for_some_models_only
);
