//! Quality gates: whether a measurement can be trusted as a measurement. A failed gate never stops a person; it marks
//! the result "quality caution", and says which number missed which limit.

mod signal;

pub use signal::{ReferenceBaseline, drift_percent, packet_loss_percent, snr_db};

/// The gates, in the order they are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// Signal-to-noise ratio.
    Snr,
    /// Share of packets lost.
    PacketLoss,
    /// Temperature of the reader.
    Temperature,
    /// Self test of the reader.
    SelfTest,
    /// Charge of the reader.
    Battery,
    /// Reference cell against its baseline.
    Reference,
    /// Number of channels against the cartridge.
    ChannelCount,
    /// Every number finite.
    Numeric,
}

impl Gate {
    /// Stable identifier.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Snr => "snr",
            Self::PacketLoss => "packet_loss",
            Self::Temperature => "temperature",
            Self::SelfTest => "self_test",
            Self::Battery => "battery",
            Self::Reference => "reference",
            Self::ChannelCount => "channel_count",
            Self::Numeric => "numeric",
        }
    }

    /// UCUM unit of the measured value and its limit.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Snr => "dB",
            Self::PacketLoss | Self::Battery => "%",
            Self::Temperature => "Cel",
            Self::SelfTest | Self::Reference | Self::ChannelCount | Self::Numeric => "1",
        }
    }
}

/// What a gate said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Within its limit.
    Pass,
    /// Near its limit: tell the person.
    Warn,
    /// Beyond its limit: mark the result.
    Fail,
    /// Could not be measured, for example an SNR from one packet.
    Unknown,
}

impl Status {
    /// Stable identifier.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// One gate's outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The gate.
    pub gate: Gate,
    /// What it said.
    pub status: Status,
    /// The number measured, in [`Gate::unit`]; 1 and 0 stand for yes and no.
    pub measured: Option<f64>,
    /// The limit it was held against, the one nearer to the measured number.
    pub limit: f64,
}

/// Overall quality of the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quality {
    /// Measure again.
    Poor,
    /// Usable with care.
    Fair,
    /// Usable.
    Good,
}

impl Quality {
    /// Stable identifier.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Poor => "poor",
            Self::Fair => "fair",
            Self::Good => "good",
        }
    }
}

/// Limits of the gates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateLimits {
    /// Lowest acceptable signal-to-noise ratio.
    pub snr_min_db: f64,
    /// Share of lost packets that fails.
    pub packet_loss_max_percent: f64,
    /// Lowest reader temperature.
    pub temperature_min_c: f64,
    /// Highest reader temperature.
    pub temperature_max_c: f64,
    /// Charge below which the person is warned.
    pub battery_warn_percent: f64,
    /// Charge below which the gate fails.
    pub battery_min_percent: f64,
    /// Largest deviation of the reference cell in standard deviations.
    pub reference_z_max: f64,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            snr_min_db: 20.0,
            packet_loss_max_percent: 5.0,
            temperature_min_c: 15.0,
            temperature_max_c: 40.0,
            battery_warn_percent: 15.0,
            battery_min_percent: 10.0,
            reference_z_max: 3.0,
        }
    }
}

/// What was observed about a packet or a session; `None` is "not measured".
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Observation {
    /// Signal-to-noise ratio, see [`snr_db`].
    pub snr_db: Option<f64>,
    /// Drift over the window, see [`drift_percent`].
    pub drift_percent: Option<f64>,
    /// Packets lost, see [`packet_loss_percent`].
    pub packet_loss_percent: Option<f64>,
    /// Reader temperature.
    pub temperature_c: Option<f64>,
    /// Whether the self test passed.
    pub self_test_ok: Option<bool>,
    /// Reader charge.
    pub battery_percent: Option<f64>,
    /// Deviation of the reference cell, see [`ReferenceBaseline::z`].
    pub reference_z: Option<f64>,
    /// Channels received.
    pub channels: usize,
    /// Channels the cartridge has.
    pub channels_expected: usize,
    /// Whether every number is finite.
    pub finite: bool,
}

