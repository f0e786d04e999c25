//! Forecasts beside what came, and the figures of both.

use models::calibration::{Calibration, Forecast, Part, Quantiles, spread};

use super::super::matrix::Matrix;
use super::super::pinball::{HIGH, LEVELS, LOW, MEDIAN};
use super::simple::{Answers, Simple};
use super::windows::metabolism_of;
use super::{ASKED, LAGS};
use crate::data::cgm::Metabolism;
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Measure, metrics};

/// Windows a part must have to be reported, and people.
const ROWS_MIN: usize = 30;
/// Bands of the last value, mg/dL: below the range that is aimed for, in its lower and upper half, above it.
const BANDS: [(&str, f64, f64); 4] = [
    ("glucose<70", 0.0, 70.0),
    ("glucose=70-139", 70.0, 140.0),
    ("glucose=140-179", 140.0, 180.0),
    ("glucose>=180", 180.0, f64::INFINITY),
];

/// Forecasts and what came, of some windows.
pub(super) struct Seen {
    pub(super) quantiles: Matrix,
    pub(super) history: Matrix,
    pub(super) future: Matrix,
    pub(super) groups: Vec<u64>,
}

/// Both ends of the intervals at one horizon.
pub(super) struct Bounds {
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
}

impl Bounds {
    /// Share of `truth` at `rows` that lies within.
    pub(super) fn coverage(&self, truth: &[f64], rows: &[usize]) -> f64 {
        metrics::coverage(&pick(&self.low, rows), &pick(&self.high, rows), &pick(truth, rows))
    }
}

impl Seen {
    /// The point forecast.
    pub(super) fn median(&self, horizon: usize) -> Vec<f64> {
        self.quantiles.column(horizon * LEVELS.len() + MEDIAN)
    }

    /// The intervals as they are served.
    pub(super) fn bounds(&self, horizon: usize, widths: &Forecast, coverage: f64) -> Bounds {
        let at = |level: usize| self.quantiles.column(horizon * LEVELS.len() + level);
        let (lows, medians, highs) = (at(LOW), at(MEDIAN), at(HIGH));
        let end = |row: usize| {
            let band = widths.band(spread(&self.history.row_f64(row)));
            let said = Quantiles { low: lows[row], median: medians[row], high: highs[row] };
            let interval = widths.horizons[horizon].interval(said, band, coverage);
            (interval.low, interval.high)
        };
        let (low, high) = (0..self.groups.len()).map(end).unzip();
        Bounds { low, high }
    }

    /// Parts of the windows by what is known of the person and by the last value.
    fn subgroups(&self) -> Vec<(String, Vec<usize>)> {
        let last = self.history.column(LAGS - 1);
        let all = 0..self.groups.len();
        let of_kind =
            |kind| all.clone().filter(move |row| metabolism_of(self.groups[*row]) == kind).collect();
        let mut parts: Vec<(String, Vec<usize>)> = [
            ("diabetes=none", Metabolism::NotDiabetic),
            ("diabetes=pre", Metabolism::PreDiabetic),
            ("diabetes=diagnosed", Metabolism::Diabetic),
            ("diabetes=type 2", Metabolism::Type2),
        ]
        .map(|(name, kind)| (name.to_owned(), of_kind(kind)))
        .into();
        parts.extend(BANDS.iter().map(|(name, from, to)| {
            let rows = all.clone().filter(|row| (*from..*to).contains(&last[*row])).collect();
            ((*name).to_owned(), rows)
        }));
        parts.retain(|(_, rows)| rows.len() >= ROWS_MIN);
        parts
    }

    /// All figures, then those of the parts.
    pub(super) fn figures(&self, simple: &Simple, calibration: &Calibration) -> Vec<Measure> {
        let everyone: Vec<usize> = (0..self.groups.len()).collect();
        let parts = self.subgroups();
        let mut measures = Vec::new();
        for (asked, (minutes, horizon)) in ASKED.into_iter().enumerate() {
            let answers = simple.answers(&self.history, asked);
            let bounds = if let Part::Forecast(widths) = calibration.part() {
                Some(self.bounds(horizon, widths, calibration.coverage()))
            } else {
                None
            };
            let at = At { seen: self, minutes, horizon, answers, bounds };
            measures.extend(at.errors(&everyone));
            measures.extend(at.intervals(&everyone));
            for (name, rows) in &parts {
                let figures =
                    at.errors(rows).into_iter().take(1).chain(at.intervals(rows).into_iter().take(1));
                measures.extend(figures.map(|measure| measure.within(name)));
            }
        }
        measures
    }
}

/// One horizon.
struct At<'a> {
    seen: &'a Seen,
    minutes: u32,
    horizon: usize,
    answers: Answers,
    bounds: Option<Bounds>,
}

impl At<'_> {
    fn named(&self, name: &str) -> String {
        format!("{name}_{}", self.minutes)
    }

    /// Errors over `rows`, the root mean square first.
    fn errors(&self, rows: &[usize]) -> Vec<Measure> {
        let (ours, truth) = (self.seen.median(self.horizon), self.seen.future.column(self.horizon));
        let groups = pick(&self.seen.groups, rows);
        let [ours, truth, persistence, ridge] =
            [&ours, &truth, &self.answers.persistence, &self.answers.ridge].map(|all| pick(all, rows));
        let rmse = |values: &[f64]| metrics::rmse(values, &truth);
        let spread = interval(&groups, |at| Some(metrics::rmse(&pick(&ours, at), &pick(&truth, at))));
        let mut measures = vec![
            Measure::new(self.named("rmse"), rmse(&ours), rows.len())
                .between(spread)
                .against("ridge", Some(rmse(&ridge))),
            Measure::new(self.named("rmse_ratio_persistence"), rmse(&ours) / rmse(&persistence), rows.len())
                .against("persistence rmse, mg/dL", Some(rmse(&persistence))),
        ];
        for (name, error) in [("mae", metrics::mae as fn(&[f64], &[f64]) -> f64), ("mard", metrics::mard)] {
            let measure = Measure::new(self.named(name), error(&ours, &truth), rows.len());
            measures.push(measure.against("persistence", Some(error(&persistence, &truth))));
        }
        measures
    }

    /// Coverage and width over `rows`.
    fn intervals(&self, rows: &[usize]) -> Vec<Measure> {
        let Some(bounds) = &self.bounds else { return Vec::new() };
        let truth = self.seen.future.column(self.horizon);
        let groups = pick(&self.seen.groups, rows);
        let spread = interval(&groups, |at| Some(bounds.coverage(&truth, &pick(rows, at))));
        let width = metrics::mean(rows.iter().map(|row| bounds.high[*row] - bounds.low[*row]));
        vec![
            Measure::new(self.named("coverage"), bounds.coverage(&truth, rows), rows.len()).between(spread),
            Measure::new(self.named("interval_width"), width, rows.len()),
        ]
    }
}
