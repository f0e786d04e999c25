//! The instances of one model version and the line in front of them.
//!
//! A request takes one of two ways. When an instance is idle, nobody waits and the model is
//! known to be quick (`inline_us_max`), the batch of one runs right on the caller's task:
//! waking another thread would cost several times the model. Otherwise the request queues;
//! whoever finishes with an instance next, a worker thread or a caller, takes everything
//! that fits as one batch. Slow models therefore never run on the asynchronous runtime.

mod run;
mod state;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use models::Tensor;
use tokio::sync::oneshot;

pub(crate) use self::state::Turn;
use self::state::{OwnTurn, Part, State};
use crate::{
    InferError, Limits, ModelSource, Priority, Response,
    batcher::{BatchLimits, Plan, form_batch},
    cost::Cost,
    monitor::{ModelMetrics, Statistics, Tally},
    queue::{Entry, Outcome, Reply},
};

/// A checked request on its way into a pool.
pub(crate) struct Call {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) rows: usize,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
}

/// What a worker thread does next.
pub(crate) enum Job {
    Load,
    Run(Turn),
}

enum Admitted {
    Now(OwnTurn),
    Queued(oneshot::Receiver<Result<Outcome, InferError>>),
}

/// See the module.
pub(crate) struct Pool {
    pub(crate) source: ModelSource,
    pub(crate) name: Arc<str>,
    pub(crate) version: Arc<str>,
    limits: Arc<Limits>,
    batch: BatchLimits,
    cost: Cost,
    metrics: ModelMetrics,
    tally: Tally,
    state: Mutex<State>,
    wake: Condvar,
}

impl Pool {
    /// A pool without instances; `load_first` fills it.
    pub(crate) fn new(source: ModelSource, limits: Arc<Limits>) -> Self {
        let rows_max = source.rows_max.clamp(1, limits.batch_rows_max.max(1));
        Self {
            name: source.name.as_str().into(),
            version: source.version.as_str().into(),
            batch: BatchLimits { rows_max },
            tally: Tally::new(rows_max),
            cost: Cost::default(),
            metrics: ModelMetrics::new(&source.name, &source.version),
            state: Mutex::default(),
            wake: Condvar::new(),
            source,
            limits,
        }
    }

    /// Rows that one request may have.
    pub(crate) fn rows_max(&self) -> usize {
        self.batch.rows_max
    }

    /// Runs one request, at once or in a batch with others.
    pub(crate) async fn infer(&self, call: Call) -> Result<Response, InferError> {
        let arrived = Instant::now();
        let result = self.outcome(call, arrived).await;
        match result {
            Ok(outcome) => {
                let total = arrived.elapsed();
                let queued = outcome.started.saturating_duration_since(arrived);
                let ran = outcome.finished.saturating_duration_since(outcome.started);
                self.tally.answered(total, queued, ran, outcome.spans);
                let response = self.response(outcome.tensors, queued, ran);
                self.metrics.answered(&response, total);
                Ok(response)
            }
            Err(error) => {
                self.tally.failed(arrived.elapsed());
                self.metrics.refused(error.code());
                Err(error)
            }
        }
    }