/// Outcomes of all gates and the overall quality.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityReport {
    /// One outcome per gate.
    pub outcomes: [Outcome; 8],
    /// Overall quality of the signal.
    pub quality: Quality,
}

impl QualityReport {
    /// Whether the result must carry "quality caution": a gate failed or the signal is poor.
    #[must_use]
    pub fn caution(&self) -> bool {
        self.quality == Quality::Poor || self.with(Status::Fail).next().is_some()
    }

    /// The outcomes with one status.
    pub fn with(&self, status: Status) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| outcome.status == status)
    }
}

/// Holds an observation against the limits. Never an error: what is wrong stands in the report.
#[must_use]
pub fn evaluate(seen: &Observation, limits: &GateLimits) -> QualityReport {
    let yes = |flag: bool| if flag { 1.0 } else { 0.0 };
    let temperature_limit = match seen.temperature_c {
        Some(t) if t < limits.temperature_min_c => limits.temperature_min_c,
        Some(_) | None => limits.temperature_max_c,
    };
    let in_range = |t: f64| (limits.temperature_min_c..=limits.temperature_max_c).contains(&t);
    QualityReport {
        outcomes: [
            pass_if(Gate::Snr, seen.snr_db, limits.snr_min_db, |v| v >= limits.snr_min_db),
            pass_if(Gate::PacketLoss, seen.packet_loss_percent, limits.packet_loss_max_percent, |v| {
                v < limits.packet_loss_max_percent
            }),
            pass_if(Gate::Temperature, seen.temperature_c, temperature_limit, in_range),
            pass_if(Gate::SelfTest, seen.self_test_ok.map(yes), 1.0, |v| v > 0.0),
            battery(seen.battery_percent, limits),
            pass_if(Gate::Reference, seen.reference_z, limits.reference_z_max, |z| {
                z.abs() <= limits.reference_z_max
            }),
            pass_if(Gate::ChannelCount, Some(seen.channels as f64), seen.channels_expected as f64, |_| {
                seen.channels == seen.channels_expected
            }),
            pass_if(Gate::Numeric, Some(yes(seen.finite)), 1.0, |v| v > 0.0),
        ],
        quality: quality(seen),
    }
}

/// Pass or fail by `ok`; a NaN fails, an absent number is unknown.
fn pass_if(gate: Gate, measured: Option<f64>, limit: f64, ok: impl Fn(f64) -> bool) -> Outcome {
    let status = match measured {
        None => Status::Unknown,
        Some(value) if ok(value) => Status::Pass,
        Some(_) => Status::Fail,
    };
    Outcome { gate, status, measured, limit }
}

fn battery(measured: Option<f64>, limits: &GateLimits) -> Outcome {
    let outcome =
        pass_if(Gate::Battery, measured, limits.battery_min_percent, |v| v >= limits.battery_min_percent);
    match measured {
        Some(value) if outcome.status == Status::Pass && value < limits.battery_warn_percent => {
            Outcome { status: Status::Warn, limit: limits.battery_warn_percent, ..outcome }
        }
        Some(_) | None => outcome,
    }
}

