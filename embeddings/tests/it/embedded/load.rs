//! Many writers and readers at once: nobody waits for ever, nobody reads half a point, recall stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use embeddings::{EmbeddedStore, EmbeddingError, Filter, Hit, Point, Value, VectorStore};
use rand::Rng;

use crate::support::{
    collection, fill, id, indexed, name, open, point, query, random, recall, small, tenant, vector,
};

const WRITERS: usize = 100;
const READERS: usize = 100;
const DIMENSION: usize = 32;
const BASE: usize = 2_000;

/// A point whose payload tells its vector.
fn made(number: usize, seed: u64) -> Point {
    let mut point = point(number, vector(&mut random(seed), DIMENSION));
    point.payload.insert("count".to_owned(), Value::Integer(seed.cast_signed()));
    point
}

fn seed(payload: &embeddings::Payload) -> u64 {
    match payload["count"] {
        Value::Integer(seed) => seed.cast_unsigned(),
        Value::Keyword(_) | Value::Real(_) | Value::Time(_) => panic!("not a number"),
    }
}

/// The score must be that of the vector the payload tells.
fn is_whole(hit: &Hit, question: &[f32]) {
    let told = vector(&mut random(seed(&hit.payload)), DIMENSION);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = dot(&told, question) / (dot(&told, &told) * dot(question, question)).sqrt();
    assert!((cosine - hit.score).abs() < 1e-4, "{hit:?} is torn: its vector scores {cosine}");
}

async fn again<T, F: Future<Output = Result<T, EmbeddingError>>>(mut call: impl FnMut() -> F) -> T {
    loop {
        match call().await {
            Ok(done) => return done,
            Err(EmbeddingError::Overloaded { retry_after_ms }) => {
                tokio::time::sleep(Duration::from_millis(retry_after_ms)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn write(store: Arc<EmbeddedStore>, writer: usize, until: Instant, done: Arc<AtomicU64>) {
    let (me, there) = (tenant("me"), name("load"));
    let mut random = random(writer as u64);
    while Instant::now() < until {
        let number = BASE + writer * 10 + random.random_range(0..10);
        if random.random_range(0..10) == 0 {
            let ids = [id(number)];
            again(|| store.delete(&me, &there, &ids)).await;
        } else {
            let seed = random.random_range(0..1 << 40);
            again(|| store.upsert(&me, &there, vec![made(number, seed)])).await;
            let read = store.get(&me, &there, &[id(number)]).await.expect("reads");
            // Nobody else writes this point.
            assert_eq!(read, [made(number, seed)]);
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn read(store: Arc<EmbeddedStore>, reader: usize, until: Instant, done: Arc<AtomicU64>) {
    let (me, there) = (tenant("me"), name("load"));
    let mut random = random(1_000 + reader as u64);
    while Instant::now() < until {
        let question = vector(&mut random, DIMENSION);
        let hits = again(|| store.search(&me, &there, query(question.clone(), 10))).await;
        assert_eq!(hits.len(), 10);
        hits.iter().for_each(|hit| is_whole(hit, &question));
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_many_writers_and_readers_neither_block_nor_tear() {
    let long = std::env::var_os("MANPASIK_CHAOS_ROUNDS").is_some();
    let lasting = Duration::from_secs(if long { 60 } else { 3 });
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(open(folder.path(), small()).await);
    let (me, there) = (tenant("me"), name("load"));
    store.create(collection("load", DIMENSION)).await.expect("creates");
    let base: Vec<Point> = (0..BASE).map(|number| made(number, number as u64)).collect();
    fill(&*store, &me, &there, &base).await;

    let until = Instant::now() + lasting;
    let (written, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        tasks.spawn(write(Arc::clone(&store), number, until, Arc::clone(&written)));
    }
    for number in 0..READERS {
        tasks.spawn(read(Arc::clone(&store), number, until, Arc::clone(&answered)));
    }
    let all = tokio::time::timeout(lasting + crate::support::PATIENCE, tasks.join_all()).await;
    all.expect("nobody waits for ever");
    println!("{} writes, {} searches", written.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
    assert!(written.load(Ordering::Relaxed) >= WRITERS as u64);
    assert!(answered.load(Ordering::Relaxed) >= READERS as u64);

    indexed(&*store, &there).await;
    let mut random = random(77);
    let questions = (0..50).map(|_| vector(&mut random, DIMENSION)).collect();
    let found = recall(&*store, &me, &there, questions, &Filter::default()).await;
    assert!(found >= 0.95, "recall {found}");
    let report = store.verify(&there).await.expect("checks");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}
