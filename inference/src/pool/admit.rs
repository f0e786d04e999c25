//! Admission: who runs at once, who may wait and for how long, and who is refused, with the time to come back.

use std::{
    sync::MutexGuard,
    time::{Duration, Instant},
};

use models::{Tensor, bundle::QueueConfig};
use tokio::{sync::oneshot, time::timeout_at};

use super::{
    Pool,
    state::{OwnTurn, Part, State},
};
use crate::{
    InferError, Priority, Terms,
    queue::{Entry, Outcome},
    queues,
};

/// Who has less time than this waits for nobody.
const HURRY: Duration = Duration::from_millis(10);

/// A checked request on its way into a pool.
pub(crate) struct Call {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) rows: usize,
    /// Which of the model's lengths they are filled up to.
    pub(crate) bucket: usize,
    pub(crate) terms: Terms,
}

/// What admission decided.
pub(super) enum Admitted {
    /// It runs on the caller's task.
    Now(OwnTurn),
    /// It waits for a batch.
    Queued(Place),
    /// It makes a batch full that somebody gathers, and runs it.
    Helps(Place),
}

/// A place in the queue.
pub(super) struct Place {
    place: queues::Place,
    /// When the caller gives it up, unless the request runs by then.
    expires: Option<Instant>,
    pub(super) answer: oneshot::Receiver<Result<Outcome, InferError>>,
}

impl Pool {
    /// Lets `call` run or wait, as of `now`.
    pub(super) fn admit(&self, call: Call, now: Instant, deadline: Instant) -> Result<Admitted, InferError> {
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
        let bytes = call.tensors.iter().map(|tensor| tensor.data().len()).sum();
        // Who is gathered for has not begun, so that nobody is overtaken who would not rather wait.
        let at_once = (state.queue.is_empty() || state.gathering)
            && !state.idle.is_empty()
            && self.is_quick(call.rows, call.bucket);
        let room = self.check_room(&state, call.terms.priority, call.bucket, bytes);
        let gathers = at_once
            && room.is_ok()
            && self.is_patient(&call.terms, deadline.saturating_duration_since(now))
            && (state.gathering || self.gathering.begins(self.costs.of(call.bucket)));
        if at_once && !gathers {
            let turn =
                state.begin_own(Part { tensors: call.tensors, rows: call.rows, bucket: call.bucket }, now);
            return turn.map(Admitted::Now).ok_or_else(|| self.failed());
        }
        if !gathers {
            room?;
            self.check_time(&state, &call, deadline.saturating_duration_since(now))?;
        }
        let (reply, answer) = oneshot::channel();
        let Call {
            tensors,
            rows,
            bucket,
            terms: Terms { priority, deadline: _, timeout, caller: _, tenant: _, trace: _, sequence: _ },
        } = call;
        let expires = self.patience(timeout).and_then(|patience| now.checked_add(patience));
        let entry = Entry { tensors, rows, bytes, bucket, priority, enqueued: now, deadline, expires, reply };
        let place = state.queue.push(bucket, entry).ok_or_else(|| self.failed())?;
        let expires = expires.filter(|expires| !self.batch.delays && *expires < deadline);
        let place = Place { place, expires, answer };
        if gathers {
            return Ok(self.joined(state, place, bucket));
        }
        let idle = !state.idle.is_empty();
        drop(state);
        if idle {
            self.wake.notify_one();
        }
        Ok(Admitted::Queued(place))
    }

    /// How a request goes on that waits with others: it makes their batch full, or the first of them has somebody run it.
    fn joined(&self, mut state: MutexGuard<'_, State>, place: Place, bucket: usize) -> Admitted {
        if state.queue.rows(bucket) >= self.batch.rows_max {
            self.gathering.came(state.queue.depth());
            return Admitted::Helps(place);
        }
        let is_first = !std::mem::replace(&mut state.gathering, true);
        // A task that is refused at once takes the lock to say so.
        drop(state);
        if is_first && !self.gather() { Admitted::Helps(place) } else { Admitted::Queued(place) }
    }

    /// Whether a request may wait for others with an instance idle: it is not urgent, and its time is long beside that.
    fn is_patient(&self, terms: &Terms, left: Duration) -> bool {
        terms.priority != Priority::Critical && left > HURRY && self.patience(terms.timeout).is_none()
    }

