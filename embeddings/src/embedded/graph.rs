//! The index of a collection: a usearch graph over slots.
//!
//! The graph is told slot numbers instead of vectors and asks back for distances, so that exact search and index
//! share the vectors. It only ever grows; points that are gone are passed over when results are picked, until the
//! collection is built anew.
//!
//! Distances come from the bytes that each vector has beside its numbers ([`slab`](super::slab)): they lead to the same
//! candidates sooner, and who asks ranks the candidates by the numbers themselves. Where the bytes do not
//! tell points apart (one component a thousand times the others), tuning notices and turns to the numbers.
//!
//! The library is compiled with fast arithmetic that knows no infinity: distances are finite here.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use usearch::{Index, IndexOptions, MetricKind, ScalarKind, VectorType};

use super::row::{FAR, Row};
use super::rows::Rows;
use super::slab::OwnedCoarse;
use crate::{EmbeddingError, Limits, Metric};

/// Stands for the query in place of a slot.
const QUERY: f32 = -1.0;
/// Neighbours of a node; twice as many on the ground level.
const CONNECTIVITY: usize = 16;
/// Candidates looked at when a point is added.
const EXPANSION_ADD: usize = 128;
/// Room for points at first.
const CAPACITY_FIRST: usize = 4_096;

thread_local! {
    /// What the search on this thread looks for.
    static SOUGHT: RefCell<Option<Sought>> = const { RefCell::new(None) };
}

/// What a search looks for.
struct Sought {
    row: Row,
    coarse: Option<OwnedCoarse>,
    hidden: Option<u32>,
}

/// An index over slots.
pub(super) struct Graph {
    /// Writing means growing; adding and searching share it.
    index: RwLock<Index>,
    /// Threads that may be inside at once.
    threads: usize,
    metric: Metric,
    expansion: AtomicUsize,
    fine: Arc<AtomicBool>,
    memory: AtomicUsize,
}

/// What fits the data of a collection, found by [`tune`](super::tune).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tuned {
    /// Candidates a search keeps.
    pub(super) expansion: usize,
    /// Whether distances come from the numbers instead of the bytes.
    pub(super) fine: bool,
}

impl Tuned {
    /// Where tuning begins.
    pub(super) const fn first(limits: &Limits) -> Self {
        Self { expansion: limits.expansion_min, fine: false }
    }
}

/// What distances are computed from.
struct Measure {
    rows: Arc<Rows>,
    metric: Metric,
    fine: Arc<AtomicBool>,
}

impl Graph {
    /// An empty index that up to `threads` threads use at once.
    pub(super) fn new(
        rows: Arc<Rows>,
        metric: Metric,
        threads: usize,
        tuned: Tuned,
    ) -> Result<Self, EmbeddingError> {
        Self::from_index(empty()?, rows, metric, threads, tuned)
    }

    /// An index from the bytes of [`save`](Self::save).
    pub(super) fn load(
        bytes: &[u8],
        rows: Arc<Rows>,
        metric: Metric,
        threads: usize,
        tuned: Tuned,
    ) -> Result<Self, EmbeddingError> {
        let index = empty()?;
        index.load_from_buffer(bytes).map_err(fault)?;
        Self::from_index(index, rows, metric, threads, tuned)
    }

    fn from_index(
        mut index: Index,
        rows: Arc<Rows>,
        metric: Metric,
        threads: usize,
        tuned: Tuned,
    ) -> Result<Self, EmbeddingError> {
        let fine = Arc::new(AtomicBool::new(tuned.fine));
        let measure = Measure { rows, metric, fine: Arc::clone(&fine) };
        // Not before it is loaded: loading puts a metric of the library's own in its place.
        f32::change_metric(&mut index, Box::new(move |a, b| measure.between(a, b))).map_err(fault)?;
        let capacity = index.size().max(CAPACITY_FIRST);
        index.reserve_capacity_and_threads(capacity, threads).map_err(fault)?;
        let memory = AtomicUsize::new(index.memory_usage());
        let expansion = AtomicUsize::new(tuned.expansion);
        Ok(Self { index: RwLock::new(index), threads, metric, expansion, fine, memory })
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

    /// What it is tuned to.
    pub(super) fn tuned(&self) -> Tuned {
        let (expansion, fine) = (self.expansion.load(Ordering::Relaxed), self.fine.load(Ordering::Relaxed));
        Tuned { expansion, fine }
    }

    /// Changes what it is tuned to.
    pub(super) fn set_tuned(&self, tuned: Tuned) {
        self.expansion.store(tuned.expansion, Ordering::Relaxed);
        self.fine.store(tuned.fine, Ordering::Relaxed);
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
        let coarse = if self.tuned().fine { None } else { query.coarse(self.metric) };
        SOUGHT.set(Some(Sought { row: query.clone(), coarse, hidden }));
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

fn fault(error: impl std::fmt::Display) -> EmbeddingError {
    EmbeddingError::Corrupt { what: "the vector index".to_owned(), reason: error.to_string() }
}

impl Measure {
    /// Distance between what two pointers of the library stand for.
    fn between(&self, a: *const f32, b: *const f32) -> f32 {
        #[allow(unsafe_code, reason = "the library hands out vectors as pointers")]
        // SAFETY: the index has dimension 1, so each pointer is to one f32 that the library holds during the call.
        let (a, b) = unsafe { (a.read_unaligned(), b.read_unaligned()) };
        let score = if a < 0.0 {
            self.sought_to(b as u32)
        } else if b < 0.0 {
            self.sought_to(a as u32)
        } else {
            self.slot_to_slot(a as u32, b as u32)
        };
        let distance = score.map(|score| match self.metric {
            Metric::Cosine => 1.0 - score,
            Metric::L2 => -score,
        });
        // This also takes the place of what is not a number.
        distance.unwrap_or(FAR).min(FAR)
    }

    fn sought_to(&self, slot: u32) -> Option<f32> {
        SOUGHT.with_borrow(|sought| {
            let Sought { row, coarse, hidden } = sought.as_ref()?;
            if *hidden == Some(slot) {
                return None;
            }
            match coarse.as_ref().zip(self.rows.coarse(slot)) {
                Some((coarse, other)) => Some(coarse.view().score(&other, self.metric)),
                None => Some(row.score(self.rows.row(slot)?, self.metric)),
            }
        })
    }

    fn slot_to_slot(&self, a: u32, b: u32) -> Option<f32> {
        if !self.fine.load(Ordering::Relaxed)
            && let Some((a, b)) = self.rows.coarse(a).zip(self.rows.coarse(b))
        {
            return Some(a.score(&b, self.metric));
        }
        Some(self.rows.row(a)?.score(self.rows.row(b)?, self.metric))
    }
}
