//! Running batches: the part of a pool that works outside its lock.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use models::{Batch, Model, ModelError, Tensor};

use super::{
    Pool, answer,
    state::{OwnTurn, Part, Turn},
};
use crate::{
    InferError,
    error::chain,
    monitor::Spans,
    queue::{Outcome, Reply},
    warm, worker,
};

/// Why a batch gave nothing.
enum Fault {
    /// The model said so; it can be used again.
    Refused(InferError),
    /// The model panicked; its instance is lost.
    Panicked,
}

/// How a turn ended.
struct End {
    /// Whether it was still the runner's.
    mine: bool,
    /// Who waits for its results.
    waiters: Vec<Reply>,
    /// Whether others are in the queue now.
    waiting: bool,
}

impl Pool {
    /// Runs the caller's own turn on its task, then helps those who queued meanwhile.
    pub(super) fn run_own(&self, turn: OwnTurn) -> Result<Outcome, InferError> {
        let OwnTurn { run, mut model, part } = turn;
        let (rows, bucket) = (part.rows, part.bucket);
        let started = Instant::now();
        let (result, sound) = self.result(&mut *model, part);
        let finished = Instant::now();
        let spans = Spans::default();
        if result.is_ok() {
            self.tally.ran(rows, finished, finished - started, spans);
        }
        let end = self.end(run, sound.then_some(model), (rows, bucket), finished - started);
        if end.waiting {
            self.help();
        }
        result.map(|tensors| Outcome { tensors, started, finished, spans })
    }

    /// Runs waiting batches on the caller's task while that is quick, then leaves the rest to a worker.
    pub(super) fn help(&self) {
        for _ in 0..self.limits.inline_rounds_max {
            let mut state = self.lock();
            let Some(line) = state.queue.next().filter(|_| !state.idle.is_empty()) else { return };
            if !self.is_quick(state.queue.rows(line).min(self.batch.rows_max), line) {
                break;
            }
            let turn = self.take_turn(&mut state, false, Instant::now());
            drop(state);
            // Nobody of that line could be helped any more; others may wait in another.
            let Some(turn) = turn else { continue };
            if !self.run(turn).waiting {
                return;
            }
        }
        // They came without a word to any worker.
        self.wake.notify_all();
    }

    /// Runs a worker's turn, and those that follow at once; false when a turn took so long that the worker was replaced.
    pub(crate) fn run_turn(&self, mut turn: Turn) -> bool {
        loop {
            if !self.run(turn).mine {
                return false;
            }
            match self.next_turn() {
                Some(next) => turn = next,
                None => {
                    self.cores.end(self.source.threads);
                    return true;
                }
            }
        }
    }

    /// The next turn of a worker that has just ended one, on the core that it has. A model may compute with one instance
    /// at any time: were the core given back in between, another model's further instance would take it, and both would
    /// compute.
    fn next_turn(&self) -> Option<Turn> {
        let (mut state, now) = (self.lock(), Instant::now());
        let goes_on = !state.computes() && state.missing == 0 && !state.idle.is_empty();
        if !goes_on || state.queue.is_empty() || self.linger(&state, now).is_some() {
            return None;
        }
        self.take_turn(&mut state, true, now)
    }

    /// Runs a turn and answers its waiters.
    fn run(&self, turn: Turn) -> End {
        let Turn { run, mut model, parts } = turn;
        let rows = parts.iter().map(|part| part.rows).sum();
        let bucket = parts.first().map_or(0, |part| part.bucket);
        let started = Instant::now();
        let mut spans = Spans::default();
        let (results, sound) = self.results(&mut *model, parts, &mut spans);
        let finished = Instant::now();
        if results.iter().any(Result::is_ok) {
            self.tally.ran(rows, finished, finished - started, spans);
        }
        let mut end = self.end(run, sound.then_some(model), (rows, bucket), finished - started);
        for (reply, result) in std::mem::take(&mut end.waiters).into_iter().zip(results) {
            answer(reply, result.map(|tensors| Outcome { tensors, started, finished, spans }));
        }
        end
    }

    /// Gives the instance back, which ran so many rows of a length; without `model` it is lost.
    fn end(
        &self,
        run: u64,
        model: Option<Box<dyn Model>>,
        (rows, bucket): (usize, usize),
        took: Duration,
    ) -> End {
        match &model {
            Some(_) => self.costs.of(bucket).observe(rows, took),
            None => self.metrics.replaced(),
        }
        self.metrics.ran(rows);
        let mut state = self.lock();
        let waiters = state.end(run, model);
        let (waiting, missing) = (!state.queue.is_empty(), state.missing > 0);
        drop(state);
        if missing {
            self.wake.notify_one();
        }
        End { mine: waiters.is_some(), waiters: waiters.unwrap_or_default(), waiting }
    }

    /// One result for each part, and whether the instance can be used again. When a batch of
    /// several is refused, each part runs alone: nobody suffers for a neighbour's input.
    fn results(
        &self,
        model: &mut dyn Model,
        mut parts: Vec<Part>,
        spans: &mut Spans,
    ) -> (Vec<Result<Vec<Tensor>, InferError>>, bool) {
        if parts.len() > 1 {
            match self.run_together(model, &parts, spans) {
                Ok(outputs) => return (outputs.into_iter().map(Ok).collect(), true),
                Err(Fault::Panicked) => return (parts.iter().map(|_| Err(self.failed())).collect(), false),
                Err(Fault::Refused(_)) => {}
            }
        }
        let mut sound = true;
        let results = parts.drain(..).map(|part| {
            if !sound {
                return Err(self.failed());
            }
            let result;
            (result, sound) = self.result(model, part);
            result
        });
        (results.collect(), sound)
    }

