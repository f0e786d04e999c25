//! Glucose over the next hour from the last two: quantiles for every five minutes ahead.
//!
//! People are held out whole. Stopping is decided on the last fifth of each training person's readings:
//! with some ten people to learn from, none can be spared for it, and the test people are other people.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use models::bundle::{BodyConfig, Family, ForecastConfig, ForecasterConfig, NetworkConfig, TensorConfig};
use models::calibration::{COVERAGE, Calibration, HorizonCase, Part, fit_forecast};
use models::family::trend::linear_slope;
use rand_chacha::ChaCha8Rng;

use super::golden;
use super::matrix::Matrix;
use super::parts::Parts;
use super::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use super::runner::Runner;
use super::trainee::{Trainee, body};
use crate::data::cgm::{self, CgmSeries, STEP_S};
use crate::data::{Dataset, Fractions};
use crate::evaluate::baseline::Ridge;
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Measure, metrics};
use crate::optimise::{self, Objective, Outcome, Plan};

const LAGS: usize = 24;
const HORIZONS: usize = 12;
const LEVELS: [f64; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];
const MEDIAN: usize = 2;
/// Share of a training person's windows kept for stopping.
const LATE: f64 = 0.2;
/// Centre of the series and typical size of its moves, in which the network counts, mg/dL.
const CENTER_MG_DL: f32 = 120.0;
const SCALE_MG_DL: f32 = 20.0;

/// The recipe.
pub(crate) struct GlucoseTrend;

/// Windows of every person: history, future, and whose they are.
struct Windows {
    history: Matrix,
    future: Matrix,
    people: Vec<Person>,
    /// Rows of each series, in time order.
    rows_of: Vec<Vec<usize>>,
}

impl Windows {
    fn of(series: &[CgmSeries]) -> Self {
        let mut windows = Self {
            history: Matrix::new(LAGS),
            future: Matrix::new(HORIZONS),
            people: Vec::new(),
            rows_of: Vec::new(),
        };
        for (group, person) in series.iter().enumerate() {
            let mut rows = Vec::new();
            for segment in person.segments(LAGS + HORIZONS) {
                let values: Vec<f32> = segment.mg_dl.iter().map(|v| *v as f32).collect();
                for window in values.windows(LAGS + HORIZONS) {
                    rows.push(windows.people.len());
                    windows.history.push(&window[..LAGS]);
                    windows.future.push(&window[LAGS..]);
                    windows.people.push(Person { group: group as u64, ..Person::default() });
                }
            }
            windows.rows_of.push(rows);
        }
        windows
    }

    /// Windows of the series `people`; the late part of each goes to the second list, with a gap between
    /// so that no reading is in both.
    fn early_and_late(&self, people: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for person in people {
            let rows = &self.rows_of[*person];
            let cut = ((1.0 - LATE) * rows.len() as f64) as usize;
            early.extend(&rows[..cut.saturating_sub(LAGS + HORIZONS)]);
            late.extend(&rows[cut..]);
        }
        (early, late)
    }

    fn all(&self, people: &[usize]) -> Vec<usize> {
        people.iter().flat_map(|person| self.rows_of[*person].clone()).collect()
    }
}

fn parts_of(dataset: &Dataset<CgmSeries>, windows: &Windows) -> Parts {
    let split = dataset.split(Fractions { train: 0.46, calibration: 0.22 });
    let (train, validation) = windows.early_and_late(&split.train);
    Parts { train, validation, calibration: windows.all(&split.calibration), test: windows.all(&split.test) }
}

/// Pinball loss of every quantile and squared error of the median, in units of [`SCALE_MG_DL`].
struct Pinball<'a> {
    prepared: &'a Prepared,
    trainee: &'a Trainee,
    future: &'a Matrix,
}

