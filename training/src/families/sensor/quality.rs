//! Whether a session is worth reading, from six statistics of its first packets.
//!
//! The label is the rule of the sources on the whole session: good above 10 dB and under 1 % drift, fair
//! above 5 dB and under 3 %, else poor. The network sees only a short window at the start, so it has to
//! judge early what the rule can only say at the end.

use anyhow::{Context as _, Result};
use clinical::cartridge::Cartridge;
use clinical::correction::Correction;
use clinical::gate::{drift_percent, snr_db};
use clinical::simulator::{SimulatorConfig, SyntheticPacket};
use models::bundle::{ClassifierConfig, Family, FeatureConfig, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Part, Support};
use models::family::sensor::{STATISTICS, statistics};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::robustness::{self, Figure};
use super::simulate;
use crate::evaluate::plots::Plot;
use crate::evaluate::{Measure, metrics};
use crate::families::classify::{self, Hiding};
use crate::families::golden;
use crate::families::matrix::Matrix;
use crate::families::parts::Parts;
use crate::families::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use crate::families::rivals;
use crate::families::runner::Runner;
use crate::families::support;
use crate::families::trainee::{Trainee, body};
use crate::optimise::{Outcome, Plan};

/// The statistics of [`models::family::sensor::statistics`], with their units, in input order.
const COLUMNS: [(&str, &str); STATISTICS] = [
    ("mean", "Ohm"),
    ("deviation", "Ohm"),
    ("step_max", "1"),
    ("step_mean", "1"),
    ("drift", "1"),
    ("restless_share", "1"),
];
const LABELS: [&str; 3] = ["good", "fair", "poor"];
/// Packets of a session, and of the window at its start.
const SESSION: usize = 60;
const WINDOW: usize = 15;
/// Sessions of each part.
const ROWS: [usize; 4] = [3_000, 400, 1_000, 1_000];
/// Sessions of one worsened reader.
const WORSENED: usize = 115;

/// The recipe.
pub(crate) struct SensorQuality;

/// A reader in any state from new to failing.
fn draw_config(rng: &mut ChaCha8Rng) -> SimulatorConfig {
    let log_between =
        |rng: &mut ChaCha8Rng, low: f64, high: f64| low * (high / low).powf(rng.random_range(0.0..1.0));
    SimulatorConfig {
        noise_relative: log_between(rng, 0.001, 0.5),
        noise_ohm: log_between(rng, 0.3, 2000.0),
        drift_per_minute: log_between(rng, 0.002, 0.5) * if rng.random_bool(0.5) { 1.0 } else { -1.0 },
        packet_loss: log_between(rng, 0.001, 0.2),
        temperature_c: rng.random_range(15.0..40.0),
        ..SimulatorConfig::default()
    }
}

/// The rule of the sources.
fn class_of(snr_db: f64, drift_percent: f64) -> usize {
    let drift = drift_percent.abs();
    match (snr_db, drift) {
        (snr, drift) if snr > 10.0 && drift < 1.0 => 0,
        (snr, drift) if snr > 5.0 && drift < 3.0 => 1,
        _ => 2,
    }
}

/// Corrected sweeps of a session, as the server sees them.
fn corrected(cartridge: &Cartridge, packets: &[SyntheticPacket]) -> Result<Vec<Vec<f32>>> {
    let correction = Correction::for_cartridge(cartridge);
    let mut sweeps = Vec::with_capacity(packets.len());
    for packet in packets {
        let mut row = vec![0.0; packet.detection.len()];
        correction.apply_into(&packet.detection, &packet.reference, packet.temperature_c, &mut row)?;
        sweeps.push(row);
    }
    Ok(sweeps)
}

/// What a session shows early, and what the rule says of all of it.
fn judge(cartridge: &Cartridge, packets: &[SyntheticPacket]) -> Result<([f32; STATISTICS], usize)> {
    let whole: Vec<&[f32]> = packets.iter().map(|packet| packet.detection.as_slice()).collect();
    let (snr, drift) = (snr_db(&whole).unwrap_or(0.0), drift_percent(&whole).unwrap_or(100.0));
    let early = corrected(cartridge, &packets[..WINDOW.min(packets.len())])?;
    let early: Vec<&[f32]> = early.iter().map(Vec::as_slice).collect();
    let statistics = statistics(&early).context("a session of one packet has no statistics")?;
    Ok((statistics, class_of(snr, drift)))
}

