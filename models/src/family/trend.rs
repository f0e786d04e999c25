//! Where a series goes: quantile forecasts of the model for a long enough history, a named simple method with its own
//! measured width for a short one.
//!
//! Samples come as they were taken; the model wants one per step. The history is laid on the model's grid, ending at
//! the last sample, by linear interpolation between neighbours no further apart than [`GAP_STEPS_MAX`] steps; at a
//! longer gap the usable history starts after it. Nothing is invented: what the grid lacks is not filled from outside.
//!
//! A history unlike all that the model was measured on is not its to continue: the last value answers, with an interval
//! that no model narrows.
//!
//! A sparse history, for example of laboratory values months apart, is the last samples as they came; see [`sparse`].
//! Series that no model forecasts go to [`without_model`].

use clinical::{Biomarker, Person, Unit, ValueError};

use super::{Encoded, calibration, output};
use crate::bundle::{BundleConfig, config::ForecastConfig};
use crate::calibration::{Calibration, Cohort, Forecast, Interval, Part, Quantiles, spread, window};
use crate::explain::{Contribution, Explanation, Method, shapley};
use crate::{Bundle, ModelError, Tensor};

/// Steps between two samples over which the series is still interpolated.
pub const GAP_STEPS_MAX: f64 = 6.0;
/// Samples of a request, at most.
pub const POINTS_MAX: usize = 100_000;
/// Last millisecond of the year 9999.
const TIME_MAX_UNIX_MS: i64 = 253_402_300_799_999;
/// Blocks of history that the explanation hides in turn.
const BLOCKS: usize = 4;
/// Samples the simple line needs.
const LINE_POINTS: usize = 4;
/// How many times wider the interval of the last value is where the history is unlike any that its width was measured
/// on. Ours: nothing can measure it.
const BEYOND_WIDENING: f64 = 2.0;

/// A sample: milliseconds since the Unix epoch and value in the unit of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub time_unix_ms: i64,
    /// Value.
    pub value: f64,
}

/// Checked series in the canonical unit, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    biomarker: Biomarker,
    samples: Vec<Sample>,
}

impl Series {
    /// Converts and checks the samples, in whatever order they came.
    ///
    /// # Errors
    /// [`ModelError::Input`] naming `points`, an index, or what is impossible about a value.
    pub fn new(biomarker: Biomarker, unit: Unit, mut samples: Vec<Sample>) -> Result<Self, ModelError> {
        if samples.is_empty() || samples.len() > POINTS_MAX {
            let reason = format!("has {} samples, expected 1 to {POINTS_MAX}", samples.len());
            return Err(ModelError::input("points", reason));
        }
        for (index, sample) in samples.iter_mut().enumerate() {
            if !(0..=TIME_MAX_UNIX_MS).contains(&sample.time_unix_ms) {
                let reason = format!("is {}, expected milliseconds since 1970", sample.time_unix_ms);
                return Err(ModelError::input(format!("points[{index}].time_unix_ms"), reason));
            }
            let refused =
                |error: ValueError| ModelError::input(format!("points[{index}].value"), error.to_string());
            sample.value = biomarker.read(sample.value, unit).map_err(refused)?;
        }
        samples.sort_by_key(|sample| sample.time_unix_ms);
        if let Some(pair) = samples.windows(2).find(|pair| pair[0].time_unix_ms == pair[1].time_unix_ms) {
            let reason = format!("has two samples at {} ms", pair[0].time_unix_ms);
            return Err(ModelError::input("points", reason));
        }
        Ok(Self { biomarker, samples })
    }

    /// What the series is of.
    #[must_use]
    pub fn biomarker(&self) -> Biomarker {
        self.biomarker
    }

    /// The newest sample, canonical unit.
    #[must_use]
    pub fn last(&self) -> Sample {
        self.samples[self.samples.len() - 1]
    }

