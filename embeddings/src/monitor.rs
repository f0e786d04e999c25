//! What the vector store measures: every metric of this crate is named here and nowhere else.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

const SEARCH: &str = "manpasik_vector_search_seconds";
const REFUSED: &str = "manpasik_vector_refused_total";
const RECALL: &str = "manpasik_vector_recall_ratio";
const LAG: &str = "manpasik_vector_index_lag_points";
const POINTS: &str = "manpasik_vector_points";
const WRITTEN: &str = "manpasik_vector_written_total";
const REBUILT: &str = "manpasik_vector_index_rebuilt_total";

/// Weight of a new sample in the recall that is shown: about the last twenty samples count.
const SAMPLE_WEIGHT: f64 = 0.05;

/// Handles of one collection.
pub(crate) struct Monitor {
    search: Histogram,
    refused: Counter,
    recall: Gauge,
    lag: Gauge,
    points: Gauge,
    written: Counter,
    rebuilt: Counter,
    smoothed: std::sync::Mutex<Option<f64>>,
}

impl Monitor {
    /// Looks up every handle.
    pub(crate) fn new(collection: &str) -> Self {
        let labels = [("collection", collection.to_owned())];
        Self {
            search: metrics::histogram!(SEARCH, &labels),
            refused: metrics::counter!(REFUSED, &labels),
            recall: metrics::gauge!(RECALL, &labels),
            lag: metrics::gauge!(LAG, &labels),
            points: metrics::gauge!(POINTS, &labels),
            written: metrics::counter!(WRITTEN, &labels),
            rebuilt: metrics::counter!(REBUILT, &labels),
            smoothed: std::sync::Mutex::new(None),
        }
    }

    /// A search was answered.
    pub(crate) fn searched(&self, took: Duration) {
        self.search.record(took.as_secs_f64());
    }

    /// A call was refused because too much was waiting.
    pub(crate) fn refused(&self) {
        self.refused.increment(1);
    }

    /// Points were written or deleted.
    pub(crate) fn written(&self, points: usize) {
        self.written.increment(points as u64);
    }

    /// A search was compared with exact search.
    pub(crate) fn sampled(&self, recall: f64) {
        let mut smoothed = self.smoothed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let value = smoothed.map_or(recall, |before| before + SAMPLE_WEIGHT * (recall - before));
        *smoothed = Some(value);
        self.recall.set(value);
    }

    /// The sampled recall; `None` before the first sample.
    pub(crate) fn recall(&self) -> Option<f64> {
        *self.smoothed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The index was built anew.
    pub(crate) fn rebuilt(&self) {
        self.rebuilt.increment(1);
    }

    /// Points there are, and how many of them wait for the index.
    pub(crate) fn holds(&self, points: usize, lag: usize) {
        self.points.set(points as f64);
        self.lag.set(lag as f64);
    }
}
