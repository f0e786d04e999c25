//! Searches: the same filters mean the same on every database.

use std::collections::BTreeMap;

use registry::{
    RegistryError,
    runs::{DEFAULT_EXPERIMENT, Filter, Metric, NewRun, View},
    search,
    versions::Query,
};

use super::{Place, act, on_every_database, scientist};

fn query(filter: &str) -> Query {
    Query { conditions: search::filter(filter).expect(filter), limit: 100, ..Query::default() }
}

async fn models_and_versions_are_found_by_name_tag_and_number(place: Place) {
    let ann = scientist("ann");
    for name in ["alpha", "Alpha", "beta_1", "betaX1"] {
        place.version(&ann, name).await;
    }
    place.version(&ann, "alpha").await;
    place.registry.model_tag(act(&ann), "beta_1", "team", Some("labs")).await.expect("tagged");
    place.registry.version_tag(act(&ann), "alpha", 2, "ok", Some("yes")).await.expect("tagged");
    let models = async |filter: &str| {
        let found = place.registry.models(&query(filter)).await.expect(filter);
        found.into_iter().map(|model| model.name).collect::<Vec<_>>()
    };
    assert_eq!(models("name = 'alpha'").await, ["alpha"]);
    assert_eq!(models("name LIKE 'al%'").await, ["alpha"], "LIKE sees capitals");
    assert_eq!(models("name ILIKE 'AL%'").await.len(), 2);
    assert_eq!(models("tags.team = 'labs'").await, ["beta_1"]);
    assert_eq!(models("name LIKE 'b%' AND tags.team != 'x'").await, ["beta_1"], "no tag is no other value");
    assert_eq!(
        models("name LIKE 'b%' AND tag.`mlflow.prompt.is_prompt` != 'true'").await.len(),
        2,
        "as clients ask"
    );
    let versions = async |filter: &str| {
        let found = place.registry.versions(&query(filter)).await.expect(filter);
        found.into_iter().map(|version| version.subject()).collect::<Vec<_>>()
    };
    assert_eq!(versions("name = 'alpha'").await, ["alpha/2", "alpha/1"]);
    assert_eq!(versions("tags.ok = 'yes'").await, ["alpha/2"]);
    assert_eq!(versions("version_number >= 2").await, ["alpha/2"]);
    assert_eq!(versions("name IN ('beta_1', 'betaX1')").await.len(), 2);
    let wrong = place.registry.versions(&query("params.lr = '1'")).await;
    assert!(matches!(wrong, Err(RegistryError::Filter(_))), "{wrong:?}");
}

async fn runs_are_found_by_what_they_measured_last(place: Place) {
    let runs = place.registry.runs();
    for (name, first, last) in [("a", 0.9, 0.1), ("b", 0.2, 0.8), ("c", 0.3, 0.5)] {
        let new = NewRun {
            experiment: DEFAULT_EXPERIMENT,
            name: name.into(),
            params: BTreeMap::from([("lr".into(), name.to_uppercase())]),
            ..NewRun::default()
        };
        let id = runs.start(&new).await.expect("started");
        let metric = |value, step| Metric { key: "auroc".into(), value, step, at_ms: step };
        runs.log_metrics(&id, &[metric(first, 0), metric(last, 1)]).await.expect("logged");
    }
    let found = async |filter: &str, order: &str| {
        let order =
            order.split(',').filter(|part| !part.is_empty()).map(|part| search::order(part).expect(part));
        let filter = Filter {
            conditions: search::filter(filter).expect(filter),
            order: order.collect(),
            ..Filter::default()
        };
        let runs = runs.list(&filter).await.expect("found");
        runs.into_iter().map(|run| run.name).collect::<String>()
    };
    assert_eq!(found("metrics.auroc > 0.4", "metrics.auroc DESC").await, "bc");
    assert_eq!(found("params.lr IN ('A', 'C')", "run_name").await, "ac");
    assert_eq!(found("status = 'RUNNING' and attributes.run_name != 'a'", "params.lr DESC").await, "cb");
    let page = Filter {
        offset: 1,
        limit: Some(1),
        order: vec![search::order("run_name").expect("order")],
        ..Filter::default()
    };
    assert_eq!(runs.list(&page).await.expect("page")[0].name, "b");
}

async fn experiments_are_deleted_and_restored(place: Place) {
    let runs = place.registry.runs();
    let tags = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let id = runs.create_experiment("mine", &tags, 5).await.expect("made");
    assert!(runs.create_experiment("mine", &tags, 6).await.is_err(), "a name is given once");
    assert_eq!(runs.experiment_by_name("mine").await.expect("there").tags, tags);
    runs.change_experiment(id, None, Some(true), 7).await.expect("deleted");
    let names = async |view| {
        let all = runs.experiments(&Filter { view, ..Filter::default() }).await.expect("listed");
        all.into_iter().map(|experiment| experiment.name).collect::<Vec<_>>()
    };
    assert_eq!(names(View::Active).await, ["Default"]);
    assert_eq!(names(View::Deleted).await, ["mine"]);
    runs.change_experiment(id, Some("ours"), Some(false), 8).await.expect("restored");
    assert_eq!(names(View::All).await, ["ours", "Default"]);
    assert!(runs.change_experiment(DEFAULT_EXPERIMENT, None, Some(true), 9).await.is_err());
}

on_every_database!(
    models_and_versions_are_found_by_name_tag_and_number,
    runs_are_found_by_what_they_measured_last,
    experiments_are_deleted_and_restored,
);