impl Recipe for SensorQuality {
    fn spec(&self) -> Spec {
        Spec {
            name: "sensor-quality",
            version: "MPS-SENSOR-QUALITY-v1.1.0-FP32",
            family: Family::Sensor,
            task: "sensor_quality",
            intended_use: "Judges from the first packets whether a simulated session will be good, fair or poor. \
                           Synthetic: not for any real instrument.",
            synthetic: true,
            limits: &[
                "Trained and measured on simulated sessions only.",
                "The statistics hold less than the rule looks at: sweeps are averaged over channels, so noise that \
                 is independent between channels hardly shows.",
                "It repeats a rule of signal-to-noise ratio and drift from less data than the rule needs; the rule \
                 itself stays the authority at the end of a session.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let statistics = TensorConfig::rows("statistics", &[STATISTICS as i64]);
        (vec![statistics], vec![TensorConfig::rows("probabilities", &[LABELS.len() as i64])])
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Classifier(ClassifierConfig {
            inputs: STATISTICS,
            masked: false,
            outputs: LABELS.len(),
            body: body(&[32, 16], 2),
            forest: None,
        })
    }

    fn prepare(&self, context: &Context, seed: u64) -> Result<Prepared> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 4);
        let cartridges = simulate::basic();
        let lengths = ROWS.map(|rows| context.effort.choose(rows, 120));
        let mut rows = Matrix::new(STATISTICS);
        let mut classes = Vec::new();
        let bar = context.progress.bar("simulate sessions", lengths.iter().sum());
        for row in 0..lengths.iter().sum::<usize>() {
            let mut simulator = simulate::simulator(draw_config(&mut rng), seed, 1_000 + row as u64)?;
            let cartridge = cartridges[row % cartridges.len()];
            let drawn = simulator.random_concentrations(cartridge);
            let packets = simulator.session(cartridge, &drawn, SESSION)?.packets;
            let (statistics, class) = judge(cartridge, &packets)?;
            rows.push(&statistics);
            classes.push(class);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let parts = Parts::in_order(lengths);
        let person = |group: usize| Person { group: group as u64, ..Person::default() };
        let feature = |(name, unit): (&str, &str)| FeatureConfig {
            name: name.to_owned(),
            unit: Some(unit.to_owned()),
            loinc: None,
            low: None,
            high: None,
        };
        Ok(Prepared {
            people: (0..rows.rows()).map(person).collect(),
            provenance: simulate::provenance(&rows),
            dropped: Vec::new(),
            truth: Truth::Class(classes),
            test_set: format!("{} simulated sessions not trained on (synthetic)", parts.test.len()),
            parts,
            inputs: vec![rows],
            labels: LABELS.map(str::to_owned).to_vec(),
            features: COLUMNS.map(feature).to_vec(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        trainee.standardise_all(&prepared.inputs[0], &prepared.parts.train)?;
        let plan = Plan { epochs_max: 60, batch_rows: 128, weight_decay: 1e-3, ..Plan::default() };
        classify::train(self.spec().name, prepared, trainee, &Hiding::default(), plan, context)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        classify::calibrate(prepared, LABELS.len(), runner)
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let rows = &prepared.parts.test;
        let probabilities = runner.first(&prepared.pick(rows))?;
        let rivals = rivals::of_table(prepared, LABELS.len(), |rows| prepared.inputs[0].pick(rows).to_f64());
        let mut measures = classify::figures_of_classes(prepared, rows, &probabilities, &rivals, calibration);
        let away = robustness::turned_away(calibration, &prepared.inputs[0].pick(rows), &names());
        measures.push(Figure::share("abstains", &away).measure());
        measures.extend(robustness::measures(&worsened(prepared, runner, calibration)?));
        Ok(measures)
    }

    fn support(&self, prepared: &Prepared) -> Option<Support> {
        support::of_sweep(prepared, STATISTICS)
    }

    fn plots(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Plot>> {
        Ok(robustness::plots(&worsened(prepared, runner, calibration)?))
    }

    fn golden(&self, prepared: &Prepared, _rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::simulated(prepared)
    }
}

fn names() -> Vec<String> {
    COLUMNS.map(|(name, _)| name.to_owned()).to_vec()
}

/// Figures of ever worse readers, against the rule on the whole session.
fn worsened(
    prepared: &Prepared,
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<robustness::Point>> {
    let Part::Classes(figures) = calibration.part() else { anyhow::bail!("expected classes") };
    let cartridges = simulate::basic();
    robustness::curves(&mut |config| {
        let (mut rows, mut truth) = (Matrix::new(STATISTICS), Vec::new());
        let mut simulator = simulate::simulator(config, robustness::SEED, 4)?;
        for row in 0..robustness::rows(prepared, WORSENED) {
            let cartridge = cartridges[row % cartridges.len()];
            let drawn = simulator.random_concentrations(cartridge);
            let (statistics, class) =
                judge(cartridge, &simulator.session(cartridge, &drawn, SESSION)?.packets)?;
            rows.push(&statistics);
            truth.push(class);
        }
        let away = robustness::turned_away(calibration, &rows, &names());
        let probabilities = runner.first(std::slice::from_ref(&rows))?.to_f64();
        let said: Vec<usize> = probabilities.iter().map(|row| metrics::arg_max(row)).collect();
        let answered = probabilities.iter().zip(&truth).zip(&away);
        let held: Vec<bool> = answered
            .map(|((row, truth), away)| *away || figures.prediction_set(row).contains(truth))
            .collect();
        let right: Vec<bool> = said.iter().zip(&truth).map(|(said, truth)| said == truth).collect();
        Ok(vec![
            Figure::share("accuracy", &right),
            Figure::share("set_coverage", &held),
            Figure::share("abstains", &away),
        ])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_has_three_answers() {
        assert_eq!([class_of(20.0, 0.5), class_of(20.0, -2.0), class_of(7.0, 0.1)], [0, 1, 1]);
        assert_eq!([class_of(4.0, 0.0), class_of(30.0, 5.0)], [2, 2]);
    }
}
