//! A version's life: gates, approval by another, live, and back.

use registry::{
    RegistryError, Role, State,
    gates::{Gate, Report},
};

use super::{GATES, Place, act, on_every_store, person, scientist};

async fn a_version_passes_its_gates_and_a_second_person_before_it_is_live(place: Place) {
    let (ann, bob) = (scientist("ann"), scientist("bob"));
    let registry = &place.registry;
    let version = place.version(&ann, "m").await;
    assert_eq!((version.number, version.state, version.user.as_str()), (1, State::Draft, "ann"));
    let early = registry.approve(act(&bob), "m", 1).await;
    assert!(matches!(&early, Err(RegistryError::Conflict(text)) if text.contains("draft")), "{early:?}");
    assert_eq!(place.pass(&version).await.state, State::Staged);
    let own = registry.approve(act(&ann), "m", 1).await;
    assert!(
        matches!(&own, Err(RegistryError::Forbidden(text)) if text.contains("made version m/1")),
        "{own:?}"
    );
    let unapproved = registry.step(act(&bob), "m", 1, State::Live, "").await;
    assert!(matches!(unapproved, Err(RegistryError::Forbidden(_))), "{unapproved:?}");
    registry.approve(act(&bob), "m", 1).await.expect("approved");
    registry.step(act(&ann), "m", 1, State::Canary, "5 %").await.expect("canary");
    registry.step(act(&ann), "m", 1, State::Live, "held its bounds").await.expect("live");
    let live = registry.alias("m", "live").await.expect("live");
    assert_eq!(
        (live.number, live.state, live.aliases.as_slice()),
        (1, State::Live, &["live".to_owned()][..])
    );
}

async fn an_admin_does_not_approve_what_they_made(place: Place) {
    let root = person("root", &[Role::Admin, Role::DataScientist]);
    place.staged(&root, "m").await;
    let own = place.registry.approve(act(&root), "m", 1).await;
    assert!(matches!(own, Err(RegistryError::Forbidden(_))), "{own:?}");
}

async fn what_fails_a_gate_says_by_how_much_and_can_try_again(place: Place) {
    let version = place.version(&scientist("ann"), "m").await;
    let gates = act(&GATES);
    place.registry.gates_begin(gates, "m", 1).await.expect("begins");
    let failed = Report {
        digest: version.digest.clone(),
        at_ms: 5,
        gates: vec![Gate::passed("hash", "6 files"), Gate::failed("accuracy", "AUROC 0.81, 0.02 below 0.83")],
    };
    let after = place.registry.gates_end(gates, "m", 1, &failed, None).await.expect("ends");
    assert_eq!(
        (after.state, after.reason.as_str()),
        (State::Rejected, "accuracy: AUROC 0.81, 0.02 below 0.83")
    );
    assert_eq!(place.registry.report("m", 1).await.expect("kept"), Some(failed));
    let bob = scientist("bob");
    assert!(matches!(place.registry.approve(act(&bob), "m", 1).await, Err(RegistryError::Conflict(_))));
    assert_eq!(place.pass(&version).await.state, State::Staged);
}

async fn live_and_its_forerunner_change_places_in_one_step(place: Place) {
    let (ann, bob) = (scientist("ann"), scientist("bob"));
    let registry = &place.registry;
    for number in [1, 2] {
        place.staged(&ann, "m").await;
        registry.approve(act(&bob), "m", number).await.expect("approved");
        registry.step(act(&ann), "m", number, State::Live, "").await.expect("live");
    }
    let states = |versions: Vec<registry::versions::Version>| {
        versions.into_iter().map(|v| v.state).collect::<Vec<_>>()
    };
    assert_eq!(states(registry.versions_of("m").await.expect("all")), [State::Deprecated, State::Live]);
    let (from, to) = registry.rollback(act(&bob), "m").await.expect("back");
    assert_eq!((from.number, to.number), (2, 1));
    assert_eq!(states(registry.versions_of("m").await.expect("all")), [State::Live, State::RolledBack]);
    assert_eq!(registry.alias("m", "live").await.expect("live").number, 1);
    let none = registry.rollback(act(&bob), "m").await;
    assert!(matches!(&none, Err(RegistryError::Conflict(text)) if text.contains("no earlier")), "{none:?}");
    let live = registry.version_delete(act(&ann), "m", 1).await;
    assert!(matches!(live, Err(RegistryError::Conflict(_))), "what serves is not deleted: {live:?}");
}

async fn free_aliases_are_labels_and_live_is_not_free(place: Place) {
    let ann = scientist("ann");
    place.version(&ann, "m").await;
    place.registry.alias_set(act(&ann), "m", "champion", 1).await.expect("set");
    assert_eq!(place.registry.alias("m", "champion").await.expect("there").number, 1);
    for reserved in ["live", "Live"] {
        let refused = place.registry.alias_set(act(&ann), "m", reserved, 1).await;
        let Err(RegistryError::Forbidden(text)) = &refused else { panic!("{refused:?}") };
        assert!(text.contains("gates have not run") && text.contains("approve"), "{text}");
    }
    place.registry.alias_delete(act(&ann), "m", "champion").await.expect("deleted");
    place.registry.alias_delete(act(&ann), "m", "champion").await.expect("again is fine");
    assert!(matches!(place.registry.alias("m", "champion").await, Err(RegistryError::NotFound(_))));
    assert!(matches!(
        place.registry.alias_set(act(&ann), "m", "a", 9).await,
        Err(RegistryError::NotFound(_))
    ));
}

async fn two_at_once_get_numbers_of_their_own(place: Place) {
    let ann = scientist("ann");
    place.version(&ann, "m").await;
    let more = (0..6).map(|_| place.version(&ann, "m"));
    let mut numbers: Vec<i64> = futures::future::join_all(more).await.into_iter().map(|v| v.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7]);
    assert!(place.registry.audit_verify().await.expect("read").is_ok());
}

on_every_store!(
    a_version_passes_its_gates_and_a_second_person_before_it_is_live,
    an_admin_does_not_approve_what_they_made,
    what_fails_a_gate_says_by_how_much_and_can_try_again,
    live_and_its_forerunner_change_places_in_one_step,
    free_aliases_are_labels_and_live_is_not_free,
    two_at_once_get_numbers_of_their_own,
);