impl Pinball<'_> {
    fn of(&self, rows: &[usize]) -> Result<Tensor> {
        let inputs = self.prepared.pick(rows);
        let last = Tensor::from_vec(
            (0..rows.len()).map(|row| inputs[0].row(row)[LAGS - 1]).collect(),
            (rows.len(), 1),
            &Device::Cpu,
        )?;
        let moves = (self.future.pick(rows).to_candle()?.broadcast_sub(&last)? / f64::from(SCALE_MG_DL))?;
        let quantiles = self.trainee.raw(&inputs)?;
        let error = moves.unsqueeze(2)?.unsqueeze(0)?.broadcast_sub(&quantiles)?;
        let levels = LEVELS.map(|level| level as f32);
        let levels = Tensor::from_slice(&levels, (1, 1, 1, LEVELS.len()), &Device::Cpu)?;
        let above = error.broadcast_mul(&levels)?;
        let below = error.broadcast_mul(&(levels - 1.0)?)?;
        let pinball = above.maximum(&below)?.mean_all()?;
        let square = error.narrow(3, MEDIAN, 1)?.sqr()?.mean_all()?;
        Ok((pinball + (square * 0.5)?)?)
    }
}

impl Objective for Pinball<'_> {
    fn rows(&self) -> usize {
        self.prepared.parts.train.len()
    }

    fn loss(&self, rows: &[usize], _rng: &mut ChaCha8Rng) -> Result<Tensor> {
        self.of(&pick(&self.prepared.parts.train, rows))
    }

    fn validate(&self) -> Result<f64> {
        Ok(f64::from(self.of(&self.prepared.parts.validation)?.to_scalar::<f32>()?))
    }
}

