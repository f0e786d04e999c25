//! An electrochemical-impedance simulator, so that the whole path can be built, trained and tested before there is an
//! instrument. Everything it makes is labelled [`SYNTHETIC`] and stays so; no number in it was measured.
//!
//! A cartridge is drawn with a manufacturing spread and a matrix effect, both shared by a detection and a blank
//! reference cell; each electrode is a Randles circuit ([`circuit`]) whose charge-transfer resistance
//! rises with the analyte ([`chemistry`]); temperature, drift and noise come on top; [`Fault`]s can be injected.
//! One seed gives one and the same output.

pub mod chemistry;
pub mod circuit;
mod config;
mod device;
mod fault;
mod output;
mod sweep;

pub use config::{SimulatorConfig, SimulatorError};
pub use fault::Fault;
pub use output::{SYNTHETIC, SyntheticPacket, SyntheticSession, SyntheticSweep};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::biomarker::Biomarker;
use crate::cartridge::Cartridge;
use crate::correction::Correction;
use crate::gate::ReferenceBaseline;
use crate::layout::Layout;
use crate::person::Person;
use crate::range::reference_range;
use chemistry::response;
use device::{Sample, Specimen};
use sweep::Sweep;

/// Makes synthetic measurements; see the module.
#[derive(Debug, Clone)]
pub struct Simulator {
    config: SimulatorConfig,
    random: ChaCha8Rng,
    sweep: Sweep,
}

impl Simulator {
    /// Most packets one session may have.
    pub const PACKETS_MAX: usize = 20_000;

    /// A simulator that always gives the same output for the same seed and calls.
    ///
    /// # Errors
    /// [`SimulatorError::Config`] naming the field.
    pub fn new(config: SimulatorConfig, seed: u64) -> Result<Self, SimulatorError> {
        config.validate()?;
        Ok(Self { config, random: ChaCha8Rng::seed_from_u64(seed), sweep: Sweep::new() })
    }

    /// A whole session on a newly drawn cartridge; analytes not named are absent.
    ///
    /// # Errors
    /// [`SimulatorError`] for an analyte the cartridge does not measure, an impossible concentration, or no packets
    /// or more than [`PACKETS_MAX`](Self::PACKETS_MAX).
    pub fn session(
        &mut self,
        cartridge: &Cartridge,
        concentrations: &[(Biomarker, f64)],
        packets: usize,
    ) -> Result<SyntheticSession, SimulatorError> {
        self.session_with(cartridge, concentrations, packets, None)
    }

    /// As [`session`](Self::session), with a fault from the first packet on.
    ///
    /// # Errors
    /// As [`session`](Self::session), and for a fault at a place the cartridge does not have.
    pub fn session_with(
        &mut self,
        cartridge: &Cartridge,
        concentrations: &[(Biomarker, f64)],
        packets: usize,
        fault: Option<Fault>,
    ) -> Result<SyntheticSession, SimulatorError> {
        if packets == 0 || packets > Self::PACKETS_MAX {
            return Err(SimulatorError::Packets { got: packets });
        }
        let sample = self.sample(cartridge, concentrations, fault)?;
        let mut previous = None;
        let mut kept = Vec::with_capacity(packets);
        for sequence in 0..packets {
            let packet = self.packet(&sample, sequence, &mut previous);
            if self.config.packet_loss == 0.0 || !self.random.random_bool(self.config.packet_loss) {
                kept.push(packet);
            }
        }
        Ok(SyntheticSession {
            cartridge: cartridge.code,
            layout: cartridge.layout,
            packets: kept,
            truth: concentrations.to_vec(),
            fault,
        })
    }

    /// One corrected vector as it stands at the end of a measurement, on a newly drawn cartridge: a row to train on.
    ///
    /// # Errors
    /// As [`session_with`](Self::session_with).
    pub fn sweep(
        &mut self,
        cartridge: &Cartridge,
        concentrations: &[(Biomarker, f64)],
        fault: Option<Fault>,
    ) -> Result<SyntheticSweep, SimulatorError> {
        let mut corrected = vec![0.0; cartridge.channels()];
        self.sweep_into(cartridge, concentrations, fault, &mut corrected)?;
        Ok(SyntheticSweep { cartridge: cartridge.code, corrected, truth: concentrations.to_vec(), fault })
    }

