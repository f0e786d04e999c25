//! Policies, releases that are under way, and pins.

use registry::{Pin, RegistryError, Release, Role, State};

use super::{Place, act, on_every_database, person, scientist};

/// Version 1 of `m` is live, and version 2 approved.
async fn one_live_and_one_approved(place: &Place) {
    let (ann, bob) = (scientist("ann"), scientist("bob"));
    for number in [1, 2] {
        place.staged(&ann, "m").await;
        place.registry.approve(act(&bob), "m", number).await.expect("approved");
    }
    place.registry.step(act(&ann), "m", 1, State::Live, "").await.expect("live");
}

async fn a_release_goes_step_by_step_and_one_replica_takes_each(place: Place) {
    one_live_and_one_approved(&place).await;
    let (registry, ann) = (&place.registry, scientist("ann"));
    registry.step(act(&ann), "m", 2, State::Canary, "").await.expect("canary");
    let first = registry.release("m").await.expect("read").expect("under way");
    assert_eq!((first.number, first.share), (2, 5));
    let told = registry.version("m", 2).await.expect("there").reason;
    assert!(told.starts_with("answers 5 % of the callers; 25 % after"), "{told}");
    registry.release_widen(act(&ann), &first, 25).await.expect("wider");
    let again = registry.release_widen(act(&ann), &first, 25).await;
    assert!(matches!(again, Err(RegistryError::Conflict(_))), "another replica was first: {again:?}");
    let second = registry.release("m").await.expect("read").expect("under way");
    assert_eq!((second.share, registry.alias("m", "live").await.expect("live").number), (25, 1));
    registry.step(act(&ann), "m", 2, State::Live, "").await.expect("live");
    assert_eq!(registry.release("m").await.expect("read"), None);
    assert!(registry.audit_verify().await.expect("read").is_ok());
}

async fn a_version_is_taken_back_once_and_the_live_one_stays(place: Place) {
    one_live_and_one_approved(&place).await;
    let (registry, ann) = (&place.registry, scientist("ann"));
    for stage in [State::Shadow, State::Canary] {
        if stage == State::Canary {
            registry.step(act(&ann), "m", 2, State::Staged, "once more").await.expect("staged");
        }
        registry.step(act(&ann), "m", 2, stage, "").await.expect("on trial");
        let release = registry.release("m").await.expect("read").expect("under way");
        let back = registry.release_back(act(&ann), &release).await.expect("back");
        assert_eq!(back.state, State::RolledBack);
        let again = registry.release_back(act(&ann), &release).await;
        assert!(matches!(again, Err(RegistryError::Conflict(_))), "{again:?}");
        assert_eq!(registry.release("m").await.expect("read"), None);
        assert_eq!(registry.alias("m", "live").await.expect("live").number, 1);
    }
    let links = registry.audit(0, Some("m"), 100).await.expect("read");
    assert_eq!(links.iter().filter(|link| link.event.action == "release.rollback").count(), 2);
}

async fn a_model_has_one_release_at_a_time_and_only_of_what_was_approved(place: Place) {
    one_live_and_one_approved(&place).await;
    let (registry, ann) = (&place.registry, scientist("ann"));
    place.staged(&ann, "m").await;
    let unapproved = registry.step(act(&ann), "m", 3, State::Canary, "").await;
    assert!(matches!(unapproved, Err(RegistryError::Forbidden(_))), "{unapproved:?}");
    registry.approve(act(&scientist("bob")), "m", 3).await.expect("approved");
    registry.step(act(&ann), "m", 2, State::Canary, "").await.expect("canary");
    for next in [State::Canary, State::Shadow, State::Live] {
        let beside = registry.step(act(&ann), "m", 3, next, "").await;
        let Err(RegistryError::Conflict(text)) = &beside else { panic!("{beside:?}") };
        assert!(text.contains("m/2 is being released"), "{text}");
    }
}

async fn a_policy_is_set_by_an_admin_and_governs_the_next_release(place: Place) {
    one_live_and_one_approved(&place).await;
    let (registry, ann, root) = (&place.registry, scientist("ann"), person("root", &[Role::Admin]));
    let text = "[canary]\nsteps = [10, 100]\n";
    let loosened = registry.policy_set(act(&ann), "m", text).await;
    assert!(matches!(loosened, Err(RegistryError::Forbidden(_))), "{loosened:?}");
    let unknown = registry.policy_set(act(&root), "m", "[canary]\nsteeps = [1]").await;
    assert!(matches!(unknown, Err(RegistryError::Invalid { .. })), "{unknown:?}");
    registry.policy_set(act(&root), "m", text).await.expect("set");
    assert_eq!(registry.policy("m").await.expect("there").canary.steps, [10, 100]);
    registry.step(act(&ann), "m", 2, State::Canary, "").await.expect("canary");
    assert_eq!(registry.release("m").await.expect("read").map(|Release { share, .. }| share), Some(10));
    let links = registry.audit(0, Some("m"), 100).await.expect("read");
    let set: Vec<_> = links.iter().filter(|link| link.event.action == "model.policy").collect();
    assert!(set.len() == 1 && set[0].event.why.contains("steps = [10, 100]"), "{set:?}");
}

async fn a_pinned_version_is_approved_and_stays(place: Place) {
    one_live_and_one_approved(&place).await;
    let (registry, ann) = (&place.registry, scientist("ann"));
    let pin = |number| Pin { model: "m".into(), cartridge: "01:01".into(), number };
    place.staged(&ann, "m").await;
    let unapproved = registry.pin(act(&ann), &pin(3)).await;
    assert!(matches!(unapproved, Err(RegistryError::Forbidden(_))), "{unapproved:?}");
    for number in [1, 2] {
        registry.pin(act(&ann), &pin(number)).await.expect("pinned");
        assert_eq!(registry.pins().await.expect("read"), [pin(number)]);
    }
    let deleted = registry.version_delete(act(&ann), "m", 2).await;
    assert!(matches!(&deleted, Err(RegistryError::Conflict(text)) if text.contains("unpin")), "{deleted:?}");
    registry.unpin(act(&ann), "m", "01:01").await.expect("unpinned");
    assert!(matches!(registry.unpin(act(&ann), "m", "01:01").await, Err(RegistryError::NotFound(_))));
    registry.version_delete(act(&ann), "m", 2).await.expect("deleted");
    let actions: Vec<String> = registry
        .audit(0, Some("m"), 100)
        .await
        .expect("read")
        .into_iter()
        .map(|link| link.event.action)
        .collect();
    assert_eq!(actions.iter().filter(|action| *action == "version.pin").count(), 2, "{actions:?}");
}

on_every_database!(
    a_release_goes_step_by_step_and_one_replica_takes_each,
    a_version_is_taken_back_once_and_the_live_one_stays,
    a_model_has_one_release_at_a_time_and_only_of_what_was_approved,
    a_policy_is_set_by_an_admin_and_governs_the_next_release,
    a_pinned_version_is_approved_and_stays,
);
