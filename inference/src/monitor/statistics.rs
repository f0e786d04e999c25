//! Counts and durations of one model version, as the statistics extension of the protocol tells them.
//!
//! Every request and every batch adds to a few counters without a lock. What is read while requests run may be
//! a request apart from one figure to the next.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How often something happened, and how long it took altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// How often.
    pub count: u64,
    /// Nanoseconds altogether.
    pub ns: u64,
}

/// Parts of a batch that are not the model: putting rows together before it, taking them apart behind it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spans {
    pub(crate) input: Duration,
    pub(crate) output: Duration,
}

/// Batches of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchStatistics {
    /// Rows of each.
    pub rows: u64,
    /// Rows put together.
    pub input: Spent,
    /// Model run.
    pub infer: Spent,
    /// Rows taken apart.
    pub output: Spent,
}

/// What happened to one model version since it was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// End of the last batch in milliseconds since 1970; 0 before the first.
    pub last_inference_ms: u64,
    /// Rows that were run.
    pub rows: u64,
    /// Batches that were run.
    pub batches: u64,
    /// Requests that were answered, from arrival to answer.
    pub success: Spent,
    /// Requests that were refused or failed.
    pub fail: Spent,
    /// Time of the answered in the queue.
    pub queue: Spent,
    /// Time in which their rows were put together.
    pub input: Spent,
    /// Time in which the model ran.
    pub infer: Spent,
    /// Time in which their rows were taken apart.
    pub output: Spent,
    /// Answers that were kept: how many, and the time of finding them.
    pub cache_hit: Spent,
    /// Requests for which none was kept: how many, and the time of looking and of keeping the answer.
    pub cache_miss: Spent,
    /// The batches by their rows, ascending.
    pub by_rows: Vec<BatchStatistics>,
}

#[derive(Debug, Default)]
struct BatchTally {
    count: AtomicU64,
    input_ns: AtomicU64,
    infer_ns: AtomicU64,
    output_ns: AtomicU64,
}

/// The counters behind [`Statistics`].
#[derive(Debug)]
pub(crate) struct Tally {
    born: Instant,
    /// Nanoseconds from `born` to the end of the last batch.
    last_ns: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    success_ns: AtomicU64,
    fail_ns: AtomicU64,
    queue_ns: AtomicU64,
    input_ns: AtomicU64,
    infer_ns: AtomicU64,
    output_ns: AtomicU64,
    hits: Counted,
    misses: Counted,
    by_rows: Box<[BatchTally]>,
}

/// The counters behind a [`Spent`].
#[derive(Debug, Default)]
struct Counted {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Counted {
    fn add(&self, time: Duration) {
        self.count.fetch_add(1, Relaxed);
        add(&self.ns, time);
    }

    fn read(&self) -> Spent {
        Spent { count: self.count.load(Relaxed), ns: self.ns.load(Relaxed) }
    }
}

impl Tally {
    /// Counters for batches of up to `rows_max`.
    pub(crate) fn new(rows_max: usize) -> Self {
        let zero = AtomicU64::default;
        Self {
            born: Instant::now(),
            last_ns: zero(),
            answered: zero(),
            failed: zero(),
            success_ns: zero(),
            fail_ns: zero(),
            queue_ns: zero(),
            input_ns: zero(),
            infer_ns: zero(),
            output_ns: zero(),
            hits: Counted::default(),
            misses: Counted::default(),
            by_rows: (0..rows_max).map(|_| BatchTally::default()).collect(),
        }
    }

    /// One request was answered `total` after it came; `ran` is the time of its whole batch.
    pub(crate) fn answered(&self, total: Duration, queued: Duration, ran: Duration, spans: Spans) {
        self.answered.fetch_add(1, Relaxed);
        add(&self.success_ns, total);
        add(&self.queue_ns, queued);
        add(&self.infer_ns, ran.saturating_sub(spans.input + spans.output));
        add(&self.input_ns, spans.input);
        add(&self.output_ns, spans.output);
    }

    /// One request was answered `total` after it came, with an answer that was kept.
    pub(crate) fn hit(&self, total: Duration) {
        self.hits.add(total);
        self.answered.fetch_add(1, Relaxed);
        add(&self.success_ns, total);
    }

    /// For one request no answer was kept; looking and keeping took `took`.
    pub(crate) fn missed(&self, took: Duration) {
        self.misses.add(took);
    }

