//! The instances of one model version and the line in front of them.
//!
//! A request takes one of two ways. When an instance is idle, nobody waits and the model is
//! known to be quick (`inline_us_max`), it runs right on the caller's task, or on one beside it with
//! those who come at the same moment (`gather`): waking another thread would cost several times
//! the model. Otherwise the request queues;
//! whoever finishes with an instance next, a worker thread or a caller, takes everything
//! that fits as one batch. Slow models therefore never run on the asynchronous runtime.

mod admit;
mod gather;
mod run;
mod state;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use models::{Tensor, bundle::TimeoutAction};

use self::{admit::Admitted, gather::Gathering, state::State};
pub(crate) use self::{admit::Call, state::Turn};
use crate::{
    ErrorCode, InferError, Limits, ModelSource, Response, TraceContext,
    batcher::{self, BatchLimits, Plan, form_batch},
    cache::Cache,
    cores::Cores,
    cost::Costs,
    monitor::{ModelMetrics, Spans, Statistics, Tally, Times},
    queue::{Outcome, Reply},
    spans::{self, SpanId, Subject},
};

/// What a worker thread does next.
pub(crate) enum Job {
    Load,
    Run(Turn),
}

/// See the module.
pub(crate) struct Pool {
    pub(crate) source: ModelSource,
    pub(crate) name: Arc<str>,
    pub(crate) version: Arc<str>,
    limits: Arc<Limits>,
    cores: Arc<Cores>,
    batch: BatchLimits,
    costs: Costs,
    gathering: Gathering,
    cache: Option<Cache>,
    metrics: ModelMetrics,
    tally: Tally,
    state: Mutex<State>,
    wake: Condvar,
    /// The pool itself, for those who are to wake it.
    me: Weak<Self>,
}

impl Pool {
    /// A pool without instances; `load_first` fills it.
    pub(crate) fn new(source: ModelSource, limits: Arc<Limits>, cores: Arc<Cores>) -> Arc<Self> {
        let batching = &source.batching;
        let rows_max = batching.rows_max.clamp(1, limits.batch_rows_max.max(1));
        let delays = batching.queue.timeout_action == TimeoutAction::Delay;
        // Behind the buckets stand those that are longer than all of them.
        let lengths = batching.lengths.as_ref().map_or(1, |lengths| lengths.buckets.len() + 1);
        let cache_bytes = batching.cache_bytes_max.min(limits.cache_bytes_max);
        Arc::new_cyclic(|me| Self {
            name: source.name.as_str().into(),
            version: source.version.as_str().into(),
            batch: BatchLimits { rows_max, delays },
            cache: (cache_bytes > 0).then(|| Cache::new(cache_bytes)),
            tally: Tally::new(rows_max),
            costs: Costs::new(lengths),
            gathering: Gathering::default(),
            metrics: ModelMetrics::new(&source.name, &source.version),
            state: Mutex::new(State::new(lengths)),
            wake: Condvar::new(),
            me: me.clone(),
            source,
            limits,
            cores,
        })
    }

    /// Rows that one request may have.
    pub(crate) fn rows_max(&self) -> usize {
        self.batch.rows_max
    }

    /// Answers one request: with an answer that was kept, at once, or in a batch with others.
    pub(crate) async fn infer(&self, call: Call) -> Result<Response, InferError> {
        let arrived = Instant::now();
        let Some(cache) = &self.cache else { return self.run_call(call, arrived).await };
        let key = cache.key(&call.tensors);
        if let Some(tensors) = cache.get(key) {
            self.check_open(&self.lock())?;
            let total = arrived.elapsed();
            self.tally.hit(total);
            let response = self.response(tensors, Duration::ZERO, Duration::ZERO);
            self.metrics.hit(total, call.terms.trace.map(|trace| trace.id));
            self.span(call.terms.trace, Times { total, ..Times::default() }, None);
            return Ok(response);
        }
        let looked = arrived.elapsed();
        let response = self.run_call(call, arrived).await?;
        let answered = Instant::now();
        cache.put(key, &response.tensors);
        self.metrics.missed();
        self.tally.missed(looked + answered.elapsed());
        Ok(response)
    }

    /// Counts and times what other models answer in this one's name.
    pub(crate) async fn account(
        &self,
        trace: Option<(TraceContext, SpanId)>,
        rows: usize,
        answer: impl Future<Output = Result<Vec<Tensor>, InferError>>,
    ) -> Result<Response, InferError> {
        let arrived = Instant::now();
        let answer = answer.await;
        let total = arrived.elapsed();
        if let Some((trace, own)) = trace {
            let error = answer.as_ref().err().map(InferError::code);
            spans::tell(trace, own, self.subject(), Times { total, ..Times::default() }, error);
        }
        match answer {
            Ok(tensors) => {
                self.tally.ran(rows, arrived + total, total, Spans::default());
                self.tally.answered(total, Duration::ZERO, total, Spans::default());
                self.metrics.ran(rows);
                let times = Times { compute: total, total, ..Times::default() };
                self.metrics.answered(times, trace.map(|(trace, _)| trace.id));
                Ok(self.response(tensors, Duration::ZERO, total))
            }
            Err(error) => {
                self.tally.failed(total);
                self.metrics.refused(error.code());
                Err(error)
            }
        }
    }