    /// Values every `step_ms`, ending at the last sample, oldest first, at most `steps`; stops at a gap.
    fn grid(&self, step_ms: f64, steps: usize) -> Vec<f64> {
        let end = self.last().time_unix_ms;
        let age = |sample: &Sample| (end - sample.time_unix_ms) as f64;
        let mut values = vec![self.last().value];
        let mut newer = self.samples.len() - 1;
        while values.len() < steps && newer > 0 {
            let wanted = values.len() as f64 * step_ms;
            let (older, next) = (&self.samples[newer - 1], &self.samples[newer]);
            if age(older) < wanted {
                newer -= 1;
                continue;
            }
            let span = age(older) - age(next);
            if span > GAP_STEPS_MAX * step_ms {
                break;
            }
            let part = (wanted - age(next)) / span;
            values.push(next.value + (older.value - next.value) * part);
        }
        values.reverse();
        values
    }
}

/// How a forecast was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the model.
    Model,
    /// The straight line through the last four steps.
    Linear,
    /// The last value, unchanged.
    Persistence,
    /// The mean of the last values.
    Mean,
}

/// Which way the series goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The whole interval of the farthest point lies above the last value.
    Up,
    /// The whole interval lies below.
    Down,
    /// Neither can be told.
    Stable,
}

/// One forecast point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Milliseconds since the Unix epoch.
    pub time_unix_ms: i64,
    /// Canonical unit.
    pub value: f64,
    /// Around the value.
    pub interval: Interval,
}

/// The forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Nearest first.
    pub points: Vec<Point>,
    /// Which way.
    pub direction: Direction,
    /// How it was made.
    pub way: Way,
    /// Which part of the history moved the farthest point; only of the model.
    pub explanation: Option<Explanation>,
    /// What about the history is further from all the model has seen than it should answer for; empty when it may.
    pub beyond: Vec<String>,
}

/// What a request needs: the model, or nothing but the answer.
#[derive(Debug, Clone)]
pub enum Question {
    /// Run these tensors and decode.
    Run(Encoded<Case>),
    /// The history is too short for the model, or unlike any it knows: this is the simple forecast.
    Simple(Answer),
}

/// The series behind a request.
#[derive(Debug, Clone)]
pub struct Case {
    biomarker: Biomarker,
    last: Sample,
    horizons: usize,
    /// Kind of the history, by how lively it is.
    band: usize,
    cohort: Option<Cohort>,
}

/// Reads questions and answers of one bundle.
#[derive(Debug, Clone)]
pub struct Encoder {
    model: String,
    biomarker: Biomarker,
    forecast: ForecastConfig,
    widths: Forecast,
    /// Columns of low, median and high quantile.
    columns: (usize, usize, usize),
    calibration: Calibration,
}

impl Encoder {
    /// The encoder of a bundle of this family; its task is the code of the biomarker.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when task, forecast table and calibration do not fit.
    pub fn new(bundle: &Bundle) -> Result<Self, ModelError> {
        Self::of(bundle.config(), &calibration(bundle)?)
    }

    fn of(config: &BundleConfig, calibration: &Calibration) -> Result<Self, ModelError> {
        let Part::Forecast(widths) = calibration.part() else {
            return Err(calibration.unexpected("forecast"));
        };
        let toml = |reason: String| ModelError::invalid("model.toml", reason);
        let forecast =
            config.forecast.clone().ok_or_else(|| toml("a trend model needs [forecast]".into()))?;
        let biomarker = Biomarker::from_code(&config.task)
            .ok_or_else(|| toml(format!("task `{}` is no biomarker", config.task)))?;
        let level = |wanted: f64| {
            let at = forecast.quantiles.iter().position(|q| (q - wanted).abs() < 1e-9);
            at.ok_or_else(|| toml(format!("quantile {wanted} is missing")))
        };
        let columns = (level(widths.low)?, level(0.5)?, level(widths.high)?);
        let same = widths
            .horizons
            .iter()
            .map(|h| h.seconds)
            .eq(forecast.horizons_seconds.iter().map(|s| u64::from(*s)));
        if !same {
            return Err(ModelError::invalid(
                crate::calibration::FILE,
                "horizons are not those of model.toml",
            ));
        }
        let (model, widths, calibration) = (config.name.clone(), widths.clone(), calibration.clone());
        Ok(Self { model, biomarker, forecast, widths, columns, calibration })
    }

    /// What the model forecasts.
    #[must_use]
    pub fn biomarker(&self) -> Biomarker {
        self.biomarker
    }

    /// Farthest horizon.
    #[must_use]
    pub fn horizon_seconds_max(&self) -> u64 {
        self.widths.horizons.last().map_or(0, |horizon| horizon.seconds)
    }

