//! The store on Qdrant: the shared suite, and how it behaves when the server does not.
//!
//! `QDRANT_URL` names a real server for the suite, for example `http://127.0.0.1:6334`; every test
//! makes collections of its own and drops them.

mod double;
mod filter;

use std::time::{Duration, Instant};

use embeddings::{
    Collection, CollectionName, EmbeddingError, Field, FieldKind, Filter, Limits, Metric, Payload, Point,
    PointId, QdrantOptions, QdrantStore, Query, Storage, Tenant, VectorStore,
};
use tonic::{Code, Status};

pub(crate) use double::Double;

/// Bounds with which failing takes milliseconds.
fn quick() -> Limits {
    Limits {
        call_ms_max: 2_000,
        attempts_max: 3,
        retry_ms_min: 1,
        retry_ms_max: 2,
        breaker_failures_max: 5,
        breaker_open_ms: 60_000,
        ..Limits::default()
    }
}

fn store(url: &str, limits: Limits) -> QdrantStore {
    QdrantStore::new(&QdrantOptions { url: url.into(), api_key: None }, limits).expect("a URL")
}

fn name() -> CollectionName {
    CollectionName::parse("food:v1").expect("a name")
}

fn tenant(text: &str) -> Tenant {
    Tenant::parse(text).expect("a name")
}

fn collection() -> Collection {
    Collection {
        name: name(),
        dimension: 2,
        metric: Metric::Cosine,
        layout: "test/2".into(),
        storage: Storage::F32,
        fields: vec![Field { name: "label.ko".into(), kind: FieldKind::Keyword }],
    }
}

fn point(id: &str, vector: [f32; 2]) -> Point {
    Point { id: PointId::parse(id).expect("a name"), vector: vector.into(), payload: Payload::new() }
}

fn query(vector: [f32; 2]) -> Query {
    Query { vector: vector.into(), k: 10, filter: Filter::default(), exact: false }
}

async fn filled(double: &Double, limits: Limits) -> QdrantStore {
    let store = store(&double.url, limits);
    store.create(collection()).await.expect("a new collection");
    store.upsert(&tenant("a"), &name(), vec![point("p", [1.0, 0.0])]).await.expect("a point");
    store
}

fn down(code: Code, times: usize) -> Vec<Status> {
    vec![Status::new(code, "down"); times]
}

#[tokio::test]
async fn a_server_that_stumbles_is_asked_again() {
    let double = Double::start().await;
    let store = filled(&double, quick()).await;
    for code in [Code::Unavailable, Code::Internal, Code::ResourceExhausted] {
        double.fail(down(code, 2));
        let hits = store.search(&tenant("a"), &name(), query([1.0, 1.0])).await;
        assert_eq!(hits.expect("the third attempt is answered").len(), 1, "{code:?}");
    }
}

#[tokio::test]
async fn a_repeated_write_is_there_once() {
    let double = Double::start().await;
    let store = filled(&double, quick()).await;
    double.fail(down(Code::Unavailable, 1));
    store.upsert(&tenant("a"), &name(), vec![point("q", [0.0, 1.0])]).await.expect("written");
    assert_eq!(store.count(&tenant("a"), &name(), Filter::default()).await.expect("a count"), 2);
}

#[tokio::test]
async fn a_refusal_is_not_asked_again() {
    let double = Double::start().await;
    let store = filled(&double, quick()).await;
    let before = double.calls();
    double.fail([Status::permission_denied("who are you?")]);
    let error = store.search(&tenant("a"), &name(), query([1.0, 0.0])).await.expect_err("refused");
    assert!(
        matches!(&error, EmbeddingError::Unavailable { reason } if reason.contains("api_key")),
        "{error}"
    );
    assert_eq!(double.calls(), before + 1);
}

#[tokio::test]
async fn overload_says_when_to_come_back() {
    let double = Double::start().await;
    let store = filled(&double, quick()).await;
    double.fail(down(Code::ResourceExhausted, 3));
    let error = store.search(&tenant("a"), &name(), query([1.0, 0.0])).await.expect_err("overloaded");
    assert!(matches!(error, EmbeddingError::Overloaded { retry_after_ms: 1_000 }), "{error}");
}