    /// As [`sweep`](Self::sweep), into a row of the caller's table (`cartridge.channels()` long).
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep), and [`SimulatorError::Correction`] for a row of another length.
    pub fn sweep_into(
        &mut self,
        cartridge: &Cartridge,
        concentrations: &[(Biomarker, f64)],
        fault: Option<Fault>,
        row: &mut [f32],
    ) -> Result<(), SimulatorError> {
        let sample = self.sample(cartridge, concentrations, fault)?;
        let last = u64::from(cartridge.seconds) * 1000 / self.config.packet_period_ms;
        let packet = self.packet(&sample, last as usize, &mut None);
        let correction = Correction::for_cartridge(cartridge);
        correction.apply_into(&packet.detection, &packet.reference, packet.temperature_c, row)?;
        Ok(())
    }

    /// Draws a concentration for every analyte of the cartridge, evenly in the logarithm over its measuring range.
    pub fn random_concentrations(&mut self, cartridge: &Cartridge) -> Vec<(Biomarker, f64)> {
        let ranges = cartridge.analytes.iter().filter_map(|&analyte| response(analyte));
        ranges
            .map(|r| (r.biomarker, r.low * (r.high / r.low).powf(self.random.random_range(0.0..=1.0))))
            .collect()
    }

    /// Draws a concentration for every analyte evenly within the reference range of `person`; an open or unknown end
    /// is the end of the measuring range.
    pub fn healthy_concentrations(
        &mut self,
        cartridge: &Cartridge,
        person: &Person,
    ) -> Vec<(Biomarker, f64)> {
        let ranges = cartridge.analytes.iter().filter_map(|&analyte| response(analyte));
        ranges
            .map(|r| {
                let range = reference_range(r.biomarker, person);
                let low = range.and_then(|range| range.low).unwrap_or(r.low).clamp(r.low, r.high);
                let high = range.and_then(|range| range.high).unwrap_or(r.high).clamp(low, r.high);
                (r.biomarker, self.random.random_range(low..=high))
            })
            .collect()
    }

    /// What the reference cell of a sound cartridge of this kind shows, from 200 newly drawn ones.
    ///
    /// # Errors
    /// Never for a registered cartridge; [`SimulatorError::Packets`] should the estimate fail.
    pub fn reference_baseline(&mut self, cartridge: &Cartridge) -> Result<ReferenceBaseline, SimulatorError> {
        const DRAWN: usize = 200;
        let mut vectors = Vec::with_capacity(DRAWN);
        for _ in 0..DRAWN {
            let sample = self.sample(cartridge, &[], None)?;
            vectors.push(self.packet(&sample, 0, &mut None).reference);
        }
        let slices: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        ReferenceBaseline::estimate(&slices).ok_or(SimulatorError::Packets { got: DRAWN })
    }

    fn sample(
        &mut self,
        cartridge: &Cartridge,
        concentrations: &[(Biomarker, f64)],
        fault: Option<Fault>,
    ) -> Result<Sample, SimulatorError> {
        let specimen = Specimen::new(cartridge, concentrations)?;
        if let Some(fault) = fault {
            fault.validate(cartridge.channels())?;
        }
        Ok(Sample::draw(&self.config, specimen, fault, &mut self.random))
    }

    /// One packet; `previous` carries the full vectors of the packet before for the layout that contains both.
    fn packet(
        &mut self,
        sample: &Sample,
        sequence: usize,
        previous: &mut Option<[Vec<f32>; 2]>,
    ) -> SyntheticPacket {
        let timestamp_ms = sequence as u64 * self.config.packet_period_ms;
        let jitter = self.config.temperature_jitter_c * self.normal();
        let temperature_c = (self.config.temperature_c + jitter) as f32;
        let seen = sample.measure(&self.config, &self.sweep, timestamp_ms, temperature_c, &mut self.random);
        let [detection, reference] = if sample.layout() == Layout::Ultimate {
            let before = previous.replace(seen.clone()).unwrap_or_else(|| seen.clone());
            let [mut detection, mut reference] = seen;
            detection.extend_from_slice(&before[0]);
            reference.extend_from_slice(&before[1]);
            [detection, reference]
        } else {
            seen
        };
        SyntheticPacket {
            sequence: sequence as u64,
            timestamp_ms,
            detection,
            reference,
            temperature_c,
            humidity_percent: self.config.humidity_percent as f32,
            battery_percent: self.config.battery_percent as f32,
        }
    }

    fn normal(&mut self) -> f64 {
        self.random.sample(rand_distr::StandardNormal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glucose() -> &'static Cartridge {
        Cartridge::parse("01:01").expect("registered")
    }

    fn simulator(seed: u64) -> Simulator {
        Simulator::new(SimulatorConfig::default(), seed).expect("default is valid")
    }

    #[test]
    fn one_seed_gives_one_session() {
        let session = |seed| simulator(seed).session(glucose(), &[(Biomarker::Glucose, 95.0)], 10);
        assert_eq!(session(7), session(7));
        assert_ne!(session(7), session(8));
    }

    #[test]
    fn bad_requests_are_refused() {
        let mut simulator = simulator(1);
        assert!(matches!(simulator.session(glucose(), &[], 0), Err(SimulatorError::Packets { got: 0 })));
        assert!(simulator.session(glucose(), &[], Simulator::PACKETS_MAX + 1).is_err());
        let foreign = simulator.session(glucose(), &[(Biomarker::Tsh, 1.0)], 1);
        assert!(matches!(foreign, Err(SimulatorError::NotMeasured { .. })));
        for value in [-5.0, 1e9, f64::NAN] {
            assert!(simulator.session(glucose(), &[(Biomarker::Glucose, value)], 1).is_err(), "{value}");
        }
        let twice = [(Biomarker::Glucose, 90.0), (Biomarker::Glucose, 95.0)];
        assert!(simulator.session(glucose(), &twice, 1).is_err());
        let mut short = [0.0f32; 8];
        assert!(simulator.sweep_into(glucose(), &[], None, &mut short).is_err());
    }

    #[test]
    fn drawn_concentrations_stay_in_range() {
        let mut simulator = simulator(3);
        for cartridge in Cartridge::all() {
            for (biomarker, value) in simulator.random_concentrations(cartridge) {
                let response = response(biomarker).expect("measured");
                assert!(
                    value >= response.low * 0.999 && value <= response.high * 1.001,
                    "{biomarker} {value}"
                );
            }
            for (biomarker, value) in simulator.healthy_concentrations(cartridge, &Person::default()) {
                let range = reference_range(biomarker, &Person::default());
                assert!(range.is_none_or(|range| range.contains(value)), "{biomarker} {value}");
            }
        }
    }
}