    /// Tensors of the history (itself, then the copies with blocks of it held at the last value that explain it), or the
    /// simple answer when it is too short or unlike any the model knows. `horizon_seconds` of 0 asks for all the model
    /// knows; `person` is whose the series is, as far as that is known.
    ///
    /// # Errors
    /// [`ModelError::Input`] for another biomarker or a horizon the model does not reach.
    pub fn encode(
        &self,
        series: &Series,
        horizon_seconds: i64,
        person: &Person,
    ) -> Result<Question, ModelError> {
        if series.biomarker != self.biomarker {
            let (got, expected) = (series.biomarker.code(), self.biomarker.code());
            return Err(ModelError::input("code", format!("is {got}, this model forecasts {expected}")));
        }
        let horizons = self.horizons(horizon_seconds)?;
        let steps = self.forecast.history_steps;
        let grid = match self.forecast.sparse_samples_min {
            Some(least) => sparse(series.samples.iter().map(|sample| sample.value), steps, least),
            None => series.grid(f64::from(self.forecast.step_seconds) * 1000.0, steps),
        };
        if grid.len() < steps {
            return Ok(Question::Simple(self.simple(series, &grid, horizons)));
        }
        if let Some(answer) = self.beyond(series, &grid, horizons) {
            return Ok(Question::Simple(answer));
        }
        let tensor = self.tensor(&grid)?;
        let (band, cohort) = (self.widths.band(spread(&grid)), Cohort::of_person(person));
        let case = Case { biomarker: self.biomarker, last: series.last(), horizons, band, cohort };
        Ok(Question::Run(Encoded { tensors: vec![tensor], case }))
    }

    /// The history, then the copies with blocks of it held at the last value.
    fn tensor(&self, grid: &[f64]) -> Result<Tensor, ModelError> {
        let steps = grid.len();
        let history: Vec<f32> = grid.iter().map(|value| *value as f32).collect();
        let last = history[steps - 1];
        let hidden = shapley::Plan::new(BLOCKS).hidden();
        let mut rows = history.repeat(hidden.len() + 1);
        for (copy, blocks) in rows.chunks_exact_mut(steps).skip(1).zip(&hidden) {
            for block in blocks {
                copy[block * steps / BLOCKS..(block + 1) * steps / BLOCKS].fill(last);
            }
        }
        Tensor::from_f32(vec![hidden.len() + 1, steps], &rows)
    }

    /// Number of horizons up to the one asked for.
    fn horizons(&self, seconds: i64) -> Result<usize, ModelError> {
        let all = &self.widths.horizons;
        let (first, last) = (all.first().map_or(0, |h| h.seconds), self.horizon_seconds_max());
        match u64::try_from(seconds) {
            Ok(0) => Ok(all.len()),
            Ok(wanted) if (first..=last).contains(&wanted) => {
                Ok(all.partition_point(|horizon| horizon.seconds < wanted) + 1)
            }
            Ok(_) | Err(_) => {
                let reason = format!("is {seconds}, expected 0 or {first} to {last}");
                Err(ModelError::input("horizon_seconds", reason))
            }
        }
    }