/// Good needs SNR over 10 dB and drift under 1 %, fair over 5 dB and under 3 %; what is unknown is fair at best.
fn quality(seen: &Observation) -> Quality {
    if !seen.finite || seen.channels != seen.channels_expected {
        return Quality::Poor;
    }
    let snr = match seen.snr_db {
        Some(snr) if snr > 10.0 => Quality::Good,
        Some(snr) if snr > 5.0 => Quality::Fair,
        Some(_) => Quality::Poor,
        None => Quality::Fair,
    };
    let drift = match seen.drift_percent {
        Some(drift) if drift.abs() < 1.0 => Quality::Good,
        Some(drift) if drift.abs() < 3.0 => Quality::Fair,
        Some(_) => Quality::Poor,
        None => Quality::Fair,
    };
    snr.min(drift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Observation {
        Observation {
            snr_db: Some(40.0),
            drift_percent: Some(0.1),
            packet_loss_percent: Some(0.0),
            temperature_c: Some(25.0),
            self_test_ok: Some(true),
            battery_percent: Some(80.0),
            reference_z: Some(0.5),
            channels: 88,
            channels_expected: 88,
            finite: true,
        }
    }

    fn check(seen: Observation, gate: Gate, status: Status) {
        let report = evaluate(&seen, &GateLimits::default());
        let outcome = report.outcomes.iter().find(|o| o.gate == gate).expect("every gate reports");
        assert_eq!(outcome.status, status, "{outcome:?}");
        if status == Status::Fail {
            assert!(report.caution());
        }
    }

    #[test]
    fn a_sound_measurement_passes_every_gate() {
        let report = evaluate(&sound(), &GateLimits::default());
        assert_eq!(report.with(Status::Pass).count(), 8);
        assert_eq!((report.quality, report.caution()), (Quality::Good, false));
    }

    #[test]
    fn each_gate_at_its_edge() {
        use Status::{Fail, Pass, Unknown, Warn};
        check(Observation { snr_db: Some(20.0), ..sound() }, Gate::Snr, Pass);
        check(Observation { snr_db: Some(19.9), ..sound() }, Gate::Snr, Fail);
        check(Observation { snr_db: None, ..sound() }, Gate::Snr, Unknown);
        check(Observation { packet_loss_percent: Some(4.99), ..sound() }, Gate::PacketLoss, Pass);
        check(Observation { packet_loss_percent: Some(5.0), ..sound() }, Gate::PacketLoss, Fail);
        check(Observation { temperature_c: Some(15.0), ..sound() }, Gate::Temperature, Pass);
        check(Observation { temperature_c: Some(14.9), ..sound() }, Gate::Temperature, Fail);
        check(Observation { temperature_c: Some(40.1), ..sound() }, Gate::Temperature, Fail);
        check(Observation { temperature_c: Some(f64::NAN), ..sound() }, Gate::Temperature, Fail);
        check(Observation { self_test_ok: Some(false), ..sound() }, Gate::SelfTest, Fail);
        check(Observation { battery_percent: Some(15.0), ..sound() }, Gate::Battery, Pass);
        check(Observation { battery_percent: Some(14.0), ..sound() }, Gate::Battery, Warn);
        check(Observation { battery_percent: Some(10.0), ..sound() }, Gate::Battery, Warn);
        check(Observation { battery_percent: Some(9.9), ..sound() }, Gate::Battery, Fail);
        check(Observation { reference_z: Some(-3.0), ..sound() }, Gate::Reference, Pass);
        check(Observation { reference_z: Some(-3.1), ..sound() }, Gate::Reference, Fail);
        check(Observation { channels: 87, ..sound() }, Gate::ChannelCount, Fail);
        check(Observation { finite: false, ..sound() }, Gate::Numeric, Fail);
    }

    #[test]
    fn a_failed_gate_names_the_number_and_the_limit_it_missed() {
        let seen = Observation { temperature_c: Some(4.0), ..sound() };
        let report = evaluate(&seen, &GateLimits::default());
        let failed: Vec<_> = report.with(Status::Fail).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].measured, failed[0].limit, failed[0].gate.unit()), (Some(4.0), 15.0, "Cel"));
    }

    #[test]
    fn quality_is_the_worse_of_noise_and_drift() {
        let of = |snr_db, drift_percent| quality(&Observation { snr_db, drift_percent, ..sound() });
        assert_eq!(of(Some(10.1), Some(0.9)), Quality::Good);
        assert_eq!(of(Some(10.0), Some(0.9)), Quality::Fair);
        assert_eq!(of(Some(30.0), Some(-1.0)), Quality::Fair);
        assert_eq!(of(Some(30.0), Some(3.0)), Quality::Poor);
        assert_eq!(of(Some(5.0), Some(0.0)), Quality::Poor);
        assert_eq!(of(None, Some(0.0)), Quality::Fair, "unknown is fair at best");
    }
}
