//! A laboratory value a week on, from the last six at whatever times they were taken.
//!
//! Next values within days are rare, so the network learns from all within [`LEARN_DAYS_MAX`], where the person's own
//! level is what there is to know; the bounds and the figures are of the next values within [`NEAR_DAYS_MAX`] only.

mod figures;

use anyhow::{Context as _, Result};
use models::bundle::{BodyConfig, Family, ForecastConfig, ForecasterConfig, NetworkConfig, TensorConfig};
use models::calibration::{
    Calibration, Cohort, Cohorts, HorizonCase, Part, Quantiles, fit_forecast, forecast_cohorts, spread,
};
use models::family::trend::sparse;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::matrix::Matrix;
use super::parts::Parts;
use super::pinball::{COVERAGE, HIGH, LEVELS, LOW, MEDIAN, Pinball};
use super::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use super::runner::Runner;
use super::support::{self, Familiar};
use super::trainee::{Trainee, body};
use crate::data::mortality::nafld::{self, Lab, LabSeries};
use crate::data::{Dataset, Fractions, Sex};
use crate::evaluate::Measure;
use crate::optimise::{self, Outcome, Plan};

/// Values of a history, and least that are asked for.
const VALUES: usize = 6;
const VALUES_MIN: usize = 3;
const DAY_S: u32 = 86_400;
const DAYS_A_YEAR: f64 = 365.25;
/// How far ahead the answer is given for.
const HORIZON_DAYS: u32 = 7;
/// Days to the next value, at most, in the rows learnt from and in those measured on.
const LEARN_DAYS_MAX: i64 = 400;
const NEAR_DAYS_MAX: i64 = 30;
/// Share of the training people to stop on.
const VALIDATION: f64 = 0.15;
const RIDGE_PENALTY: f64 = 10.0;

/// The recipe of one laboratory value.
pub(crate) struct LabTrend {
    lab: Lab,
    name: &'static str,
    version: &'static str,
    task: &'static str,
    unit: &'static str,
    /// Centre of the values and typical size of a move, in which the network counts.
    centre: f32,
    scale: f32,
}

/// HDL cholesterol.
pub(crate) const HDL: LabTrend = LabTrend {
    lab: Lab::Hdl,
    name: "hdl-trend",
    version: "MPS-HDL-TREND-v1.1.0-FP32",
    task: "hdl_cholesterol",
    unit: "mg/dL",
    centre: 50.0,
    scale: 8.0,
};

/// Systolic pressure.
pub(crate) const SYSTOLIC: LabTrend = LabTrend {
    lab: Lab::Systolic,
    name: "systolic-trend",
    version: "MPS-SYSTOLIC-TREND-v1.1.0-FP32",
    task: "systolic_bp",
    unit: "mm[Hg]",
    centre: 130.0,
    scale: 18.0,
};

/// Rows of all people: history, next value, days to it, whose it is.
struct Rows {
    history: Matrix,
    future: Matrix,
    days: Vec<i64>,
    people: Vec<Person>,
    rows_of: Vec<Vec<usize>>,
}

impl Rows {
    fn of(series: &[LabSeries]) -> Self {
        let mut rows = Self {
            history: Matrix::new(VALUES),
            future: Matrix::new(1),
            days: Vec::new(),
            people: Vec::new(),
            rows_of: Vec::new(),
        };
        for (index, person) in series.iter().enumerate() {
            let mut own = Vec::new();
            for next in VALUES_MIN..person.values.len() {
                let ((before, _), (day, value)) = (person.values[next - 1], person.values[next]);
                if day - before > LEARN_DAYS_MAX {
                    continue;
                }
                let earlier = person.values[..next].iter().map(|(_, value)| *value);
                let history: Vec<f32> =
                    sparse(earlier, VALUES, VALUES_MIN).into_iter().map(|value| value as f32).collect();
                own.push(rows.days.len());
                rows.history.push(&history);
                rows.future.push(&[value as f32]);
                rows.days.push(day - before);
                rows.people.push(Person {
                    group: index as u64,
                    age_years: person.person.map(|(age, _)| age + before as f64 / DAYS_A_YEAR),
                    male: person.person.map(|(_, sex)| sex == Sex::Male),
                });
            }
            rows.rows_of.push(own);
        }
        rows
    }

    fn parts(&self, dataset: &Dataset<LabSeries>) -> Result<Parts> {
        let people = Parts::of(dataset, Fractions::default(), VALIDATION)?;
        let all = |people: &[usize]| people.iter().flat_map(|person| self.rows_of[*person].clone()).collect();
        let near = |people: &[usize]| -> Vec<usize> {
            let rows: Vec<usize> = all(people);
            rows.into_iter().filter(|row| self.days[*row] <= NEAR_DAYS_MAX).collect()
        };
        Ok(Parts {
            train: all(&people.train),
            validation: all(&people.validation),
            calibration: near(&people.calibration),
            test: near(&people.test),
        })
    }
}

