//! Which cartridge a sweep comes from: sweeps of 8 to 1,792 channels to the 30 registry rows.
//!
//! Of a sweep of any layout the model takes the 88 base channels and which layout it is. The simulator gives cartridges
//! of one design the same electrodes: eight cartridges without an analyte read alike, so do the three of eight channels,
//! and the thirteen with a single analyte differ in nothing but how often which rise of resistance is met. What is the
//! best that anyone could do follows from the response curves ([`ceiling`]) and stands beside what the model does.

use std::collections::BTreeMap;

use anyhow::Result;
use clinical::cartridge::Cartridge;
use clinical::simulator::chemistry::response;
use clinical::simulator::{Fault, SimulatorConfig};
use models::bundle::{ClassifierConfig, Family, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Part, Support};
use models::family::sensor::{PRINT, print};
use rand_chacha::ChaCha8Rng;

use super::robustness::{self, Figure};
use super::simulate::{self, CHANNELS};
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::plots::Plot;
use crate::evaluate::{Measure, metrics};
use crate::families::classify::{self, Hiding};
use crate::families::golden;
use crate::families::matrix::Matrix;
use crate::families::parts::Parts;
use crate::families::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use crate::families::runner::Runner;
use crate::families::support;
use crate::families::trainee::{Trainee, body};
use crate::optimise::{Outcome, Plan};

/// Sweeps per cartridge of each part.
const ROWS: [usize; 4] = [1500, 100, 200, 200];
/// Sweeps per cartridge of a worsened reader or a fault.
const WORSENED: usize = 20;

/// The recipe.
pub(crate) struct SensorFingerprint;

/// What one design of cartridge shares: layout, number of analytes, share of the reference subtracted.
fn design(cartridge: &Cartridge) -> (usize, usize, u32) {
    (cartridge.channels(), cartridge.analytes.len(), cartridge.alpha().to_bits())
}

/// Cartridges by design.
fn designs() -> BTreeMap<(usize, usize, u32), Vec<&'static Cartridge>> {
    let mut designs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    Cartridge::all().iter().for_each(|of| designs.entry(design(of)).or_default().push(of));
    designs
}

/// The share of sweeps that even somebody who knew the simulator would name right: without noise, designs told apart
/// without error, concentrations even in the logarithm as they are drawn here. Within a design of one analyte all there
/// is to see is the rise of resistance, so the best guess is the cartridge that gives this rise most often.
fn ceiling() -> f64 {
    const STEPS: usize = 20_000;
    const BINS: usize = 400;
    const RISE_MAX: f64 = 4.0;
    let rises = |cartridge: &Cartridge| -> Vec<f64> {
        let mut shares = vec![0.0; BINS];
        let response = cartridge.analytes.first().and_then(|analyte| response(*analyte));
        for step in 0..STEPS {
            let even = (step as f64 + 0.5) / STEPS as f64;
            let rise = response.map_or(0.0, |of| of.rise(of.low * (of.high / of.low).powf(even)));
            let bin = ((rise / RISE_MAX * BINS as f64) as usize).min(BINS - 1);
            shares[bin] += 1.0 / STEPS as f64;
        }
        shares
    };
    let best = |cartridges: &Vec<&Cartridge>| -> f64 {
        let all: Vec<Vec<f64>> = cartridges.iter().map(|of| rises(of)).collect();
        (0..BINS).map(|bin| all.iter().map(|shares| shares[bin]).fold(0.0, f64::max)).sum()
    };
    designs().values().map(best).sum::<f64>() / Cartridge::all().len() as f64
}

/// Sweeps of every cartridge in turn, and their classes.
fn sweeps(
    config: SimulatorConfig,
    seed: u64,
    count: usize,
    fault: Option<Fault>,
) -> Result<(Matrix, Vec<usize>)> {
    let mut simulator = simulate::simulator(config, seed, 3)?;
    let (mut prints, mut classes) = (Matrix::new(PRINT), Vec::new());
    let cartridges = Cartridge::all();
    // A fault has a place that the eight-channel cartridges lack.
    let fits = |class: &usize| fault.is_none() || cartridges[*class].channels() >= CHANNELS;
    for class in (0..count).map(|row| row % cartridges.len()).filter(fits) {
        let drawn = simulator.random_concentrations(&cartridges[class]);
        prints.push(&print(&simulator.sweep(&cartridges[class], &drawn, fault)?.corrected)?);
        classes.push(class);
    }
    Ok((prints, classes))
}

