//! What operators see of the outbox: every metric of this crate is named here and nowhere else.

use metrics::{Counter, Gauge};

use super::Backlog;

const TRIES: &str = "manpasik_outbox_tries_total";
const PENDING: &str = "manpasik_outbox_pending";
const PARKED: &str = "manpasik_outbox_parked";
const REJECTED: &str = "manpasik_outbox_rejected";
const LAG: &str = "manpasik_outbox_lag_seconds";

/// The metrics of one consumer.
pub(super) struct ConsumerMetrics {
    pub(super) done: Counter,
    pub(super) retried: Counter,
    pub(super) parked: Counter,
    pub(super) rejected: Counter,
    backlog: [Gauge; 4],
}

impl ConsumerMetrics {
    pub(super) fn new(consumer: &'static str) -> Self {
        metrics::describe_counter!(TRIES, "Tries of events by consumer and outcome");
        metrics::describe_gauge!(PENDING, "Events a consumer has still to take");
        metrics::describe_gauge!(PARKED, "Events given up after too many tries; a restart tries them again");
        metrics::describe_gauge!(REJECTED, "Events a consumer refused for good");
        metrics::describe_gauge!(
            LAG,
            metrics::Unit::Seconds,
            "Age of the oldest event a consumer has to take"
        );
        let tries =
            |outcome: &'static str| metrics::counter!(TRIES, "consumer" => consumer, "outcome" => outcome);
        Self {
            done: tries("done"),
            retried: tries("retried"),
            parked: tries("parked"),
            rejected: tries("rejected"),
            backlog: [PENDING, PARKED, REJECTED, LAG]
                .map(|name| metrics::gauge!(name, "consumer" => consumer)),
        }
    }

    pub(super) fn backlog(&self, backlog: Backlog) {
        let Backlog { pending, parked, rejected, oldest_ms } = backlog;
        let values = [pending as f64, parked as f64, rejected as f64, oldest_ms as f64 / 1000.0];
        for (gauge, value) in self.backlog.iter().zip(values) {
            gauge.set(value);
        }
    }
}
