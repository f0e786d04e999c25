//! What a running session keeps of its packets: sums instead of the packets themselves, so that a session of any
//! length has the same size in memory and on disk.

use clinical::cartridge::Cartridge;
use clinical::correction::{Correction, REFERENCE_TEMPERATURE_C};
use clinical::gate::{self, GateLimits, Observation, QualityReport, ReferenceBaseline, Status as GateStatus};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::rules::{self, Environment, GateNote, Packet};
use super::sequence::{Arrival, Sequences};
use super::statistics::{Level, Noise, Surroundings};
use crate::kernel::{Limits, ServiceError};

/// Packets from which the reference cell's own baseline is taken.
const BASELINE_PACKETS: usize = 16;
/// Deviation of the reference cell beyond which the number says no more.
const REFERENCE_Z_MAX: f64 = 1e6;

/// The part of a session that survives a restart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) sequences: Sequences,
    /// Latest time a packet carried, milliseconds since the session began.
    pub(super) time_ms: u64,
    /// Head of the hash chain.
    pub(super) digest: [u8; 32],
    /// Sum of each corrected channel, ohm.
    pub(super) sums: Vec<f64>,
    pub(super) noise: Noise,
    pub(super) level: Level,
    pub(super) surroundings: Surroundings,
    /// Largest deviation of the reference cell so far, in standard deviations.
    pub(super) reference_z: Option<f64>,
}

/// A packet that counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Accepted {
    pub(super) corrected: Vec<f32>,
    pub(super) progress_percent: f64,
    /// Gates that failed or passed with a warning.
    pub(super) notes: Vec<GateNote>,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Taken {
    /// It counts.
    Accepted(Accepted),
    /// It was seen before.
    Repeated {
        /// Progress of the session.
        progress_percent: f64,
    },
}

/// The reference cell against its own beginning. What a sound cell of a cartridge shows differs too much between
/// cartridges to see a change within one; the price is that a cell bad from the start is not noticed here.
#[derive(Debug, Clone)]
enum Reference {
    Learning(Vec<Vec<f32>>),
    Known(ReferenceBaseline),
}

/// A running session.
#[derive(Debug, Clone)]
pub(super) struct Running {
    cartridge: &'static Cartridge,
    correction: Correction,
    gates: GateLimits,
    reference: Reference,
    kept: Kept,
}

impl Running {
    /// A session without a packet. The hash chain begins with the session, so that equal packets of two sessions
    /// have different digests.
    pub(super) fn new(id: Uuid, cartridge: &'static Cartridge) -> Self {
        let kept = Kept {
            sequences: Sequences::default(),
            time_ms: 0,
            digest: Sha256::digest(id.as_bytes()).into(),
            sums: vec![0.0; cartridge.channels()],
            noise: Noise::default(),
            level: Level::default(),
            surroundings: Surroundings::default(),
            reference_z: None,
        };
        Self::resume(cartridge, kept)
    }

    /// Goes on from what was kept; the reference cell's baseline is learned anew.
    pub(super) fn resume(cartridge: &'static Cartridge, kept: Kept) -> Self {
        let correction = Correction::for_cartridge(cartridge);
        let reference = Reference::Learning(Vec::new());
        Self { cartridge, correction, gates: GateLimits::default(), reference, kept }
    }

    /// What must be kept to resume.
    pub(super) const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Packets that count.
    pub(super) const fn packets(&self) -> u64 {
        self.kept.sequences.received
    }

    /// Progress in percent.
    pub(super) fn progress_percent(&self) -> f64 {
        rules::progress_percent(self.kept.time_ms, self.cartridge.seconds)
    }

    /// Checks a packet, corrects it and adds it; a refused packet changes nothing.
    pub(super) fn take(&mut self, packet: &Packet, limits: &Limits) -> Result<Taken, ServiceError> {
        packet.check(self.cartridge.channels())?;
        if self.kept.sequences.arrival(packet.sequence) == Arrival::Repeated {
            return Ok(Taken::Repeated { progress_percent: self.progress_percent() });
        }
        self.check_room(packet.sequence, limits)?;
        let temperature = packet
            .environment
            .map_or(REFERENCE_TEMPERATURE_C, |environment| environment.temperature_celsius as f32);
        let corrected = self
            .correction
            .apply(&packet.detection, &packet.reference, temperature)
            .map_err(|error| rules::correction_refused(&error))?;
        let reference_z = self.judge_reference(&packet.reference);
        let mut sequences = self.kept.sequences;
        sequences.note(packet.sequence);
        let notes = self.notes(packet, &sequences, reference_z)?;
        self.learn_reference(&packet.reference);
        self.add(packet, &corrected, sequences, reference_z);
        Ok(Taken::Accepted(Accepted { corrected, progress_percent: self.progress_percent(), notes }))
    }

    fn check_room(&self, sequence: u64, limits: &Limits) -> Result<(), ServiceError> {
        let limit = limits.session_packets_max;
        if self.packets() >= limit {
            return Err(ServiceError::Exhausted { what: "packets of one session", limit });
        }
        if self.kept.sequences.ahead(sequence) > limit {
            let reason = format!("{sequence} is too far from {}", self.kept.sequences.highest);
            return Err(ServiceError::invalid("packet.sequence", reason));
        }
        Ok(())
    }

