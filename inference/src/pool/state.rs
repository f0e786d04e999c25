//! What the lock of a pool guards: the queue, the instances and who waits for which batch.

use std::time::{Duration, Instant};

use models::{Model, Tensor};

use crate::{batcher::Plan, queue::Reply, queues::Queues};

/// A batch in progress. The waiters stay here, not with the runner, so that a runner that
/// hangs can be given up and its callers answered.
#[derive(Debug)]
pub(super) struct Running {
    id: u64,
    started: Instant,
    on_worker: bool,
    waiters: Vec<Reply>,
}

/// One turn at an instance: what a runner takes with it when it leaves the lock.
pub(crate) struct Turn {
    pub(super) run: u64,
    pub(super) model: Box<dyn Model>,
    pub(super) parts: Vec<Part>,
}

/// A turn for one request alone.
pub(super) struct OwnTurn {
    pub(super) run: u64,
    pub(super) model: Box<dyn Model>,
    pub(super) part: Part,
}

/// The rows of one request inside a batch.
pub(super) struct Part {
    pub(super) tensors: Vec<Tensor>,
    pub(super) rows: usize,
    pub(super) bucket: usize,
}

/// A runner that hung: what is left to do for it.
pub(super) struct GivenUp {
    pub(super) on_worker: bool,
    pub(super) waiters: Vec<Reply>,
}

/// Mutable part of a pool.
#[derive(Default)]
pub(super) struct State {
    pub(super) queue: Queues,
    pub(super) idle: Vec<Box<dyn Model>>,
    /// Instances that must be loaded.
    pub(super) missing: usize,
    /// When a failed load may be tried again.
    pub(super) retry_at: Option<Instant>,
    /// Why the last load failed.
    pub(super) fault: Option<String>,
    pub(super) closed: bool,
    /// Whether somebody stepped back to run those who wait together.
    pub(super) gathering: bool,
    running: Vec<Running>,
    runs: u64,
}

impl State {
    /// Without instances, with a line for each of so many lengths.
    pub(super) fn new(lengths: usize) -> Self {
        Self { queue: Queues::new(lengths), ..Self::default() }
    }

    /// Whether a batch is in progress.
    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether a worker runs a batch.
    pub(super) fn computes(&self) -> bool {
        self.running.iter().any(|running| running.on_worker)
    }

    /// Whether no instance is there or being used, and the last attempt to load one failed.
    pub(super) fn broken(&self) -> Option<&str> {
        let none = self.idle.is_empty() && self.running.is_empty();
        self.fault.as_deref().filter(|_| none)
    }

    /// A turn for one request alone, which nobody waits for but the runner.
    pub(super) fn begin_own(&mut self, part: Part, now: Instant) -> Option<OwnTurn> {
        let model = self.idle.pop()?;
        let run = self.start(Vec::new(), false, now);
        Some(OwnTurn { run, model, part })
    }

    /// A turn for the batch of `plan`.
    pub(super) fn begin(&mut self, plan: Plan, on_worker: bool, now: Instant) -> Option<Turn> {
        let model = self.idle.pop()?;
        let (parts, waiters) = plan
            .batch
            .into_iter()
            .map(|entry| {
                (Part { tensors: entry.tensors, rows: entry.rows, bucket: entry.bucket }, entry.reply)
            })
            .unzip();
        let run = self.start(waiters, on_worker, now);
        Some(Turn { run, model, parts })
    }

    fn start(&mut self, waiters: Vec<Reply>, on_worker: bool, started: Instant) -> u64 {
        self.runs += 1;
        self.running.push(Running { id: self.runs, started, on_worker, waiters });
        self.runs
    }

    /// Ends a turn; `None` when it was given up meanwhile. Without `model` a new instance is due.
    pub(super) fn end(&mut self, run: u64, model: Option<Box<dyn Model>>) -> Option<Vec<Reply>> {
        let index = self.running.iter().position(|running| running.id == run)?;
        let running = self.running.swap_remove(index);
        match model {
            Some(model) => self.idle.push(model),
            None => self.missing += 1,
        }
        Some(running.waiters)
    }

    /// Takes away every turn that has lasted longer than `limit`.
    pub(super) fn give_up(&mut self, limit: Duration, now: Instant) -> Vec<GivenUp> {
        let hung = self.running.extract_if(.., |running| now.duration_since(running.started) > limit);
        let given_up: Vec<_> =
            hung.map(|run| GivenUp { on_worker: run.on_worker, waiters: run.waiters }).collect();
        self.missing += given_up.len();
        given_up
    }
}
