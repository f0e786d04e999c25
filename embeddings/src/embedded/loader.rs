//! Reading everything at start: rows in the order they were written, beside the snapshots that number their slots.
//!
//! A snapshot is used when its checksum holds and every row it should cover is numbered by it. Rows that were deleted
//! since leave a gap in the index, which a search walks around; too many gaps and the index is built anew. Rows that
//! are newer come after it and are added to the index in the background. No record of deletions is needed for that,
//! and a snapshot holds no vectors that could outlive their rows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::generation::Generation;
use super::graph::{Graph, Tuned};
use super::row::Row;
use super::rows::Rows;
use super::snapshot::{self, Snapshot};
use super::store::{self, Kept, Store};
use super::table::{Entry, Table};
use crate::{Collection, EmbeddingError, Limits, PointId, Tenant};

/// Rows read at once: a few megabytes at common dimensions.
const ROWS_PER_PAGE: u64 = 1_000;

/// Reads all rows into builds of their collections; the builds and the rows of collections that are gone.
pub(super) async fn load(
    store: &Store,
    collections: Vec<(i64, Collection)>,
    folder: &Path,
    limits: Limits,
    done: Arc<AtomicU64>,
) -> Result<(Vec<(i64, Generation)>, Vec<i64>), EmbeddingError> {
    let mut loading = open(collections, folder).await?;
    let (mut last, mut gone) = (0, Vec::new());
    loop {
        let page = store.after(last, ROWS_PER_PAGE).await?;
        let Some(end) = page.last() else { break };
        last = end.sequence;
        let count = page.len() as u64;
        (loading, gone) = off(move || put_all(loading, gone, page)).await??;
        done.fetch_add(count, Ordering::Relaxed);
    }
    let finish = move |(id, one): (i64, Loading)| Ok((id, one.finish(&limits)?));
    let built = off(move || loading.into_iter().map(finish).collect::<Result<_, EmbeddingError>>()).await?;
    Ok((built?, gone))
}

/// Runs work off the async threads.
pub(super) async fn off<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EmbeddingError> {
    let ended = |_| EmbeddingError::Unavailable { reason: "its work was cut short".to_owned() };
    tokio::task::spawn_blocking(work).await.map_err(ended)
}

type LoadingAll = HashMap<i64, Loading>;

async fn open(collections: Vec<(i64, Collection)>, folder: &Path) -> Result<LoadingAll, EmbeddingError> {
    let folder = folder.to_path_buf();
    let start = move |(id, collection): (i64, Collection)| {
        (id, Loading::new(Arc::new(collection), &snapshot::path(&folder, id)))
    };
    off(move || collections.into_iter().map(start).collect()).await
}

fn put_all(
    mut loading: LoadingAll,
    mut gone: Vec<i64>,
    page: Vec<Kept>,
) -> Result<(LoadingAll, Vec<i64>), EmbeddingError> {
    for kept in page {
        match loading.get_mut(&kept.collection) {
            Some(one) => one.put(kept)?,
            None if gone.contains(&kept.collection) => {}
            None => gone.push(kept.collection),
        }
    }
    Ok((loading, gone))
}

/// A collection being read.
struct Loading {
    collection: Arc<Collection>,
    rows: Arc<Rows>,
    table: Table,
    snapshot: Option<Snapshot>,
    /// Slots of the snapshot that have been matched with rows or found gone.
    matched: usize,
}

impl Loading {
    fn new(collection: Arc<Collection>, path: &Path) -> Self {
        let snapshot = snapshot::read(path, &collection).unwrap_or_else(|reason| {
            tracing::warn!(collection = %collection.name, reason, "an index snapshot is damaged: building anew");
            None
        });
        let rows = Arc::new(Rows::new(&collection));
        let table = Table::new(&collection, Arc::clone(&rows));
        Self { collection, rows, table, snapshot, matched: 0 }
    }

    fn put(&mut self, kept: Kept) -> Result<(), EmbeddingError> {
        self.skip_gone(Some(kept.sequence));
        let entry = entry(kept, &self.collection)?;
        self.table.put(entry);
        Ok(())
    }

    /// Gives slots to points of the snapshot that are gone, up to a row's sequence, and takes the row's own number.
    fn skip_gone(&mut self, until: Option<u64>) {
        let Some(snapshot) = &self.snapshot else { return };
        while let Some(sequence) = snapshot.sequences.get(self.matched) {
            match until {
                Some(until) if *sequence == until => {
                    self.matched += 1;
                    return;
                }
                Some(until) if *sequence > until => {
                    tracing::warn!(collection = %self.collection.name, "an index snapshot lacks a row: building anew");
                    self.snapshot = None;
                    return;
                }
                Some(_) | None => {
                    self.table.put_gone(*sequence);
                    self.matched += 1;
                }
            }
        }
    }

    fn finish(mut self, limits: &Limits) -> Result<Generation, EmbeddingError> {
        self.skip_gone(None);
        let Self { collection, rows, table, snapshot, .. } = self;
        let covered = snapshot.as_ref().map_or(0, |snapshot| snapshot.sequences.len() as u32);
        let snapshot = snapshot.filter(|_| !too_many_gone(&rows, covered, limits));
        let loaded = snapshot.and_then(|snapshot| graph(&snapshot, &rows, &collection, limits));
        let (graph, indexed) = match loaded {
            Some(graph) => (graph, covered),
            None => {
                let (inside, tuned) = (limits.inside_max(), Tuned::first(limits));
                (Graph::new(Arc::clone(&rows), collection.metric, inside, tuned)?, 0)
            }
        };
        Ok(Generation::from_parts(collection, rows, table, graph, indexed))
    }
}

fn too_many_gone(rows: &Rows, covered: u32, limits: &Limits) -> bool {
    let gone = (0..covered).filter(|slot| !rows.lives(*slot)).count();
    gone * 100 > covered as usize * limits.dead_percent_max
}

fn graph(snapshot: &Snapshot, rows: &Arc<Rows>, collection: &Collection, limits: &Limits) -> Option<Graph> {
    let expansion = snapshot.tuned.expansion.clamp(limits.expansion_min, limits.expansion_max);
    let tuned = Tuned { expansion, ..snapshot.tuned };
    let (rows, inside) = (Arc::clone(rows), limits.inside_max());
    let loaded = Graph::load(&snapshot.graph, rows, collection.metric, inside, tuned);
    loaded
        .inspect_err(|error| {
            tracing::warn!(collection = %collection.name, %error, "an index snapshot cannot be used: building anew");
        })
        .ok()
}

/// A row as an entry of the table.
pub(super) fn entry(kept: Kept, collection: &Collection) -> Result<Entry, EmbeddingError> {
    Ok(Entry {
        sequence: kept.sequence,
        tenant: Tenant::parse(kept.tenant)?,
        id: PointId::parse(kept.id)?,
        row: Row::read(&kept.vector, collection)?,
        payload: store::payload(&kept.payload, collection)?,
    })
}
