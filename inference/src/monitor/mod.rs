//! What the scheduler measures: every metric of this crate is named here and nowhere else.
//!
//! Handles are looked up once, when a model version is installed; recording is a few atomic
//! operations and never touches a label.

mod exposition;
mod histogram;
mod statistics;
mod trial;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics::{Counter, Gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use self::histogram::{Stage, Stages};
pub use self::statistics::{BatchStatistics, Spent, Statistics};
pub(crate) use self::{
    exposition::Form,
    statistics::{Spans, Tally},
    trial::TrialMetrics,
};
use crate::{ErrorCode, TraceId};

const REQUESTS: &str = "manpasik_inference_requests_total";
const ROWS: &str = "manpasik_inference_rows_total";
const BATCHES: &str = "manpasik_inference_batches_total";
const ABANDONED: &str = "manpasik_inference_abandoned_total";
const REPLACED: &str = "manpasik_inference_instances_replaced_total";
const CACHE: &str = "manpasik_inference_cache_total";
const DEPTH: &str = "manpasik_inference_queue_depth";

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the process-wide recorder once and gives the handle that renders it. `None` when
/// another recorder is already there.
pub fn install() -> Option<PrometheusHandle> {
    RECORDER.get_or_init(build).clone()
}

fn build() -> Option<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().ok()?;
    describe();
    Some(handle)
}

fn describe() {
    metrics::describe_counter!(REQUESTS, "Requests by outcome");
    metrics::describe_counter!(ROWS, "Rows that were run");
    metrics::describe_counter!(BATCHES, "Batches that were run");
    metrics::describe_counter!(ABANDONED, "Requests whose caller left before they ran");
    metrics::describe_counter!(REPLACED, "Instances replaced after a panic or a hang");
    metrics::describe_counter!(CACHE, "Requests to models that keep answers, by whether one was kept");
    metrics::describe_gauge!(DEPTH, "Requests that wait");
    trial::describe();
}

/// Bounds the memory of the recorder; to be called every second or so.
pub(crate) fn upkeep() {
    if let Some(Some(handle)) = RECORDER.get() {
        handle.run_upkeep();
    }
}

/// How long one answered request took, and where.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// In the queue.
    pub queue: Duration,
    /// While the rows of its batch were put together.
    pub input: Duration,
    /// While the model ran.
    pub compute: Duration,
    /// While the rows of its batch were taken apart.
    pub output: Duration,
    /// From arrival to answer.
    pub total: Duration,
}

/// Handles of one model version.
pub struct ModelMetrics {
    stages: Arc<Stages>,
    answered: Counter,
    refused: [Counter; ErrorCode::ALL.len()],
    rows: Counter,
    batches: Counter,
    abandoned: Counter,
    replaced: Counter,
    hits: Counter,
    misses: Counter,
    depth: Gauge,
}

impl ModelMetrics {
    /// Looks up every handle.
    pub fn new(model: &str, version: &str) -> Self {
        let labels = [("model", model.to_owned()), ("version", version.to_owned())];
        let outcome = |outcome: &'static str| {
            metrics::counter!(REQUESTS, "model" => model.to_owned(), "version" => version.to_owned(),
                "outcome" => outcome)
        };
        let cache = |result: &'static str| metrics::counter!(CACHE, "model" => model.to_owned(), "version" => version.to_owned(), "result" => result);
        Self {
            hits: cache("hit"),
            misses: cache("miss"),
            stages: histogram::of(model, version),
            answered: outcome("ok"),
            refused: ErrorCode::ALL.map(|code| outcome(code.as_str())),
            rows: metrics::counter!(ROWS, &labels),
            batches: metrics::counter!(BATCHES, &labels),
            abandoned: metrics::counter!(ABANDONED, &labels),
            replaced: metrics::counter!(REPLACED, &labels),
            depth: metrics::gauge!(DEPTH, &labels),
        }
    }

    /// One request, of `trace`, was answered.
    pub fn answered(&self, times: Times, trace: Option<TraceId>) {
        let Times { queue, input, compute, output, total } = times;
        self.answered.increment(1);
        let stages = [queue, input, compute, output, total];
        Stage::ALL.into_iter().zip(stages).for_each(|(stage, time)| self.stages.record(stage, time, trace));
    }

    /// One request was answered after `total` with an answer that was kept.
    pub(crate) fn hit(&self, total: Duration, trace: Option<TraceId>) {
        self.hits.increment(1);
        self.answered.increment(1);
        self.stages.record(Stage::Total, total, trace);
    }

    /// For one request no answer was kept.
    pub(crate) fn missed(&self) {
        self.misses.increment(1);
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
