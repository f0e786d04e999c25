//! Glucose over the next hour from the last two: quantiles for every five minutes ahead.
//!
//! People are held out whole. Stopping is decided on the last fifth of each training person's readings:
//! with some sixteen people to learn from, none can be spared for it, and the test people are other people. Nor can
//! any be spared for the bounds: they are measured on everyone in turn, by networks trained without them.

mod learn;
mod protocol;
mod seen;
mod simple;
mod windows;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use models::bundle::{BodyConfig, Family, ForecastConfig, ForecasterConfig, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Forecast, HorizonCase, Part, Quantiles, fit_forecast, spread};
use models::family::trend::linear_slope;
use rand_chacha::ChaCha8Rng;

use super::golden;
use super::matrix::Matrix;
use super::pinball::{COVERAGE, HIGH, LEVELS, LOW, MEDIAN};
use super::recipe::{Context, Prepared, Recipe, Spec, Truth};
use super::runner::Runner;
use super::support::{self, Familiar};
use super::trainee::{Trainee, body};
use crate::data::cgm::{self, STEP_S};
use crate::evaluate::{Benchmark, Measure, metrics};
use crate::optimise::Outcome;
use seen::Seen;
use simple::Simple;
use windows::Windows;

const LAGS: usize = 24;
const HORIZONS: usize = 12;
/// Horizons that figures are given for: minutes ahead, and the place among [`HORIZONS`].
const ASKED: [(u32, usize); 2] = [(30, 5), (60, 11)];
/// Parts that the people are left out in.
const FOLDS: usize = 4;
/// Centre of the series and typical size of its moves, in which the network counts, mg/dL.
const CENTER_MG_DL: f32 = 120.0;
const SCALE_MG_DL: f32 = 20.0;

/// The recipe.
pub(crate) struct GlucoseTrend;

impl Recipe for GlucoseTrend {
    fn spec(&self) -> Spec {
        Spec {
            name: "glucose-trend",
            version: "MPS-GLUCOSE-TREND-v1.2.0-FP32",
            family: Family::Trend,
            task: "glucose",
            intended_use: "Forecasts continuous glucose up to an hour ahead, with bounds, for orientation. Not for \
                           dosing insulin and not for diagnosis.",
            synthetic: false,
            limits: &[
                "Twenty-four people in all: fourteen with prediabetes, five diagnosed with diabetes in the same study, \
                 five more with type 2; nobody with type 1.",
                "Meals, insulin and exercise are not known to the model.",
                "Bounds are to hold 80 % of what comes. They were measured on sixteen people, each by networks that had \
                 not seen that person; the tested people are others.",
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
            body: BodyConfig { skip: true, ..body(&[64, 32], 4) },
        })
    }

    fn forecast(&self) -> Option<ForecastConfig> {
        Some(ForecastConfig {
            step_seconds: STEP_S as u32,
            history_steps: LAGS,
            sparse_samples_min: None,
            horizons_seconds: (1..=HORIZONS as u32).map(|step| step * STEP_S as u32).collect(),
            quantiles: LEVELS.to_vec(),
        })
    }

    fn prepare(&self, context: &Context, _seed: u64) -> Result<Prepared> {
        let dataset = cgm::load(&context.store)?;
        let windows = Windows::of(&dataset.rows);
        let parts = windows.parts(&dataset)?;
        let people: BTreeSet<u64> = parts.test.iter().map(|row| windows.people[*row].group).collect();
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
        learn::without(&[], prepared, trainee, context)
    }

    fn uncertainty(
        &self,
        context: &Context,
        prepared: &Prepared,
        _runner: &mut Runner,
    ) -> Result<(Part, usize)> {
        let widths = widths(prepared, &learn::out_of_person(prepared, context)?)?;
        Ok((Part::Forecast(widths), prepared.parts.calibration.len()))
    }

    fn familiar(&self, prepared: &Prepared, row: usize) -> Vec<Familiar> {
        support::of_history(prepared, row)
    }

