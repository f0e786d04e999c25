//! What can be set about a simulated instrument, and what can be wrong with a request to it.

use crate::biomarker::ValueError;
use crate::correction::CorrectionError;

/// Why the simulator refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimulatorError {
    /// A setting is out of range.
    #[error("simulator setting '{field}' is {value}: expected {low} to {high}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: f64,
        /// Lowest accepted.
        low: f64,
        /// Highest accepted.
        high: f64,
    },
    /// The cartridge does not measure the analyte, or it was named twice.
    #[error("cartridge {cartridge} takes {biomarker} at most once and only if it measures it")]
    NotMeasured {
        /// Name of the cartridge.
        cartridge: &'static str,
        /// Code of the biomarker.
        biomarker: &'static str,
    },
    /// The concentration is impossible.
    #[error("concentration refused")]
    Concentration(#[source] ValueError),
    /// The number of packets is out of range.
    #[error("a session of {got} packets is out of range: expected 1 to 20000")]
    Packets {
        /// The number asked for.
        got: usize,
    },
    /// A fault at a place that does not exist.
    #[error("fault at {what} {index}: there are {count}")]
    Fault {
        /// Electrode or channel.
        what: &'static str,
        /// Index asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The corrected row could not be made.
    #[error("correction refused")]
    Correction(#[from] CorrectionError),
}

/// Settings of the simulated instrument; the defaults are a sound reader on a desk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatorConfig {
    /// Time between packets.
    pub packet_period_ms: u64,
    /// Mean temperature of the cell.
    pub temperature_c: f64,
    /// Standard deviation of the temperature from packet to packet.
    pub temperature_jitter_c: f64,
    /// Relative humidity reported; it has no effect, as no formula for one is known.
    pub humidity_percent: f64,
    /// Charge reported.
    pub battery_percent: f64,
    /// Spread of the sample matrix between persons, as a share; both cells see it.
    pub matrix_spread: f64,
    /// Spread between cartridges, per electrode, as a share; both cells have it.
    pub manufacturing_spread: f64,
    /// Difference between the two cells of one cartridge, per electrode, as a share.
    pub cell_mismatch: f64,
    /// Mean rise of the charge-transfer resistance per minute, as a share; both cells have it.
    pub drift_per_minute: f64,
    /// Noise in proportion to the signal, as a share.
    pub noise_relative: f64,
    /// Noise independent of the signal.
    pub noise_ohm: f64,
    /// Interference that both cells pick up alike.
    pub common_noise_ohm: f64,
    /// Probability that a packet is lost.
    pub packet_loss: f64,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            packet_period_ms: 100,
            temperature_c: 25.0,
            temperature_jitter_c: 0.05,
            humidity_percent: 45.0,
            battery_percent: 80.0,
            matrix_spread: 0.05,
            manufacturing_spread: 0.02,
            cell_mismatch: 0.003,
            drift_per_minute: 0.002,
            noise_relative: 0.001,
            noise_ohm: 0.3,
            common_noise_ohm: 2.0,
            packet_loss: 0.0,
        }
    }
}

impl SimulatorConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`SimulatorError::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<(), SimulatorError> {
        let fields = [
            ("packet_period_ms", self.packet_period_ms as f64, 1.0, 60_000.0),
            ("temperature_c", self.temperature_c, 0.0, 60.0),
            ("temperature_jitter_c", self.temperature_jitter_c, 0.0, 5.0),
            ("humidity_percent", self.humidity_percent, 0.0, 100.0),
            ("battery_percent", self.battery_percent, 0.0, 100.0),
            ("matrix_spread", self.matrix_spread, 0.0, 0.5),
            ("manufacturing_spread", self.manufacturing_spread, 0.0, 0.5),
            ("cell_mismatch", self.cell_mismatch, 0.0, 0.5),
            ("drift_per_minute", self.drift_per_minute, -0.5, 0.5),
            ("noise_relative", self.noise_relative, 0.0, 0.5),
            ("noise_ohm", self.noise_ohm, 0.0, 10_000.0),
            ("common_noise_ohm", self.common_noise_ohm, 0.0, 10_000.0),
            ("packet_loss", self.packet_loss, 0.0, 0.9),
        ];
        match fields.into_iter().find(|&(_, value, low, high)| !(low..=high).contains(&value)) {
            Some((field, value, low, high)) => Err(SimulatorError::Config { field, value, low, high }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named() {
        assert_eq!(SimulatorConfig::default().validate(), Ok(()));
        let error = SimulatorConfig { noise_relative: f64::NAN, ..SimulatorConfig::default() }.validate();
        assert!(matches!(error, Err(SimulatorError::Config { field: "noise_relative", .. })));
        let error = SimulatorConfig { packet_loss: 1.0, ..SimulatorConfig::default() }.validate();
        assert!(matches!(error, Err(SimulatorError::Config { field: "packet_loss", .. })));
    }
}
