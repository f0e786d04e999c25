//! What every test needs: stores, made-up vectors and questions to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use embeddings::{
    Collection, CollectionName, EmbeddedStore, Field, FieldKind, Filter, Limits, Metric, Payload, Point,
    PointId, Query, Stats, Storage, Tenant, Value, VectorStore,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).expect("a name")
}

pub(crate) fn name(name: &str) -> CollectionName {
    CollectionName::parse(name).expect("a name")
}

pub(crate) fn id(number: usize) -> PointId {
    PointId::parse(format!("p{number}")).expect("a name")
}

/// A collection with a field of each kind.
pub(crate) fn collection(name: &str, dimension: usize) -> Collection {
    let field = |(name, kind): (&str, FieldKind)| Field { name: name.to_owned(), kind };
    let fields = [
        ("kind", FieldKind::Keyword),
        ("count", FieldKind::Integer),
        ("weight", FieldKind::Real),
        ("at", FieldKind::Time),
    ];
    Collection {
        name: self::name(name),
        dimension,
        metric: Metric::Cosine,
        layout: format!("test/{dimension}"),
        storage: Storage::F32,
        fields: fields.into_iter().map(field).collect(),
    }
}

pub(crate) fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A vector without any structure.
pub(crate) fn vector(random: &mut ChaCha8Rng, dimension: usize) -> Vec<f32> {
    (0..dimension).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// Point `number` with a payload that follows from its number.
pub(crate) fn point(number: usize, vector: Vec<f32>) -> Point {
    let payload = BTreeMap::from([
        ("kind".to_owned(), Value::Keyword(["red", "green", "blue"][number % 3].to_owned())),
        ("count".to_owned(), Value::Integer(number as i64)),
        ("weight".to_owned(), Value::Real(number as f64 / 10.0)),
        ("at".to_owned(), Value::Time(1_700_000_000_000 + number as i64 * 1_000)),
    ]);
    Point { id: id(number), vector, payload }
}

/// Points `0..count` with vectors from a seed.
pub(crate) fn points(count: usize, dimension: usize, seed: u64) -> Vec<Point> {
    let mut random = random(seed);
    (0..count).map(|number| point(number, vector(&mut random, dimension))).collect()
}

pub(crate) fn bare(id: PointId, vector: Vec<f32>) -> Point {
    Point { id, vector, payload: Payload::new() }
}

/// The same points; a store that keeps directions and lengths apart may change the last bits of a number.
pub(crate) fn assert_same(found: &[Point], wanted: &[Point], what: &str) {
    let named = |points: &[Point]| -> Vec<(PointId, Payload)> {
        points.iter().map(|point| (point.id.clone(), point.payload.clone())).collect()
    };
    assert_eq!(named(found), named(wanted), "{what}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found.vector.len(), wanted.vector.len(), "{what}");
        let near =
            found.vector.iter().zip(&wanted.vector).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0));
        assert!(near, "{what}: {:?} for {:?}", found.vector, wanted.vector);
    }
}

pub(crate) fn query(vector: Vec<f32>, k: usize) -> Query {
    Query { vector, k, filter: Filter::default(), exact: false }
}

/// Limits under which small collections have an index and snapshots.
pub(crate) fn small() -> Limits {
    Limits { exact_below_points: 50, snapshot_every_points: 300, ..Limits::default() }
}

/// A store in `folder`.
pub(crate) async fn open(folder: &Path, limits: Limits) -> EmbeddedStore {
    let url = store::Url::file(&folder.join("vectors.db"));
    EmbeddedStore::open(&url, &folder.join("index"), limits).await.expect("opens")
}

/// Waits until everything is in the index.
pub(crate) async fn indexed(store: &dyn VectorStore, name: &CollectionName) -> Stats {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stats = store.stats(name).await.expect("answers");
        if stats.tail == 0 && stats.state == embeddings::State::Ready {
            return stats;
        }
        assert!(Instant::now() < deadline, "still waiting for the index: {stats:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes points in batches.
pub(crate) async fn fill(store: &dyn VectorStore, tenant: &Tenant, name: &CollectionName, points: &[Point]) {
    for batch in points.chunks(1_000) {
        store.upsert(tenant, name, batch.to_vec()).await.expect("writes");
    }
}

/// Recall at `k` of the store's answers against its own exact answers.
pub(crate) async fn recall(
    store: &dyn VectorStore,
    tenant: &Tenant,
    name: &CollectionName,
    questions: Vec<Vec<f32>>,
    filter: &Filter,
) -> f64 {
    let (mut found, mut wanted) = (0, 0);
    for vector in questions {
        let ask = Query { filter: filter.clone(), ..query(vector, 10) };
        let exact = store.search(tenant, name, Query { exact: true, ..ask.clone() }).await.expect("answers");
        let hits = store.search(tenant, name, ask).await.expect("answers");
        found += exact.iter().filter(|hit| hits.iter().any(|other| other.id == hit.id)).count();
        wanted += exact.len();
    }
    found as f64 / wanted as f64
}
