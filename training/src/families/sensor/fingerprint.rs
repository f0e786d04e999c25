//! Which cartridge a sweep comes from: 88 channels to the registry rows.
//!
//! Longer layouts are cut to their first 88 channels, the eight-channel ones filled up with zeros. The
//! simulator gives cartridges of one design the same electrodes, so within a design nothing but the range of
//! concentrations tells cartridges apart; the figures say how far that goes, per design and per cartridge.

use std::collections::BTreeMap;

use anyhow::Result;
use clinical::cartridge::Cartridge;
use clinical::simulator::SimulatorConfig;
use models::bundle::{ClassifierConfig, Family, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Part};
use rand_chacha::ChaCha8Rng;

use super::simulate::{self, CHANNELS};
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Measure, metrics};
use crate::families::classify::{self, Hiding};
use crate::families::golden;
use crate::families::matrix::Matrix;
use crate::families::parts::Parts;
use crate::families::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use crate::families::runner::Runner;
use crate::families::trainee::{Trainee, body};
use crate::optimise::{Outcome, Plan};

/// Sweeps per cartridge of each part.
const ROWS: [usize; 4] = [500, 60, 120, 120];

/// The recipe.
pub(crate) struct SensorFingerprint;

/// What one design of cartridge shares: layout, number of analytes, share of the reference subtracted.
fn design(cartridge: &Cartridge) -> (usize, usize, u32) {
    (cartridge.channels().min(CHANNELS), cartridge.analytes.len(), cartridge.alpha().to_bits())
}

impl Recipe for SensorFingerprint {
    fn spec(&self) -> Spec {
        Spec {
            name: "sensor-fingerprint",
            version: "MPS-SENSOR-FINGERPRINT-v1.0.0-FP32",
            family: Family::Sensor,
            task: "sensor_fingerprint",
            intended_use: "Guesses from one corrected sweep which simulated cartridge it comes from, to compare with \
                           the cartridge's tag. Synthetic: not for any real instrument.",
            synthetic: true,
            limits: &[
                "Trained and measured on simulated sweeps only.",
                "The simulator gives all cartridges of one design the same electrodes: cartridges within a design \
                 can hardly be told apart, and a low probability there is the honest answer.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let channels = TensorConfig::rows("channels", &[CHANNELS as i64]).in_unit("Ohm");
        (vec![channels], vec![TensorConfig::rows("probabilities", &[Cartridge::all().len() as i64])])
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Classifier(ClassifierConfig {
            inputs: CHANNELS,
            masked: false,
            outputs: Cartridge::all().len(),
            body: body(&[64, 64], 1),
            forest: None,
        })
    }

    fn prepare(&self, context: &Context, seed: u64) -> Result<Prepared> {
        let mut simulator = simulate::simulator(SimulatorConfig::default(), seed, 3)?;
        let cartridges = Cartridge::all();
        let lengths = ROWS.map(|rows| context.effort.choose(rows, 5) * cartridges.len());
        let mut channels = Matrix::new(CHANNELS);
        let mut classes = Vec::new();
        for row in 0..lengths.iter().sum() {
            let class = row % cartridges.len();
            let drawn = simulator.random_concentrations(&cartridges[class]);
            simulate::push_sweep(&mut simulator, &cartridges[class], &drawn, None, &mut channels)?;
            classes.push(class);
        }
        let parts = Parts::in_order(lengths);
        let person = |group: usize| Person { group: group as u64, ..Person::default() };
        Ok(Prepared {
            people: (0..channels.rows()).map(person).collect(),
            provenance: simulate::provenance(&channels),
            dropped: Vec::new(),
            truth: Truth::Class(classes),
            test_set: format!("{} simulated sweeps not trained on (synthetic)", parts.test.len()),
            parts,
            inputs: vec![channels],
            labels: cartridges.iter().map(|cartridge| cartridge.code.to_string()).collect(),
            features: Vec::new(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        trainee.standardise_all(&prepared.inputs[0], &prepared.parts.train)?;
        let plan = Plan { epochs_max: 40, patience_epochs: 8, ..Plan::default() };
        classify::train(self.spec().name, prepared, trainee, &Hiding::default(), plan, context)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        classify::calibrate(prepared, Cartridge::all().len(), runner)
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let rows = &prepared.parts.test;
        let probabilities = runner.first(&prepared.pick(rows))?;
        let all = Cartridge::all();
        let truth: Vec<usize> = rows.iter().map(|row| prepared.truth.classes()[*row]).collect();
        let flat: Vec<f64> = probabilities.data.iter().map(|p| f64::from(*p)).collect();
        let said = classify::winners(&flat, all.len());
        let designs = |classes: &[usize]| -> Vec<usize> {
            let mut numbers = BTreeMap::new();
            for cartridge in all {
                let next = numbers.len();
                numbers.entry(design(cartridge)).or_insert(next);
            }
            classes.iter().map(|class| numbers[&design(&all[*class])]).collect()
        };
        let groups = prepared.groups(rows);
        let spread = interval(&groups, |at| Some(metrics::accuracy(&pick(&said, at), &pick(&truth, at))));
        let mut measures = vec![
            Measure::new("top1", metrics::accuracy(&said, &truth), rows.len())
                .between(spread)
                .against("chance", Some(1.0 / all.len() as f64)),
            Measure::new("top1_design", metrics::accuracy(&designs(&said), &designs(&truth)), rows.len()),
            Measure::new("ece", metrics::calibration_error(&flat, &truth, all.len()), rows.len()),
        ];
        measures.extend(classify::sets(prepared, rows, &probabilities, calibration).into_iter().take(2));
        Ok(measures)
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        crate::families::aim(measures, "top1", |v| v >= 0.99, "top-1 of at least 0.99")
    }

    fn golden(&self, prepared: &Prepared, _rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::simulated(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cartridges_of_one_design_share_electrodes() {
        let of = |code: &str| design(Cartridge::parse(code).expect("registered"));
        assert_eq!(of("01:01"), of("01:09"));
        assert_ne!(of("01:01"), of("01:02"));
        assert_ne!(of("02:01"), of("05:01"), "the advanced family subtracts another share");
    }
}