#[tokio::test]
async fn a_server_that_stays_down_is_left_alone_and_found_again() {
    let double = Double::start().await;
    let limits = Limits { breaker_open_ms: 50, ..quick() };
    let store = filled(&double, limits).await;
    // The client library asks twice for each of the five failures that open the breaker.
    double.fail(down(Code::Unavailable, 10));
    let search = async || store.search(&tenant("a"), &name(), query([1.0, 0.0])).await;
    let mut seen = 0;
    let refused = loop {
        match search().await {
            Err(EmbeddingError::Unavailable { reason }) if reason.contains("again in") => break reason,
            Err(EmbeddingError::Unavailable { .. }) if seen < 5 => seen += 1,
            other => panic!("the breaker did not open: {other:?}"),
        }
    };
    let before = double.calls();
    assert!(search().await.is_err());
    assert_eq!(double.calls(), before, "nobody asks while it is open: {refused}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while search().await.is_err() {
        assert!(Instant::now() < deadline, "the breaker stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_silence_is_a_deadline() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", free.local_addr().expect("bound"));
    // The listener takes connections and never answers.
    let silent = store(&url, Limits { call_ms_max: 200, ..quick() });
    let error = silent.health().await.expect_err("silence");
    assert!(matches!(error, EmbeddingError::Deadline { .. } | EmbeddingError::Unavailable { .. }), "{error}");
    drop(free);
    let error = store(&url, quick()).health().await.expect_err("nobody");
    assert!(matches!(error, EmbeddingError::Unavailable { .. }), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn what_is_no_url_is_refused_at_once() {
    let options = QdrantOptions { url: "not a url".into(), api_key: None };
    assert!(matches!(QdrantStore::new(&options, quick()), Err(EmbeddingError::Unavailable { .. })));
}

#[tokio::test]
async fn two_replicas_see_each_other() {
    let double = Double::start().await;
    let (one, two) = (filled(&double, quick()).await, store(&double.url, quick()));
    two.create(collection()).await.expect("it exists as described");
    let other = Collection { dimension: 3, ..collection() };
    let error = two.create(other).await.expect_err("it exists with another dimension");
    assert!(matches!(error, EmbeddingError::CollectionDiffers { .. }), "{error}");
    assert_eq!(two.count(&tenant("a"), &name(), Filter::default()).await.expect("a count"), 1);
    assert!(two.drop_collection(&name()).await.expect("dropped"));
    let error = one.search(&tenant("a"), &name(), query([1.0, 0.0])).await.expect_err("it is gone");
    assert!(matches!(error, EmbeddingError::UnknownCollection { .. }), "{error}");
}

#[tokio::test]
async fn the_same_name_is_another_point_for_another_tenant() {
    let double = Double::start().await;
    let store = filled(&double, quick()).await;
    store.upsert(&tenant("b"), &name(), vec![point("p", [0.0, 2.0])]).await.expect("a point");
    let ids = [PointId::parse("p").expect("a name")];
    let of =
        async |who: &str| store.get(&tenant(who), &name(), &ids).await.expect("a point")[0].vector.clone();
    assert_eq!((of("a").await, of("b").await), (vec![1.0, 0.0], vec![0.0, 2.0]));
    assert_eq!(store.delete(&tenant("c"), &name(), &ids).await.expect("nothing"), 0);
    assert_eq!(store.delete_tenant(&tenant("a")).await.expect("one"), 1);
    assert_eq!(store.operator_tenants(&name(), None, 10).await.expect("one left"), [tenant("b")]);
}

#[tokio::test]
async fn a_closed_store_asks_nothing() {
    let double = Double::start().await;
    let store = filled(&double, quick()).await;
    store.close().await.expect("closed");
    let before = double.calls();
    let error = store.count(&tenant("a"), &name(), Filter::default()).await.expect_err("closed");
    assert!(matches!(error, EmbeddingError::Unavailable { .. }));
    assert_eq!(double.calls(), before);
}

#[tokio::test]
async fn the_server_tells_its_version_and_what_is_wrong() {
    let double = Double::start().await;
    let store = filled(&double, quick()).await;
    assert_eq!(store.health().await.expect("it is up"), "double");
    let report = store.verify(&name()).await.expect("a report");
    assert_eq!((report.points, report.recall, report.faults.len()), (1, Some(1.0), 0));
    store.rebuild(&name(), &|_| {}).await.expect("it is content");
}
