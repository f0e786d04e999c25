//! What the forecasts of a laboratory value are worth on the test people, beside simple methods on the same rows.

use anyhow::{Context as _, Result};
use models::calibration::{Calibration, Forecast, Part, spread};

use super::super::matrix::Matrix;
use super::super::pinball::MEDIAN;
use super::super::recipe::Prepared;
use super::super::runner::Runner;
use super::{RIDGE_PENALTY, VALUES, said};
use crate::evaluate::baseline::{BoostedValues, Ridge};
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Measure, metrics};

/// A simple method and what it says of each row.
type Said = (&'static str, Vec<f64>);

/// Both ends of the served intervals.
struct Bounds {
    low: Vec<f64>,
    high: Vec<f64>,
}

/// Test rows: what came, what was said, and whose they are.
struct Seen {
    truth: Vec<f64>,
    ours: Vec<f64>,
    simple: Vec<Said>,
    bounds: Option<Bounds>,
    groups: Vec<u64>,
}

/// Errors, coverage and width on all test rows, errors and coverage by sex and age.
pub(super) fn of(
    prepared: &Prepared,
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<Measure>> {
    let rows = &prepared.parts.test;
    let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
    let history = prepared.inputs[0].pick(rows);
    let quantiles = runner.first(std::slice::from_ref(&history))?;
    let bounds = if let Part::Forecast(widths) = calibration.part() {
        Some(bounds(prepared, &quantiles, &history, widths, calibration))
    } else {
        None
    };
    let seen = Seen {
        truth: future.pick(rows).column(0),
        ours: quantiles.column(MEDIAN),
        simple: simple(prepared, future, &history),
        bounds,
        groups: prepared.groups(rows),
    };
    let everyone: Vec<usize> = (0..rows.len()).collect();
    let mut measures = vec![seen.error(&everyone)];
    measures.extend(seen.coverage(&everyone));
    measures.extend(seen.width());
    for (name, at) in prepared.subgroups(rows) {
        let parts = [seen.error(&at)].into_iter().chain(seen.coverage(&at));
        measures.extend(parts.map(|measure| measure.within(&name)));
    }
    Ok(measures)
}

/// Answers of the simple methods, fitted on the training rows.
fn simple(prepared: &Prepared, future: &Matrix, history: &Matrix) -> Vec<Said> {
    let train = &prepared.parts.train;
    let (learnt, came) = (prepared.inputs[0].pick(train).to_f64(), future.pick(train));
    let ridge = Ridge::fit(&learnt, &came.to_f64(), RIDGE_PENALTY);
    let trees = BoostedValues::fit(&learnt, &came.column(0));
    let table = history.to_f64();
    let each = |of: &dyn Fn(&[f64]) -> f64| table.iter().map(|row| of(row)).collect::<Vec<f64>>();
    vec![
        ("ridge", each(&|row| ridge.predict(row)[0])),
        ("boosted trees", each(&|row| trees.predict(row))),
        ("last value", each(&|row| row[VALUES - 1])),
        ("mean of three", each(&|row| metrics::mean(row[VALUES - 3..].iter().copied()))),
    ]
}

/// The intervals as they are served to each row's person.
fn bounds(
    prepared: &Prepared,
    quantiles: &Matrix,
    history: &Matrix,
    widths: &Forecast,
    calibration: &Calibration,
) -> Bounds {
    let end = |(at, row): (usize, &usize)| {
        let factors = calibration.of_cohort(prepared.people[*row].cohort());
        let width = widths.horizons[0].scaled(factors.and_then(|all| all.first().copied()));
        let band = widths.band(spread(&history.row_f64(at)));
        let interval = width.interval(said(quantiles, at), band, calibration.coverage());
        (interval.low, interval.high)
    };
    let (low, high) = prepared.parts.test.iter().enumerate().map(end).unzip();
    Bounds { low, high }
}

impl Seen {
    /// Root mean square error over the rows `at`, beside the simple methods.
    fn error(&self, at: &[usize]) -> Measure {
        let truth = pick(&self.truth, at);
        let of = |values: &[f64], at: &[usize]| metrics::rmse(&pick(values, at), &pick(&self.truth, at));
        let spread = interval(&pick(&self.groups, at), |drawn| Some(of(&self.ours, &pick(at, drawn))));
        let measure = Measure::new("rmse", of(&self.ours, at), truth.len()).between(spread);
        self.simple
            .iter()
            .fold(measure, |measure, (name, values)| measure.against(name, Some(of(values, at))))
    }

    /// Share of what came that lay within.
    fn coverage(&self, at: &[usize]) -> Option<Measure> {
        let Bounds { low, high } = self.bounds.as_ref()?;
        let share = |at: &[usize]| metrics::coverage(&pick(low, at), &pick(high, at), &pick(&self.truth, at));
        let spread = interval(&pick(&self.groups, at), |drawn| Some(share(&pick(at, drawn))));
        Some(Measure::new("coverage", share(at), at.len()).between(spread))
    }

    fn width(&self) -> Option<Measure> {
        let Bounds { low, high } = self.bounds.as_ref()?;
        let width = metrics::mean(low.iter().zip(high).map(|(low, high)| high - low));
        Some(Measure::new("interval_width", width, self.truth.len()))
    }
}
