//! The embedded vector store: rows in a database are the truth, memory answers.
//!
//! ```text
//! upsert -> writer (one transaction for all that wait) -> rows -> table and vectors in memory -> answered
//!                                                              \-> worker: index, tuning, snapshot
//! search -> plan: few matches are compared one by one, many are asked of the index, the newest always compared
//! ```
//!
//! After a start the rows are read once; calls wait for that. The index comes from its snapshot, and what it lacks is
//! compared one by one while the worker of the collection adds it.

mod calls;
mod column;
mod generation;
mod graph;
mod loader;
mod row;
mod rows;
mod shelf;
mod slab;
mod snapshot;
mod store;
mod table;
mod tune;
mod upkeep;
mod verify;
mod worker;
mod writer;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ::store::Url;
use tokio::sync::{Semaphore, watch};

use self::loader::off;
use self::shelf::Shelf;
use self::store::Store;
use self::worker::Workers;
use self::writer::Writer;
use crate::{Collection, CollectionName, EmbeddingError, Limits, Progress};

/// When a refused search may come back.
const RETRY_AFTER_MS: u64 = 50;

/// Where the store is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Loading,
    Ready,
    Failed(String),
    Closed,
}

/// A vector store in this process, over a database file and a folder of index snapshots.
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    folder: PathBuf,
    limits: Limits,
    shelves: RwLock<BTreeMap<CollectionName, Arc<Shelf>>>,
    /// Held while collections are created or dropped.
    arranging: tokio::sync::Mutex<()>,
    writer: Mutex<Option<Writer>>,
    writing: Mutex<Option<tokio::task::JoinHandle<()>>>,
    workers: Workers,
    phase: watch::Sender<Phase>,
    loaded: Arc<AtomicU64>,
    gate: Semaphore,
    queued: AtomicUsize,
    /// Keeps a second process out for as long as it is open.
    lock: Mutex<Option<File>>,
}

/// How long a folder's lock is waited for: a process that ends, or that forked to start another program, keeps it a
/// moment longer than it says.
const LOCK_WAIT: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

impl EmbeddedStore {
    /// Opens the store and returns at once; rows and snapshots are read in the background and calls wait for them.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be used or another process has it open, or a failure of the database.
    pub async fn open(url: &Url, folder: &Path, limits: Limits) -> Result<Self, EmbeddingError> {
        let lock = patiently(folder).await?;
        let store = Store::open(url).await?;
        let collections = store.collections().await?;
        let sequence = store.sequence().await?;
        let (writer, writing) = Writer::start(store.clone(), sequence, limits);
        let inner = Arc::new(Inner {
            store,
            folder: folder.to_path_buf(),
            limits,
            shelves: RwLock::default(),
            arranging: tokio::sync::Mutex::default(),
            writer: Mutex::new(Some(writer)),
            writing: Mutex::new(Some(writing)),
            workers: Workers::default(),
            phase: watch::Sender::new(Phase::Loading),
            loaded: Arc::default(),
            gate: Semaphore::new(limits.search_threads_max),
            queued: AtomicUsize::new(0),
            lock: Mutex::new(Some(lock)),
        });
        tokio::spawn(load(Arc::clone(&inner), collections));
        Ok(Self { inner })
    }

    /// How many rows were read so far; the total is known when loading ends and `None` until then.
    #[must_use]
    pub fn loading(&self) -> Option<Progress> {
        let done = self.inner.loaded.load(Ordering::Relaxed);
        (*self.inner.phase.borrow() == Phase::Loading).then_some(Progress { done, total: 0 })
    }

    /// Share of true neighbours that sampled searches of a collection found lately; `None` before the first sample.
    ///
    /// # Errors
    /// `UnknownCollection`, or a failure of the store.
    pub async fn sampled_recall(&self, name: &CollectionName) -> Result<Option<f64>, EmbeddingError> {
        self.inner.ready().await?;
        Ok(self.inner.shelf(name)?.monitor.recall())
    }
}

impl Drop for EmbeddedStore {
    /// Without `close` the snapshots are not brought up to date; nothing that was answered is lost.
    fn drop(&mut self) {
        self.inner.phase.send_replace(Phase::Closed);
        self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.inner.all().iter().for_each(|shelf| shelf.stop());
    }
}

/// Takes the lock of the folder; who held it may need a moment to go.
async fn patiently(folder: &Path) -> Result<File, EmbeddingError> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match lock(folder) {
            Err(EmbeddingError::Unavailable { .. }) if Instant::now() < until => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            result => return result,
        }
    }
}

