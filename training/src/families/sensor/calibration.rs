//! From the sweep of an ordinary cartridge to the sweep an ideal one would have given: 88 channels to 88.
//!
//! Both are simulated with the same concentrations; the ideal cartridge has no manufacturing spread, no
//! mismatch of cells, no drift, no noise and an average sample matrix.

use anyhow::{Context as _, Result};
use clinical::simulator::{Fault, SimulatorConfig};
use models::bundle::{BodyConfig, Family, Link, NetworkConfig, RegressorConfig, TensorConfig};
use models::calibration::{COVERAGE, Calibration, Part, Residuals, Scale, Support, fit_residual};
use models::family::anomaly::channel_name;
use rand_chacha::ChaCha8Rng;

use super::robustness::{self, Figure};
use super::simulate::{self, CHANNELS};
use crate::evaluate::bootstrap::interval;
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

/// Pairs of each part.
const ROWS: [usize; 4] = [12_000, 1_500, 2_000, 2_000];
/// Pairs of a worsened reader or a fault.
const WORSENED: usize = 460;

/// The recipe.
pub(crate) struct SensorCalibration;

/// Channels of the four working electrodes.
const WORKING: usize = 44;

const IDEAL: SimulatorConfig = SimulatorConfig {
    packet_period_ms: 100,
    temperature_c: 25.0,
    temperature_jitter_c: 0.0,
    humidity_percent: 45.0,
    battery_percent: 80.0,
    matrix_spread: 0.0,
    manufacturing_spread: 0.0,
    cell_mismatch: 0.0,
    drift_per_minute: 0.0,
    noise_relative: 0.0,
    noise_ohm: 0.0,
    common_noise_ohm: 0.0,
    packet_loss: 0.0,
};

