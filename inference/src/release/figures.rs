//! What is counted of a version on trial and of the live one beside it. Counting is a few atomic additions.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Buckets of an octave, as bits.
const FINE_BITS: u32 = 3;
/// Octaves: up to 16 s.
const OCTAVES: usize = 24;
const BUCKETS: usize = OCTAVES << FINE_BITS;

/// Times of runs by their logarithm, eight buckets an octave: a percentile is off by an eighth at most.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Times([u64; BUCKETS]);

impl Default for Times {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

/// What was counted up to a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that the version on trial answered.
    pub answered: u64,
    /// Requests that it failed and the live version answered.
    pub failed: u64,
    /// Rows of its answers like the live version's.
    pub agreed: u64,
    /// Rows unlike them.
    pub differed: u64,
    /// Requests that should have been mirrored while the queue was full.
    pub dropped: u64,
    /// Why it drifts, if somebody has said so.
    pub drift: Option<String>,
    own: Times,
    live: Times,
}

impl Figures {
    /// What was counted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(earlier.answered),
            failed: self.failed.saturating_sub(earlier.failed),
            agreed: self.agreed.saturating_sub(earlier.agreed),
            differed: self.differed.saturating_sub(earlier.differed),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            drift: self.drift.clone(),
            own: self.own.since(&earlier.own),
            live: self.live.since(&earlier.live),
        }
    }

    /// 95th percentile of the runs of the version on trial, µs, and how many there were.
    #[must_use]
    pub fn p95_us(&self) -> (u64, u64) {
        self.own.p95_us()
    }

    /// The same of the live version.
    #[must_use]
    pub fn live_p95_us(&self) -> (u64, u64) {
        self.live.p95_us()
    }
}

impl Times {
    fn since(&self, earlier: &Self) -> Self {
        let mut left = self.clone();
        for (count, before) in left.0.iter_mut().zip(&earlier.0) {
            *count = count.saturating_sub(*before);
        }
        left
    }

    fn p95_us(&self) -> (u64, u64) {
        let count: u64 = self.0.iter().sum();
        let below = (count * 95).div_ceil(100);
        let mut seen = 0;
        let at = self.0.iter().position(|bucket| {
            seen += bucket;
            seen >= below
        });
        (at.filter(|_| count > 0).map_or(0, least_us), count)
    }
}

/// Where a time is counted.
fn bucket(us: u64) -> usize {
    let us = us.max(1 << FINE_BITS);
    let octave = us.ilog2();
    let fine = (us >> (octave - FINE_BITS)) & ((1 << FINE_BITS) - 1);
    let index = u64::from(octave - FINE_BITS) << FINE_BITS | fine;
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Shortest time that is counted there.
fn least_us(bucket: usize) -> u64 {
    let (octave, fine) = (bucket >> FINE_BITS, bucket as u64 & ((1 << FINE_BITS) - 1));
    ((1 << FINE_BITS) + fine) << octave
}

/// The counters behind [`Figures`].
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) agreed: AtomicU64,
    pub(super) differed: AtomicU64,
    pub(super) dropped: AtomicU64,
    drift: Mutex<Option<String>>,
    own: Box<[AtomicU64]>,
    live: Box<[AtomicU64]>,
}

impl Default for Counts {
    fn default() -> Self {
        let zeros = || (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self {
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            agreed: AtomicU64::new(0),
            differed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            drift: Mutex::default(),
            own: zeros(),
            live: zeros(),
        }
    }
}

impl Counts {
    /// A run of the version on trial took so long.
    pub(super) fn ran(&self, us: u64) {
        add(&self.own, us);
    }

    /// A run of the live version took so long.
    pub(super) fn live_ran(&self, us: u64) {
        add(&self.live, us);
    }

    /// Somebody says why the version on trial drifts.
    pub(super) fn drifts(&self, reason: &str) {
        *self.drift.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    /// Everything up to now.
    pub(super) fn read(&self) -> Figures {
        Figures {
            answered: self.answered.load(Relaxed),
            failed: self.failed.load(Relaxed),
            agreed: self.agreed.load(Relaxed),
            differed: self.differed.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            drift: self.drift.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            own: read(&self.own),
            live: read(&self.live),
        }
    }
}

fn add(times: &[AtomicU64], us: u64) {
    if let Some(bucket) = times.get(bucket(us)) {
        bucket.fetch_add(1, Relaxed);
    }
}

fn read(times: &[AtomicU64]) -> Times {
    let mut read = Times::default();
    for (to, from) in read.0.iter_mut().zip(times) {
        *to = from.load(Relaxed);
    }
    read
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_percentile_is_off_by_an_eighth_at_most(mut times in prop::collection::vec(8..10_000_000_u64, 1..300)) {
            let counts = Counts::default();
            times.iter().for_each(|us| counts.ran(*us));
            let (p95, count) = counts.read().p95_us();
            times.sort_unstable();
            let exact = times[(times.len() * 95).div_ceil(100) - 1];
            prop_assert_eq!(count, times.len() as u64);
            prop_assert!(p95 <= exact && exact < p95 + p95 / 8 + 1, "{} is told as {}", exact, p95);
        }
    }

    #[test]
    fn what_came_later_is_told_alone() {
        let counts = Counts::default();
        (0..100).for_each(|_| counts.ran(1_000));
        counts.failed.fetch_add(3, Relaxed);
        let before = counts.read();
        (0..50).for_each(|_| counts.ran(64_000));
        counts.live_ran(0);
        let later = counts.read().since(&before);
        assert_eq!((later.failed, later.p95_us(), later.live_p95_us()), (0, (61_440, 50), (8, 1)));
        counts.ran(u64::MAX);
        assert_eq!(counts.read().p95_us().1, 151, "beyond all buckets is the last");
    }
}
