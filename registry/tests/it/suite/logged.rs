//! Logged models: from the first call to ready, with what was measured on them.

use std::collections::BTreeMap;

use registry::{
    RegistryError,
    logged::{LoggedMetric, LoggedStatus, NewLogged},
    search,
    versions::Query,
};

use super::{Place, on_every_database};

async fn one_is_made_filled_and_found(place: Place) {
    let registry = &place.registry;
    let new = NewLogged {
        name: "model".into(),
        run_id: Some("r1".into()),
        tags: BTreeMap::from([("mlflow.user".into(), "ann".into())]),
        ..NewLogged::default()
    };
    let made = registry.logged_create(&new, 5).await.expect("made");
    assert!(made.id.starts_with("m-") && made.id.len() == 34, "{}", made.id);
    assert_eq!(made.status, LoggedStatus::Pending);
    registry.logged_params(&made.id, &BTreeMap::from([("lr".into(), "0.1".into())])).await.expect("params");
    let metric = LoggedMetric { key: "auroc".into(), value: 0.9, step: 0, at_ms: 6, run_id: "r1".into() };
    registry.logged_metrics(&made.id, &[metric.clone(), metric.clone()]).await.expect("twice is once");
    registry.logged_status(&made.id, LoggedStatus::Ready, 7).await.expect("ready");
    let place = place.reopen().await;
    let found = place.registry.logged(&made.id).await.expect("there");
    assert_eq!(
        (found.status, found.metrics.as_slice(), found.params["lr"].as_str()),
        (LoggedStatus::Ready, &[metric][..], "0.1")
    );
    let query = |filter: &str| Query {
        conditions: search::filter(filter).expect(filter),
        limit: 10,
        ..Query::default()
    };
    for (filter, count) in [("name = 'model'", 1), ("name = 'other'", 0), ("tags.`mlflow.user` = 'ann'", 1)] {
        assert_eq!(
            place.registry.logged_search(&[0], &query(filter)).await.expect(filter).len(),
            count,
            "{filter}"
        );
    }
    place.registry.logged_delete(&made.id, 8).await.expect("deleted");
    assert!(matches!(place.registry.logged(&made.id).await, Err(RegistryError::NotFound(_))));
}

async fn none_is_made_in_an_experiment_that_is_not_there(place: Place) {
    let new = NewLogged { experiment: 77, ..NewLogged::default() };
    assert!(matches!(place.registry.logged_create(&new, 5).await, Err(RegistryError::NotFound(_))));
}

on_every_database!(one_is_made_filled_and_found, none_is_made_in_an_experiment_that_is_not_there);