    /// The answer to a request that waits. It leaves the queue when its time there is over, and is given up at
    /// its deadline even while it runs.
    pub(super) async fn wait(&self, place: Place, deadline: Instant) -> Result<Outcome, InferError> {
        let Place { place, expires, mut answer } = place;
        if let Some(expires) = expires {
            match timeout_at(expires.into(), &mut answer).await {
                Ok(answer) => return answer.unwrap_or_else(|_| Err(self.failed())),
                Err(_) if self.lock().queue.withdraw(place).is_some() => return Err(self.too_late()),
                Err(_) => {}
            }
        }
        match timeout_at(deadline.into(), answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(self.failed())),
            Err(_) => Err(self.too_late()),
        }
    }

    /// Fails when the pool is closed or has lost its instances.
    pub(super) fn check_open(&self, state: &State) -> Result<(), InferError> {
        if state.closed {
            return Err(InferError::Draining);
        }
        match state.broken() {
            Some(reason) => Err(self.unavailable(reason)),
            None => Ok(()),
        }
    }

    /// Depth and bytes for everybody, and the expected wait for everybody who is waiting for an answer.
    fn check_room(
        &self,
        state: &State,
        priority: Priority,
        bucket: usize,
        bytes: usize,
    ) -> Result<(), InferError> {
        let limits = &self.limits;
        let wait = self.expected_wait(state, priority);
        let batch = self.full_batch(bucket);
        let allowed = batch
            .saturating_mul(limits.queue_wait_batches_max)
            .max(Duration::from_micros(limits.queue_wait_us_min));
        let full = state.queue.depth() >= self.depth_max()
            || state.queue.bytes().saturating_add(bytes) > limits.queue_bytes_max;
        if full || (priority != Priority::Bulk && wait >= allowed) {
            return Err(InferError::Overloaded {
                model: self.name.to_string(),
                retry_after_ms: whole_ms(wait),
            });
        }
        Ok(())
    }

    /// Whether `call` can be answered in the time that is `left`, by what batches are known to cost.
    fn check_time(&self, state: &State, call: &Call, left: Duration) -> Result<(), InferError> {
        let cost = self.costs.of(call.bucket);
        let own = cost.estimate(call.rows).unwrap_or_default();
        let wait = self.expected_wait(state, call.terms.priority);
        if wait + own < left {
            return Ok(());
        }
        cost.doubt(call.rows);
        cost.doubt(self.batch.rows_max);
        Err(InferError::CannotMeet { model: self.name.to_string(), retry_after_ms: whole_ms(wait) })
    }

    /// Time until a newcomer of `priority` begins, if all ahead come in full batches.
    fn expected_wait(&self, state: &State, priority: Priority) -> Duration {
        let mut busy = usize::from(state.is_busy());
        let lines = state.queue.rows_before(priority).enumerate().map(|(line, rows)| {
            // What runs now is of one length; which, the queue does not know: the first stands for it.
            let ahead = rows / self.batch.rows_max + std::mem::take(&mut busy);
            self.full_batch(line).saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX))
        });
        lines.sum()
    }

    fn full_batch(&self, bucket: usize) -> Duration {
        self.costs.of(bucket).estimate(self.batch.rows_max).unwrap_or_default()
    }

    fn depth_max(&self) -> usize {
        match self.queue_config().depth_max {
            0 => self.limits.queue_depth_max,
            own => own.min(self.limits.queue_depth_max),
        }
    }

    /// How long a request may wait: the model's time, or a shorter one of its own where the model lets it.
    fn patience(&self, asked: Option<Duration>) -> Option<Duration> {
        let QueueConfig { depth_max: _, timeout_us, timeout_action: _, timeout_override } =
            *self.queue_config();
        let given = (timeout_us > 0).then(|| Duration::from_micros(timeout_us));
        match (given, asked.filter(|_| timeout_override)) {
            (Some(given), Some(asked)) => Some(given.min(asked)),
            (given, asked) => given.or(asked),
        }
    }

    fn queue_config(&self) -> &QueueConfig {
        &self.source.batching.queue
    }
}

fn whole_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}