impl Recipe for LabTrend {
    fn spec(&self) -> Spec {
        Spec {
            name: self.name,
            version: self.version,
            family: Family::Trend,
            task: self.task,
            intended_use: "Says where the next laboratory value will lie about a week after the last, with bounds, \
                           for orientation. Not for diagnosis.",
            synthetic: false,
            limits: &[
                "People of one clinic, many with fatty liver disease; care, not chance, chose when they were measured.",
                "The times of the earlier values are not known to the model, nor what was done in between.",
                "Learnt from next values within 400 days; bounds, which are to hold 80 % of what comes, and figures \
                 are of next values within 30 days.",
                "Trained on a package under GPL-3; the data is not part of this bundle.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let history = TensorConfig::rows("history", &[VALUES as i64]).in_unit(self.unit);
        let quantiles = TensorConfig::rows("quantiles", &[1, LEVELS.len() as i64]).in_unit(self.unit);
        (vec![history], vec![quantiles])
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Forecaster(ForecasterConfig {
            inputs: VALUES,
            horizons: 1,
            quantiles: LEVELS.len(),
            body: BodyConfig { skip: true, ..body(&[32], 4) },
        })
    }

    fn forecast(&self) -> Option<ForecastConfig> {
        Some(ForecastConfig {
            step_seconds: DAY_S,
            history_steps: VALUES,
            sparse_samples_min: Some(VALUES_MIN),
            horizons_seconds: vec![HORIZON_DAYS * DAY_S],
            quantiles: LEVELS.to_vec(),
        })
    }

    fn prepare(&self, context: &Context, _seed: u64) -> Result<Prepared> {
        let dataset = nafld::load_series(&context.store, self.lab)?;
        let rows = Rows::of(&dataset.rows);
        let parts = rows.parts(&dataset)?;
        Ok(Prepared {
            test_set: format!(
                "{} next values within {NEAR_DAYS_MAX} days of people not trained on",
                parts.test.len()
            ),
            truth: Truth::Values { values: rows.future, known: Matrix::default() },
            inputs: vec![rows.history],
            parts,
            people: rows.people,
            provenance: dataset.provenance,
            dropped: dataset.dropped,
            labels: Vec::new(),
            features: Vec::new(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
        trainee.standardise_series(self.centre, self.scale)?;
        let plan = Plan {
            epochs_max: context.effort.choose(8, 1),
            patience_epochs: 3,
            batch_rows: 512,
            learning_rate: 2e-3,
            weight_decay: 0.02,
            seed: context.seed,
            ..Plan::default()
        };
        let Parts { train, validation, .. } = prepared.parts.clone();
        let objective = Pinball { prepared, trainee, future, scale: self.scale, train, validation };
        optimise::fit(self.name, trainee.weights(), &objective, &plan, &context.progress)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        let horizons = [(u64::from(HORIZON_DAYS * DAY_S), cases(prepared, runner)?)];
        let widths = fit_forecast((LEVELS[LOW], LEVELS[HIGH]), &horizons, COVERAGE);
        let rows = prepared.parts.calibration.len();
        Ok((Part::Forecast(widths.context("too few next values to calibrate on")?), rows))
    }

    fn cohorts(&self, prepared: &Prepared, runner: &mut Runner, part: &Part) -> Result<Option<Cohorts>> {
        let Part::Forecast(widths) = part else { return Ok(None) };
        let horizons = [(u64::from(HORIZON_DAYS * DAY_S), cases(prepared, runner)?)];
        let rows = prepared.parts.calibration.iter();
        let people: Vec<Option<Cohort>> = rows.map(|row| prepared.people[*row].cohort()).collect();
        Ok(forecast_cohorts(widths, &horizons, &people, COVERAGE))
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
        figures::of(prepared, runner, calibration)
    }

    fn golden(&self, _prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        let mut history = Matrix::new(VALUES);
        for _ in 0..8 {
            let level = self.centre + self.scale * rng.random_range(-2.0..2.0f32);
            let row: Vec<f32> =
                (0..VALUES).map(|_| level + self.scale * rng.random_range(-1.0..1.0f32)).collect();
            history.push(&row);
        }
        vec![history]
    }
}

fn said(quantiles: &Matrix, row: usize) -> Quantiles {
    let at = |level: usize| f64::from(quantiles.row(row)[level]);
    Quantiles { low: at(LOW), median: at(MEDIAN), high: at(HIGH) }
}

/// Forecasts of the calibration rows beside what came.
fn cases(prepared: &Prepared, runner: &mut Runner) -> Result<Vec<HorizonCase>> {
    let rows = &prepared.parts.calibration;
    let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
    let quantiles = runner.first(&prepared.pick(rows))?;
    let case = |(at, row): (usize, &usize)| {
        let history = prepared.inputs[0].row_f64(*row);
        let last = history[VALUES - 1];
        let truth = f64::from(future.row(*row)[0]);
        HorizonCase { quantiles: said(&quantiles, at), spread: spread(&history), last, linear: last, truth }
    };
    Ok(rows.iter().enumerate().map(case).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_needs_three_values_before_and_the_next_within_its_time() {
        let values = [(0, 50.0), (10, 52.0), (20, 54.0), (30, 56.0), (900, 40.0), (910, 58.0)];
        let rows = Rows::of(&[LabSeries { id: 1, person: Some((50.0, Sex::Male)), values: values.to_vec() }]);
        assert_eq!(rows.future.data, [56.0, 58.0], "the value after 870 days is left out");
        assert_eq!(rows.history.row(0), [52.0, 52.0, 52.0, 50.0, 52.0, 54.0], "begins with the mean");
        assert_eq!(rows.history.row(1)[VALUES - 1], 40.0, "but it is history to the one after");
        assert_eq!(rows.days, [10, 10]);
        let age = rows.people[1].age_years.expect("known");
        assert!((age - (50.0 + 900.0 / 365.25)).abs() < 1e-9, "years at the last value known: {age}");
    }
}
