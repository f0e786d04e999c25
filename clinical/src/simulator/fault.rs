//! Faults a real instrument has, so that an anomaly detector can be evaluated on known ones.

use super::SimulatorError;
use super::circuit::Randles;
use crate::layout::{BASE_CHANNELS, BASE_FREQUENCIES, ELECTRODES};

/// Full scale of the converter in ohm: what an open or saturated input reads.
pub(super) const FULL_SCALE_OHM: f32 = 1e6;
/// Share of an electrode a bubble leaves wet.
const WET_SHARE: f64 = 0.3;
/// Drift of a runaway per minute, as a share.
const RUNAWAY_PER_MINUTE: f64 = 2.0;

/// A fault of the detection cell, present in every packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An air bubble covers most of an electrode: its resistances rise, its capacitance falls.
    Bubble {
        /// The electrode, 0 to 7.
        electrode: usize,
    },
    /// An electrode is not connected: its channels read full scale.
    OpenCircuit {
        /// The electrode, 0 to 7.
        electrode: usize,
    },
    /// One channel is stuck at full scale.
    SaturatedChannel {
        /// The channel.
        channel: usize,
    },
    /// The charge-transfer resistance of every electrode climbs by the minute.
    DriftRunaway,
}

impl Fault {
    /// Stable identifier.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Bubble { .. } => "bubble",
            Self::OpenCircuit { .. } => "open_circuit",
            Self::SaturatedChannel { .. } => "saturated_channel",
            Self::DriftRunaway => "drift_runaway",
        }
    }

    /// Checks that the place exists on a cartridge of `channels`.
    pub(super) fn validate(self, channels: usize) -> Result<(), SimulatorError> {
        let (what, index, count) = match self {
            Self::Bubble { electrode } | Self::OpenCircuit { electrode } => {
                ("electrode", electrode, if channels < BASE_CHANNELS { 0 } else { ELECTRODES })
            }
            Self::SaturatedChannel { channel } => ("channel", channel, channels),
            Self::DriftRunaway => return Ok(()),
        };
        if index < count { Ok(()) } else { Err(SimulatorError::Fault { what, index, count }) }
    }

    /// Changes the circuit of the detection cell.
    pub(super) fn bend(self, electrodes: &mut [Randles; ELECTRODES]) {
        match self {
            Self::Bubble { electrode } => {
                let part = &mut electrodes[electrode];
                part.rs /= WET_SHARE;
                part.rct /= WET_SHARE;
                part.warburg /= WET_SHARE;
                part.q *= WET_SHARE;
            }
            Self::OpenCircuit { .. } | Self::SaturatedChannel { .. } | Self::DriftRunaway => {}
        }
    }

    /// Changes what the converter reads from the detection cell.
    pub(super) fn overwrite(self, detection: &mut [f32]) {
        match self {
            Self::OpenCircuit { electrode } => {
                let start = electrode * BASE_FREQUENCIES;
                detection[start..start + BASE_FREQUENCIES].fill(FULL_SCALE_OHM);
            }
            Self::SaturatedChannel { channel } => {
                if let Some(value) = detection.get_mut(channel) {
                    *value = FULL_SCALE_OHM;
                }
            }
            Self::Bubble { .. } | Self::DriftRunaway => {}
        }
    }

    /// Extra drift per minute of the detection cell, as a share.
    pub(super) const fn drift_per_minute(self) -> f64 {
        match self {
            Self::DriftRunaway => RUNAWAY_PER_MINUTE,
            Self::Bubble { .. } | Self::OpenCircuit { .. } | Self::SaturatedChannel { .. } => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_must_have_a_place() {
        assert!(Fault::Bubble { electrode: 7 }.validate(88).is_ok());
        assert!(Fault::Bubble { electrode: 8 }.validate(88).is_err());
        assert!(Fault::OpenCircuit { electrode: 0 }.validate(8).is_err(), "a nose has no electrodes");
        assert!(Fault::SaturatedChannel { channel: 88 }.validate(88).is_err());
        assert!(Fault::DriftRunaway.validate(8).is_ok());
    }

    #[test]
    fn an_open_electrode_reads_full_scale_on_its_channels_only() {
        let mut detection = [1.0f32; 88];
        Fault::OpenCircuit { electrode: 2 }.overwrite(&mut detection);
        let full = detection.iter().filter(|&&value| value == FULL_SCALE_OHM).count();
        assert_eq!(full, BASE_FREQUENCIES);
        assert!(detection[21] == 1.0 && detection[22] == FULL_SCALE_OHM);
    }
}