impl Recipe for SensorFingerprint {
    fn spec(&self) -> Spec {
        Spec {
            name: "sensor-fingerprint",
            version: "MPS-SENSOR-FINGERPRINT-v1.1.0-FP32",
            family: Family::Sensor,
            task: "sensor_fingerprint",
            intended_use: "Guesses from one corrected sweep which simulated cartridge it comes from, to compare with \
                           the cartridge's tag. Synthetic: not for any real instrument.",
            synthetic: true,
            limits: &[
                "Trained and measured on simulated sweeps only.",
                "The simulator gives all cartridges of one design the same electrodes: nine designs can be told apart, \
                 cartridges within a design hardly or not at all. The figure `top1` stands beside the best that is \
                 possible on this simulator; a low probability and a set of several cartridges are the honest answer.",
                "Beside the 88 base channels it is told which of the five layouts the sweep has; further channels of \
                 longer layouts say nothing more of the cartridge and are not read.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let print = TensorConfig::rows("print", &[PRINT as i64]);
        (vec![print], vec![TensorConfig::rows("probabilities", &[Cartridge::all().len() as i64])])
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Classifier(ClassifierConfig {
            inputs: PRINT,
            masked: false,
            outputs: Cartridge::all().len(),
            body: body(&[64, 64], 1),
            forest: None,
        })
    }

    fn prepare(&self, context: &Context, seed: u64) -> Result<Prepared> {
        let cartridges = Cartridge::all();
        let lengths = ROWS.map(|rows| context.effort.choose(rows, 5) * cartridges.len());
        let (prints, classes) = sweeps(SimulatorConfig::default(), seed, lengths.iter().sum(), None)?;
        let parts = Parts::in_order(lengths);
        let person = |group: usize| Person { group: group as u64, ..Person::default() };
        Ok(Prepared {
            people: (0..prints.rows()).map(person).collect(),
            provenance: simulate::provenance(&prints),
            dropped: Vec::new(),
            truth: Truth::Class(classes),
            test_set: format!("{} simulated sweeps not trained on (synthetic)", parts.test.len()),
            parts,
            inputs: vec![prints],
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
        let names = robustness::channel_names(CHANNELS);
        let away = robustness::turned_away(calibration, &prepared.inputs[0].pick(rows), &names);
        let truth: Vec<usize> = rows.iter().map(|row| prepared.truth.classes()[*row]).collect();
        let flat: Vec<f64> = probabilities.data.iter().map(|p| f64::from(*p)).collect();
        let said = classify::winners(&flat, all.len());
        let groups = prepared.groups(rows);
        let spread = interval(&groups, |at| Some(metrics::accuracy(&pick(&said, at), &pick(&truth, at))));
        let mut measures = vec![
            Measure::new("top1", metrics::accuracy(&said, &truth), rows.len())
                .between(spread)
                .against("best possible", Some(ceiling()))
                .against("chance", Some(1.0 / all.len() as f64)),
            Measure::new("top1_design", of_designs(&said, &truth), rows.len()),
            Figure::share("abstains", &away).measure(),
            Measure::new("ece", metrics::calibration_error(&flat, &truth, all.len()), rows.len()),
        ];
        measures.extend(classify::sets(prepared, rows, &probabilities, calibration));
        measures.extend(robustness::measures(&worsened(prepared, runner, calibration)?));
        for (name, fault) in robustness::FAULTS {
            let count = robustness::rows(prepared, WORSENED * all.len());
            let (prints, _) = sweeps(SimulatorConfig::default(), robustness::SEED, count, Some(fault))?;
            let away = robustness::turned_away(calibration, &prints, &names);
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
        let best = ceiling();
        let what = format!("top-1 within 0.02 of the best possible, {best:.4}");
        crate::families::aim(measures, "top1", |v| v >= best - 0.02, &what)
    }

    fn golden(&self, prepared: &Prepared, _rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::simulated(prepared)
    }
}

/// Share of which the design is right.
fn of_designs(said: &[usize], truth: &[usize]) -> f64 {
    let of = |class: &usize| design(&Cartridge::all()[*class]);
    let right = said.iter().zip(truth).filter(|(said, truth)| of(said) == of(truth)).count();
    right as f64 / truth.len().max(1) as f64
}

/// Figures of ever worse readers.
fn worsened(
    prepared: &Prepared,
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<robustness::Point>> {
    let count = robustness::rows(prepared, WORSENED * Cartridge::all().len());
    let names = robustness::channel_names(CHANNELS);
    let Part::Classes(figures) = calibration.part() else { anyhow::bail!("expected classes") };
    robustness::curves(&mut |config| {
        let (prints, truth) = sweeps(config, robustness::SEED, count, None)?;
        let probabilities = runner.first(std::slice::from_ref(&prints))?.to_f64();
        let away = robustness::turned_away(calibration, &prints, &names);
        let said: Vec<usize> = probabilities.iter().map(|row| metrics::arg_max(row)).collect();
        let rows = probabilities.iter().zip(&truth).zip(&away);
        let held: Vec<bool> =
            rows.map(|((row, truth), away)| *away || figures.prediction_set(row).contains(truth)).collect();
        let pairs = || said.iter().zip(&truth);
        let right: Vec<bool> = pairs().map(|(said, truth)| said == truth).collect();
        let of = |class: &usize| design(&Cartridge::all()[*class]);
        let designs: Vec<bool> = pairs().map(|(said, truth)| of(said) == of(truth)).collect();
        Ok(vec![
            Figure::share("top1", &right),
            Figure::share("top1_design", &designs),
            Figure::share("set_coverage", &held),
            Figure::share("abstains", &away),
        ])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_possible_counts_designs_and_what_their_analytes_leave() {
        assert_eq!(designs().len(), 9);
        // Every design can be named, and of the thirteen with one analyte a little more than one.
        let best = ceiling();
        assert!(best > 9.0 / 30.0 && best < 0.36, "{best}");
    }

    #[test]
    fn cartridges_of_one_design_share_electrodes() {
        let of = |code: &str| design(Cartridge::parse(code).expect("registered"));
        assert_eq!(of("01:01"), of("01:09"));
        assert_ne!(of("01:01"), of("01:02"));
        assert_ne!(of("02:01"), of("05:01"), "the advanced family subtracts another share");
    }
}
