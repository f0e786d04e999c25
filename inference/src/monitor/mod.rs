//! What the scheduler measures: every metric of this crate is named here and nowhere else.
//!
//! Handles are looked up once, when a model version is installed; recording is a few atomic
//! operations and never touches a label.

mod statistics;
mod trial;

use std::{sync::OnceLock, time::Duration};

use metrics::{Counter, Gauge, Histogram, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use self::statistics::{BatchStatistics, Spent, Statistics};
pub(crate) use self::statistics::{Spans, Tally};
pub(crate) use self::trial::TrialMetrics;
use crate::{ErrorCode, Response};

const QUEUE: &str = "manpasik_inference_queue_seconds";
const COMPUTE: &str = "manpasik_inference_compute_seconds";
const TOTAL: &str = "manpasik_inference_request_seconds";
const REQUESTS: &str = "manpasik_inference_requests_total";
const ROWS: &str = "manpasik_inference_rows_total";
const BATCHES: &str = "manpasik_inference_batches_total";
const ABANDONED: &str = "manpasik_inference_abandoned_total";
const REPLACED: &str = "manpasik_inference_instances_replaced_total";
const DEPTH: &str = "manpasik_inference_queue_depth";

/// Bucket bounds in seconds: a tiny model takes microseconds, an image tens of milliseconds.
const BUCKETS: [f64; 17] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 5.0,
];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the process-wide recorder once and gives the handle that renders it. `None` when
/// another recorder is already there.
pub fn install() -> Option<PrometheusHandle> {
    RECORDER.get_or_init(build).clone()
}

fn build() -> Option<PrometheusHandle> {
    let builder = [QUEUE, COMPUTE, TOTAL].into_iter().try_fold(PrometheusBuilder::new(), |builder, name| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &BUCKETS)
    });
    let handle = builder.ok()?.install_recorder().ok()?;
    describe();
    Some(handle)
}

fn describe() {
    metrics::describe_histogram!(QUEUE, Unit::Seconds, "Time from admission to the start of the batch");
    metrics::describe_histogram!(COMPUTE, Unit::Seconds, "Time the batch of a request ran");
    metrics::describe_histogram!(TOTAL, Unit::Seconds, "Time from arrival at the scheduler to the answer");
    metrics::describe_counter!(REQUESTS, "Requests by outcome");
    metrics::describe_counter!(ROWS, "Rows that were run");
    metrics::describe_counter!(BATCHES, "Batches that were run");
    metrics::describe_counter!(ABANDONED, "Requests whose caller left before they ran");
    metrics::describe_counter!(REPLACED, "Instances replaced after a panic or a hang");
    metrics::describe_gauge!(DEPTH, "Requests that wait");
    trial::describe();
}

/// Bounds the memory of the recorder; to be called every second or so.
pub(crate) fn upkeep() {
    if let Some(Some(handle)) = RECORDER.get() {
        handle.run_upkeep();
    }
}

/// Handles of one model version.
pub(crate) struct ModelMetrics {
    queue: Histogram,
    compute: Histogram,
    total: Histogram,
    answered: Counter,
    refused: [Counter; ErrorCode::ALL.len()],
    rows: Counter,
    batches: Counter,
    abandoned: Counter,
    replaced: Counter,
    depth: Gauge,
}

impl ModelMetrics {
    /// Looks up every handle.
    pub(crate) fn new(model: &str, version: &str) -> Self {
        let labels = [("model", model.to_owned()), ("version", version.to_owned())];
        let outcome = |outcome: &'static str| {
            metrics::counter!(REQUESTS, "model" => model.to_owned(), "version" => version.to_owned(),
                "outcome" => outcome)
        };
        Self {
            queue: metrics::histogram!(QUEUE, &labels),
            compute: metrics::histogram!(COMPUTE, &labels),
            total: metrics::histogram!(TOTAL, &labels),
            answered: outcome("ok"),
            refused: ErrorCode::ALL.map(|code| outcome(code.as_str())),
            rows: metrics::counter!(ROWS, &labels),
            batches: metrics::counter!(BATCHES, &labels),
            abandoned: metrics::counter!(ABANDONED, &labels),
            replaced: metrics::counter!(REPLACED, &labels),
            depth: metrics::gauge!(DEPTH, &labels),
        }
    }

    /// One request was answered after `total`.
    pub(crate) fn answered(&self, response: &Response, total: Duration) {
        self.answered.increment(1);
        self.queue.record(seconds(response.queue_us));
        self.compute.record(seconds(response.compute_us));
        self.total.record(total.as_secs_f64());
    }

    /// One request was refused or failed.
    pub(crate) fn refused(&self, code: ErrorCode) {
        let index = ErrorCode::ALL.iter().position(|other| *other == code);
        if let Some(counter) = index.and_then(|index| self.refused.get(index)) {
            counter.increment(1);
        }
    }

    /// One batch ran.
    pub(crate) fn ran(&self, rows: usize) {
        self.batches.increment(1);
        self.rows.increment(rows as u64);
    }

    /// Entries left the queue because their callers had gone.
    pub(crate) fn abandoned(&self, count: usize) {
        self.abandoned.increment(count as u64);
    }

    /// An instance was given up.
    pub(crate) fn replaced(&self) {
        self.replaced.increment(1);
    }

    /// Length of the queue now.
    pub(crate) fn depth(&self, depth: usize) {
        self.depth.set(depth as f64);
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