    /// The gates of one packet. An empty battery is the one that stops: what it would measure is not worth keeping.
    fn notes(
        &self,
        packet: &Packet,
        sequences: &Sequences,
        reference_z: Option<f64>,
    ) -> Result<Vec<GateNote>, ServiceError> {
        let environment = packet.environment;
        let report = self.evaluate(Observation {
            packet_loss_percent: sequences.loss_percent(),
            temperature_c: environment.map(|environment| environment.temperature_celsius),
            self_test_ok: Some(packet.self_test_passed),
            battery_percent: environment.map(|environment| environment.battery_percent),
            reference_z,
            ..Observation::default()
        });
        let battery = |note: &&gate::Outcome| note.gate == gate::Gate::Battery;
        if let Some(empty) = report.with(GateStatus::Fail).find(battery) {
            let percent = empty.measured.unwrap_or_default();
            return Err(ServiceError::precondition(format!(
                "gate battery: {percent} % is below {} %: charge the reader, then resume the session",
                empty.limit
            )));
        }
        let told = |outcome: &&gate::Outcome| matches!(outcome.status, GateStatus::Fail | GateStatus::Warn);
        Ok(report.outcomes.iter().filter(told).map(GateNote::from).collect())
    }

    /// The gates of the whole session.
    pub(super) fn report(&self) -> QualityReport {
        let Surroundings { temperature_worst, battery_lowest, self_test_passed, .. } = self.kept.surroundings;
        self.evaluate(Observation {
            snr_db: self.kept.noise.snr_db(&self.kept.sums, self.packets()),
            drift_percent: self.kept.level.drift_percent(),
            packet_loss_percent: self.kept.sequences.loss_percent(),
            temperature_c: temperature_worst,
            self_test_ok: self_test_passed,
            battery_percent: battery_lowest,
            reference_z: self.kept.reference_z,
            ..Observation::default()
        })
    }

    /// Every packet that counts has the right number of finite channels.
    fn evaluate(&self, seen: Observation) -> QualityReport {
        let channels = self.cartridge.channels();
        gate::evaluate(
            &Observation { channels, channels_expected: channels, finite: true, ..seen },
            &self.gates,
        )
    }

    fn judge_reference(&self, reference: &[f32]) -> Option<f64> {
        match &self.reference {
            Reference::Learning(_) => None,
            Reference::Known(baseline) => baseline.z(reference).map(bounded),
        }
    }

    fn learn_reference(&mut self, reference: &[f32]) {
        let Reference::Learning(vectors) = &mut self.reference else { return };
        vectors.push(reference.to_vec());
        if vectors.len() < BASELINE_PACKETS {
            return;
        }
        let slices: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        self.reference = ReferenceBaseline::estimate(&slices)
            .map_or_else(|| Reference::Learning(Vec::new()), Reference::Known);
    }

    fn add(&mut self, packet: &Packet, corrected: &[f32], sequences: Sequences, reference_z: Option<f64>) {
        let kept = &mut self.kept;
        kept.sequences = sequences;
        kept.time_ms = kept.time_ms.max(packet.time_ms);
        kept.digest = link(kept.digest, packet);
        for (sum, &value) in kept.sums.iter_mut().zip(corrected) {
            *sum += f64::from(value);
        }
        kept.noise.add(packet.sequence, corrected);
        kept.level.add(corrected);
        kept.surroundings.add(packet.environment, packet.self_test_passed);
        let worse = |z: f64| kept.reference_z.is_none_or(|worst| z.abs() > worst.abs());
        if let Some(z) = reference_z.filter(|&z| worse(z)) {
            kept.reference_z = Some(z);
        }
    }

    /// Mean corrected sweep, ohm; empty before the first packet.
    pub(super) fn mean(&self) -> Vec<f32> {
        let packets = self.packets();
        if packets == 0 {
            Vec::new()
        } else {
            self.kept.sums.iter().map(|sum| (sum / packets as f64) as f32).collect()
        }
    }

    /// Mean surroundings.
    pub(super) fn environment(&self) -> Option<Environment> {
        self.kept.surroundings.mean()
    }

    /// Head of the hash chain, hexadecimal.
    pub(super) fn digest(&self) -> String {
        hex::encode(self.kept.digest)
    }
}

/// An absurd reference overflows; that is as far off as anything can be.
fn bounded(z: f64) -> f64 {
    if z.is_nan() { REFERENCE_Z_MAX } else { z.clamp(-REFERENCE_Z_MAX, REFERENCE_Z_MAX) }
}

/// The next link: SHA-256 over the link before and every field of the packet, little-endian, in the order of the
/// message; vectors and the surroundings are preceded by their length or presence.
fn link(before: [u8; 32], packet: &Packet) -> [u8; 32] {
    let Packet { sequence, time_ms, detection, reference, environment, self_test_passed } = packet;
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(sequence.to_le_bytes());
    hash.update(time_ms.to_le_bytes());
    for vector in [detection, reference] {
        hash.update((vector.len() as u64).to_le_bytes());
        vector.iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    hash.update([u8::from(environment.is_some())]);
    if let Some(Environment { temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent }) =
        environment
    {
        for value in [temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent] {
            hash.update(value.to_le_bytes());
        }
    }
    hash.update([u8::from(*self_test_passed)]);
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