fn lock(folder: &Path) -> Result<File, EmbeddingError> {
    let unavailable = |reason: String| EmbeddingError::Unavailable { reason };
    let place = folder.display();
    std::fs::create_dir_all(folder)
        .map_err(|error| unavailable(format!("cannot create {place}: {error}")))?;
    let file = File::create(folder.join("lock"));
    let file = file.map_err(|error| unavailable(format!("cannot write to {place}: {error}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(unavailable(format!("another process has {place} open"))),
        Err(TryLockError::Error(error)) => Err(unavailable(format!("cannot lock {place}: {error}"))),
    }
}

async fn load(inner: Arc<Inner>, collections: Vec<(i64, Collection)>) {
    let started = Instant::now();
    let phase = match inner.load(collections).await {
        Ok(()) => Phase::Ready,
        Err(error) => {
            tracing::error!(%error, source = std::error::Error::source(&error), "vectors cannot be read");
            Phase::Failed(error.to_string())
        }
    };
    let rows = inner.loaded.load(Ordering::Relaxed);
    tracing::info!(rows, took_ms = started.elapsed().as_millis() as u64, "vectors were read");
    inner.phase.send_if_modified(|current| {
        let loading = *current == Phase::Loading;
        if loading {
            *current = phase;
        }
        loading
    });
}

impl Inner {
    async fn load(&self, collections: Vec<(i64, Collection)>) -> Result<(), EmbeddingError> {
        let done = Arc::clone(&self.loaded);
        let (built, gone) = loader::load(&self.store, collections, &self.folder, self.limits, done).await?;
        for (id, generation) in built {
            self.place(id, generation)?;
        }
        for id in gone {
            self.store.purge(id).await?;
        }
        Ok(())
    }

    /// Puts a collection into service.
    fn place(&self, id: i64, generation: generation::Generation) -> Result<(), EmbeddingError> {
        let (shelf, ears) = Shelf::new(id, generation, &self.folder, self.limits);
        self.workers.start(Arc::clone(&shelf), ears, self.limits.call_ms_max)?;
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.insert(shelf.collection.name.clone(), shelf);
        Ok(())
    }

    fn shelf(&self, name: &CollectionName) -> Result<Arc<Shelf>, EmbeddingError> {
        let shelves = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        let found = shelves.get(name).cloned();
        found.ok_or_else(|| EmbeddingError::UnknownCollection { name: name.to_string() })
    }

    fn all(&self) -> Vec<Arc<Shelf>> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Waits until the rows are read.
    async fn ready(&self) -> Result<(), EmbeddingError> {
        let mut phase = self.phase.subscribe();
        let loaded = phase.wait_for(|phase| *phase != Phase::Loading);
        let deadline_ms = self.limits.call_ms_max;
        let unavailable = |reason: String| Err(EmbeddingError::Unavailable { reason });
        match tokio::time::timeout(Duration::from_millis(deadline_ms), loaded).await {
            Err(_) => {
                unavailable(format!("it is reading its rows ({})", self.loaded.load(Ordering::Relaxed)))
            }
            Ok(Err(_)) => unavailable("it is closed".to_owned()),
            Ok(Ok(phase)) => match &*phase {
                Phase::Ready | Phase::Loading => Ok(()),
                Phase::Failed(reason) => unavailable(format!("its rows cannot be read: {reason}")),
                Phase::Closed => unavailable("it is closed".to_owned()),
            },
        }
    }

    /// Waits until the rows are read, then runs work on a collection off the async threads, in its turn.
    async fn run<T: Send + 'static>(
        &self,
        name: &CollectionName,
        work: impl FnOnce(&Shelf, Instant) -> Result<T, EmbeddingError> + Send + 'static,
    ) -> Result<T, EmbeddingError> {
        let until = Instant::now() + Duration::from_millis(self.limits.call_ms_max);
        self.ready().await?;
        let shelf = self.shelf(name)?;
        let _turn = self.turn(&shelf, until).await?;
        off(move || work(&shelf, until)).await?
    }

    async fn turn(
        &self,
        shelf: &Shelf,
        until: Instant,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, EmbeddingError> {
        if let Ok(turn) = self.gate.try_acquire() {
            return Ok(turn);
        }
        let _place = Place::take(&self.queued, self.limits.search_queue_max)
            .inspect_err(|_| shelf.monitor.refused())?;
        let deadline_ms = self.limits.call_ms_max;
        match tokio::time::timeout_at(until.into(), self.gate.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(EmbeddingError::Unavailable { reason: "it is closed".to_owned() }),
            Err(_) => Err(EmbeddingError::Deadline { deadline_ms }),
        }
    }

    fn writer(&self) -> Result<Writer, EmbeddingError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.clone().ok_or_else(|| EmbeddingError::Unavailable { reason: "it is closed".to_owned() })
    }

    async fn close(&self) -> Result<(), EmbeddingError> {
        self.phase.send_replace(Phase::Closed);
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writing) = writing {
            writing
                .await
                .map_err(|_| EmbeddingError::Unavailable { reason: "its writer failed".to_owned() })?;
        }
        let shelves = self.all();
        shelves.iter().for_each(|shelf| shelf.stop());
        let threads = self.workers.take();
        off(move || {
            worker::join(threads);
            shelves.iter().for_each(|shelf| shelf.save_rest());
        })
        .await?;
        let closed = self.store.clone().close().await;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        closed
    }
}

/// A place in the queue, given back when dropped.
struct Place<'q>(&'q AtomicUsize);

impl<'q> Place<'q> {
    fn take(queued: &'q AtomicUsize, max: usize) -> Result<Self, EmbeddingError> {
        let place = Self(queued);
        if queued.fetch_add(1, Ordering::AcqRel) >= max {
            return Err(EmbeddingError::Overloaded { retry_after_ms: RETRY_AFTER_MS });
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
