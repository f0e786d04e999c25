//! What a batch of so many rows costs, learned from the batches that ran. It decides where a
//! batch runs (on the caller's task or on a worker) and how long a queue may become.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const BUCKETS: usize = 17;
/// Weight of a new observation.
const WEIGHT: u64 = 8;
/// A run interrupted by the operating system looks many times its cost; an observation moves
/// the estimate by no more than this factor would.
const JUMP_MAX: u64 = 4;

/// Moving averages in nanoseconds, one for each power of two of rows. Updates race without a
/// lock: losing one observation changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    buckets: [AtomicU64; BUCKETS],
}

impl Cost {
    /// Learns that `rows` took `took`.
    pub(crate) fn observe(&self, rows: usize, took: Duration) {
        let bucket = &self.buckets[bucket_of(rows)];
        let new = nanos(took);
        let old = bucket.load(Ordering::Relaxed);
        let next = match old {
            0 => new,
            old => (old * (WEIGHT - 1) + new.min(old.saturating_mul(JUMP_MAX))) / WEIGHT,
        };
        bucket.store(next.max(1), Ordering::Relaxed);
    }

    /// Expected time of `rows`; `None` before anything ran. Sizes not seen yet are estimated
    /// from smaller ones in proportion, else from larger ones as they are.
    pub(crate) fn estimate(&self, rows: usize) -> Option<Duration> {
        let at = bucket_of(rows);
        let known = |index: &usize| self.buckets[*index].load(Ordering::Relaxed) > 0;
        let below = (0..=at).rev().find(known);
        let index = below.or_else(|| (at..BUCKETS).find(known))?;
        let value = self.buckets[index].load(Ordering::Relaxed);
        Some(Duration::from_nanos(value << at.saturating_sub(index)))
    }
}

fn nanos(duration: Duration) -> u64 {
    // An hour bounds the shifts and products above.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).clamp(1, 3_600_000_000_000)
}

fn bucket_of(rows: usize) -> usize {
    let log = rows.max(1).next_power_of_two().trailing_zeros();
    usize::try_from(log).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    #[test]
    fn nothing_is_known_before_the_first_run() {
        assert_eq!(Cost::default().estimate(1), None);
    }

    #[test]
    fn unseen_sizes_scale_up_from_smaller_ones() {
        let cost = Cost::default();
        cost.observe(1, 10 * MICRO);
        assert_eq!(cost.estimate(1), Some(10 * MICRO));
        assert_eq!(cost.estimate(7), Some(80 * MICRO));
        cost.observe(64, 100 * MICRO);
        assert_eq!(cost.estimate(64), Some(100 * MICRO));
        assert_eq!(cost.estimate(128), Some(200 * MICRO));
    }

    #[test]
    fn one_interrupted_run_does_not_change_the_picture() {
        let cost = Cost::default();
        cost.observe(1, 10 * MICRO);
        cost.observe(1, 4000 * MICRO);
        assert!(cost.estimate(1).expect("known") < 14 * MICRO);
    }

    #[test]
    fn a_lasting_change_is_learned() {
        let cost = Cost::default();
        cost.observe(1, 10 * MICRO);
        (0..100).for_each(|_| cost.observe(1, 400 * MICRO));
        assert!(cost.estimate(1).expect("known") > 350 * MICRO);
    }
}
