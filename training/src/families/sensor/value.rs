//! From 88 corrected channels to concentrations: one output per analyte of the health cartridges.
//!
//! A row knows only the analytes of its own cartridge; the loss leaves the other outputs alone, and a caller
//! reads the outputs of the cartridge that was measured with. Errors are counted in the logarithm, because
//! concentrations range over decades.

use anyhow::{Context as _, Result};
use clinical::Biomarker;
use clinical::cartridge::{Cartridge, Category};
use clinical::simulator::{Fault, SimulatorConfig};
use models::bundle::{BodyConfig, Family, Link, NetworkConfig, RegressorConfig, TensorConfig};
use models::calibration::{
    COVERAGE, Calibration, OutputResidual, Part, Residuals, Scale, Support, fit_residual,
};
use rand_chacha::ChaCha8Rng;

use super::robustness::{self, Figure};
use super::simulate::{self, CHANNELS};
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::plots::Plot;
use crate::evaluate::{Measure, metrics};
use crate::families::golden;
use crate::families::matrix::Matrix;
use crate::families::parts::Parts;
use crate::families::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use crate::families::regress::SquaredError;
use crate::families::runner::Runner;
use crate::families::support;
use crate::families::trainee::{Trainee, body};
use crate::optimise::{self, Outcome, Plan};

/// Rows per cartridge of each part.
const ROWS: [usize; 4] = [2400, 300, 500, 500];
/// Rows per cartridge of a worsened reader or a fault.
const WORSENED: usize = 40;

/// The recipe.
pub(crate) struct SensorValue;

/// Cartridges that end in a value, and their analytes without repeats, in registry order.
fn cartridges() -> Vec<&'static Cartridge> {
    let health = |cartridge: &&Cartridge| cartridge.category == Category::HealthBiomarker;
    simulate::basic().into_iter().filter(health).collect()
}

fn analytes() -> Vec<Biomarker> {
    cartridges().iter().flat_map(|cartridge| cartridge.analytes.iter().copied()).collect()
}

