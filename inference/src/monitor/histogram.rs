//! Histograms of durations, one for each stage of a request of a model version, with exemplars.
//!
//! Recording is a search among the bounds and two additions. An exemplar is the last traced request of its bucket:
//! a dashboard leads from a slow bucket to the trace that fell into it. They are told in the OpenMetrics form only,
//! since the older one has no place for them.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::TraceId;

/// Bounds in nanoseconds and as they are written, in seconds: a tiny model takes microseconds, an image tens of
/// milliseconds.
const BOUNDS: [(u64, &str); 17] = [
    (10_000, "0.00001"),
    (25_000, "0.000025"),
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (5_000_000_000, "5"),
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// Stages of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Queue,
    Input,
    Compute,
    Output,
    Total,
}

impl Stage {
    pub(crate) const ALL: [Self; 5] = [Self::Queue, Self::Input, Self::Compute, Self::Output, Self::Total];

    /// Name of its histogram.
    pub(crate) fn metric(self) -> &'static str {
        match self {
            Self::Queue => "manpasik_inference_queue_seconds",
            Self::Input => "manpasik_inference_input_seconds",
            Self::Compute => "manpasik_inference_compute_seconds",
            Self::Output => "manpasik_inference_output_seconds",
            Self::Total => "manpasik_inference_request_seconds",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Queue => "Time from admission to the start of the batch",
            Self::Input => "Time in which the rows of the batch of a request were put together",
            Self::Compute => "Time the model ran on the batch of a request",
            Self::Output => "Time in which the rows of the batch of a request were taken apart",
            Self::Total => "Time from arrival at the scheduler to the answer",
        }
    }
}

/// The last traced request of a bucket.
#[derive(Debug, Clone, Copy)]
struct Exemplar {
    trace: TraceId,
    ns: u64,
    at: Duration,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
    exemplars: Mutex<[Option<Exemplar>; BUCKETS]>,
}

impl Histogram {
    fn record(&self, time: Duration, trace: Option<TraceId>) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < ns);
        self.counts[bucket].fetch_add(1, Relaxed);
        if ns > 0 {
            self.sum_ns.fetch_add(ns, Relaxed);
        }
        // Nobody waits for the sake of an exemplar.
        if let (Some(trace), Ok(mut exemplars)) = (trace, self.exemplars.try_lock()) {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            exemplars[bucket] = Some(Exemplar { trace, ns, at });
        }
    }

    fn write(&self, text: &mut String, name: &str, labels: &str, with_exemplars: bool) {
        let exemplars = *self.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for ((bucket, bound), exemplar) in self.counts.iter().zip(bounds).zip(exemplars) {
            count += bucket.load(Relaxed);
            let _ = write!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            if let Some(Exemplar { trace, ns, at }) = exemplar.filter(|_| with_exemplars) {
                let (value, at) = (seconds(ns), at.as_secs_f64());
                let _ = write!(text, " # {{trace_id=\"{trace}\"}} {value} {at:.3}");
            }
            text.push('\n');
        }
        let sum = seconds(self.sum_ns.load(Relaxed));
        let _ = write!(text, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}\n");
    }
}

fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

/// The histograms of one model version.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    histograms: [Histogram; Stage::ALL.len()],
}

impl Stages {
    /// Records `time` in `stage`, for the request of `trace`.
    pub(crate) fn record(&self, stage: Stage, time: Duration, trace: Option<TraceId>) {
        if let Some(histogram) = self.histograms.get(stage as usize) {
            histogram.record(time, trace);
        }
    }
}

type Table = BTreeMap<(String, String), Arc<Stages>>;

/// Versions kept when one more is loaded; beyond that those go that nothing records any more. Clients may name the
/// versions they send along as they like.
const VERSIONS_MAX: usize = 1_024;

/// Every model version there was, like the other metrics of the process, up to that many.
static STAGES: Mutex<Table> = Mutex::new(Table::new());

fn table() -> MutexGuard<'static, Table> {
    STAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The histograms of `version` of `model`: those it had when it was loaded before.
pub(crate) fn of(model: &str, version: &str) -> Arc<Stages> {
    let mut table = table();
    if table.len() >= VERSIONS_MAX {
        table.retain(|_, stages| Arc::strong_count(stages) > 1);
    }
    Arc::clone(table.entry((model.to_owned(), version.to_owned())).or_default())
}

/// Every histogram as text.
pub(crate) fn write(text: &mut String, with_exemplars: bool) {
    let table = table();
    for stage in Stage::ALL {
        let (name, help) = (stage.metric(), stage.help());
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        for ((model, version), stages) in &*table {
            let labels = format!("model=\"{}\",version=\"{}\"", escaped(model), escaped(version));
            if let Some(histogram) = stages.histograms.get(stage as usize) {
                histogram.write(text, name, &labels, with_exemplars);
            }
        }
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every time falls below its bound and above the one before, and all are counted once.
        #[test]
        fn a_time_is_counted_in_every_bucket_that_holds_it(times in prop::collection::vec(0u64..10_000_000_000, 0..50)) {
            let histogram = Histogram::default();
            times.iter().for_each(|ns| histogram.record(Duration::from_nanos(*ns), None));
            let mut text = String::new();
            histogram.write(&mut text, "m", "a=\"b\"", true);
            let value = |start: &str| -> f64 {
                let line = text.lines().find(|line| line.starts_with(start)).expect("a line");
                line.rsplit(' ').next().expect("a value").parse().expect("a number")
            };
            for (bound, written) in BOUNDS {
                let below = times.iter().filter(|ns| **ns <= bound).count();
                prop_assert_eq!(value(&format!("m_bucket{{a=\"b\",le=\"{written}\"}}")), below as f64);
                prop_assert_eq!((written.parse::<f64>().expect("a number") * 1e9).round(), bound as f64);
            }
            prop_assert_eq!(value("m_count"), times.len() as f64);
            prop_assert!((value("m_sum") - times.iter().sum::<u64>() as f64 / 1e9).abs() < 1e-6);
        }
    }

    #[test]
    fn a_traced_request_is_the_exemplar_of_its_bucket() {
        let histogram = Histogram::default();
        let trace =
            TraceId::new(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes()).expect("not 0");
        histogram.record(Duration::from_micros(20), Some(trace));
        histogram.record(Duration::from_micros(21), None);
        let (mut with, mut without) = (String::new(), String::new());
        histogram.write(&mut with, "m", "a=\"b\"", true);
        histogram.write(&mut without, "m", "a=\"b\"", false);
        let line = with.lines().find(|line| line.contains("le=\"0.000025\"")).expect("the bucket");
        assert!(line.contains("} 2 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 0.00002 "), "{line}");
        assert_eq!(with.matches("trace_id").count(), 1);
        assert!(!without.contains('#'));
    }
}
