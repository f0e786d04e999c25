//! Snapshots: used when whole, noticed and replaced when not.

use std::fs;
use std::path::{Path, PathBuf};

use embeddings::{CollectionName, Filter, VectorStore};

use crate::support::{
    collection, fill, id, indexed, name, open, points, query, random, recall, small, tenant, vector,
};

const COUNT: usize = 2_000;

fn snapshot(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join("index")).expect("a folder");
    let mut files = files.map(|file| file.expect("an entry").path());
    files.find(|file| file.extension().is_some_and(|extension| extension == "index")).expect("a snapshot")
}

async fn filled(folder: &Path) -> CollectionName {
    let there = name("kept");
    let store = open(folder, small()).await;
    store.create(collection("kept", 16)).await.expect("creates");
    fill(&store, &tenant("me"), &there, &points(COUNT, 16, 1)).await;
    indexed(&store, &there).await;
    store.close().await.expect("closes");
    there
}

async fn all_is_well(store: &dyn VectorStore, there: &CollectionName, count: usize) {
    indexed(store, there).await;
    let me = tenant("me");
    assert_eq!(store.count(&me, there, Filter::default()).await.expect("counts"), count as u64);
    let mut random = random(5);
    let questions = (0..30).map(|_| vector(&mut random, 16)).collect();
    let found = recall(store, &me, there, questions, &Filter::default()).await;
    assert!(found >= 0.95, "recall {found}");
    let report = store.verify(there).await.expect("checks");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_snapshot_is_used_and_what_came_after_is_added() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = filled(folder.path()).await;
    // Rows that the snapshot does not know, some that it knows and are gone, and some that moved.
    let older = fs::read(snapshot(folder.path())).expect("reads");
    let store = open(folder.path(), small()).await;
    let me = tenant("me");
    let mut changed = points(COUNT + 200, 16, 2).split_off(COUNT);
    changed.extend(points(100, 16, 3));
    fill(&store, &me, &there, &changed).await;
    store.delete(&me, &there, &[id(500), id(501)]).await.expect("deletes");
    store.close().await.expect("closes");
    fs::write(snapshot(folder.path()), older).expect("writes");

    let store = open(folder.path(), small()).await;
    let stats = store.stats(&there).await.expect("answers");
    assert!(stats.points == 0 || stats.indexed >= 1_898, "the snapshot answers at once: {stats:?}");
    all_is_well(&store, &there, COUNT + 198).await;
    assert!(store.get(&me, &there, &[id(500)]).await.expect("reads").is_empty());
    let moved = &changed[200 + 42];
    let hits = store.search(&me, &there, query(moved.vector.clone(), 1)).await.expect("answers");
    assert_eq!(hits[0].id, moved.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_noticed_and_built_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = filled(folder.path()).await;
    let whole = fs::read(snapshot(folder.path())).expect("reads");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let damaged = [("flipped", flipped), ("cut", whole[..whole.len() / 3].to_vec()), ("empty", Vec::new())];
    for (what, bytes) in damaged {
        fs::write(snapshot(folder.path()), bytes).expect("writes");
        let store = open(folder.path(), small()).await;
        all_is_well(&store, &there, COUNT).await;
        store.close().await.expect("closes");
        assert_ne!(
            fs::metadata(snapshot(folder.path())).expect("is there").len(),
            0,
            "{what}: a new one is written"
        );
        let store = open(folder.path(), small()).await;
        all_is_well(&store, &there, COUNT).await;
        store.close().await.expect("closes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_a_snapshot_that_was_damaged_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = filled(folder.path()).await;
    let store = open(folder.path(), small()).await;
    indexed(&store, &there).await;
    fs::write(snapshot(folder.path()), b"no snapshot at all").expect("writes");
    let report = store.verify(&there).await.expect("checks");
    assert!(report.faults.iter().any(|fault| fault.contains("snapshot")), "{report:?}");
    store.rebuild(&there, &|_| {}).await.expect("rebuilds");
    assert!(store.verify(&there).await.expect("checks").faults.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_snapshot_only_costs_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = filled(folder.path()).await;
    fs::remove_file(snapshot(folder.path())).expect("removes");
    let store = open(folder.path(), small()).await;
    let hits = store.search(&tenant("me"), &there, query(vec![1.0; 16], 10)).await.expect("answers at once");
    assert_eq!(hits.len(), 10);
    all_is_well(&store, &there, COUNT).await;
}
