//! Drift: whether what a model is asked, and what it answers, still looks like its training.
//!
//! Every answered request of a model whose bundle carries a training reference leaves its tensors in a bounded queue; no
//! request waits for it, and what finds no place is counted (`manpasik_drift_dropped_total`). One thread takes them out,
//! a few times a second, and puts them into sketches by cohort. When a window has cases enough it is compared and closed:
//! figures become gauges, an alarm becomes a line of the log, and whoever listens is told. A model without a reference is
//! not watched, since its own first requests would be no ground to stand on.

mod sketch;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use metrics::Counter;
use models::{
    Bundle, Tensor,
    calibration::Cohort,
    reference::{Layout, Reference},
};
use tokio::sync::mpsc;

pub use self::window::Figure;
use self::window::Window;

/// Answered requests that wait to be looked at; further ones are dropped.
const QUEUE_MAX: usize = 256;
/// Rows of one request that are looked at: a batch of one caller says little more with more.
const ROWS_MAX: usize = 16;
/// Time between two looks into the queue. With its depth this bounds what the thread can cost.
const STEP: Duration = Duration::from_millis(250);

const INDEX: &str = "manpasik_drift_stability_index";
const DISTANCE: &str = "manpasik_drift_distance";
const DROPPED: &str = "manpasik_drift_dropped_total";
const ALARMS: &str = "manpasik_drift_alarms_total";

/// When a difference counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Cases of a window.
    pub rows: u64,
    /// Largest population stability index that is no alarm.
    pub index_max: f64,
    /// Largest Kolmogorov-Smirnov distance that is no alarm.
    pub distance_max: f64,
}

/// A window that was compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// Model name.
    pub model: String,
    /// Version that was asked.
    pub version: String,
    /// Whose cases; none: of everybody.
    pub cohort: Option<Cohort>,
    /// Cases in the window.
    pub rows: u64,
    /// Every column that can be compared.
    pub figures: Vec<Figure>,
}

/// What a version is compared with.
#[derive(Debug)]
pub(crate) struct Ground {
    model: String,
    version: String,
    layout: Layout,
    reference: Reference,
}

impl Ground {
    /// The ground that the bundle gives, for the version that serves as `version`.
    pub(crate) fn of(bundle: &Bundle, version: &str) -> Option<Arc<Self>> {
        let (layout, reference) = (Layout::of(bundle.config())?, bundle.reference()?.clone());
        let model = bundle.config().name.clone();
        Some(Arc::new(Self { model, version: version.to_owned(), layout, reference }))
    }
}

/// One answered request.
struct Seen {
    ground: Arc<Ground>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// Rows that are cases.
    cases: usize,
}

/// Where answered requests are left.
#[derive(Debug)]
pub(crate) struct Drift {
    queue: mpsc::Sender<Seen>,
    dropped: Counter,
    thresholds: Arc<Mutex<Settings>>,
}

/// Thresholds of all models, and of those that have their own.
#[derive(Debug)]
struct Settings {
    all: Thresholds,
    own: HashMap<String, Thresholds>,
}

/// A place in the queue, taken before the answer is known.
pub(crate) struct Place<'a> {
    permit: mpsc::Permit<'a, Seen>,
    ground: Arc<Ground>,
    inputs: Vec<Tensor>,
    cases: usize,
}

impl Place<'_> {
    pub(crate) fn fill(self, outputs: &[Tensor]) {
        let Self { permit, ground, inputs, cases } = self;
        permit.send(Seen { ground, inputs, outputs: outputs.to_vec(), cases });
    }
}

impl Drift {
    /// Starts the thread; `told` hears of every window that closes.
    pub(crate) fn start(all: Thresholds, told: Box<dyn Fn(Closed) + Send>) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let thresholds = Arc::new(Mutex::new(Settings { all, own: HashMap::new() }));
        let (windows, alarming) = (BTreeMap::new(), BTreeSet::new());
        let watch = Watch { windows, alarming, thresholds: Arc::clone(&thresholds), told };
        thread::Builder::new().name("drift".into()).spawn(move || watch.run(waiting))?;
        metrics::describe_gauge!(INDEX, "Population stability index of the last window");
        metrics::describe_gauge!(DISTANCE, "Kolmogorov-Smirnov distance of the last window");
        metrics::describe_counter!(DROPPED, "Answered requests that drift was not measured on");
        metrics::describe_counter!(ALARMS, "Columns of closed windows beyond their thresholds");
        Ok(Self { queue, dropped: metrics::counter!(DROPPED), thresholds })
    }

    /// Gives each of these models thresholds of its own, and no other model.
    pub(crate) fn set(&self, own: HashMap<String, Thresholds>) {
        self.thresholds.lock().unwrap_or_else(PoisonError::into_inner).own = own;
    }

    /// A place for a request with these inputs, the first `cases` rows of which are cases, while there is one.
    pub(crate) fn place(&self, ground: &Arc<Ground>, inputs: &[Tensor], cases: usize) -> Option<Place<'_>> {
        let Ok(permit) = self.queue.try_reserve() else {
            self.dropped.increment(1);
            return None;
        };
        Some(Place { permit, ground: Arc::clone(ground), inputs: inputs.to_vec(), cases })
    }
}