    fn coverage(&self) -> f64 {
        COVERAGE
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let rows = &prepared.parts.test;
        let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
        let history = prepared.inputs[0].pick(rows);
        let seen = Seen {
            quantiles: runner.first(std::slice::from_ref(&history))?,
            history,
            future: future.pick(rows),
            groups: prepared.groups(rows),
        };
        Ok(seen.figures(&Simple::fit(prepared, false)?, calibration))
    }

    fn external(&self, context: &Context, runner: &mut Runner) -> Result<Vec<Measure>> {
        external(context, runner)
    }

    fn benchmarks(&self, context: &Context) -> Result<Vec<Benchmark>> {
        protocol::benchmarks(context)
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        let mut remarks =
            super::aim(measures, "rmse_30", |v| v <= 14.5, "RMSE of at most 14.5 mg/dL at 30 minutes");
        remarks.extend(super::aim(
            measures,
            "rmse_60",
            |v| v <= 24.0,
            "RMSE of at most 24 mg/dL at 60 minutes",
        ));
        remarks
    }

    fn golden(&self, _prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::waves(LAGS, rng)
    }
}

/// Widths of the intervals from answers for the calibration rows.
fn widths(prepared: &Prepared, quantiles: &Matrix) -> Result<Forecast> {
    let rows = &prepared.parts.calibration;
    let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
    let case = |horizon: usize, index: usize, row: usize| {
        let at = |level: usize| f64::from(quantiles.row(index)[horizon * LEVELS.len() + level]);
        let history = prepared.inputs[0].row_f64(row);
        HorizonCase {
            quantiles: Quantiles { low: at(LOW), median: at(MEDIAN), high: at(HIGH) },
            spread: spread(&history),
            last: history[LAGS - 1],
            linear: line(&history, horizon + 1),
            truth: f64::from(future.row(row)[horizon]),
        }
    };
    let cases = |horizon: usize| {
        let seconds = (horizon as i64 + 1) * STEP_S;
        (seconds as u64, rows.iter().enumerate().map(|(i, row)| case(horizon, i, *row)).collect())
    };
    let horizons: Vec<(u64, Vec<HorizonCase>)> = (0..HORIZONS).map(cases).collect();
    fit_forecast((LEVELS[LOW], LEVELS[HIGH]), &horizons, COVERAGE).context("too few windows to calibrate on")
}

/// The line that the family falls back on for a short history, continued `steps` steps.
fn line(history: &[f64], steps: usize) -> f64 {
    let last = history.last().copied().unwrap_or_default();
    last + linear_slope(history).unwrap_or(0.0) * steps as f64
}

/// Figures on the two people of another source.
fn external(context: &Context, runner: &mut Runner) -> Result<Vec<Measure>> {
    let dataset = cgm::load_external(&context.store)?;
    let windows = Windows::of(&dataset.rows);
    let mut measures = Vec::new();
    for (person, series) in dataset.rows.iter().enumerate() {
        let rows = &windows.rows_of[person];
        let history = windows.history.pick(rows);
        let quantiles = runner.first(std::slice::from_ref(&history))?;
        let truth = windows.future.pick(rows);
        for (minutes, horizon) in ASKED {
            let truth = truth.column(horizon);
            let ours = metrics::rmse(&quantiles.column(horizon * LEVELS.len() + MEDIAN), &truth);
            let persistence = metrics::rmse(&history.column(LAGS - 1), &truth);
            let measure = Measure::new(format!("rmse_{minutes}"), ours, rows.len());
            let measure = measure.against("persistence", Some(persistence));
            measures.push(measure.within(&format!("external={}", series.person)));
        }
    }
    Ok(measures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_straight() {
        let history: Vec<f64> = (0..24).map(|i| 100.0 + 2.0 * f64::from(i)).collect();
        assert!((line(&history, 1) - 148.0).abs() < 1e-9);
        assert!((line(&history, 12) - 170.0).abs() < 1e-9);
    }
}
