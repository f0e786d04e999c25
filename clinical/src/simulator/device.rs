//! One drawn cartridge with one specimen on it: what is common to its two cells, what differs, and how it reads.

use std::array;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::chemistry::response;
use super::circuit::Randles;
use super::fault::FULL_SCALE_OHM;
use super::sweep::{Scene, Sweep};
use super::{Fault, SimulatorConfig, SimulatorError};
use crate::biomarker::{Biomarker, ValueError};
use crate::cartridge::Cartridge;
use crate::correction::{REFERENCE_TEMPERATURE_C, TEMPERATURE_COEFFICIENT};
use crate::layout::{ELECTRODES, ElectrodeRole, Layout, role};

/// Working electrodes of a cell.
const WORKING: usize = 4;
/// Share of the response on each working electrode when one analyte has all four: less and less receptor, so that the
/// steep part of the curve is met on at least one of them.
const SINGLE_ANALYTE_SHARES: [f64; WORKING] = [1.0, 0.85, 0.7, 0.55];
/// Share of the response to a neighbour's analyte on a panel.
const CROSS_SENSITIVITY: f64 = 0.03;

/// Nominal circuits of the three kinds of electrode.
const fn nominal(electrode: usize) -> Randles {
    match role(electrode) {
        ElectrodeRole::Working => Randles { rs: 120.0, rct: 4000.0, q: 4e-8, n: 0.92, warburg: 2000.0 },
        ElectrodeRole::Counter => Randles { rs: 90.0, rct: 800.0, q: 2e-7, n: 0.94, warburg: 600.0 },
        ElectrodeRole::Reference => Randles { rs: 150.0, rct: 1500.0, q: 1e-7, n: 0.9, warburg: 900.0 },
    }
}

/// What is on the cartridge: the rise of the charge-transfer resistance of each electrode, and the concentrations.
#[derive(Debug, Clone)]
pub(super) struct Specimen {
    layout: Layout,
    rise: [f64; ELECTRODES],
    concentrations: Vec<(Biomarker, f64)>,
}

impl Specimen {
    pub(super) fn new(
        cartridge: &Cartridge,
        concentrations: &[(Biomarker, f64)],
    ) -> Result<Self, SimulatorError> {
        let mut rise = [0.0; ELECTRODES];
        for (index, &(biomarker, value)) in concentrations.iter().enumerate() {
            let not_measured =
                SimulatorError::NotMeasured { cartridge: cartridge.name, biomarker: biomarker.code() };
            let place = cartridge.analytes.iter().position(|&a| a == biomarker);
            let twice = concentrations[..index].iter().any(|&(earlier, _)| earlier == biomarker);
            let (Some(place), Some(response), false) = (place, response(biomarker), twice) else {
                return Err(not_measured);
            };
            let full = response.rise(concentration(biomarker, value)?);
            for (electrode, rise) in rise.iter_mut().take(WORKING).enumerate() {
                *rise += full * share(electrode, place, cartridge.analytes.len());
            }
        }
        Ok(Self { layout: cartridge.layout, rise, concentrations: concentrations.to_vec() })
    }
}

/// A blank of zero is a legitimate specimen, unlike a result of zero.
fn concentration(biomarker: Biomarker, value: f64) -> Result<f64, SimulatorError> {
    let checked: Result<f64, ValueError> = if value == 0.0 { Ok(0.0) } else { biomarker.check_value(value) };
    checked.map_err(SimulatorError::Concentration)
}

/// How much of analyte number `place` of `analytes` working electrode `electrode` feels.
fn share(electrode: usize, place: usize, analytes: usize) -> f64 {
    if analytes == 1 {
        SINGLE_ANALYTE_SHARES[electrode]
    } else if electrode % analytes == place {
        1.0
    } else {
        CROSS_SENSITIVITY
    }
}

/// A drawn cartridge with its specimen.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    specimen: Specimen,
    fault: Option<Fault>,
    /// Circuits with the manufacturing spread and the matrix in them, common to both cells.
    common: [Randles; ELECTRODES],
    /// Factor on the charge-transfer resistance of the detection and the reference cell.
    cell: [[f64; ELECTRODES]; 2],
    matrix: f64,
    drift_per_minute: f64,
}

impl Sample {
    pub(super) fn draw(
        config: &SimulatorConfig,
        specimen: Specimen,
        fault: Option<Fault>,
        random: &mut ChaCha8Rng,
    ) -> Self {
        let mut around_one = |spread: f64| (spread * random.sample::<f64, _>(StandardNormal)).exp();
        let matrix = around_one(config.matrix_spread);
        let common = array::from_fn(|electrode| {
            let (part, area) = (nominal(electrode), around_one(config.manufacturing_spread));
            Randles {
                rs: part.rs * matrix,
                rct: part.rct * matrix * area,
                q: part.q / area,
                warburg: part.warburg * area,
                ..part
            }
        });
        let cell = array::from_fn(|_| array::from_fn(|_| around_one(config.cell_mismatch)));
        let drift_per_minute = config.drift_per_minute * around_one(0.3);
        Self { specimen, fault, common, cell, matrix, drift_per_minute }
    }