    /// The result of one part, and whether the instance can be used again.
    fn result(&self, model: &mut dyn Model, part: Part) -> (Result<Vec<Tensor>, InferError>, bool) {
        match self.run_alone(model, part.tensors, part.rows) {
            Ok(outputs) => (Ok(outputs), true),
            Err(Fault::Refused(error)) => (Err(error), true),
            Err(Fault::Panicked) => (Err(self.failed()), false),
        }
    }

    fn run_together(
        &self,
        model: &mut dyn Model,
        parts: &[Part],
        spans: &mut Spans,
    ) -> Result<Vec<Vec<Tensor>>, Fault> {
        let began = Instant::now();
        let refuse = |error: ModelError| Fault::Refused(error.into());
        let inputs = self.source.signature.inputs.len();
        let column = |index: usize| {
            let column: Vec<&Tensor> = parts.iter().filter_map(|part| part.tensors.get(index)).collect();
            Tensor::concat_rows(&column)
        };
        let tensors = (0..inputs).map(column).collect::<Result<_, _>>().map_err(refuse)?;
        let rows = parts.iter().map(|part| part.rows).sum();
        spans.input = began.elapsed();
        let outputs = self.run_alone(model, tensors, rows)?;
        let ran = Instant::now();
        let mut start = 0;
        let split = parts.iter().map(|part| {
            let slices = outputs.iter().map(|output| output.slice_rows(start, part.rows));
            let slices = slices.collect::<Result<Vec<_>, _>>();
            start += part.rows;
            slices
        });
        let split = split.collect::<Result<_, _>>().map_err(refuse);
        spans.output = ran.elapsed();
        split
    }

    fn run_alone(
        &self,
        model: &mut dyn Model,
        tensors: Vec<Tensor>,
        rows: usize,
    ) -> Result<Vec<Tensor>, Fault> {
        match catch_unwind(AssertUnwindSafe(|| model.run(Batch { tensors }))) {
            Ok(Ok(output)) => self.check_output(output, rows).map_err(Fault::Refused),
            Ok(Err(error)) => Err(Fault::Refused(self.refusal(error))),
            Err(panic) => {
                tracing::error!(
                    model = &*self.name,
                    version = &*self.version,
                    panic = panic_text(&*panic),
                    "model panicked"
                );
                Err(Fault::Panicked)
            }
        }
    }

    fn check_output(&self, output: Batch, rows: usize) -> Result<Vec<Tensor>, InferError> {
        let want = self.source.signature.outputs.len();
        let tensors = output.tensors;
        if tensors.len() == want && tensors.iter().all(|tensor| tensor.rows() == rows) {
            return Ok(tensors);
        }
        tracing::error!(
            model = &*self.name,
            want,
            got = tensors.len(),
            rows,
            "model gave outputs unlike its signature"
        );
        Err(self.failed())
    }

    /// What the caller is told when the model refused the batch.
    fn refusal(&self, error: ModelError) -> InferError {
        match error {
            ModelError::Input { field, reason } => InferError::Input { field, reason },
            ModelError::Run { .. }
            | ModelError::Read { .. }
            | ModelError::Write { .. }
            | ModelError::Invalid { .. }
            | ModelError::EngineUnavailable { .. } => {
                tracing::error!(
                    model = &*self.name,
                    version = &*self.version,
                    error = chain(&error),
                    "model failed"
                );
                self.failed()
            }
        }
    }

    /// Loads every instance for the first time; the pool serves only when this succeeds.
    pub(crate) fn load_first(&self) -> Result<(), ModelError> {
        for _ in 0..self.source.instances.max(1) {
            let model = self.load_instance()?;
            self.lock().idle.push(model);
        }
        Ok(())
    }

    /// Loads the replacement of a lost instance, or notes why it cannot and when to try again.
    pub(crate) fn load_missing(&self) {
        let loaded = self.load_instance();
        let mut state = self.lock();
        match loaded {
            Ok(model) => {
                state.idle.push(model);
                (state.fault, state.retry_at) = (None, None);
            }
            Err(error) => {
                let reason = chain(&error);
                tracing::error!(model = &*self.name, reason, "cannot replace a lost instance");
                state.missing += 1;
                state.retry_at = Some(Instant::now() + self.limits.reload_pause());
                state.fault = Some(reason);
            }
        }
        let broken = state.broken().map(|reason| self.unavailable(reason));
        drop(state);
        if let Some(error) = broken {
            self.abort(&error);
        }
    }

    fn load_instance(&self) -> Result<Box<dyn Model>, ModelError> {
        let load = AssertUnwindSafe(|| {
            let mut model = (self.source.load)()?;
            warm::up(&mut *model, &self.source, self.batch.rows_max, &self.costs);
            Ok(model)
        });
        catch_unwind(load).unwrap_or_else(|panic| {
            Err(ModelError::invalid("weights", format!("loading panicked: {}", panic_text(&*panic))))
        })
    }

    /// Gives up every batch that has run too long: its callers are told, a new instance is
    /// loaded, and a worker that hangs is replaced. The lost thread ends when its model returns.
    pub(crate) fn give_up_hung(self: &Arc<Self>) {
        let hung = self.lock().give_up(self.limits.run_max(), Instant::now());
        for run in hung {
            tracing::error!(model = &*self.name, version = &*self.version, "batch hangs; instance given up");
            self.metrics.replaced();
            if run.on_worker {
                self.cores.end(self.source.threads);
                worker::spawn(self);
            } else {
                self.wake.notify_one();
            }
            for reply in run.waiters {
                answer(reply, Err(self.failed()));
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
