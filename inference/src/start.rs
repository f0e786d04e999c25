//! Starting and stopping the scheduler: load every model, watch them, drain them.

use std::{
    num::NonZero,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Handle, InferError, Limits, ModelSource, ModelState, ModelStatus, Served, ensemble, error::chain,
    handle::Shared, monitor,
};

/// How often the watchdog looks; also the step in which a drain looks whether it is done.
const WATCH: Duration = Duration::from_millis(100);
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// One model version to be served.
#[derive(Debug)]
pub struct Candidate {
    /// Where instances come from.
    pub source: ModelSource,
    /// Whether it answers requests that name no version.
    pub live: bool,
}

/// The scheduler with its models. Dropping it ends the watchdog; [`Server::drain`] first.
#[derive(Debug)]
pub struct Server {
    handle: Handle,
    /// The watchdog ends when this is dropped.
    _watched: mpsc::SyncSender<()>,
}

impl Server {
    /// Loads `candidates`, notes `refused` ones, and takes requests from then on. A model that
    /// cannot be loaded is listed with the reason and never hides the others. `required` names
    /// models without which the server is not ready.
    pub fn serve(
        limits: Limits,
        required: Vec<String>,
        candidates: Vec<Candidate>,
        refused: Vec<ModelStatus>,
    ) -> Self {
        monitor::install();
        let shared = Arc::new(Shared::new(limits, required));
        refused.into_iter().for_each(|status| shared.router.refuse(status));
        load_all(&shared, candidates);
        shared.accepting.store(true, Ordering::Release);
        let (watched, ended) = mpsc::sync_channel(0);
        let weak = Arc::downgrade(&shared);
        let watchdog = thread::Builder::new().name("watchdog".into()).spawn(move || watch(&weak, &ended));
        if let Err(error) = watchdog {
            tracing::error!(%error, "cannot start the watchdog: models that hang are not replaced");
        }
        Self { handle: Handle { shared }, _watched: watched }
    }

    /// The way in.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Requests inside the scheduler now.
    pub fn inflight(&self) -> usize {
        self.handle.shared.inflight()
    }

    /// Loads, warms up and flips to `candidate`, then lets the version it replaces work off its
    /// queue. Requests are answered all the time; on failure the old version stays.
    pub fn install(&self, candidate: Candidate) -> Result<(), InferError> {
        install(&self.handle.shared, candidate)
    }

    /// Refuses new requests, waits for the admitted ones, then answers the rest. Gives back
    /// whether everything was worked off within the grace period.
    pub async fn drain(&self) -> bool {
        let shared = &self.handle.shared;
        shared.accepting.store(false, Ordering::Release);
        let until = Instant::now() + shared.limits.shutdown_grace();
        while shared.inflight() > 0 && Instant::now() < until {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        let done = shared.inflight() == 0;
        for served in shared.router.loaded(None) {
            served.pool().close();
            served.pool().abort(&InferError::Draining);
        }
        done
    }
}

/// Loads on every core: reading and checking weights is what a start spends its time on.
fn load_all(shared: &Arc<Shared>, candidates: Vec<Candidate>) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(candidates.len());
    let slots: Vec<_> =
        candidates.into_iter().map(|candidate| std::sync::Mutex::new(Some(candidate))).collect();
    let next = AtomicUsize::new(0);
    let take = || loop {
        let slot = slots.get(next.fetch_add(1, Ordering::Relaxed))?;
        if let Some(candidate) = slot.lock().ok().and_then(|mut slot| slot.take()) {
            return Some(candidate);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(candidate) = take() {
                    // The failure is in the list of models, where readiness and callers see it.
                    drop(install(shared, candidate));
                }
            });
        }
    });
}

pub(crate) fn install(shared: &Arc<Shared>, candidate: Candidate) -> Result<(), InferError> {
    let Candidate { source, live } = candidate;
    let mut status = ModelStatus {
        name: source.name.clone(),
        version: source.version.clone(),
        family: source.family.clone(),
        task: source.task.clone(),
        platform: source.platform.clone(),
        live: false,
        state: ModelState::Ready,
    };
    match Served::load(source, Arc::clone(&shared.limits), Arc::clone(&shared.cores)) {
        Ok(served) => {
            let replaced = shared.router.install(&Arc::new(served), live);
            // Requests that already hold the old version finish on it; the last one ends it.
            drop(replaced);
            Ok(())
        }
        Err(error) => {
            let reason = chain(&error);
            tracing::error!(model = status.name, version = status.version, reason, "model cannot be served");
            let error = InferError::Unavailable { name: status.name.clone(), reason: reason.clone() };
            status.state = ModelState::Unavailable { reason };
            shared.router.refuse(status);
            Err(error)
        }
    }
}

/// Gives up batches that hang and keeps the gauges and the recorder in order.
fn watch(shared: &Weak<Shared>, ended: &mpsc::Receiver<()>) {
    while ended.recv_timeout(WATCH) == Err(mpsc::RecvTimeoutError::Timeout) {
        let Some(shared) = shared.upgrade() else { return };
        for served in shared.router.loaded(None) {
            served.pool().give_up_hung();
            served.pool().observe_depth();
        }
        shared.router.releases().iter().for_each(|release| release.observe());
        ensemble::install(&shared);
        shared.sequences.sweep(Instant::now());
        monitor::upkeep();
    }
}
