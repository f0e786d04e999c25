//! What a batch of so many rows costs, learned from the batches that ran. It decides where a batch runs (on the
//! caller's task or on a worker), how long a queue may become, and which request cannot be answered in time.
//!
//! For each power of two of rows the mean rows and the mean time are kept; between two such points the cost is the
//! line a·n + b through them, so a model whose cost is a line is known from two sizes.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

const BUCKETS: usize = 17;
/// Weight of a new observation.
const WEIGHT: u64 = 8;
/// A run interrupted by the operating system looks many times its cost; an observation moves
/// the estimate by no more than this factor would.
const JUMP_MAX: u64 = 4;
/// Mean rows are kept in this fraction of a row.
const PART: u64 = 1024;
/// A refusal takes this part off the estimate it rests on.
const DOUBT: u64 = 64;

/// The costs of one model version, for each length that its requests are filled up to.
#[derive(Debug)]
pub(crate) struct Costs(Box<[Cost]>);

impl Costs {
    /// So many lengths, at least one.
    pub(crate) fn new(lengths: usize) -> Self {
        Self(std::iter::repeat_with(Cost::default).take(lengths.max(1)).collect())
    }

    /// That of one length; what is beyond the last has its cost.
    pub(crate) fn of(&self, length: usize) -> &Cost {
        &self.0[length.min(self.0.len() - 1)]
    }

    /// Each, in the order of the lengths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cost> {
        self.0.iter()
    }
}

/// Moving averages of one power of two. Updates race without a lock: losing one observation changes nothing.
#[derive(Debug, Default)]
struct Bucket {
    /// In parts of a row; 0 before the first observation.
    rows: AtomicU64,
    ns: AtomicU64,
}

/// A mean: rows and nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Point {
    rows: f64,
    ns: f64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    buckets: [Bucket; BUCKETS],
}

impl Cost {
    /// Learns that `rows` took `took`.
    pub(crate) fn observe(&self, rows: usize, took: Duration) {
        let bucket = &self.buckets[bucket_of(rows)];
        let (new_rows, new) = (rows.max(1) as u64 * PART, nanos(took));
        let (old_rows, old) = (bucket.rows.load(Relaxed), bucket.ns.load(Relaxed));
        let mix = |old: u64, new: u64| (old * (WEIGHT - 1) + new) / WEIGHT;
        let (next_rows, next) = match old_rows {
            0 => (new_rows, new),
            _ => (mix(old_rows, new_rows), mix(old, new.min(old.saturating_mul(JUMP_MAX)))),
        };
        bucket.ns.store(next.max(1), Relaxed);
        bucket.rows.store(next_rows.max(1), Relaxed);
    }

    /// Expected time of `rows`; `None` before anything ran. With one size known, larger ones are estimated in
    /// proportion and smaller ones as it is.
    pub(crate) fn estimate(&self, rows: usize) -> Option<Duration> {
        let at = bucket_of(rows);
        let count = rows.max(1) as f64;
        let below = (0..=at).rev().find_map(|index| Some((index, self.point(index)?)));
        let Some((index, point)) = below else {
            let above = (at..BUCKETS).find_map(|index| self.point(index))?;
            return Some(duration(above.ns));
        };
        if point.rows.total_cmp(&count).is_eq() {
            return Some(duration(point.ns));
        }
        let lower = || (0..index).rev().find_map(|index| self.point(index));
        let upper = || (at + 1..BUCKETS).find_map(|index| self.point(index));
        // Within a known size the line comes from below; in a gap it spans the gap.
        let other = if index == at { lower().or_else(upper) } else { upper().or_else(lower) };
        Some(duration(other.map_or_else(|| proportional(point, count), |other| line(point, other, count))))
    }

    /// An estimate for which work was refused shrinks a little: one that is too high would otherwise refuse all
    /// work and never be corrected.
    pub(crate) fn doubt(&self, rows: usize) {
        let at = bucket_of(rows);
        let known = |index: &usize| self.buckets[*index].rows.load(Relaxed) > 0;
        let index = (0..=at).rev().find(known).or_else(|| (at..BUCKETS).find(known));
        let Some(bucket) = index.and_then(|index| self.buckets.get(index)) else { return };
        let old = bucket.ns.load(Relaxed);
        bucket.ns.store((old - old.div_ceil(DOUBT)).max(1), Relaxed);
    }

    fn point(&self, index: usize) -> Option<Point> {
        let bucket = self.buckets.get(index)?;
        let rows = bucket.rows.load(Relaxed);
        (rows > 0).then(|| Point { rows: rows as f64 / PART as f64, ns: bucket.ns.load(Relaxed) as f64 })
    }
}

fn proportional(point: Point, rows: f64) -> f64 {
    point.ns * (rows / point.rows).max(1.0)
}

/// The line through two points at `rows`. More rows never cost less, and fewer never less than their part.
fn line(point: Point, other: Point, rows: f64) -> f64 {
    let slope = ((other.ns - point.ns) / (other.rows - point.rows)).max(0.0);
    let part = point.ns * (rows / point.rows).min(1.0);
    (point.ns + slope * (rows - point.rows)).max(part)
}

fn duration(ns: f64) -> Duration {
    Duration::from_nanos(ns as u64)
}

fn nanos(duration: Duration) -> u64 {
    // An hour bounds the products above.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).clamp(1, 3_600_000_000_000)
}

fn bucket_of(rows: usize) -> usize {
    let log = rows.max(1).next_power_of_two().trailing_zeros();
    usize::try_from(log).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        assert_eq!(cost.estimate(7), Some(70 * MICRO));
        cost.observe(64, 100 * MICRO);
        assert_eq!(cost.estimate(64), Some(100 * MICRO));
        assert!(cost.estimate(128).is_some_and(|cost| cost > 150 * MICRO && cost <= 200 * MICRO));
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

    #[test]
    fn an_estimate_that_only_refuses_gives_way() {
        let cost = Cost::default();
        cost.observe(4, 1000 * MICRO);
        (0..100).for_each(|_| cost.doubt(4));
        assert!(cost.estimate(4).expect("known") < 300 * MICRO);
        (0..100_000).for_each(|_| cost.doubt(1));
        assert!(cost.estimate(1).is_some());
    }

    proptest! {
        /// Two sizes of a straight line give every other size, within rounding.
        #[test]
        fn a_straight_line_is_known_from_two_sizes(
            slope in 0u64..50_000, base in 1u64..1_000_000, small in 0u32..7, more in 1u32..7, rows in 1usize..8192,
        ) {
            let cost = Cost::default();
            let truth = |rows: usize| Duration::from_nanos(slope * rows as u64 + base);
            for rows in [1usize << small, 1 << (small + more)] {
                cost.observe(rows, truth(rows));
            }
            let (got, want) = (cost.estimate(rows).expect("known").as_nanos() as f64, truth(rows).as_nanos() as f64);
            if rows >= 1 << small {
                prop_assert!((got - want).abs() <= 2.0 + want * 1e-6, "{got} for {want}");
            } else {
                prop_assert!(got >= want - 2.0, "the smallest known size bounds smaller ones: {got} for {want}");
            }
        }

        #[test]
        fn more_rows_are_never_expected_sooner_in_one_bucket(
            seen in prop::collection::vec((1usize..2000, 1u64..10_000_000), 1..40), rows in 1usize..2000,
        ) {
            let cost = Cost::default();
            for (rows, ns) in seen {
                cost.observe(rows, Duration::from_nanos(ns));
            }
            let top = rows.next_power_of_two();
            prop_assert!(cost.estimate(rows) <= cost.estimate(top), "{:?}", cost);
        }
    }
}
