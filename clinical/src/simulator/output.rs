//! What the simulator hands out. Every type says that it is synthetic, so that no consumer can show it as measured.

use super::Fault;
use crate::biomarker::Biomarker;
use crate::cartridge::CartridgeCode;
use crate::layout::Layout;

/// The label every simulated result carries.
pub const SYNTHETIC: &str = "synthetic";

/// One packet of a simulated session.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticPacket {
    /// Running number; a gap is a lost packet.
    pub sequence: u64,
    /// Time since the start of the session.
    pub timestamp_ms: u64,
    /// Detection cell, one number a channel, ohm.
    pub detection: Vec<f32>,
    /// Blank reference cell, one number a channel, ohm.
    pub reference: Vec<f32>,
    /// Temperature of the cell.
    pub temperature_c: f32,
    /// Relative humidity.
    pub humidity_percent: f32,
    /// Charge of the reader.
    pub battery_percent: f32,
}

/// A simulated session and what is true about it.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticSession {
    /// The cartridge measured with.
    pub cartridge: CartridgeCode,
    /// Layout of the packets.
    pub layout: Layout,
    /// The packets that arrived, in order.
    pub packets: Vec<SyntheticPacket>,
    /// The concentrations behind them, canonical units.
    pub truth: Vec<(Biomarker, f64)>,
    /// The fault injected, if any.
    pub fault: Option<Fault>,
}

/// One simulated and corrected vector and what is true about it.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticSweep {
    /// The cartridge measured with.
    pub cartridge: CartridgeCode,
    /// The corrected channels, ohm.
    pub corrected: Vec<f32>,
    /// The concentrations behind it, canonical units.
    pub truth: Vec<(Biomarker, f64)>,
    /// The fault injected, if any.
    pub fault: Option<Fault>,
}

impl SyntheticSession {
    /// Always [`SYNTHETIC`].
    #[must_use]
    pub const fn label(&self) -> &'static str {
        SYNTHETIC
    }
}

impl SyntheticSweep {
    /// Always [`SYNTHETIC`].
    #[must_use]
    pub const fn label(&self) -> &'static str {
        SYNTHETIC
    }
}