/// Version, and cohort by name.
type Key = (String, String, String);

/// The thread's own.
struct Watch {
    windows: BTreeMap<Key, Window>,
    /// Columns that were beyond their thresholds in the last window.
    alarming: BTreeSet<(Key, String)>,
    thresholds: Arc<Mutex<Settings>>,
    told: Box<dyn Fn(Closed) + Send>,
}

impl Watch {
    /// Until the last handle is gone.
    fn run(mut self, mut waiting: mpsc::Receiver<Seen>) {
        while let Some(first) = waiting.blocking_recv() {
            self.take(&first);
            while let Ok(seen) = waiting.try_recv() {
                self.take(&seen);
            }
            thread::sleep(STEP);
        }
    }

    fn take(&mut self, seen: &Seen) {
        let Seen { ground, inputs, outputs, cases } = seen;
        let few = |tensors: &[Tensor]| -> Vec<Tensor> {
            let head = |tensor: &Tensor| tensor.slice_rows(0, tensor.rows().min(ROWS_MAX).min(*cases)).ok();
            tensors.iter().filter_map(head).collect()
        };
        let thresholds = {
            let settings = self.thresholds.lock().unwrap_or_else(PoisonError::into_inner);
            settings.own.get(&ground.model).copied().unwrap_or(settings.all)
        };
        for case in ground.layout.cases(&few(inputs), &few(outputs)) {
            for cohort in [None].into_iter().chain(case.cohort.map(Some)) {
                self.add(ground, cohort, &case, thresholds);
            }
        }
    }

    fn add(
        &mut self,
        ground: &Ground,
        cohort: Option<Cohort>,
        case: &models::reference::Case,
        thresholds: Thresholds,
    ) {
        let of = cohort.map(|cohort| cohort.name()).unwrap_or_default();
        let key = (ground.model.clone(), ground.version.clone(), of);
        let window = self.windows.entry(key).or_insert_with(|| Window::new(&ground.layout));
        window.add(case);
        if window.rows() < thresholds.rows {
            return;
        }
        let figures = window.figures(&ground.layout, &ground.reference, cohort, thresholds);
        let rows = window.rows();
        *window = Window::new(&ground.layout);
        let (model, version) = (ground.model.clone(), ground.version.clone());
        let closed = Closed { model, version, cohort, rows, figures };
        tell(&closed, &mut self.alarming);
        (self.told)(closed);
    }
}

/// Gauges, and a line where an alarm begins or ends; one that goes on from window to window is told once.
fn tell(closed: &Closed, alarming: &mut BTreeSet<(Key, String)>) {
    let Closed { model, version, cohort, rows, figures } = closed;
    let of = cohort.map(|cohort| cohort.name()).unwrap_or_default();
    let cohort = if of.is_empty() { "all" } else { &of };
    for Figure { column, values: _, index, distance, medians, alarm } in figures {
        let labels = [
            ("model", model.clone()),
            ("version", version.clone()),
            ("cohort", cohort.to_owned()),
            ("feature", column.clone()),
        ];
        metrics::gauge!(INDEX, &labels).set(*index);
        metrics::gauge!(DISTANCE, &labels).set(*distance);
        let key = ((model.clone(), version.clone(), of.clone()), column.clone());
        if *alarm {
            metrics::counter!(ALARMS, "model" => model.clone(), "version" => version.clone()).increment(1);
        }
        macro_rules! line {
            ($level:ident, $text:literal) => {
                tracing::$level!(
                    model,
                    version,
                    cohort,
                    feature = column,
                    rows,
                    index,
                    distance,
                    training_median = medians.0,
                    median = medians.1,
                    $text
                )
            };
        }
        let changed = if *alarm { alarming.insert(key) } else { alarming.remove(&key) };
        match (changed, *alarm) {
            (true, true) => line!(warn, "drift: no longer like training"),
            (true, false) => line!(info, "drift: like training again"),
            (false, _) => {}
        }
    }
}

#[cfg(test)]
mod tests;
