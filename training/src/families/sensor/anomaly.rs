//! How unlike a sound sweep a corrected vector is. It runs once a packet, so the network is small.

use anyhow::Result;
use clinical::layout::ELECTRODES;
use clinical::simulator::{Fault, Simulator, SimulatorConfig};
use models::bundle::{AutoencoderConfig, Family, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Part};
use models::family::anomaly::channel_name;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::simulate::{self, CHANNELS};
use crate::evaluate::Measure;
use crate::evaluate::baseline::Mahalanobis;
use crate::families::classify::Hiding;
use crate::families::golden;
use crate::families::matrix::Matrix;
use crate::families::parts::Parts;
use crate::families::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use crate::families::reconstruct::{self, Reconstruction};
use crate::families::runner::Runner;
use crate::families::trainee::{Trainee, body};
use crate::optimise::{self, Outcome, Plan};

/// Sound sweeps of each part.
const ROWS: [usize; 4] = [24_000, 3_000, 12_000, 4_000];
/// Faulty sweeps that follow them in the test part.
const FAULTY: usize = 1_000;

/// The recipe.
pub(crate) struct SensorAnomaly;

/// One of the four faults at a random place.
fn draw_fault(rng: &mut ChaCha8Rng) -> Fault {
    match rng.random_range(0..4) {
        0 => Fault::Bubble { electrode: rng.random_range(0..ELECTRODES) },
        1 => Fault::OpenCircuit { electrode: rng.random_range(0..ELECTRODES) },
        2 => Fault::SaturatedChannel { channel: rng.random_range(0..CHANNELS) },
        _ => Fault::DriftRunaway,
    }
}

/// Sweeps of all base-layout cartridges in turn, healthy or not, with concentrations over the whole range.
fn sweeps(
    simulator: &mut Simulator,
    count: usize,
    mut faults: Option<&mut ChaCha8Rng>,
    rows: &mut Matrix,
) -> Result<()> {
    let cartridges = simulate::basic();
    for row in 0..count {
        let cartridge = cartridges[row % cartridges.len()];
        let drawn = simulator.random_concentrations(cartridge);
        let fault = faults.as_deref_mut().map(draw_fault);
        simulate::push_sweep(simulator, cartridge, &drawn, fault, rows)?;
    }
    Ok(())
}

impl Recipe for SensorAnomaly {
    fn spec(&self) -> Spec {
        Spec {
            name: "sensor-anomaly",
            version: "MPS-SENSOR-ANOMALY-v1.0.0-FP32",
            family: Family::Anomaly,
            task: "sensor_sweep",
            intended_use: "Says of each corrected packet of a simulated cartridge how unlike a sound sweep it is. \
                           Synthetic: not for any real instrument.",
            synthetic: true,
            limits: &[
                "Trained and measured on simulated sweeps only; the faults are bubbles, open electrodes, saturated \
                 channels and runaway drift.",
                "Runaway drift after a single measuring time resembles a higher concentration and is hard to see \
                 in one sweep.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let channels = TensorConfig::rows("channels", &[CHANNELS as i64]).in_unit("Ohm");
        let residual = TensorConfig::rows("residual", &[CHANNELS as i64]);
        (vec![channels], vec![TensorConfig::rows("error", &[1]), residual])
    }

    fn network(&self) -> NetworkConfig {
        let body = body(&[32, 16, 32], 1);
        NetworkConfig::Autoencoder(AutoencoderConfig { inputs: CHANNELS, masked: false, body })
    }

    fn prepare(&self, context: &Context, seed: u64) -> Result<Prepared> {
        let mut simulator = simulate::simulator(SimulatorConfig::default(), seed, 2)?;
        let lengths = ROWS.map(|rows| context.effort.choose(rows, 200));
        let faulty = context.effort.choose(FAULTY, 40);
        let mut channels = Matrix::new(CHANNELS);
        let sound: usize = lengths.iter().sum();
        sweeps(&mut simulator, sound, None, &mut channels)?;
        let mut places = ChaCha8Rng::seed_from_u64(seed);
        sweeps(&mut simulator, faulty, Some(&mut places), &mut channels)?;
        let [train, validation, calibration, test] = lengths;
        let person = |group: usize| Person { group: group as u64, ..Person::default() };
        Ok(Prepared {
            people: (0..channels.rows()).map(person).collect(),
            provenance: simulate::provenance(&channels),
            dropped: Vec::new(),
            truth: Truth::Strange((0..channels.rows()).map(|row| row >= sound).collect()),
            parts: Parts::in_order([train, validation, calibration, test + faulty]),
            test_set: format!("{test} sound and {faulty} faulty simulated sweeps (synthetic)"),
            inputs: vec![channels],
            labels: Vec::new(),
            features: Vec::new(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        trainee.standardise_all(&prepared.inputs[0], &prepared.parts.train)?;
        let plan = Plan {
            epochs_max: context.effort.choose(60, 2),
            patience_epochs: 10,
            batch_rows: 256,
            weight_decay: 1e-5,
            seed: context.seed,
            ..Plan::default()
        };
        let objective = Reconstruction { prepared, trainee, hiding: Hiding::default(), noise: None };
        optimise::fit(self.spec().name, trainee.weights(), &objective, &plan, &context.progress)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        let names: Vec<String> = (0..CHANNELS).map(channel_name).collect();
        reconstruct::calibrate(prepared, &names, runner)
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let rows = &prepared.parts.test;
        let errors = runner.first(&prepared.pick(rows))?;
        let mahalanobis = Mahalanobis::fit(&prepared.inputs[0].pick(&prepared.parts.train).to_f64());
        let test = prepared.inputs[0].pick(rows).to_f64();
        let baseline = [("Mahalanobis distance", test.iter().map(|row| mahalanobis.score(row)).collect())];
        Ok(reconstruct::figures(prepared, &errors, &baseline, calibration))
    }

    fn golden(&self, prepared: &Prepared, _rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::simulated(prepared)
    }
}
