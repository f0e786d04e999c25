//! Isolation: whatever a tenant brings (ids, filters, cursors, a restored snapshot), no other tenant's point answers.

use std::collections::BTreeMap;

use embeddings::{
    Condition, Cursor, EmbeddedStore, EmbeddingError, Filter, PointId, Query, Tenant, Value, VectorStore,
};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::support::{self, collection, id, name, point, query, random, tenant, vector};

const TENANTS: usize = 3;
const DIMENSION: usize = 4;

/// Something that happens to the store.
#[derive(Debug, Clone)]
enum Step {
    Upsert { tenant: usize, number: usize },
    Delete { tenant: usize, number: usize },
    DeleteTenant(usize),
    Rebuild,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let upsert = || (0..TENANTS, 0..60usize).prop_map(|(tenant, number)| Step::Upsert { tenant, number });
    prop_oneof![
        40 => upsert(),
        8 => (0..TENANTS, 0..60usize).prop_map(|(tenant, number)| Step::Delete { tenant, number }),
        1 => (0..TENANTS).prop_map(Step::DeleteTenant),
        1 => Just(Step::Rebuild),
        2 => Just(Step::Restart),
    ]
}

fn who(number: usize) -> Tenant {
    tenant(&format!("tenant-{number}"))
}

/// What each tenant should have: by name, the seed of the vector.
type Model = BTreeMap<(usize, usize), u64>;

fn made(seed: u64) -> Vec<f32> {
    vector(&mut random(seed), DIMENSION)
}

/// Tenants' vectors are told apart by a number in the payload.
fn owned(tenant: usize, number: usize, seed: u64) -> embeddings::Point {
    let mut point = point(number, made(seed));
    point.payload.insert("count".to_owned(), Value::Integer(tenant as i64));
    point
}

async fn apply(
    step: &Step,
    store: EmbeddedStore,
    model: &mut Model,
    seed: u64,
    folder: &std::path::Path,
) -> EmbeddedStore {
    let there = name("shared");
    match *step {
        Step::Upsert { tenant, number } => {
            store.upsert(&who(tenant), &there, vec![owned(tenant, number, seed)]).await.expect("writes");
            model.insert((tenant, number), seed);
        }
        Step::Delete { tenant, number } => {
            let deleted = store.delete(&who(tenant), &there, &[id(number)]).await.expect("deletes");
            assert_eq!(deleted, u64::from(model.remove(&(tenant, number)).is_some()));
        }
        Step::DeleteTenant(tenant) => {
            store.delete_tenant(&who(tenant)).await.expect("deletes");
            model.retain(|(owner, _), _| *owner != tenant);
        }
        Step::Rebuild => store.rebuild(&there, &|_| {}).await.expect("rebuilds"),
        Step::Restart => {
            store.close().await.expect("closes");
            drop(store);
            return open(folder).await;
        }
    }
    store
}

async fn open(folder: &std::path::Path) -> EmbeddedStore {
    // So small that the graph answers, not the comparison of all.
    let limits = embeddings::Limits { exact_below_points: 1, snapshot_every_points: 20, ..support::small() };
    support::open(folder, limits).await
}

async fn attack(store: &dyn VectorStore, model: &Model) {
    let there = name("shared");
    let mut foreign: Option<Cursor> = None;
    for tenant in 0..TENANTS {
        let me = who(tenant);
        let mine: Vec<usize> =
            model.keys().filter(|(owner, _)| *owner == tenant).map(|(_, number)| *number).collect();
        let every: Vec<PointId> = (0..60).map(id).collect();
        let read = store.get(&me, &there, &every).await.expect("reads");
        assert_eq!(read.len(), mine.len());
        for point in &read {
            let number: usize = point.id.as_str()[1..].parse().expect("a number");
            assert_eq!(point.vector, made(model[&(tenant, number)]), "by id");
        }
        for other in 0..TENANTS {
            let theirs = Condition::Equals { field: "count".to_owned(), value: Value::Integer(other as i64) };
            let filter = Filter(vec![theirs]);
            let expected = if other == tenant { mine.len() } else { 0 };
            for exact in [false, true] {
                let ask = Query { filter: filter.clone(), exact, ..query(made(7), 1_000) };
                assert_eq!(
                    store.search(&me, &there, ask).await.expect("answers").len(),
                    expected,
                    "by filter"
                );
            }
            assert_eq!(store.count(&me, &there, filter).await.expect("counts"), expected as u64);
        }
        for (_, seed) in model.iter().filter(|((owner, _), _)| *owner != tenant) {
            let hits = store.search(&me, &there, query(made(*seed), 5)).await.expect("answers");
            let own = |hit: &embeddings::Hit| hit.payload["count"] == Value::Integer(tenant as i64);
            assert!(hits.iter().all(own), "by another's very vector");
        }
        if let Some(cursor) = foreign.take() {
            let error =
                store.scroll(&me, &there, Filter::default(), Some(cursor), 5).await.expect_err("foreign");
            assert!(matches!(error, EmbeddingError::Cursor { .. }), "{error}");
        }
        let page = store.scroll(&me, &there, Filter::default(), None, 1).await.expect("pages");
        assert!(page.points.iter().all(|point| point.payload["count"] == Value::Integer(tenant as i64)));
        foreign = page.next;
    }
}

proptest! {
    #![proptest_config(Config { cases: 12, failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_tenant_reaches_what_belongs_to_another(steps in prop::collection::vec(step(), 20..120)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("starts").block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let mut store = open(folder.path()).await;
            store.create(collection("shared", DIMENSION)).await.expect("creates");
            let mut model = Model::new();
            for (seed, step) in steps.iter().enumerate() {
                store = apply(step, store, &mut model, seed as u64, folder.path()).await;
            }
            attack(&store, &model).await;
            let report = store.verify(&name("shared")).await.expect("checks");
            assert!(report.faults.is_empty(), "{:?}", report.faults);
            store.close().await.expect("closes");
        });
    }
}