    /// Reads the outputs.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(&self, encoded: &Encoded<Case>, outputs: &[Tensor]) -> Result<Answer, ModelError> {
        let Case { biomarker, last, horizons, band, cohort } = encoded.case;
        let factors = self.calibration.of_cohort(cohort);
        let quantiles = self.forecast.quantiles.len();
        let width = self.widths.horizons.len() * quantiles;
        let values = output(&self.model, outputs, 0, (encoded.rows(), width))?;
        let (low, median, high) = self.columns;
        let coverage = self.calibration.coverage();
        let point = |index: usize| {
            let at = |column: usize| values[index * quantiles + column];
            let horizon = self.widths.horizons[index].scaled(factors.and_then(|all| all.get(index).copied()));
            let said = Quantiles { low: at(low), median: at(median), high: at(high) };
            self.point(last, horizon.seconds, said.median, horizon.interval(said, band, coverage))
        };
        let farthest = (horizons - 1) * quantiles + median;
        let column: Vec<f64> = values.chunks_exact(width).map(|row| row[farthest]).collect();
        let explanation = Some(self.explain(biomarker, &column));
        Ok(answer((0..horizons).map(point).collect(), last, Way::Model, explanation))
    }

    fn explain(&self, biomarker: Biomarker, column: &[f64]) -> Explanation {
        let minutes = |step: usize| step as u64 * u64::from(self.forecast.step_seconds) / 60;
        let steps = self.forecast.history_steps;
        let plan = shapley::Plan::new(BLOCKS);
        let part = |(block, contribution): (usize, f64)| {
            let (from, to) = (steps - block * steps / BLOCKS, steps - (block + 1) * steps / BLOCKS);
            let feature = match self.forecast.sparse_samples_min {
                Some(_) => format!("values {} to {from} from the end", to + 1),
                None => format!("{} to {} minutes before", minutes(from), minutes(to)),
            };
            Contribution {
                feature,
                loinc: biomarker.loinc().into(),
                value: None,
                unit: biomarker.unit().ucum().into(),
                contribution,
            }
        };
        let parts = plan.values(column).into_iter().enumerate().map(part).collect();
        Explanation::of(Method::Shapley, "farthest forecast", plan.base(column), parts)
    }

    /// The forecast of a short history. The widths were measured for these very methods; a history of a single value
    /// has the last value as its forecast.
    fn simple(&self, series: &Series, grid: &[f64], horizons: usize) -> Answer {
        let last = series.last();
        let slope = linear_slope(grid);
        let way = if slope.is_some() { Way::Linear } else { Way::Persistence };
        let point = |index: usize| {
            let horizon = self.widths.horizons[index];
            let steps = horizon.seconds as f64 / f64::from(self.forecast.step_seconds);
            let (value, half) = match slope {
                Some(slope) => (last.value + slope * steps, horizon.linear_half_width),
                None => (last.value, horizon.persistence_half_width),
            };
            let (low, high) = (value - half, value + half);
            let coverage = self.calibration.coverage();
            self.point(last, horizon.seconds, value, Interval { low, high, coverage })
        };
        answer((0..horizons).map(point).collect(), last, way, None)
    }

    /// The answer to a history unlike all that the model has seen: the last value, and to both sides twice as far as
    /// it needs among those seen, or as far as the history itself ever went within that time.
    fn beyond(&self, series: &Series, grid: &[f64], horizons: usize) -> Option<Answer> {
        let summary = window(grid);
        let value = |name: &str| summary.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let beyond = self.calibration.support()?.beyond(&value)?;
        let (last, coverage) = (series.last(), self.calibration.coverage());
        let step_ms = f64::from(self.forecast.step_seconds) * 1000.0;
        let point = |index: usize| {
            let horizon = self.widths.horizons[index];
            let steps = (horizon.seconds as f64 * 1000.0 / step_ms) as usize;
            let half = (BEYOND_WIDENING * horizon.persistence_half_width).max(farthest(grid, steps));
            let (low, high) = (last.value - half, last.value + half);
            self.point(last, horizon.seconds, last.value, Interval { low, high, coverage })
        };
        let told = answer((0..horizons).map(point).collect(), last, Way::Persistence, None);
        Some(Answer { beyond, ..told })
    }

    fn point(&self, last: Sample, seconds: u64, value: f64, interval: Interval) -> Point {
        let (low, high) = self.biomarker.plausible();
        let ahead = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        Point {
            time_unix_ms: last.time_unix_ms.saturating_add(ahead),
            value: value.clamp(low, high),
            interval: interval.clamped(low, high),
        }
    }
}

/// The farthest that a history went within `steps` steps.
fn farthest(history: &[f64], steps: usize) -> f64 {
    let width = |part: &[f64]| {
        let high = part.iter().copied().fold(f64::MIN, f64::max);
        high - part.iter().copied().fold(f64::MAX, f64::min)
    };
    let length = steps.saturating_add(1).clamp(1, history.len().max(1));
    history.windows(length).map(width).fold(0.0, f64::max)
}

/// The last `steps` values of a sparse history; one with fewer, but at least `least`, begins with their mean. Less than
/// that comes back as it is. Trainers make their rows with it.
#[must_use]
pub fn sparse(values: impl DoubleEndedIterator<Item = f64>, steps: usize, least: usize) -> Vec<f64> {
    let mut known: Vec<f64> = values.rev().take(steps).collect();
    if known.len() >= least.max(1) {
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        known.resize(steps, mean);
    }
    known.reverse();
    known
}

