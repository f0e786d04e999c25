//! A laboratory value a week on, from the last six at whatever times they were taken.
//!
//! Next values within days are rare, so the network learns from all within [`LEARN_DAYS_MAX`], where the person's own
//! level is what there is to know; the bounds and the figures are of the next values within [`NEAR_DAYS_MAX`] only.

use anyhow::{Context as _, Result};
use models::bundle::{BodyConfig, Family, ForecastConfig, ForecasterConfig, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Forecast, HorizonCase, Part, Quantiles, fit_forecast, spread};
use models::family::trend::sparse;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::matrix::Matrix;
use super::parts::Parts;
use super::pinball::{COVERAGE, HIGH, LEVELS, LOW, MEDIAN, Pinball};
use super::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use super::runner::Runner;
use super::trainee::{Trainee, body};
use crate::data::mortality::nafld::{self, Lab, LabSeries};
use crate::data::{Dataset, Fractions};
use crate::evaluate::baseline::Ridge;
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Measure, metrics};
use crate::optimise::{self, Outcome, Plan};

/// Values of a history, and least that are asked for.
const VALUES: usize = 6;
const VALUES_MIN: usize = 3;
const DAY_S: u32 = 86_400;
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
    version: "MPS-HDL-TREND-v1.0.0-FP32",
    task: "hdl_cholesterol",
    unit: "mg/dL",
    centre: 50.0,
    scale: 8.0,
};

/// Systolic pressure.
pub(crate) const SYSTOLIC: LabTrend = LabTrend {
    lab: Lab::Systolic,
    name: "systolic-trend",
    version: "MPS-SYSTOLIC-TREND-v1.0.0-FP32",
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
                rows.people.push(Person { group: index as u64, ..Person::default() });
            }
            rows.rows_of.push(own);
        }
        rows
    }

    fn parts(&self, dataset: &Dataset<LabSeries>) -> Parts {
        let people = Parts::of(dataset, Fractions::default(), VALIDATION);
        let all = |people: &[usize]| people.iter().flat_map(|person| self.rows_of[*person].clone()).collect();
        let near = |people: &[usize]| -> Vec<usize> {
            let rows: Vec<usize> = all(people);
            rows.into_iter().filter(|row| self.days[*row] <= NEAR_DAYS_MAX).collect()
        };
        Parts {
            train: all(&people.train),
            validation: all(&people.validation),
            calibration: near(&people.calibration),
            test: near(&people.test),
        }
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
        let parts = rows.parts(&dataset);
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
        let rows = &prepared.parts.calibration;
        let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
        let quantiles = runner.first(&prepared.pick(rows))?;
        let case = |(at, row): (usize, &usize)| {
            let history = prepared.inputs[0].row_f64(*row);
            let last = history[VALUES - 1];
            let truth = f64::from(future.row(*row)[0]);
            HorizonCase {
                quantiles: said(&quantiles, at),
                spread: spread(&history),
                last,
                linear: last,
                truth,
            }
        };
        let cases: Vec<HorizonCase> = rows.iter().enumerate().map(case).collect();
        let horizons = [(u64::from(HORIZON_DAYS * DAY_S), cases)];
        let widths = fit_forecast((LEVELS[LOW], LEVELS[HIGH]), &horizons, COVERAGE);
        Ok((Part::Forecast(widths.context("too few next values to calibrate on")?), rows.len()))
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
        let table = |rows: &[usize]| prepared.inputs[0].pick(rows).to_f64();
        let train = &prepared.parts.train;
        let ridge = Ridge::fit(&table(train), &future.pick(train).to_f64(), RIDGE_PENALTY);
        let history = prepared.inputs[0].pick(rows);
        let quantiles = runner.first(std::slice::from_ref(&history))?;
        let (truth, groups) = (future.pick(rows).column(0), prepared.groups(rows));
        let ours = quantiles.column(MEDIAN);
        let simple = |of: &dyn Fn(&[f64]) -> f64| {
            metrics::rmse(&table(rows).iter().map(|row| of(row)).collect::<Vec<_>>(), &truth)
        };
        let spread = interval(&groups, |at| Some(metrics::rmse(&pick(&ours, at), &pick(&truth, at))));
        let rmse = Measure::new("rmse", metrics::rmse(&ours, &truth), rows.len()).between(spread);
        let against = |name: &str, value| rmse.clone().against(name, Some(value));
        let mut measures = vec![
            against("ridge", simple(&|row| ridge.predict(row)[0])),
            against("last value", simple(&|row| row[VALUES - 1])).within("beside=last value"),
            against("mean of three", simple(&|row| metrics::mean(row[VALUES - 3..].iter().copied())))
                .within("beside=mean of three"),
        ];
        if let Part::Forecast(widths) = calibration.part() {
            measures.extend(held(&quantiles, &history, &truth, &groups, widths));
        }
        Ok(measures)
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

/// Coverage and width of the served intervals.
fn held(
    quantiles: &Matrix,
    history: &Matrix,
    truth: &[f64],
    groups: &[u64],
    widths: &Forecast,
) -> Vec<Measure> {
    let end = |row: usize| {
        let band = widths.band(spread(&history.row_f64(row)));
        let interval = widths.horizons[0].interval(said(quantiles, row), band, COVERAGE);
        (interval.low, interval.high)
    };
    let (low, high): (Vec<f64>, Vec<f64>) = (0..truth.len()).map(end).unzip();
    let share = |at: &[usize]| metrics::coverage(&pick(&low, at), &pick(&high, at), &pick(truth, at));
    let everyone: Vec<usize> = (0..truth.len()).collect();
    let width = metrics::mean(low.iter().zip(&high).map(|(low, high)| high - low));
    vec![
        Measure::new("coverage", share(&everyone), truth.len())
            .between(interval(groups, |at| Some(share(at)))),
        Measure::new("interval_width", width, truth.len()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_needs_three_values_before_and_the_next_within_its_time() {
        let values = [(0, 50.0), (10, 52.0), (20, 54.0), (30, 56.0), (900, 40.0), (910, 58.0)];
        let rows = Rows::of(&[LabSeries { id: 1, values: values.to_vec() }]);
        assert_eq!(rows.future.data, [56.0, 58.0], "the value after 870 days is left out");
        assert_eq!(rows.history.row(0), [52.0, 52.0, 52.0, 50.0, 52.0, 54.0], "begins with the mean");
        assert_eq!(rows.history.row(1)[VALUES - 1], 40.0, "but it is history to the one after");
        assert_eq!(rows.days, [10, 10]);
    }
}
