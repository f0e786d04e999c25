//! Letting others come before a quick model runs.
//!
//! A batch of one on the caller's task is the soonest answer, but where many ask at once it pays the fixed part of a run
//! for each of them. So the first who finds a quick model idle may wait until the requests that have already arrived are
//! read, and a task behind theirs then runs them all as one batch. It does so only where that is known to pay: a row
//! costs less among others, by more than a place in the queue does, and others did come lately.
//!
//! That task belongs to no caller: one whose answers are not read would keep the others waiting.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use tokio::runtime::Handle;

use super::Pool;
use crate::cost::Cost;

/// Rows that a row is thought to run among.
const COMPANY: u32 = 8;
/// What a place in the queue, and coming back from it, costs a request.
const HANDING: Duration = Duration::from_nanos(1_500);
/// Mean number of requests that come together from which it goes on, in parts.
const CROWD_MIN: u64 = 3 * PART / 2;
const PART: u64 = 1024;
/// Weight of the past in that mean.
const WEIGHT: u64 = 8;
/// While nobody comes, it is tried once in so many requests.
const TRY_EVERY: u32 = 32;

/// What came of gathering so far.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Mean number of requests that came together, in parts.
    crowd: AtomicU64,
    alone: AtomicU32,
}

impl Gathering {
    /// Whether to wait for others with a request whose model costs `cost`.
    pub(super) fn begins(&self, cost: &Cost) -> bool {
        pays(cost)
            && (self.crowd.load(Relaxed) >= CROWD_MIN
                || self.alone.fetch_add(1, Relaxed).is_multiple_of(TRY_EVERY))
    }

    /// Learns how many came together. A race loses one observation, which changes nothing.
    pub(super) fn came(&self, requests: usize) {
        let mean = self.crowd.load(Relaxed);
        self.crowd.store((mean * (WEIGHT - 1) + requests as u64 * PART) / WEIGHT, Relaxed);
    }
}

fn pays(cost: &Cost) -> bool {
    let (alone, among) = (cost.estimate(1), cost.estimate(COMPANY as usize));
    alone.zip(among).is_some_and(|(alone, among)| alone > among / COMPANY + HANDING)
}

/// Held by the task. Should that end before its turn, with its runtime, a worker takes those who have come.
struct Gatherer {
    pool: Arc<Pool>,
    left: bool,
}

impl Drop for Gatherer {
    fn drop(&mut self) {
        if self.left {
            self.pool.gathered();
            self.pool.wake.notify_all();
        }
    }
}

impl Pool {
    /// Has those who wait run as one batch, where they fit, as soon as the tasks that are due now have had their turn;
    /// whether there is anybody to do it.
    pub(super) fn gather(&self) -> bool {
        let (Ok(runtime), Some(pool)) = (Handle::try_current(), self.me.upgrade()) else {
            self.gathered();
            return false;
        };
        let mut gatherer = Gatherer { pool, left: true };
        runtime.spawn(async move {
            behind_the_others().await;
            gatherer.left = false;
            gatherer.pool.gathered();
            gatherer.pool.help();
        });
        true
    }

    fn gathered(&self) {
        let mut state = self.lock();
        // Helpers may have run them all: then it was they who counted them.
        if std::mem::take(&mut state.gathering) && !state.queue.is_empty() {
            self.gathering.came(state.queue.depth());
        }
    }
}

