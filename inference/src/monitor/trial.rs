//! What is told of a version on trial. Its errors and times are told like those of every version.

use std::sync::{Mutex, PoisonError};

use metrics::{Counter, Gauge};

use crate::{Figures, Stage};

const SHARE: &str = "manpasik_release_share_percent";
const REQUESTS: &str = "manpasik_release_requests_total";
const ROWS: &str = "manpasik_release_compared_rows_total";
const DROPPED: &str = "manpasik_release_mirrors_dropped_total";
const P95: &str = "manpasik_release_run_p95_seconds";

pub(super) fn describe() {
    metrics::describe_gauge!(
        SHARE,
        "Callers that a version on trial answers, or requests it is sent in shadow"
    );
    metrics::describe_counter!(
        REQUESTS,
        "Requests that a version on trial answered, or failed so that the live one did"
    );
    metrics::describe_counter!(
        ROWS,
        "Answers of a version on trial that agreed with the live one's or differed"
    );
    metrics::describe_counter!(DROPPED, "Requests that were not mirrored because the queue was full");
    metrics::describe_gauge!(
        P95,
        "95th percentile of the runs during a trial, of the version on trial and the live one"
    );
}

/// Handles of one trial.
#[derive(Debug)]
pub(crate) struct TrialMetrics {
    canary: Gauge,
    shadow: Gauge,
    answered: Counter,
    failed: Counter,
    agreed: Counter,
    differed: Counter,
    dropped: Counter,
    own: Gauge,
    live: Gauge,
    told: Mutex<[u64; 5]>,
}

impl TrialMetrics {
    /// Looks up every handle.
    pub(crate) fn new(model: &str, version: &str) -> Self {
        let labels = |key: &'static str, value: &'static str| {
            [("model", model.to_owned()), ("version", version.to_owned()), (key, value.to_owned())]
        };
        let request = |outcome| metrics::counter!(REQUESTS, &labels("outcome", outcome));
        let rows = |outcome| metrics::counter!(ROWS, &labels("outcome", outcome));
        Self {
            canary: metrics::gauge!(SHARE, &labels("stage", "canary")),
            shadow: metrics::gauge!(SHARE, &labels("stage", "shadow")),
            answered: request("answered"),
            failed: request("failed"),
            agreed: rows("agreed"),
            differed: rows("differed"),
            dropped: metrics::counter!(DROPPED, "model" => model.to_owned(), "version" => version.to_owned()),
            own: metrics::gauge!(P95, &labels("of", "trial")),
            live: metrics::gauge!(P95, &labels("of", "live")),
            told: Mutex::default(),
        }
    }

    /// Tells what was counted since the last time, and the share.
    pub(crate) fn observe(&self, figures: &Figures, stage: Stage, share: u8) {
        let gauge = match stage {
            Stage::Shadow => &self.shadow,
            Stage::Canary => &self.canary,
        };
        gauge.set(f64::from(share));
        let Figures { answered, failed, agreed, differed, dropped, .. } = figures;
        let now = [*answered, *failed, *agreed, *differed, *dropped];
        let counters = [&self.answered, &self.failed, &self.agreed, &self.differed, &self.dropped];
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for ((counter, now), told) in counters.into_iter().zip(now).zip(told.iter_mut()) {
            counter.increment(now.saturating_sub(*told));
            *told = now;
        }
        let seconds = |(us, _): (u64, u64)| us as f64 / 1e6;
        self.own.set(seconds(figures.p95_us()));
        self.live.set(seconds(figures.live_p95_us()));
    }
}