impl Recipe for SensorCalibration {
    fn spec(&self) -> Spec {
        Spec {
            name: "sensor-calibration",
            version: "MPS-SENSOR-CALIBRATION-v1.1.0-FP32",
            family: Family::Sensor,
            task: "sensor_calibration",
            intended_use: "Turns the corrected sweep of a simulated cartridge into the sweep of an ideal one. \
                           Synthetic: not for any real instrument.",
            synthetic: true,
            limits: &[
                "Trained and measured on simulated sweeps only.",
                "Channels that carry no analyte (counter and reference electrodes) have almost no spread in an \
                 ideal cartridge, so only working electrodes are measured by explained variance.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let channels = || vec![TensorConfig::rows("channels", &[CHANNELS as i64]).in_unit("Ohm")];
        (channels(), channels())
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Regressor(RegressorConfig {
            inputs: CHANNELS,
            masked: false,
            outputs: CHANNELS,
            link: Link::Linear,
            body: BodyConfig { skip: true, ..body(&[64, 64], 1) },
        })
    }

    fn prepare(&self, context: &Context, seed: u64) -> Result<Prepared> {
        let lengths = ROWS.map(|rows| context.effort.choose(rows, 100));
        let (channels, ideal) = pairs(SimulatorConfig::default(), seed, lengths.iter().sum(), None)?;
        let parts = Parts::in_order(lengths);
        let person = |group: usize| Person { group: group as u64, ..Person::default() };
        Ok(Prepared {
            people: (0..channels.rows()).map(person).collect(),
            provenance: simulate::provenance(&channels),
            dropped: Vec::new(),
            truth: Truth::Values { values: ideal, known: Matrix::default() },
            test_set: format!("{} simulated pairs not trained on (synthetic)", parts.test.len()),
            parts,
            inputs: vec![channels],
            labels: (0..CHANNELS).map(channel_name).collect(),
            features: Vec::new(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        let (ideal, _) = prepared.truth.values().context("a regressor needs values")?;
        let everywhere = Matrix { cols: CHANNELS, data: vec![1.0; ideal.data.len()] };
        trainee.standardise_all(&prepared.inputs[0], &prepared.parts.train)?;
        let targets = trainee.scale_outputs(ideal, &everywhere, &prepared.parts.train, |value| value)?;
        let plan = Plan {
            epochs_max: context.effort.choose(40, 2),
            patience_epochs: 8,
            weight_decay: 1e-4,
            seed: context.seed,
            ..Plan::default()
        };
        let objective = SquaredError { prepared, trainee, targets: &targets, known: &everywhere };
        optimise::fit(self.spec().name, trainee.weights(), &objective, &plan, &context.progress)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        let rows = &prepared.parts.calibration;
        let (ideal, _) = prepared.truth.values().context("a regressor needs values")?;
        let answers = runner.first(&prepared.pick(rows))?;
        let truth = ideal.pick(rows);
        let mut outputs = Vec::new();
        for (col, label) in prepared.labels.iter().enumerate() {
            let pairs: Vec<(f64, f64)> = answers.column(col).into_iter().zip(truth.column(col)).collect();
            let residual = fit_residual(label, &pairs, Scale::Absolute, COVERAGE);
            outputs.push(residual.with_context(|| format!("too few rows of `{label}`"))?);
        }
        Ok((Part::Residuals(Residuals { outputs, baseline: Vec::new() }), rows.len()))
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let rows = &prepared.parts.test;
        let (ideal, _) = prepared.truth.values().context("a regressor needs values")?;
        let answers = runner.first(&prepared.pick(rows))?;
        let (truth, before) = (ideal.pick(rows), prepared.inputs[0].pick(rows));
        let r2 = |from: &Matrix| -> Vec<f64> {
            (0..WORKING).map(|col| metrics::r_squared(&from.column(col), &truth.column(col))).collect()
        };
        let (after, uncorrected) = (r2(&answers), r2(&before));
        let worst = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
        let squares = |from: &Matrix| -> Vec<f64> {
            let row = |row| from.row(row).iter().zip(truth.row(row)).map(|(a, b)| f64::from(a - b).powi(2));
            (0..rows.len()).map(|at| metrics::mean(row(at))).collect()
        };
        let rmse = |from: &Matrix| metrics::mean(squares(from).into_iter()).sqrt();
        let own = squares(&answers);
        let spread =
            interval(&prepared.groups(rows), |at| Some(metrics::mean(at.iter().map(|row| own[*row])).sqrt()));
        let names = robustness::channel_names(CHANNELS);
        let away = robustness::turned_away(calibration, &before, &names);
        let mut measures = vec![
            Measure::new("r2_mean_working", metrics::mean(after.iter().copied()), rows.len())
                .against("without calibration", Some(metrics::mean(uncorrected.iter().copied()))),
            Measure::new("r2_worst_working", worst(&after), rows.len())
                .against("without calibration", Some(worst(&uncorrected))),
            Measure::new("rmse_ohm", rmse(&answers), rows.len())
                .between(spread)
                .against("without calibration", Some(rmse(&before))),
            Figure::mean("coverage", by_sweep(&held(calibration, &answers, &truth)?)).measure(),
            Figure::share("abstains", &away).measure(),
        ];
        measures.extend(robustness::measures(&worsened(prepared, runner, calibration)?));
        for (name, fault) in robustness::FAULTS {
            let (sweeps, _) = pairs(
                SimulatorConfig::default(),
                robustness::SEED,
                robustness::rows(prepared, WORSENED),
                Some(fault),
            )?;
            let away = robustness::turned_away(calibration, &sweeps, &names);
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
        crate::families::aim(measures, "r2_mean_working", |v| v >= 0.95, "mean R2 of at least 0.95")
    }

    fn golden(&self, prepared: &Prepared, _rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::simulated(prepared)
    }
}

/// Sweeps of ordinary cartridges in turn, and what ideal ones give of the same.
fn pairs(config: SimulatorConfig, seed: u64, count: usize, fault: Option<Fault>) -> Result<(Matrix, Matrix)> {
    let mut ordinary = simulate::simulator(config, seed, 5)?;
    let mut perfect = simulate::simulator(IDEAL, seed, 6)?;
    let cartridges = simulate::basic();
    let (mut channels, mut ideal) = (Matrix::new(CHANNELS), Matrix::new(CHANNELS));
    for row in 0..count {
        let cartridge = cartridges[row % cartridges.len()];
        let drawn = ordinary.random_concentrations(cartridge);
        simulate::push_sweep(&mut ordinary, cartridge, &drawn, fault, &mut channels)?;
        simulate::push_sweep(&mut perfect, cartridge, &drawn, None, &mut ideal)?;
    }
    Ok((channels, ideal))
}

/// Whether each channel of the working electrodes lies in its interval, row by row.
fn held(calibration: &Calibration, answers: &Matrix, truth: &Matrix) -> Result<Vec<bool>> {
    let Part::Residuals(figures) = calibration.part() else { anyhow::bail!("expected residuals") };
    let of = |row: usize| {
        let channels = figures.outputs.iter().zip(answers.row(row)).zip(truth.row(row)).take(WORKING);
        channels.map(|((residual, said), truth)| {
            let interval = residual.interval(f64::from(*said), calibration.coverage());
            (interval.low..=interval.high).contains(&f64::from(*truth))
        })
    };
    Ok((0..truth.rows()).flat_map(of).collect())
}

/// Share of the channels of each sweep that is held: channels of one sweep err together.
fn by_sweep(held: &[bool]) -> Vec<f64> {
    let share = |sweep: &[bool]| sweep.iter().filter(|held| **held).count() as f64 / WORKING as f64;
    held.chunks_exact(WORKING).map(share).collect()
}

/// Figures of ever worse readers.
fn worsened(
    prepared: &Prepared,
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<robustness::Point>> {
    let count = robustness::rows(prepared, WORSENED);
    let names = robustness::channel_names(CHANNELS);
    robustness::curves(&mut |config| {
        let (sweeps, truth) = pairs(config, robustness::SEED, count, None)?;
        let answers = runner.first(std::slice::from_ref(&sweeps))?;
        let away = robustness::turned_away(calibration, &sweeps, &names);
        let mut held = held(calibration, &answers, &truth)?;
        held.chunks_exact_mut(WORKING).zip(&away).for_each(|(held, away)| {
            if *away {
                held.fill(true);
            }
        });
        let square = |row: usize| {
            let channels = answers.row(row).iter().zip(truth.row(row));
            metrics::mean(channels.map(|(a, b)| f64::from(a - b).powi(2)))
        };
        Ok(vec![
            Figure::root("rmse_ohm", (0..count).map(square).collect()),
            Figure::mean("coverage", by_sweep(&held)),
            Figure::share("abstains", &away),
        ])
    })
}
