//! Predictions: written in batches, labelled by those who may, counted by cohort, forgotten in time.

use registry::{
    Principal, RegistryError, Role,
    predictions::{DriftWindow, Payload, Prediction},
};

use super::{Place, act, on_every_database, person};

fn prediction(id: &str, part: i32, model: &str, output: &str, at_ms: i64) -> Prediction {
    Prediction {
        id: id.into(),
        part,
        rpc: "AnalyzeMeasurement".into(),
        model: model.into(),
        version: "MPS-X-v1.0.0-FP32".into(),
        input_sha256: "ab".repeat(32),
        output: output.into(),
        interval: None,
        probability: Some(0.75),
        classes: vec!["sick".into(), "well".into()],
        cohort: "men_40_60".into(),
        tenant: "ann".into(),
        at_ms,
        outcome: None,
    }
}

async fn what_was_answered_is_found_again(place: Place) {
    let rows: Vec<Prediction> =
        (0..1_200).map(|at| prediction(&format!("p{at:04}"), 0, "thyroid", "sick", at)).collect();
    let payload = Payload { id: "p0001".into(), request: vec![0, 255], answer: vec![7], at_ms: 1 };
    place.registry.predictions_write(rows.clone(), vec![payload.clone()]).await.expect("written");
    place.registry.predictions_write(rows[..3].to_vec(), vec![payload.clone()]).await.expect("again is fine");
    let place = place.reopen().await;
    let newest = place.registry.predictions(Some("thyroid"), 2).await.expect("listed");
    assert_eq!(newest, [rows[1_199].clone(), rows[1_198].clone()]);
    assert_eq!(place.registry.prediction("p0007").await.expect("there"), [rows[7].clone()]);
    assert_eq!(place.registry.prediction_payload("p0001").await.expect("asked"), Some(payload));
    assert_eq!(place.registry.prediction_payload("p0002").await.expect("asked"), None);
    assert!(place.registry.predictions(Some("diabetes"), 9).await.expect("listed").is_empty());
    let missing = place.registry.prediction("none").await.expect_err("none");
    assert!(matches!(missing, RegistryError::NotFound(_)));
}

async fn outcomes_are_given_by_those_who_may_and_counted_by_cohort(place: Place) {
    let registry = &place.registry;
    let rows = [("a", "sick"), ("b", "sick"), ("c", "well")]
        .map(|(id, output)| prediction(id, 0, "thyroid", output, 5));
    let two = [prediction("d", 0, "thyroid", "well", 5), prediction("d", 1, "diabetes", "well", 5)];
    registry.predictions_write([&rows[..], &two[..]].concat(), Vec::new()).await.expect("written");
    let doctor = person("dr", &[Role::MedicalStaff]);
    let user = person("u", &[Role::User]);
    let refused = registry.prediction_label(act(&user), "a", None, "sick").await.expect_err("a user");
    assert!(matches!(refused, RegistryError::Forbidden(_)));
    for (id, outcome) in [("a", "sick"), ("b", "well"), ("c", "gone")] {
        let found = registry.prediction_label(act(&doctor), id, None, outcome).await.expect("labelled");
        assert_eq!(found.outcome.as_deref(), Some(outcome));
    }
    let refused = registry.prediction_label(act(&doctor), "d", None, "well").await.expect_err("which?");
    assert!(refused.to_string().contains("thyroid, diabetes"), "{refused}");
    registry.prediction_label(act(&doctor), "d", Some("diabetes"), "well").await.expect("named");
    for bad in ["", " ", &"x".repeat(201)] {
        assert!(registry.prediction_label(act(&doctor), "a", None, bad).await.is_err());
    }

    let figures = registry.accuracy("thyroid").await.expect("counted");
    let of = |cohort: &str| &figures[&("MPS-X-v1.0.0-FP32".to_owned(), cohort.to_owned())];
    assert_eq!(figures.len(), 2, "everybody and one cohort");
    for cohort in ["", "men_40_60"] {
        assert_eq!((of(cohort).labelled, of(cohort).right, of(cohort).covered), (3, 1, 2), "{cohort}");
    }
    let links = registry.audit(0, Some("thyroid"), 10).await.expect("audit");
    assert_eq!(links.iter().filter(|link| link.event.action == "prediction.label").count(), 3);
    assert!(registry.audit_verify().await.expect("asked").is_ok());
}

async fn old_ones_are_forgotten_a_bounded_number_at_a_time_and_that_is_audited(place: Place) {
    let registry = &place.registry;
    let rows: Vec<Prediction> =
        (0..300).map(|at| prediction(&format!("p{at:04}"), 0, "m", "x", at)).collect();
    let payload = |at: i64| Payload { id: format!("p{at:04}"), request: vec![1], answer: vec![2], at_ms: at };
    registry.predictions_write(rows, vec![payload(3), payload(250)]).await.expect("written");
    let window = |closed_ms| DriftWindow {
        model: "m".into(),
        version: "v".into(),
        cohort: String::new(),
        rows: 1_000,
        figures: "[]".into(),
        closed_ms,
    };
    for at in [10, 290] {
        registry.drift_add(&window(at)).await.expect("added");
    }
    let admin = Principal::local();
    let forget = async |before| registry.predictions_forget(act(&admin), before, 100).await.expect("swept");
    assert_eq!((forget(200).await, forget(200).await, forget(200).await), (100, 100, 0));
    assert_eq!(registry.predictions(None, 1_000).await.expect("listed").len(), 100);
    let kept = async |id| registry.prediction_payload(id).await.expect("asked").is_some();
    assert!(!kept("p0003").await && kept("p0250").await);
    assert_eq!(registry.drift("m", 10).await.expect("listed"), [window(290)]);
    let links = registry.audit(0, Some("predictions"), 10).await.expect("audit");
    assert_eq!(links.len(), 2, "a sweep that finds nothing says nothing");
    assert!(links[0].event.why.contains("100 rows"), "{:?}", links[0]);
}

on_every_database!(
    what_was_answered_is_found_again,
    outcomes_are_given_by_those_who_may_and_counted_by_cohort,
    old_ones_are_forgotten_a_bounded_number_at_a_time_and_that_is_audited,
);