    async fn run_call(&self, call: Call, arrived: Instant) -> Result<Response, InferError> {
        let trace = call.terms.trace;
        match self.outcome(call, arrived).await {
            Ok(outcome) => {
                let total = arrived.elapsed();
                let queue = outcome.started.saturating_duration_since(arrived);
                let ran = outcome.finished.saturating_duration_since(outcome.started);
                let Spans { input, output } = outcome.spans;
                self.tally.answered(total, queue, ran, outcome.spans);
                let compute = ran.saturating_sub(input + output);
                let times = Times { queue, input, compute, output, total };
                self.metrics.answered(times, trace.map(|trace| trace.id));
                self.span(trace, times, None);
                Ok(self.response(outcome.tensors, queue, ran))
            }
            Err(error) => {
                let total = arrived.elapsed();
                self.tally.failed(total);
                self.metrics.refused(error.code());
                self.span(trace, Times { total, ..Times::default() }, Some(error.code()));
                Err(error)
            }
        }
    }

    /// Tells where the time of a request went that belongs to a trace.
    fn span(&self, trace: Option<TraceContext>, times: Times, error: Option<ErrorCode>) {
        if let Some(trace) = trace {
            spans::tell(trace, SpanId::fresh(), self.subject(), times, error);
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { model: &self.name, version: &self.version }
    }

    async fn outcome(&self, call: Call, arrived: Instant) -> Result<Outcome, InferError> {
        let latest = arrived + self.limits.deadline_max();
        let deadline = call.terms.deadline.map_or(latest, |deadline| deadline.min(latest));
        match self.admit(call, arrived, deadline)? {
            Admitted::Now(turn) => self.run_own(turn),
            Admitted::Queued(place) => self.wait(place, deadline).await,
            Admitted::Helps(place) => {
                self.help();
                self.wait(place, deadline).await
            }
        }
    }

    /// Whether `rows` rows of that length run on the caller's task.
    fn is_quick(&self, rows: usize, bucket: usize) -> bool {
        let limit = Duration::from_micros(self.limits.inline_us_max);
        let cost = self.costs.of(bucket).estimate(rows);
        self.source.batching.linger_us == 0 && cost.is_some_and(|cost| cost <= limit)
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
            let waits = !state.queue.is_empty() && !state.idle.is_empty();
            let linger = if waits { self.linger(&state, now) } else { None };
            let ready = waits && linger.is_none() && self.take_core(&state);
            let pause = linger.or_else(|| state.retry_at.map(|at| at - now)).filter(|_| !ready);
            state = match pause {
                None if ready => {
                    if let Some(turn) = self.take_turn(&mut state, true, now) {
                        return Some(Job::Run(turn));
                    }
                    drop(state);
                    self.cores.end(self.source.threads);
                    self.lock()
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => self.wake.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Counts the next turn of a worker in, if a core may be used for it.
    fn take_core(&self, state: &State) -> bool {
        self.cores.begin(self.source.threads, state.computes(), &self.me)
    }

    /// Wakes a worker: a core may be spare.
    pub(crate) fn nudge(&self) {
        // A worker that is about to wait holds the lock.
        drop(self.lock());
        self.wake.notify_one();
    }

    /// How much longer a batch that is not full waits for company.
    fn linger(&self, state: &State, now: Instant) -> Option<Duration> {
        let enough = self.source.batching.preferred_rows.first().map_or(self.batch.rows_max, |rows| *rows);
        if self.source.batching.linger_us == 0 || state.closed {
            return None;
        }
        if state.queue.next().is_none_or(|line| state.queue.rows(line) >= enough) {
            return None;
        }
        let until = state.queue.oldest()? + Duration::from_micros(self.source.batching.linger_us);
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn take_turn(&self, state: &mut State, on_worker: bool, now: Instant) -> Option<Turn> {
        let line = state.queue.next()?;
        let limits = self.share(state, line, on_worker);
        let mut plan = form_batch(state.queue.line(line)?, limits, self.costs.of(line), now);
        self.dismiss(&mut plan);
        if plan.batch.is_empty() { None } else { state.begin(plan, on_worker, now) }
    }

    /// What one turn may take. Of the numbers of rows that the model prefers, the most that wait. For a worker: with
    /// several instances idle and cores for them, the waiting rows are spread over them. Were they run as one batch, its
    /// callers would all come back together and meet in one batch again, with the other instances idle for good.
    fn share(&self, state: &State, line: usize, on_worker: bool) -> BatchLimits {
        let waiting = state.queue.rows(line);
        let instances = match on_worker {
            true => state.idle.len().min(1 + self.cores.spare() / self.source.threads.max(1)),
            false => 1,
        };
        let share = waiting.div_ceil(instances.max(1)).clamp(1, self.batch.rows_max);
        let preferred = &self.source.batching.preferred_rows;
        BatchLimits { rows_max: batcher::preferred(preferred, waiting, share), ..self.batch }
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
    use tokio::sync::oneshot;

    use super::*;
    use crate::Terms;

    /// Too slow to run on a caller's task.
    struct Slow;

    impl Model for Slow {
        fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
            thread::sleep(Duration::from_millis(6));
            Ok(batch)
        }
    }

    fn pool(instances: usize) -> Arc<Pool> {
        let spec =
            || TensorSpec { name: "x".into(), dtype: DType::F32, dims: vec![-1, 1], unit: None, loinc: None };
        let signature = Signature { inputs: vec![spec()], outputs: vec![spec()] };
        let load = || Ok(Box::new(Slow) as Box<dyn Model>);
        let source =
            ModelSource { instances, ..ModelSource::new("slow", "1", signature, 16, Box::new(load)) };
        let pool = Pool::new(source, Arc::new(Limits::default()), Arc::new(Cores::new(8)));
        pool.load_first().expect("loads");
        pool
    }

    fn enqueue(pool: &Pool, rows: usize) -> oneshot::Receiver<Result<Outcome, InferError>> {
        let tensors = vec![Tensor::from_f32(vec![rows, 1], &vec![0.0; rows]).expect("shape")];
        let call = Call { tensors, rows, bucket: 0, terms: Terms::default() };
        let now = Instant::now();
        match pool.admit(call, now, now + Duration::from_secs(60)).expect("room") {
            Admitted::Queued(place) => place.answer,
            Admitted::Now(_) | Admitted::Helps(_) => panic!("a slow model does not run on the caller's task"),
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

    /// Another pool over the same cores.
    fn shared(cores: &Arc<Cores>) -> Arc<Pool> {
        let one = pool(2);
        let pool = Arc::into_inner(one).expect("one owner");
        let again = Pool::new(pool.source, pool.limits, Arc::clone(cores));
        again.load_first().expect("loads");
        again
    }

    fn turn(pool: &Pool) -> Turn {
        match pool.next_job() {
            Some(Job::Run(turn)) => turn,
            Some(Job::Load) | None => panic!("there is work"),
        }
    }

    #[test]
    fn a_second_instance_waits_for_a_spare_core_and_is_woken() {
        let cores = Arc::new(Cores::new(2));
        let (flooded, other) = (shared(&cores), shared(&cores));
        let waiting: Vec<_> = (0..3).map(|_| enqueue(&flooded, 16)).chain([enqueue(&other, 1)]).collect();
        let (first, theirs) = (turn(&flooded), turn(&other));
        assert!(!flooded.take_core(&flooded.lock()), "both cores compute");
        let (woken, wakes) = std::sync::mpsc::sync_channel(1);
        let worker = Arc::clone(&flooded);
        let second = thread::spawn(move || {
            let turn = turn(&worker);
            woken.send(()).expect("somebody listens");
            worker.run_turn(turn);
        });
        assert!(other.run_turn(theirs));
        wakes.recv_timeout(Duration::from_secs(10)).expect("the other's core is free");
        assert!(flooded.run_turn(first));
        second.join().expect("no panic");
        assert_eq!(cores.spare(), 2);
        drop(waiting);
    }

    #[test]
    fn a_worker_with_more_to_do_keeps_its_core() {
        let cores = Arc::new(Cores::new(2));
        let (flooded, steady) = (shared(&cores), shared(&cores));
        let waiting: Vec<_> = (0..3).map(|_| enqueue(&flooded, 16)).chain([enqueue(&steady, 16)]).collect();
        let (first, theirs) = (turn(&flooded), turn(&steady));
        let mut more = enqueue(&steady, 16);
        assert!(!flooded.take_core(&flooded.lock()), "both cores compute");
        assert!(steady.run_turn(theirs));
        assert!(
            more.try_recv().is_ok_and(|answer| answer.is_ok()),
            "without giving the core back in between"
        );
        assert_eq!(cores.spare(), 1, "but then");
        assert!(flooded.run_turn(first));
        drop(waiting);
    }
}
