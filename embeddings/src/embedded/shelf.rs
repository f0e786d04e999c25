//! One collection at run time: the build that answers, and the work that keeps its index in step.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use super::generation::{Answer, Generation};
use super::snapshot;
use super::table::Entry;
use super::upkeep::Saved;
use crate::monitor::Monitor;
use crate::{Collection, EmbeddingError, Hit, Limits, PointId, Query, State, Stats, Tenant};

/// Searches that wait to be compared with exact search; more are let go, as they are samples.
const SAMPLES_MAX: usize = 4;
/// A collection.
pub(super) struct Shelf {
    pub(super) id: i64,
    pub(super) collection: Arc<Collection>,
    pub(super) monitor: Monitor,
    pub(super) limits: Limits,
    pub(super) snapshot: PathBuf,
    pub(super) current: RwLock<Arc<Generation>>,
    /// Held while a write is put into the current build, so that the build is not exchanged meanwhile.
    pub(super) applying: Mutex<()>,
    /// Held while the index is worked on.
    pub(super) building: Mutex<Saved>,
    /// Whether the index is complete and tuned.
    pub(super) settled: AtomicBool,
    stopped: AtomicBool,
    searches: AtomicU64,
    pub(super) rebuild_done: AtomicU32,
    pub(super) rebuild_total: AtomicU32,
    bell: SyncSender<()>,
    samples: SyncSender<Sample>,
}

/// A search to compare with exact search.
pub(super) struct Sample {
    tenant: Tenant,
    query: Query,
    found: Vec<PointId>,
}

/// What the worker of a shelf waits for.
pub(super) struct Ears {
    pub(super) bell: Receiver<()>,
    pub(super) samples: Receiver<Sample>,
}

/// A change of one point.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Box<Entry>),
    Remove(Tenant, PointId),
}

impl Shelf {
    /// A shelf that answers from `generation`, and what its worker listens to.
    pub(super) fn new(id: i64, generation: Generation, folder: &Path, limits: Limits) -> (Arc<Self>, Ears) {
        let (bell, bell_ear) = sync_channel(1);
        let (samples, samples_ear) = sync_channel(SAMPLES_MAX);
        let slots = generation.indexed();
        let collection = Arc::clone(&generation.collection);
        let shelf = Self {
            id,
            monitor: Monitor::new(collection.name.as_str()),
            collection,
            limits,
            snapshot: snapshot::path(folder, id),
            current: RwLock::new(Arc::new(generation)),
            applying: Mutex::new(()),
            building: Mutex::new(Saved { slots, tuned: slots }),
            settled: AtomicBool::new(true),
            stopped: AtomicBool::new(false),
            searches: AtomicU64::new(0),
            rebuild_done: AtomicU32::new(0),
            rebuild_total: AtomicU32::new(0),
            bell,
            samples,
        };
        (Arc::new(shelf), Ears { bell: bell_ear, samples: samples_ear })
    }

    /// The build that answers now.
    pub(super) fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes written changes visible.
    pub(super) fn apply(&self, changes: Vec<Change>) {
        let count = changes.len();
        {
            let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
            let generation = self.current();
            let mut table = generation.table_mut();
            for change in changes {
                match change {
                    Change::Put(entry) => table.put(*entry),
                    Change::Remove(tenant, id) => {
                        table.remove(&tenant, id.as_str());
                    }
                }
            }
        }
        self.monitor.written(count);
        self.ring();
    }

    /// The nearest points of a tenant.
    pub(super) fn search(
        &self,
        tenant: &Tenant,
        query: Query,
        until: Instant,
    ) -> Result<Vec<Hit>, EmbeddingError> {
        let Answer { hits, indexed } = self.current().search(tenant, &query, &self.limits, until)?;
        if indexed && self.is_sampled() {
            let found = hits.iter().map(|hit| hit.id.clone()).collect();
            self.sample(Sample { tenant: tenant.clone(), query, found });
        }
        Ok(hits)
    }

    fn is_sampled(&self) -> bool {
        let every = self.limits.recall_sample_every;
        every > 0 && self.searches.fetch_add(1, Ordering::Relaxed).is_multiple_of(every)
    }

    fn sample(&self, sample: Sample) {
        match self.samples.try_send(sample) {
            Ok(()) => self.ring(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// Compares a search with exact search.
    pub(super) fn judge(&self, sample: Sample, until: Instant) -> Result<(), EmbeddingError> {
        let Sample { tenant, query, found } = sample;
        let exact =
            self.current().search(&tenant, &Query { exact: true, ..query }, &self.limits, until)?.hits;
        if !exact.is_empty() {
            let same = exact.iter().filter(|hit| found.contains(&hit.id)).count();
            self.monitor.sampled(same as f64 / exact.len() as f64);
        }
        Ok(())
    }

    /// Wakes the worker; a bell that rings already is enough.
    pub(super) fn ring(&self) {
        match self.bell.try_send(()) {
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    /// Tells the worker to end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether the worker must end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Numbers of the collection.
    pub(super) fn stats(&self) -> Stats {
        let generation = self.current();
        let tail = generation.tail();
        // After the tail, since it is taken back before slots are added.
        let settled = self.settled.load(Ordering::Acquire);
        let small = self.is_small(&generation);
        let table = generation.table();
        let points = table.live();
        Stats {
            points: points as u64,
            indexed: (points - tail) as u64,
            tail: tail as u64,
            bytes: (table.memory() + generation.graph.memory()) as u64,
            state: if small || (tail == 0 && settled) { State::Ready } else { State::Indexing },
        }
    }
}