/// Puts the task at the end of its worker's line. (`yield_now` would leave it to that worker alone, and for longer.)
async fn behind_the_others() {
    let mut first = true;
    poll_fn(|context| {
        if std::mem::take(&mut first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use models::{Batch, DType, Model, ModelError, Signature, Tensor, TensorSpec};
    use tokio::time::timeout;

    use super::*;
    use crate::{
        Limits, ModelSource, Priority, Terms,
        cores::Cores,
        pool::{
            Call,
            admit::{Admitted, Place},
        },
    };

    /// Takes as long for many rows as for one.
    struct Flat;

    impl Model for Flat {
        fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
            let began = Instant::now();
            while began.elapsed() < 20 * MICRO {
                std::hint::spin_loop();
            }
            Ok(batch)
        }
    }

    fn pool() -> Arc<Pool> {
        let spec =
            || TensorSpec { name: "x".into(), dtype: DType::F32, dims: vec![-1, 1], unit: None, loinc: None };
        let signature = Signature { inputs: vec![spec()], outputs: vec![spec()] };
        let load = || Ok(Box::new(Flat) as Box<dyn Model>);
        let source = ModelSource::new("flat", "1", signature, 4, Box::new(load));
        // Generous, so that a machine that is busy changes nothing.
        let limits = Limits { inline_us_max: 1_000_000, ..Limits::default() };
        let pool = Pool::new(source, Arc::new(limits), Arc::new(Cores::new(2)));
        pool.load_first().expect("loads");
        // Whatever it took just now.
        for rows in [1, 4] {
            (0..200).for_each(|_| pool.costs.of(0).observe(rows, 20 * MICRO));
        }
        pool
    }

    fn ask(pool: &Pool, terms: Terms, left: Duration) -> Admitted {
        let tensors = vec![Tensor::from_f32(vec![1, 1], &[0.0]).expect("shape")];
        let now = Instant::now();
        pool.admit(Call { tensors, rows: 1, bucket: 0, terms }, now, now + left).expect("room")
    }

    fn waits(pool: &Pool) -> Place {
        match ask(pool, Terms::default(), Duration::from_secs(60)) {
            Admitted::Queued(place) => place,
            Admitted::Now(_) | Admitted::Helps(_) => panic!("it waits for others"),
        }
    }

    #[tokio::test]
    async fn those_who_wait_together_are_run_as_one_although_none_of_them_does_anything() {
        let pool = pool();
        let (unread, other) = (waits(&pool), waits(&pool));
        let answer = timeout(Duration::from_secs(10), other.answer).await.expect("in time");
        assert!(answer.expect("not dropped").is_ok());
        let statistics = pool.statistics();
        assert_eq!((statistics.batches, statistics.rows), (1, 2));
        drop(unread);
        assert!(!pool.lock().gathering);
    }

    #[tokio::test]
    async fn who_makes_the_batch_full_runs_it() {
        let pool = pool();
        let mut three = [waits(&pool), waits(&pool), waits(&pool)];
        let fourth = ask(&pool, Terms::default(), Duration::from_secs(60));
        assert!(matches!(fourth, Admitted::Helps(_)));
        pool.help();
        assert!(three.iter_mut().all(|place| place.answer.try_recv().is_ok_and(|answer| answer.is_ok())));
    }

    #[tokio::test]
    async fn the_urgent_wait_for_nobody() {
        let pool = pool();
        let mut waiting = waits(&pool);
        let urgent = Terms { priority: Priority::Critical, ..Terms::default() };
        for (terms, left) in [(urgent, 60_000), (Terms::default(), 5)] {
            let Admitted::Now(turn) = ask(&pool, terms, Duration::from_millis(left)) else {
                panic!("an instance is idle")
            };
            assert!(pool.run_own(turn).is_ok());
        }
        assert!(waiting.answer.try_recv().is_ok_and(|answer| answer.is_ok()), "it was helped on the way");
    }

    #[test]
    fn without_a_runtime_nobody_waits() {
        let pool = pool();
        let Admitted::Helps(place) = ask(&pool, Terms::default(), Duration::from_secs(60)) else {
            panic!("nobody would run it")
        };
        pool.help();
        assert!(place.answer.blocking_recv().expect("not dropped").is_ok());
    }

    #[test]
    fn a_runtime_that_ends_leaves_them_to_a_worker() {
        let pool = pool();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let place = runtime.block_on(async { waits(&pool) });
        drop(runtime);
        assert!(!pool.lock().gathering);
        crate::worker::spawn(&pool);
        assert!(place.answer.blocking_recv().expect("not dropped").is_ok());
        pool.close();
    }

    const MICRO: Duration = Duration::from_micros(1);

    /// A model that takes `base` and `slope` for each row, in microseconds.
    fn cost(base: u32, slope: u32) -> Cost {
        let cost = Cost::default();
        for rows in [1, 64] {
            cost.observe(rows as usize, (base + slope * rows) * MICRO);
        }
        cost
    }

    #[test]
    fn it_pays_where_a_run_costs_more_than_a_place_in_the_queue() {
        assert!(pays(&cost(10, 1)) && !pays(&cost(0, 10)) && !pays(&cost(1, 3)));
        assert!(!pays(&Cost::default()), "nothing is known");
    }

    #[test]
    fn it_goes_on_while_others_come_and_is_tried_now_and_then_while_they_do_not() {
        let (gathering, cost) = (Gathering::default(), cost(10, 1));
        let tries = |count: usize| (0..count).filter(|_| gathering.begins(&cost)).count();
        assert_eq!(tries(320), 10);
        gathering.came(12);
        assert_eq!(tries(320), 320);
        (0..40).for_each(|_| gathering.came(1));
        assert_eq!(tries(320), 10);
    }
}
