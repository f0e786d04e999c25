//! The index of a collection: a usearch graph over slots.
//!
//! The graph is told slot numbers instead of vectors and asks back for distances, so each vector is in memory once,
//! in the precision of its collection, and exact search and index share it. It only ever grows; points that are gone
//! are passed over when results are picked, until the collection is built anew.
//!
//! The library is compiled with fast arithmetic that knows no infinity: distances are finite here.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use usearch::{Index, IndexOptions, MetricKind, ScalarKind, VectorType};

use super::row::{FAR, Row};
use super::rows::Rows;
use crate::{EmbeddingError, Metric};

/// Stands for the query in place of a slot.
const QUERY: f32 = -1.0;
/// Neighbours of a node; twice as many on the ground level.
const CONNECTIVITY: usize = 16;
/// Candidates looked at when a point is added.
const EXPANSION_ADD: usize = 128;
/// Room for points at first.
const CAPACITY_FIRST: usize = 4_096;

thread_local! {
    /// What the search on this thread looks for, and a slot it must not see.
    static SOUGHT: RefCell<Option<(Row, Option<u32>)>> = const { RefCell::new(None) };
}

/// An index over slots.
pub(super) struct Graph {
    /// Writing means growing; adding and searching share it.
    index: RwLock<Index>,
    /// Threads that may be inside at once.
    threads: usize,
    expansion: AtomicUsize,
    memory: AtomicUsize,
}

impl Graph {
    /// An empty index that up to `threads` threads use at once.
    pub(super) fn new(
        rows: Arc<Rows>,
        metric: Metric,
        threads: usize,
        expansion: usize,
    ) -> Result<Self, EmbeddingError> {
        let mut index = empty()?;
        measure(&mut index, rows, metric)?;
        index.reserve_capacity_and_threads(CAPACITY_FIRST, threads).map_err(fault)?;
        Ok(Self::from_index(index, threads, expansion))
    }

    /// An index from the bytes of [`save`](Self::save).
    pub(super) fn load(
        bytes: &[u8],
        rows: Arc<Rows>,
        metric: Metric,
        threads: usize,
        expansion: usize,
    ) -> Result<Self, EmbeddingError> {
        let mut index = empty()?;
        index.load_from_buffer(bytes).map_err(fault)?;
        // Not before: loading puts a metric of the library's own in its place.
        measure(&mut index, rows, metric)?;
        let capacity = index.size().max(CAPACITY_FIRST);
        index.reserve_capacity_and_threads(capacity, threads).map_err(fault)?;
        Ok(Self::from_index(index, threads, expansion))
    }

    fn from_index(index: Index, threads: usize, expansion: usize) -> Self {
        let memory = AtomicUsize::new(index.memory_usage());
        Self { index: RwLock::new(index), threads, expansion: AtomicUsize::new(expansion), memory }
    }

    /// The index as bytes; nothing may be added meanwhile.
    pub(super) fn save(&self) -> Result<Vec<u8>, EmbeddingError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; index.serialized_length()];
        index.save_to_buffer(&mut bytes).map_err(fault)?;
        Ok(bytes)
    }

    /// Makes room for `more` points.
    pub(super) fn reserve(&self, more: usize) -> Result<(), EmbeddingError> {
        let needed = self.len() + more;
        let mut capacity = self.index.read().unwrap_or_else(PoisonError::into_inner).capacity();
        if capacity >= needed {
            return Ok(());
        }
        while capacity < needed {
            capacity = (capacity * 2).max(CAPACITY_FIRST);
        }
        let index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.reserve_capacity_and_threads(capacity, self.threads).map_err(fault)
    }

    /// Adds a slot whose vector is in place.
    pub(super) fn add(&self, slot: u32) -> Result<(), EmbeddingError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.add::<f32>(u64::from(slot), &[slot as f32]).map_err(fault)
    }

    /// Slots that were added.
    pub(super) fn len(&self) -> usize {
        self.index.read().unwrap_or_else(PoisonError::into_inner).size()
    }

    /// Whether a slot was added.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.index.read().unwrap_or_else(PoisonError::into_inner).contains(u64::from(slot))
    }

    /// Memory it took when last weighed, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Weighs it; nothing may be added meanwhile, as the library walks its memory without a lock.
    pub(super) fn weigh(&self) {
        let memory = self.index.read().unwrap_or_else(PoisonError::into_inner).memory_usage();
        self.memory.store(memory, Ordering::Relaxed);
    }

    /// Candidates a search keeps.
    pub(super) fn expansion(&self) -> usize {
        self.expansion.load(Ordering::Relaxed)
    }

    /// Changes how many candidates a search keeps.
    pub(super) fn set_expansion(&self, expansion: usize) {
        self.expansion.store(expansion, Ordering::Relaxed);
    }

    /// The `expansion` nearest slots the graph finds among those that `wanted` admits, nearest first. A hidden slot
    /// is as far as can be, so that no path leads through it.
    pub(super) fn search(
        &self,
        query: &Row,
        expansion: usize,
        hidden: Option<u32>,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Vec<u32>, EmbeddingError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        SOUGHT.set(Some((query.clone(), hidden)));
        let admits = |key: u64| u32::try_from(key).is_ok_and(&wanted);
        let found = index.filtered_search::<f32, _>(&[QUERY], expansion, admits);
        SOUGHT.set(None);
        let keys = found.map_err(fault)?.keys;
        Ok(keys.into_iter().filter_map(|key| u32::try_from(key).ok()).collect())
    }
}

fn empty() -> Result<Index, EmbeddingError> {
    let options = IndexOptions {
        dimensions: 1,
        // Replaced by ours; the library wants a name for it.
        metric: MetricKind::L2sq,
        quantization: ScalarKind::F32,
        connectivity: CONNECTIVITY,
        expansion_add: EXPANSION_ADD,
        // A search asks for as many results as it wants candidates, which may be fewer than the default.
        expansion_search: 1,
        multi: false,
    };
    Index::new(&options).map_err(fault)
}

/// Lets the index ask us for distances.
fn measure(index: &mut Index, rows: Arc<Rows>, metric: Metric) -> Result<(), EmbeddingError> {
    f32::change_metric(index, Box::new(move |a, b| between(&rows, metric, a, b))).map_err(fault)
}

fn fault(error: impl std::fmt::Display) -> EmbeddingError {
    EmbeddingError::Corrupt { what: "the vector index".to_owned(), reason: error.to_string() }
}

/// Distance between what two pointers of the library stand for.
fn between(rows: &Rows, metric: Metric, a: *const f32, b: *const f32) -> f32 {
    #[allow(unsafe_code, reason = "the library hands out vectors as pointers")]
    // SAFETY: the index has dimension 1, so each pointer is to one f32 that the library holds during the call.
    let (a, b) = unsafe { (a.read_unaligned(), b.read_unaligned()) };
    let score = if a < 0.0 {
        sought(rows, b as u32, metric)
    } else if b < 0.0 {
        sought(rows, a as u32, metric)
    } else {
        let both = rows.row(a as u32).zip(rows.row(b as u32));
        both.map(|(a, b)| a.score(b, metric))
    };
    let distance = score.map(|score| match metric {
        Metric::Cosine => 1.0 - score,
        Metric::L2 => -score,
    });
    // This also takes the place of what is not a number.
    distance.unwrap_or(FAR).min(FAR)
}

fn sought(rows: &Rows, slot: u32, metric: Metric) -> Option<f32> {
    SOUGHT.with_borrow(|sought| match sought {
        Some((row, hidden)) if *hidden != Some(slot) => Some(row.score(rows.row(slot)?, metric)),
        Some(_) | None => None,
    })
}
