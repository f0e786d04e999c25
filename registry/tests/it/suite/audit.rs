//! The audit over a database: every change leaves a link, and what is done to the rows behind its back is found.

use registry::{Registry, State, audit::Break};

use super::{Place, act, on_every_database, scientist, store::behind_its_back};

async fn every_change_leaves_a_link_that_says_who_what_and_why(place: Place) {
    let (ann, bob) = (scientist("ann"), scientist("bob"));
    place.staged(&ann, "m").await;
    let mut why = act(&bob);
    why.why = "read the card";
    place.registry.approve(why, "m", 1).await.expect("approved");
    place.registry.step(act(&ann), "m", 1, State::Live, "").await.expect("live");
    let links = place.registry.audit(0, Some("m"), 100).await.expect("audit");
    let told: Vec<(&str, &str)> =
        links.iter().map(|link| (link.event.who.as_str(), link.event.action.as_str())).collect();
    let expected = [
        ("ann", "model.create"),
        ("ann", "version.create"),
        ("gates", "version.move"),
        ("gates", "gates.pass"),
        ("bob", "version.approve"),
        ("ann", "version.move"),
    ];
    assert_eq!(told, expected);
    assert_eq!(links[4].event.why, "read the card");
    assert!(!links[4].event.digest.is_empty() && links[5].event.why.contains("staged -> live"));
    assert_eq!(place.registry.audit_verify().await.expect("read").map(|head| head.0), Ok(6));
}

async fn broken(place: &Place) -> Option<Break> {
    place.registry.audit_verify().await.expect("read").err()
}

async fn a_changed_a_removed_and_a_reordered_row_are_found(place: Place) {
    let ann = scientist("ann");
    for _ in 0..4 {
        place.version(&ann, "m").await;
    }
    let swap = |a: i64, b: i64| {
        format!(
            "UPDATE @audit SET position = -1 WHERE position = {a}; \
             UPDATE @audit SET position = {a} WHERE position = {b}; \
             UPDATE @audit SET position = {b} WHERE position = -1"
        )
    };
    behind_its_back(&place, "UPDATE @audit SET who = 'eve' WHERE position = 3").await;
    assert_eq!(broken(&place).await, Some(Break::Changed(3)));
    behind_its_back(&place, "UPDATE @audit SET who = 'ann' WHERE position = 3").await;
    assert_eq!(broken(&place).await, None);
    behind_its_back(&place, &swap(2, 3)).await;
    assert_eq!(broken(&place).await, Some(Break::Previous(2)));
    behind_its_back(&place, &swap(2, 3)).await;
    assert_eq!(broken(&place).await, None);
    behind_its_back(&place, "DELETE FROM @audit WHERE position = 5").await;
    assert_eq!(broken(&place).await, Some(Break::End { expected: 5, found: 4 }));
    behind_its_back(&place, "DELETE FROM @audit WHERE position = 2").await;
    assert_eq!(broken(&place).await, Some(Break::Position { expected: 2, found: 3 }));
}

async fn it_goes_on_where_it_was_after_a_restart(place: Place) {
    let ann = scientist("ann");
    place.version(&ann, "m").await;
    let place = place.reopen().await;
    place.version(&ann, "m").await;
    assert_eq!(place.registry.audit_verify().await.expect("read").map(|head| head.0), Ok(3));
    let second = Registry::open(&place.url, &place.artifacts).await.expect("a replica");
    assert_eq!(second.versions_of("m").await.expect("seen").len(), 2);
}

on_every_database!(
    every_change_leaves_a_link_that_says_who_what_and_why,
    a_changed_a_removed_and_a_reordered_row_are_found,
    it_goes_on_where_it_was_after_a_restart,
);
