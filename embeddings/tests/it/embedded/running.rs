//! Life of the store: opening, rebuilding while others write, wear, closing, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use embeddings::{Collection, EmbeddedStore, EmbeddingError, Filter, Limits, Metric, Storage, VectorStore};

use crate::support::{
    collection, fill, id, indexed, name, open, points, query, random, recall, small, tenant, vector,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_kept_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), small()).await;
    let url = store::Url::file(&folder.path().join("vectors.db"));
    let second = EmbeddedStore::open(&url, &folder.path().join("index"), small()).await;
    let error = second.err().expect("refused").to_string();
    assert!(error.contains("another process"), "{error}");
    store.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), small()).await;
    store.create(collection("c", 4)).await.expect("creates");
    store.close().await.expect("closes");
    store.close().await.expect("closes again");
    let errors = [
        store.search(&tenant("me"), &name("c"), query(vec![1.0; 4], 1)).await.err(),
        store.upsert(&tenant("me"), &name("c"), points(1, 4, 1)).await.err(),
        store.create(collection("d", 4)).await.err(),
    ];
    for error in errors {
        assert!(matches!(error, Some(EmbeddingError::Unavailable { .. })), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_keeps_what_is_written_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(open(folder.path(), small()).await);
    let (me, there) = (tenant("me"), name("busy"));
    store.create(collection("busy", 16)).await.expect("creates");
    fill(&*store, &me, &there, &points(3_000, 16, 1)).await;
    indexed(&*store, &there).await;
    let writing = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        let (me, there) = (tenant("me"), name("busy"));
        for round in 0..60 {
            let fresh = points(3_000 + round * 10, 16, 2 + round as u64).split_off(2_990 + round * 10);
            writing.upsert(&me, &there, fresh).await.expect("writes");
            writing.delete(&me, &there, &[id(round)]).await.expect("deletes");
        }
    });
    let told = AtomicU64::new(0);
    for _ in 0..3 {
        store
            .rebuild(&there, &|progress| told.store(progress.done, Ordering::Relaxed))
            .await
            .expect("rebuilds");
    }
    writer.await.expect("writes");
    assert!(told.load(Ordering::Relaxed) >= 3_000 - 60);
    assert_eq!(store.count(&me, &there, Filter::default()).await.expect("counts"), 3_000 + 590 - 60);
    indexed(&*store, &there).await;
    let report = store.verify(&there).await.expect("checks");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert!(report.recall.is_some_and(|recall| recall >= 0.95), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_points_over_and_over_does_not_fill_the_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), small()).await;
    let (me, there) = (tenant("me"), name("worn"));
    store.create(collection("worn", 32)).await.expect("creates");
    fill(&store, &me, &there, &points(500, 32, 0)).await;
    let first = indexed(&store, &there).await.bytes;
    for round in 1..30 {
        fill(&store, &me, &there, &points(500, 32, round)).await;
        indexed(&store, &there).await;
    }
    let last = indexed(&store, &there).await;
    assert_eq!(last.points, 500);
    assert!(last.bytes < first * 4, "{first} bytes became {}", last.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_collection_refuses_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), Limits { points_max: 100, collections_max: 1, ..small() }).await;
    let (me, there) = (tenant("me"), name("full"));
    store.create(collection("full", 4)).await.expect("creates");
    let error = store.create(collection("one-more", 4)).await.expect_err("one too many");
    assert!(matches!(error, EmbeddingError::TooMany { .. }), "{error}");
    fill(&store, &me, &there, &points(100, 4, 1)).await;
    let error = store.upsert(&me, &there, points(101, 4, 1).split_off(100)).await.expect_err("full");
    assert!(matches!(error, EmbeddingError::TooMany { .. }), "{error}");
}

/// The index walks by vectors in bytes. Here one number is ten thousand times the others, so that all bytes are the
/// same: the index must notice and turn to the numbers.
#[tokio::test(flavor = "multi_thread")]
async fn points_that_bytes_cannot_tell_apart_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), small()).await;
    let (me, there) = (tenant("me"), name("offset"));
    for storage in [Storage::F32, Storage::F16] {
        store
            .create(Collection { metric: Metric::L2, storage, ..collection("offset", 8) })
            .await
            .expect("creates");
        let offset = |mut vector: Vec<f32>| {
            vector[0] = 10_000.0;
            vector
        };
        let mut all = points(3_000, 8, 1);
        all.iter_mut().for_each(|point| point.vector = offset(std::mem::take(&mut point.vector)));
        fill(&store, &me, &there, &all).await;
        indexed(&store, &there).await;
        let mut random = random(9);
        let questions = (0..50).map(|_| offset(vector(&mut random, 8))).collect();
        let found = recall(&store, &me, &there, questions, &Filter::default()).await;
        assert!(found >= 0.9, "recall {found} with {storage:?}");
        store.drop_collection(&there).await.expect("drops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_are_sampled_and_compared_with_exact_search() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), Limits { recall_sample_every: 2, ..small() }).await;
    let (me, there) = (tenant("me"), name("sampled"));
    store.create(collection("sampled", 16)).await.expect("creates");
    let all = points(4_000, 16, 1);
    fill(&store, &me, &there, &all).await;
    indexed(&store, &there).await;
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    let recall = loop {
        let question = all[7].vector.clone();
        store.search(&me, &there, query(question, 10)).await.expect("answers");
        if let Some(recall) = store.sampled_recall(&there).await.expect("answers") {
            break recall;
        }
        assert!(std::time::Instant::now() < deadline, "no sample was taken");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert!(recall > 0.8, "{recall}");
}