    /// One request got no answer.
    pub(crate) fn failed(&self, total: Duration) {
        self.failed.fetch_add(1, Relaxed);
        add(&self.fail_ns, total);
    }

    /// A batch of `rows` ended at `finished` after `ran`.
    pub(crate) fn ran(&self, rows: usize, finished: Instant, ran: Duration, spans: Spans) {
        let Some(batch) = rows.checked_sub(1).and_then(|at| self.by_rows.get(at)) else { return };
        batch.count.fetch_add(1, Relaxed);
        add(&batch.infer_ns, ran.saturating_sub(spans.input + spans.output));
        add(&batch.input_ns, spans.input);
        add(&batch.output_ns, spans.output);
        self.last_ns.store(nanos(finished.saturating_duration_since(self.born)).max(1), Relaxed);
    }

    /// Everything up to now.
    pub(crate) fn read(&self) -> Statistics {
        let answered = self.answered.load(Relaxed);
        let (cache_hit, cache_miss) = (self.hits.read(), self.misses.read());
        // Kept answers neither waited nor ran.
        let ran = answered.saturating_sub(cache_hit.count);
        let of = |ns: &AtomicU64| Spent { count: ran, ns: ns.load(Relaxed) };
        let by_rows: Vec<BatchStatistics> = (1..)
            .zip(&self.by_rows)
            .filter(|(_, batch)| batch.count.load(Relaxed) > 0)
            .map(|(rows, batch)| batch.read(rows))
            .collect();
        Statistics {
            last_inference_ms: self.last_ms(),
            rows: by_rows.iter().map(|batch| batch.rows * batch.infer.count).sum(),
            batches: by_rows.iter().map(|batch| batch.infer.count).sum(),
            success: Spent { count: answered, ns: self.success_ns.load(Relaxed) },
            fail: Spent { count: self.failed.load(Relaxed), ns: self.fail_ns.load(Relaxed) },
            queue: of(&self.queue_ns),
            input: of(&self.input_ns),
            infer: of(&self.infer_ns),
            output: of(&self.output_ns),
            cache_hit,
            cache_miss,
            by_rows,
        }
    }

    /// The clock that tells the date is asked when somebody reads, not for every batch.
    fn last_ms(&self) -> u64 {
        let last = self.last_ns.load(Relaxed);
        if last == 0 {
            return 0;
        }
        let ago = self.born.elapsed().saturating_sub(Duration::from_nanos(last));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX)
    }
}

impl BatchTally {
    fn read(&self, rows: u64) -> BatchStatistics {
        let count = self.count.load(Relaxed);
        let of = |ns: &AtomicU64| Spent { count, ns: ns.load(Relaxed) };
        BatchStatistics {
            rows,
            input: of(&self.input_ns),
            infer: of(&self.infer_ns),
            output: of(&self.output_ns),
        }
    }
}

/// Nothing is the usual time of putting one request together, and is not worth a write.
fn add(counter: &AtomicU64, time: Duration) {
    if !time.is_zero() {
        counter.fetch_add(nanos(time), Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_told() {
        let tally = Tally::new(4);
        assert_eq!(tally.read(), Statistics::default());
        let (ns, spans) =
            (Duration::from_nanos, Spans { input: Duration::from_nanos(3), output: Duration::from_nanos(2) });
        tally.ran(4, Instant::now(), ns(25), spans);
        tally.ran(5, Instant::now(), ns(25), spans);
        tally.answered(ns(100), ns(10), ns(25), spans);
        tally.answered(ns(50), ns(0), ns(5), Spans::default());
        tally.failed(ns(7));
        tally.missed(ns(4));
        tally.hit(ns(1));
        let read = tally.read();
        assert_eq!((read.rows, read.batches), (4, 1), "a size beyond the limit is not counted");
        assert_eq!(read.success, Spent { count: 3, ns: 151 });
        assert_eq!((read.cache_hit, read.cache_miss), (Spent { count: 1, ns: 1 }, Spent { count: 1, ns: 4 }));
        assert_eq!(read.infer.count, 2, "a kept answer did not run");
        assert_eq!(read.fail, Spent { count: 1, ns: 7 });
        assert_eq!((read.queue.ns, read.input.ns, read.infer.ns, read.output.ns), (10, 3, 25, 2));
        let batch = read.by_rows[0];
        assert_eq!((batch.rows, batch.infer, batch.output.ns), (4, Spent { count: 1, ns: 20 }, 2));
        assert!(read.last_inference_ms > 1_600_000_000_000, "{}", read.last_inference_ms);
    }
}
