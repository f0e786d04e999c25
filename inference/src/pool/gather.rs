//! Letting others come before a quick model runs.
//!
//! A batch of one on the caller's task is the soonest answer, but where many ask at once it pays the fixed part of a run
//! for each of them. So the first who finds a quick model idle may step back until the requests that have already
//! arrived are read, and then runs them all as one batch, on its own task still. It does so only where that is known to
//! pay: a row costs less among others, by more than a place in the queue does, and others did come lately.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

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
    fn came(&self, requests: usize) {
        let mean = self.crowd.load(Relaxed);
        self.crowd.store((mean * (WEIGHT - 1) + requests as u64 * PART) / WEIGHT, Relaxed);
    }
}

fn pays(cost: &Cost) -> bool {
    let (alone, among) = (cost.estimate(1), cost.estimate(COMPANY as usize));
    alone.zip(among).is_some_and(|(alone, among)| alone > among / COMPANY + HANDING)
}

/// Held by the one who steps back. Should it go away meanwhile, a worker takes those who have come.
struct Gatherer<'a> {
    pool: &'a Pool,
    left: bool,
}

impl Drop for Gatherer<'_> {
    fn drop(&mut self) {
        if self.left {
            self.pool.gathered();
            self.pool.wake.notify_one();
        }
    }
}

impl Pool {
    /// Steps back once, then runs those who have come, as one batch where they fit.
    pub(super) async fn gather(&self) {
        let mut gatherer = Gatherer { pool: self, left: true };
        tokio::task::yield_now().await;
        gatherer.left = false;
        self.gathered();
        self.help();
    }

    fn gathered(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.gathering) {
            self.gathering.came(state.queue.depth());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