    pub(super) const fn layout(&self) -> Layout {
        self.specimen.layout
    }

    /// Detection and reference vectors at a time and temperature; the layout of two times gives one of them.
    pub(super) fn measure(
        &self,
        config: &SimulatorConfig,
        sweep: &Sweep,
        timestamp_ms: u64,
        temperature_c: f32,
        random: &mut ChaCha8Rng,
    ) -> [Vec<f32>; 2] {
        let minutes = timestamp_ms as f64 / 60_000.0;
        let [mut detection, mut reference] = [true, false].map(|detects| {
            let electrodes = self.electrodes(detects, minutes);
            let concentrations: &[_] = if detects { &self.specimen.concentrations } else { &[] };
            sweep.vector(
                self.specimen.layout,
                &Scene { electrodes: &electrodes, concentrations, matrix: self.matrix },
            )
        });
        // What the temperature step of the correction undoes.
        let warmth = 1.0
            / (1.0 + f64::from(TEMPERATURE_COEFFICIENT) * f64::from(temperature_c - REFERENCE_TEMPERATURE_C));
        for (index, (detection, reference)) in detection.iter_mut().zip(&mut reference).enumerate() {
            let ohmic = if Sweep::is_impedance(self.specimen.layout, index) { 1.0 } else { 0.0 };
            let interference = ohmic * config.common_noise_ohm * random.sample::<f64, _>(StandardNormal);
            for value in [detection, reference] {
                let proportional = 1.0 + config.noise_relative * random.sample::<f64, _>(StandardNormal);
                let independent = ohmic * config.noise_ohm * random.sample::<f64, _>(StandardNormal);
                *value = *value * warmth * proportional + interference + independent;
            }
        }
        let [mut detection, reference] = [detection, reference].map(|vector| to_converter(&vector));
        if let Some(fault) = self.fault {
            fault.overwrite(&mut detection);
        }
        [detection, reference]
    }

    /// The circuits of one cell after `minutes`.
    fn electrodes(&self, detects: bool, minutes: f64) -> [Randles; ELECTRODES] {
        let runaway = self.fault.filter(|_| detects).map_or(0.0, Fault::drift_per_minute);
        let drift = 1.0 + (self.drift_per_minute + runaway) * minutes;
        let mut electrodes = array::from_fn(|electrode| {
            let part = self.common[electrode];
            let rise = if detects { self.specimen.rise[electrode] } else { 0.0 };
            let factor = self.cell[usize::from(!detects)][electrode];
            Randles { rct: part.rct * factor * drift.max(0.1) * (1.0 + rise), ..part }
        });
        if let (true, Some(fault)) = (detects, self.fault) {
            fault.bend(&mut electrodes);
        }
        electrodes
    }
}

/// What the converter makes of the vector: single precision, clipped at full scale.
fn to_converter(vector: &[f64]) -> Vec<f32> {
    vector.iter().map(|&value| (value as f32).clamp(-FULL_SCALE_OHM, FULL_SCALE_OHM)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_panel_gives_each_fraction_its_electrode() {
        let lipid = Cartridge::parse("01:02").expect("registered");
        let only_ldl = Specimen::new(lipid, &[(Biomarker::Ldl, 120.0)]).expect("valid");
        assert!(only_ldl.rise[2] > 0.9, "{:?}", only_ldl.rise);
        assert!(only_ldl.rise[0] < 0.05 && only_ldl.rise[3] < 0.05);
        assert!(only_ldl.rise[4..].iter().all(|&rise| rise == 0.0), "no receptor, no signal");
    }

    #[test]
    fn the_reference_cell_does_not_feel_the_analyte_but_both_feel_the_matrix() {
        let glucose = Cartridge::parse("01:01").expect("registered");
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let specimen = Specimen::new(glucose, &[(Biomarker::Glucose, 300.0)]).expect("valid");
        let still = SimulatorConfig { cell_mismatch: 0.0, ..SimulatorConfig::default() };
        let sample = Sample::draw(&still, specimen, None, &mut random);
        let (detects, blank) = (sample.electrodes(true, 0.0), sample.electrodes(false, 0.0));
        assert!(detects[0].rct > 2.0 * blank[0].rct);
        assert_eq!(detects[5], blank[5]);
        assert!((blank[4].rs / nominal(4).rs - sample.matrix).abs() < 1e-12);
    }

    #[test]
    fn drift_raises_the_resistance_with_time() {
        let glucose = Cartridge::parse("01:01").expect("registered");
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let specimen = Specimen::new(glucose, &[]).expect("valid");
        let sample = Sample::draw(&SimulatorConfig::default(), specimen, None, &mut random);
        assert!(sample.electrodes(false, 10.0)[0].rct > sample.electrodes(false, 0.0)[0].rct);
    }
}