impl Recipe for GlucoseTrend {
    fn spec(&self) -> Spec {
        Spec {
            name: "glucose-trend",
            version: "MPS-GLUCOSE-TREND-v1.0.0-FP32",
            family: Family::Trend,
            task: "glucose",
            intended_use: "Forecasts continuous glucose up to an hour ahead, with bounds, for orientation. Not for \
                           dosing insulin and not for diagnosis.",
            synthetic: false,
            limits: &[
                "Twenty-four people in all, most without diabetes, five with type 2; nobody with type 1.",
                "Meals, insulin and exercise are not known to the model.",
                "Bounds were calibrated on people other than those tested, but on few of them.",
                "Trained on a package under GPL-2.0 (five of the people) and CC BY 4.0 (the others); the data is \
                 not part of this bundle.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let history = TensorConfig::rows("history", &[LAGS as i64]).in_unit("mg/dL");
        let dims = [HORIZONS as i64, LEVELS.len() as i64];
        (vec![history], vec![TensorConfig::rows("quantiles", &dims).in_unit("mg/dL")])
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Forecaster(ForecasterConfig {
            inputs: LAGS,
            horizons: HORIZONS,
            quantiles: LEVELS.len(),
            body: BodyConfig { skip: true, ..body(&[48], 2) },
        })
    }

    fn forecast(&self) -> Option<ForecastConfig> {
        Some(ForecastConfig {
            step_seconds: STEP_S as u32,
            history_steps: LAGS,
            horizons_seconds: (1..=HORIZONS as u32).map(|step| step * STEP_S as u32).collect(),
            quantiles: LEVELS.to_vec(),
        })
    }

    fn prepare(&self, context: &Context, _seed: u64) -> Result<Prepared> {
        let dataset = cgm::load(&context.store)?;
        let windows = Windows::of(&dataset.rows);
        let parts = parts_of(&dataset, &windows);
        let people: std::collections::BTreeSet<u64> =
            parts.test.iter().map(|r| windows.people[*r].group).collect();
        Ok(Prepared {
            test_set: format!("{} windows of {} people not trained on", parts.test.len(), people.len()),
            truth: Truth::Values { values: windows.future, known: Matrix::default() },
            inputs: vec![windows.history],
            parts,
            people: windows.people,
            provenance: dataset.provenance,
            dropped: dataset.dropped,
            labels: Vec::new(),
            features: Vec::new(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
        trainee.standardise_series(CENTER_MG_DL, SCALE_MG_DL)?;
        let plan = Plan {
            epochs_max: context.effort.choose(30, 1),
            patience_epochs: 8,
            batch_rows: 512,
            learning_rate: 1e-3,
            weight_decay: 0.02,
            seed: context.seed,
            ..Plan::default()
        };
        let objective = Pinball { prepared, trainee, future };
        optimise::fit(self.spec().name, trainee.weights(), &objective, &plan, &context.progress)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        let rows = &prepared.parts.calibration;
        let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
        let quantiles = runner.first(&prepared.pick(rows))?;
        let case = |horizon: usize, index: usize, row: usize| {
            let at = |level: usize| f64::from(quantiles.row(index)[horizon * LEVELS.len() + level]);
            let history = prepared.inputs[0].row(row);
            HorizonCase {
                low: at(0),
                high: at(LEVELS.len() - 1),
                last: f64::from(history[LAGS - 1]),
                linear: line(history, horizon + 1),
                truth: f64::from(future.row(row)[horizon]),
            }
        };
        let cases = |horizon: usize| {
            let seconds = (horizon as i64 + 1) * STEP_S;
            (seconds as u64, rows.iter().enumerate().map(|(i, row)| case(horizon, i, *row)).collect())
        };
        let horizons: Vec<(u64, Vec<HorizonCase>)> = (0..HORIZONS).map(cases).collect();
        let levels = (LEVELS[0], LEVELS[LEVELS.len() - 1]);
        let part = fit_forecast(levels, &horizons, COVERAGE).context("too few windows to calibrate on")?;
        Ok((Part::Forecast(part), rows.len()))
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let rows = &prepared.parts.test;
        let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
        let table = |rows: &[usize]| prepared.inputs[0].pick(rows).to_f64();
        let fit_rows: Vec<usize> = [&prepared.parts.train[..], &prepared.parts.validation].concat();
        let ridge = Ridge::fit(&table(&fit_rows), &future.pick(&fit_rows).to_f64(), 10.0);
        let history = prepared.inputs[0].pick(rows);
        let seen = Seen {
            quantiles: runner.first(std::slice::from_ref(&history))?,
            ridge: history.to_f64().iter().map(|row| ridge.predict(row)).collect(),
            history,
            future: future.pick(rows),
            groups: prepared.groups(rows),
        };
        Ok([(30, 5), (60, 11)].iter().flat_map(|at| seen.figures(*at, calibration)).collect())
    }

    fn external(&self, context: &Context, runner: &mut Runner) -> Result<Vec<Measure>> {
        external(context, runner)
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        let mut remarks =
            super::aim(measures, "rmse_30", |v| v <= 15.3, "RMSE of at most 15.3 mg/dL at 30 minutes");
        remarks.extend(super::aim(
            measures,
            "rmse_60",
            |v| v <= 25.5,
            "RMSE of at most 25.5 mg/dL at 60 minutes",
        ));
        remarks
    }

    fn golden(&self, _prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::waves(LAGS, rng)
    }
}

/// Forecasts and what came, of some windows.
struct Seen {
    quantiles: Matrix,
    history: Matrix,
    future: Matrix,
    ridge: Vec<Vec<f64>>,
    groups: Vec<u64>,
}

impl Seen {
    /// Errors and coverage at one horizon: minutes ahead and its index.
    fn figures(&self, (minutes, horizon): (u32, usize), calibration: &Calibration) -> Vec<Measure> {
        let n = self.future.rows();
        let truth = self.future.column(horizon);
        let at = |level: usize| self.quantiles.column(horizon * LEVELS.len() + level);
        let ours = at(MEDIAN);
        let persistence = self.history.column(LAGS - 1);
        let ridge: Vec<f64> = self.ridge.iter().map(|row| row[horizon]).collect();
        let rmse = |p: &[f64]| metrics::rmse(p, &truth);
        let spread =
            interval(&self.groups, |rows| Some(metrics::rmse(&pick(&ours, rows), &pick(&truth, rows))));
        let named = |name: &str| format!("{name}_{minutes}");
        let mut measures = vec![
            Measure::new(named("rmse"), rmse(&ours), n).between(spread).against("ridge", Some(rmse(&ridge))),
            Measure::new(named("rmse_ratio_persistence"), rmse(&ours) / rmse(&persistence), n)
                .against("persistence rmse, mg/dL", Some(rmse(&persistence))),
            Measure::new(named("mae"), metrics::mae(&ours, &truth), n)
                .against("persistence", Some(metrics::mae(&persistence, &truth))),
            Measure::new(named("mard"), metrics::mard(&ours, &truth), n)
                .against("persistence", Some(metrics::mard(&persistence, &truth))),
        ];
        if let Part::Forecast(figures) = calibration.part() {
            let intervals: Vec<_> = at(0)
                .into_iter()
                .zip(at(LEVELS.len() - 1))
                .map(|(low, high)| figures.horizons[horizon].interval(low, high, calibration.coverage()))
                .collect();
            let (low, high): (Vec<f64>, Vec<f64>) = intervals.iter().map(|i| (i.low, i.high)).unzip();
            let spread = interval(&self.groups, |rows| {
                Some(metrics::coverage(&pick(&low, rows), &pick(&high, rows), &pick(&truth, rows)))
            });
            measures.push(
                Measure::new(named("coverage"), metrics::coverage(&low, &high, &truth), n).between(spread),
            );
            let width = metrics::mean(low.iter().zip(&high).map(|(l, h)| h - l));
            measures.push(Measure::new(named("interval_width"), width, n));
        }
        measures
    }
}

/// The line that the family falls back on for a short history, continued `steps` steps.
fn line(history: &[f32], steps: usize) -> f64 {
    let history: Vec<f64> = history.iter().map(|value| f64::from(*value)).collect();
    let last = history.last().copied().unwrap_or_default();
    last + linear_slope(&history).unwrap_or(0.0) * steps as f64
}

/// Figures on the two people of another source.
fn external(context: &Context, runner: &mut Runner) -> Result<Vec<Measure>> {
    let dataset = cgm::load_external(&context.store)?;
    let windows = Windows::of(&dataset.rows);
    let mut by_name: BTreeMap<String, Vec<Measure>> = BTreeMap::new();
    for (person, series) in dataset.rows.iter().enumerate() {
        let rows = &windows.rows_of[person];
        let history = windows.history.pick(rows);
        let quantiles = runner.first(std::slice::from_ref(&history))?;
        let truth = windows.future.pick(rows);
        for (minutes, horizon) in [(30, 5), (60, 11)] {
            let truth = truth.column(horizon);
            let ours = metrics::rmse(&quantiles.column(horizon * LEVELS.len() + MEDIAN), &truth);
            let persistence = metrics::rmse(&history.column(LAGS - 1), &truth);
            let measure = Measure::new(format!("rmse_{minutes}"), ours, rows.len());
            let measure = measure
                .against("persistence", Some(persistence))
                .within(&format!("external={}", series.person));
            by_name.entry(series.person.clone()).or_default().push(measure);
        }
    }
    Ok(by_name.into_values().flatten().collect())
}

#[cfg(test)]
mod tests {
    use crate::data::cgm::Metabolism;

    use super::*;

    #[test]
    fn a_line_goes_on_straight() {
        let history: Vec<f32> = (0..24).map(|i| 100.0 + 2.0 * i as f32).collect();
        assert!((line(&history, 1) - 148.0).abs() < 1e-9);
        assert!((line(&history, 12) - 170.0).abs() < 1e-9);
    }

    #[test]
    fn windows_do_not_reach_over_gaps_and_the_late_part_stands_apart() {
        let readings = |from: i64, count: i64| (0..count).map(move |i| (from + i * STEP_S, 100.0 + i as f64));
        let series = CgmSeries {
            person: "p".into(),
            metabolism: Metabolism::NotDiabetic,
            readings: readings(0, 400).chain(readings(1_000_000, 40)).collect(),
        };
        let windows = Windows::of(&[series]);
        assert_eq!(windows.people.len(), (400 - 35) + (40 - 35));
        assert_eq!(windows.future.row(0)[0], 124.0);
        let (early, late) = windows.early_and_late(&[0]);
        let (last, first) = (early[early.len() - 1], late[0]);
        assert!(windows.future.row(last)[11] <= windows.history.row(first)[0], "no reading in both");
    }
}