impl Recipe for SensorValue {
    fn spec(&self) -> Spec {
        Spec {
            name: "sensor-value",
            version: "MPS-SENSOR-VALUE-v1.1.0-FP32",
            family: Family::Sensor,
            task: "sensor_value",
            intended_use: "Turns a corrected sweep of a simulated cartridge into the concentration of its analytes. \
                           Synthetic: not for any real measurement.",
            synthetic: true,
            limits: &[
                "Trained and measured on simulated sweeps only.",
                "Only the outputs of the cartridge measured with mean anything.",
                "Concentrations were drawn evenly in the logarithm over the measuring range of each cartridge.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let channels = TensorConfig::rows("channels", &[CHANNELS as i64]).in_unit("Ohm");
        (vec![channels], vec![TensorConfig::rows("values", &[analytes().len() as i64])])
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Regressor(RegressorConfig {
            inputs: CHANNELS,
            masked: false,
            outputs: analytes().len(),
            link: Link::Exp,
            body: BodyConfig { skip: true, ..body(&[128, 64], 1) },
        })
    }

    fn prepare(&self, context: &Context, seed: u64) -> Result<Prepared> {
        let lengths = ROWS.map(|rows| context.effort.choose(rows, 20) * cartridges().len());
        let Sweeps { channels, values, known } =
            sweeps(SimulatorConfig::default(), seed, lengths.iter().sum(), None)?;
        let parts = Parts::in_order(lengths);
        let person = |group: usize| Person { group: group as u64, ..Person::default() };
        Ok(Prepared {
            people: (0..channels.rows()).map(person).collect(),
            provenance: simulate::provenance(&channels),
            dropped: Vec::new(),
            test_set: format!("{} simulated sweeps not trained on (synthetic)", parts.test.len()),
            truth: Truth::Values { values, known },
            inputs: vec![channels],
            parts,
            labels: analytes().iter().map(|analyte| analyte.code().to_owned()).collect(),
            features: Vec::new(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        let (values, known) = prepared.truth.values().context("a regressor needs values")?;
        trainee.standardise_all(&prepared.inputs[0], &prepared.parts.train)?;
        let targets = trainee.scale_outputs(values, known, &prepared.parts.train, f32::ln)?;
        let plan = Plan {
            epochs_max: context.effort.choose(80, 2),
            patience_epochs: 15,
            batch_rows: 256,
            weight_decay: 1e-4,
            seed: context.seed,
            ..Plan::default()
        };
        let objective = SquaredError { prepared, trainee, targets: &targets, known };
        optimise::fit(self.spec().name, trainee.weights(), &objective, &plan, &context.progress)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        let rows = &prepared.parts.calibration;
        let answers = runner.first(&prepared.pick(rows))?;
        let mut outputs = Vec::new();
        for (col, label) in prepared.labels.iter().enumerate() {
            let (predicted, truth) = pairs(prepared, rows, &answers, col)?;
            let pairs: Vec<(f64, f64)> = predicted.into_iter().zip(truth).collect();
            outputs.push(narrower(label, &pairs).with_context(|| format!("too few rows of `{label}`"))?);
        }
        let train = prepared.inputs[0].pick(&prepared.parts.train);
        let baseline = (0..CHANNELS).map(|col| metrics::mean(train.column(col).into_iter())).collect();
        Ok((Part::Residuals(Residuals { outputs, baseline }), rows.len()))
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let rows = &prepared.parts.test;
        let answers = runner.first(&prepared.pick(rows))?;
        let Part::Residuals(figures) = calibration.part() else { anyhow::bail!("expected residuals") };
        let mut measures = Vec::new();
        for (col, label) in prepared.labels.iter().enumerate() {
            let (predicted, truth) = pairs(prepared, rows, &answers, col)?;
            let figures = figures.output(label).with_context(|| format!("`{label}` is not calibrated"))?;
            let own = of_analyte(&predicted, &truth, figures, calibration.coverage());
            measures.extend(own.into_iter().map(|measure| measure.within(&format!("analyte={label}"))));
        }
        let of = |name: &'static str| measures.iter().filter(move |measure: &&Measure| measure.name == name);
        let worst = of("r2").min_by(|a, b| a.value.total_cmp(&b.value)).context("there is no analyte")?;
        let worst =
            Measure::new("r2_worst_analyte", worst.value, worst.rows).between(worst.low.zip(worst.high));
        let coverage = metrics::mean(of("coverage").map(|measure| measure.value));
        measures.insert(0, worst);
        measures.insert(1, Measure::new("coverage", coverage, rows.len()));
        let names = robustness::channel_names(CHANNELS);
        let away = robustness::turned_away(calibration, &prepared.inputs[0].pick(rows), &names);
        measures.insert(2, Figure::share("abstains", &away).measure());
        measures.extend(robustness::measures(&worsened(prepared, runner, calibration)?));
        for (name, fault) in robustness::FAULTS {
            let count = robustness::rows(prepared, WORSENED * cartridges().len());
            let sweeps = sweeps(SimulatorConfig::default(), robustness::SEED, count, Some(fault))?;
            let away = robustness::turned_away(calibration, &sweeps.channels, &names);
            measures.push(Figure::share("abstains", &away).measure().within(&format!("fault={name}")));
        }
        Ok(measures)
    }

    fn support(&self, prepared: &Prepared) -> Option<Support> {
        support::of_sweep(prepared, CHANNELS)
    }

    fn plots(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Plot>> {
        Ok(robustness::plots(&worsened(prepared, runner, calibration)?))
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        crate::families::aim(
            measures,
            "r2_worst_analyte",
            |v| v >= 0.95,
            "R2 of at least 0.95 for every analyte",
        )
    }

    fn golden(&self, prepared: &Prepared, _rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::simulated(prepared)
    }
}

/// Simulated sweeps of the health cartridges in turn, with the values of their own analytes.
struct Sweeps {
    channels: Matrix,
    values: Matrix,
    known: Matrix,
}

fn sweeps(config: SimulatorConfig, seed: u64, count: usize, fault: Option<Fault>) -> Result<Sweeps> {
    let mut simulator = simulate::simulator(config, seed, 1)?;
    let (cartridges, analytes) = (cartridges(), analytes());
    let mut channels = Matrix::new(CHANNELS);
    let (mut values, mut known) = (Matrix::new(analytes.len()), Matrix::new(analytes.len()));
    for row in 0..count {
        let cartridge = cartridges[row % cartridges.len()];
        let drawn = simulator.random_concentrations(cartridge);
        simulate::push_sweep(&mut simulator, cartridge, &drawn, fault, &mut channels)?;
        for analyte in &analytes {
            let value = drawn.iter().find(|(drawn, _)| drawn == analyte).map(|(_, value)| *value as f32);
            values.data.push(value.unwrap_or(0.0));
            known.data.push(f32::from(u8::from(value.is_some())));
        }
    }
    Ok(Sweeps { channels, values, known })
}

/// Figures of ever worse readers, over all analytes.
fn worsened(
    prepared: &Prepared,
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<robustness::Point>> {
    let Part::Residuals(figures) = calibration.part() else { anyhow::bail!("expected residuals") };
    let (names, analytes) = (robustness::channel_names(CHANNELS), analytes());
    let count = robustness::rows(prepared, WORSENED * cartridges().len());
    robustness::curves(&mut |config| {
        let sweeps = sweeps(config, robustness::SEED, count, None)?;
        let answers = runner.first(std::slice::from_ref(&sweeps.channels))?;
        let away = robustness::turned_away(calibration, &sweeps.channels, &names);
        let (mut apart, mut held) = (Vec::new(), Vec::new());
        for (row, away) in away.iter().enumerate() {
            for (col, analyte) in analytes.iter().enumerate().filter(|at| sweeps.known.row(row)[at.0] > 0.0) {
                let (said, truth) =
                    (f64::from(answers.row(row)[col]), f64::from(sweeps.values.row(row)[col]));
                let residual = figures.output(analyte.code()).context("an analyte is not calibrated")?;
                let interval = residual.interval(said, calibration.coverage());
                apart.push((said - truth).abs() / truth);
                held.push(*away || (interval.low..=interval.high).contains(&truth));
            }
        }
        Ok(vec![
            Figure::mean("mard", apart),
            Figure::share("coverage", &held),
            Figure::share("abstains", &away),
        ])
    })
}

/// Predicted and true values of output `col` where it is known.
fn pairs(prepared: &Prepared, rows: &[usize], answers: &Matrix, col: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let (values, known) = prepared.truth.values().context("a regressor needs values")?;
    let there = rows.iter().enumerate().filter(|(_, row)| known.row(**row)[col] > 0.0);
    Ok(there.map(|(i, row)| (f64::from(answers.row(i)[col]), f64::from(values.row(*row)[col]))).unzip())
}

/// The way of counting errors that gives the narrower interval in the middle of the range.
fn narrower(label: &str, pairs: &[(f64, f64)]) -> Option<OutputResidual> {
    let absolute = fit_residual(label, pairs, Scale::Absolute, COVERAGE)?;
    let relative = fit_residual(label, pairs, Scale::Relative, COVERAGE)?;
    let mut truths: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    truths.sort_by(f64::total_cmp);
    let middle = truths[truths.len() / 2];
    Some(if relative.half_width * middle <= absolute.half_width { relative } else { absolute })
}

fn of_analyte(predicted: &[f64], truth: &[f64], figures: &OutputResidual, coverage: f64) -> Vec<Measure> {
    let n = truth.len();
    let groups: Vec<u64> = (0..n as u64).collect();
    let spread = interval(&groups, |at| Some(metrics::r_squared(&pick(predicted, at), &pick(truth, at))));
    let agreement = metrics::agreement(predicted, truth);
    let (low, high): (Vec<f64>, Vec<f64>) = predicted
        .iter()
        .map(|value| figures.interval(*value, coverage))
        .map(|interval| (interval.low, interval.high))
        .unzip();
    vec![
        Measure::new("r2", metrics::r_squared(predicted, truth), n).between(spread),
        Measure::new("mard", metrics::mard(predicted, truth), n),
        Measure::new("bland_altman_bias", agreement.bias, n).between(Some((agreement.low, agreement.high))),
        Measure::new("coverage", metrics::coverage(&low, &high, truth), n),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_analyte_of_the_health_cartridges_is_an_output_once() {
        let analytes = analytes();
        assert_eq!((cartridges().len(), analytes.len()), (14, 17));
        let unique: std::collections::BTreeSet<_> = analytes.iter().collect();
        assert_eq!(unique.len(), 17);
    }

    #[test]
    fn errors_that_grow_with_the_value_are_counted_relative() {
        let pairs: Vec<(f64, f64)> = (1..200).map(f64::from).map(|v| (v, v * 1.1)).collect();
        assert_eq!(narrower("x", &pairs).expect("enough").scale, Scale::Relative);
        let pairs: Vec<(f64, f64)> = (1..200).map(f64::from).map(|v| (v, v + 1.0)).collect();
        assert_eq!(narrower("x", &pairs).expect("enough").scale, Scale::Absolute);
    }
}