    async fn outcome(&self, call: Call, arrived: Instant) -> Result<Outcome, InferError> {
        let latest = arrived + self.limits.deadline_max();
        let deadline = call.deadline.map_or(latest, |deadline| deadline.min(latest));
        match self.admit(call, arrived, deadline)? {
            Admitted::Now(turn) => self.run_own(turn),
            Admitted::Queued(receiver) => match tokio::time::timeout_at(deadline.into(), receiver).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(self.failed()),
                Err(_) => Err(self.too_late()),
            },
        }
    }

    fn admit(&self, call: Call, now: Instant, deadline: Instant) -> Result<Admitted, InferError> {
        if deadline <= now {
            return Err(self.too_late());
        }
        if call.rows > self.batch.rows_max {
            let reason =
                format!("model takes at most {} rows at once, got {}", self.batch.rows_max, call.rows);
            return Err(InferError::input("inputs", reason));
        }
        let mut state = self.lock();
        self.check_open(&state)?;
        if state.queue.is_empty() && !state.idle.is_empty() && self.is_quick(call.rows) {
            let turn = state.begin_own(Part { tensors: call.tensors, rows: call.rows }, now);
            return turn.map(Admitted::Now).ok_or_else(|| self.failed());
        }
        let (reply, receiver) = oneshot::channel();
        let bytes = call.tensors.iter().map(|tensor| tensor.data().len()).sum();
        self.check_room(&state, call.priority, bytes)?;
        let Call { tensors, rows, priority, deadline: _ } = call;
        state.queue.push(Entry { tensors, rows, bytes, priority, enqueued: now, deadline, reply });
        let idle = !state.idle.is_empty();
        drop(state);
        if idle {
            self.wake.notify_one();
        }
        Ok(Admitted::Queued(receiver))
    }

    fn check_open(&self, state: &State) -> Result<(), InferError> {
        if state.closed {
            return Err(InferError::Draining);
        }
        match state.broken() {
            Some(reason) => Err(self.unavailable(reason)),
            None => Ok(()),
        }
    }

    /// The admission point: depth and bytes for everybody, and the expected wait for everybody
    /// who is waiting for an answer.
    fn check_room(&self, state: &State, priority: Priority, bytes: usize) -> Result<(), InferError> {
        let limits = &self.limits;
        let batch = self.cost.estimate(self.batch.rows_max).unwrap_or_default();
        let ahead = state.queue.rows_before(priority) / self.batch.rows_max + usize::from(state.is_busy());
        let wait = batch.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
        let allowed = batch
            .saturating_mul(limits.queue_wait_batches_max)
            .max(Duration::from_micros(limits.queue_wait_us_min));
        let full = state.queue.depth() >= limits.queue_depth_max
            || state.queue.bytes().saturating_add(bytes) > limits.queue_bytes_max;
        if full || (priority != Priority::Bulk && wait >= allowed) {
            let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            return Err(InferError::Overloaded { model: self.name.to_string(), retry_after_ms });
        }
        Ok(())
    }

    /// Whether `rows` rows run on the caller's task.
    fn is_quick(&self, rows: usize) -> bool {
        let limit = Duration::from_micros(self.limits.inline_us_max);
        self.source.linger_us == 0 && self.cost.estimate(rows).is_some_and(|cost| cost <= limit)
    }

    /// Blocks a worker thread until there is something to do; `None` when the pool is closed
    /// and empty.
    pub(crate) fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.closed && state.queue.is_empty() {
                return None;
            }
            if state.missing > 0 && state.retry_at.is_none_or(|at| at <= now) {
                state.missing -= 1;
                // Whoever waits must not wake for a retry that is under way.
                state.retry_at = None;
                return Some(Job::Load);
            }
            let ready = !state.queue.is_empty() && !state.idle.is_empty();
            let pause = if ready { self.linger(&state, now) } else { state.retry_at.map(|at| at - now) };
            state = match pause {
                None if ready => match self.take_turn(&mut state, true, now) {
                    Some(turn) => return Some(Job::Run(turn)),
                    None => continue,
                },
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => self.wake.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// How much longer a batch that is not full waits for company.
    fn linger(&self, state: &State, now: Instant) -> Option<Duration> {
        if self.source.linger_us == 0 || state.closed || state.queue.rows() >= self.batch.rows_max {
            return None;
        }
        let until = state.queue.oldest()? + Duration::from_micros(self.source.linger_us);
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn take_turn(&self, state: &mut State, on_worker: bool, now: Instant) -> Option<Turn> {
        let limits = self.share(state);
        let mut plan = form_batch(&mut state.queue, limits, now);
        self.dismiss(&mut plan);
        if plan.batch.is_empty() { None } else { state.begin(plan, on_worker, now) }
    }

    /// What one turn may take: with several instances idle, the waiting rows are spread over them. Were
    /// they run as one batch, its callers would all come back together and meet in one batch again, with
    /// the other instances idle for good.
    fn share(&self, state: &State) -> BatchLimits {
        let share = state.queue.rows().div_ceil(state.idle.len().max(1)).max(1);
        BatchLimits { rows_max: self.batch.rows_max.min(share) }
    }

    fn dismiss(&self, plan: &mut Plan) {
        if plan.abandoned > 0 {
            self.metrics.abandoned(plan.abandoned);
        }
        for entry in plan.expired.drain(..) {
            answer(entry.reply, Err(self.too_late()));
        }
    }

    /// Admits nothing more; the queue is still worked off.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    /// Answers everybody who still waits.
    pub(crate) fn abort(&self, error: &InferError) {
        let mut state = self.lock();
        while let Some(entry) = state.queue.pop() {
            answer(entry.reply, Err(error.clone()));
        }
        drop(state);
        self.wake.notify_all();
    }

    /// Why the pool cannot serve, if it cannot.
    pub(crate) fn fault(&self) -> Option<String> {
        self.lock().broken().map(str::to_owned)
    }

    /// Updates the gauges.
    pub(crate) fn observe_depth(&self) {
        let depth = self.lock().queue.depth();
        self.metrics.depth(depth);
    }

    /// Counts and durations since the version was loaded.
    pub(crate) fn statistics(&self) -> Statistics {
        self.tally.read()
    }

    fn response(&self, tensors: Vec<Tensor>, queued: Duration, ran: Duration) -> Response {
        Response {
            model: self.name.clone(),
            version: self.version.clone(),
            tensors,
            queue_us: micros(queued),
            compute_us: micros(ran),
        }
    }

    fn failed(&self) -> InferError {
        InferError::Failed { model: self.name.to_string() }
    }

    fn too_late(&self) -> InferError {
        InferError::DeadlineExceeded { model: self.name.to_string() }
    }

    fn unavailable(&self, reason: &str) -> InferError {
        InferError::Unavailable { name: self.name.to_string(), reason: reason.to_owned() }
    }

    /// A poisoned lock is taken over: no code under it can leave the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a waiter; one that has gone needs nothing.
fn answer(reply: Reply, result: Result<Outcome, InferError>) {
    drop(reply.send(result));
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use models::{Batch, DType, Model, ModelError, Signature, TensorSpec};
    use proptest::prelude::*;

    use super::*;

    /// Too slow to run on a caller's task.
    struct Slow;

    impl Model for Slow {
        fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
            thread::sleep(Duration::from_millis(6));
            Ok(batch)
        }
    }

    fn pool(instances: usize) -> Pool {
        let spec =
            || TensorSpec { name: "x".into(), dtype: DType::F32, dims: vec![-1, 1], unit: None, loinc: None };
        let signature = Signature { inputs: vec![spec()], outputs: vec![spec()] };
        let load = || Ok(Box::new(Slow) as Box<dyn Model>);
        let source =
            ModelSource { instances, ..ModelSource::new("slow", "1", signature, 16, Box::new(load)) };
        let pool = Pool::new(source, Arc::new(Limits::default()));
        pool.load_first().expect("loads");
        pool
    }

    fn enqueue(pool: &Pool, rows: usize) -> oneshot::Receiver<Result<Outcome, InferError>> {
        let tensors = vec![Tensor::from_f32(vec![rows, 1], &vec![0.0; rows]).expect("shape")];
        let call = Call { tensors, rows, priority: Priority::Interactive, deadline: None };
        let now = Instant::now();
        match pool.admit(call, now, now + Duration::from_secs(60)).expect("room") {
            Admitted::Queued(receiver) => receiver,
            Admitted::Now(_) => panic!("a slow model does not run on the caller's task"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn waiting_requests_are_spread_over_the_idle_instances(instances in 1usize..4, waiting in 1usize..9) {
            let pool = pool(instances);
            let receivers: Vec<_> = (0..waiting).map(|_| enqueue(&pool, 1)).collect();
            let busy = instances.min(waiting);
            let mut parts = Vec::new();
            for _ in 0..busy {
                let Some(Job::Run(turn)) = pool.next_job() else { panic!("there is work for an idle instance") };
                parts.push(turn.parts.len());
            }
            prop_assert_eq!(parts.iter().sum::<usize>(), waiting);
            prop_assert!(parts.iter().all(|count| *count <= waiting.div_ceil(instances)), "{parts:?}");
            drop(receivers);
        }
    }
}