/// Samples that [`without_model`] needs.
pub const MEAN_SAMPLES_MIN: usize = 3;
/// Samples that it takes, the latest.
const MEAN_SAMPLES_MAX: usize = 10;
/// Farthest that it answers for, seconds: a week.
pub const MEAN_HORIZON_S_MAX: i64 = 7 * 86_400;
/// Share of new values that its interval is to hold.
const MEAN_COVERAGE: f64 = 0.8;
/// The 0.9 quantiles of Student's t with 2 to 9 degrees of freedom.
const STUDENT: [f64; MEAN_SAMPLES_MAX - MEAN_SAMPLES_MIN + 1] =
    [1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383];
/// Least half-width as a share of the mean: equal values may be rounded ones.
const MEAN_HALF_WIDTH_SHARE_MIN: f64 = 0.05;

/// Where a series goes that no model knows: the mean of its last ten values, with Student's prediction interval for
/// one value more. It holds for values that scatter about a level of the person's own; the next values of 11,374
/// people's HDL and 2,720 people's systolic pressure lay within in 76 and 78 of 100 cases.
/// `horizon_seconds` of 0 asks for the farthest.
///
/// # Errors
/// [`ModelError::Input`] for fewer than [`MEAN_SAMPLES_MIN`] samples or a horizon beyond [`MEAN_HORIZON_S_MAX`].
pub fn without_model(series: &Series, horizon_seconds: i64) -> Result<Answer, ModelError> {
    let biomarker = series.biomarker;
    if series.samples.len() < MEAN_SAMPLES_MIN {
        let (code, got) = (biomarker.code(), series.samples.len());
        let reason =
            format!("no model forecasts {code}, and its mean needs {MEAN_SAMPLES_MIN} samples, not {got}");
        return Err(ModelError::input("series.code", reason));
    }
    if !(0..=MEAN_HORIZON_S_MAX).contains(&horizon_seconds) {
        let reason = format!("is {horizon_seconds}, expected 0 to {MEAN_HORIZON_S_MAX}");
        return Err(ModelError::input("horizon_seconds", reason));
    }
    let ahead_s = if horizon_seconds == 0 { MEAN_HORIZON_S_MAX } else { horizon_seconds };
    let recent = series.samples.iter().rev().take(MEAN_SAMPLES_MAX);
    let values: Vec<f64> = recent.map(|sample| sample.value).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let student = STUDENT[values.len() - MEAN_SAMPLES_MIN];
    let half = (student * (variance * (1.0 + 1.0 / n)).sqrt()).max(MEAN_HALF_WIDTH_SHARE_MIN * mean.abs());
    let interval = Interval { low: mean - half, high: mean + half, coverage: MEAN_COVERAGE };
    let (low, high) = biomarker.plausible();
    let last = series.last();
    let point = Point {
        time_unix_ms: last.time_unix_ms.saturating_add(ahead_s.saturating_mul(1000)),
        value: mean.clamp(low, high),
        interval: interval.clamped(low, high),
    };
    Ok(answer(vec![point], last, Way::Mean, None))
}

/// Least-squares slope per step through the last [`LINE_POINTS`] values; trainers measure the linear width with it.
#[must_use]
pub fn linear_slope(grid: &[f64]) -> Option<f64> {
    let recent = &grid[grid.len().checked_sub(LINE_POINTS)?..];
    let middle = (LINE_POINTS - 1) as f64 / 2.0;
    let spread: f64 = (0..LINE_POINTS).map(|i| (i as f64 - middle).powi(2)).sum();
    Some(recent.iter().enumerate().map(|(i, value)| (i as f64 - middle) * value).sum::<f64>() / spread)
}

fn answer(points: Vec<Point>, last: Sample, way: Way, explanation: Option<Explanation>) -> Answer {
    let direction = match points.last() {
        Some(point) if point.interval.low > last.value => Direction::Up,
        Some(point) if point.interval.high < last.value => Direction::Down,
        Some(_) | None => Direction::Stable,
    };
    Answer { points, direction, way, explanation, beyond: Vec::new() }
}
