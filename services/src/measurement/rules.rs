//! The business of a measurement session, pure: what may be started, which packet may count, what the gates say, and
//! which change of state is allowed. Nothing here waits, stores or speaks to anybody.

use clinical::Person;
use clinical::cartridge::{Cartridge, Category};
use clinical::correction::CorrectionError;
use clinical::gate::{Outcome, Status as GateStatus};
use uuid::Uuid;

use crate::kernel::{Limits, ServiceError};

/// A session about to be opened, every field checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewSession {
    pub(super) user_id: String,
    pub(super) device_id: String,
    pub(super) cartridge: &'static Cartridge,
    pub(super) person: Person,
}

impl NewSession {
    /// Checks what a reader asks for.
    pub(super) fn check(
        user_id: String,
        device_id: String,
        cartridge_code: &str,
        person: Person,
        limits: &Limits,
    ) -> Result<Self, ServiceError> {
        identifier("user_id", &user_id, limits)?;
        if !device_id.is_empty() {
            identifier("device_id", &device_id, limits)?;
        }
        let cartridge = Cartridge::parse(cartridge_code)
            .map_err(|error| ServiceError::invalid("cartridge_code", error.to_string()))?;
        if !is_active(cartridge.category) {
            let reason = format!("cartridge {} is not in use yet", cartridge.code);
            return Err(ServiceError::invalid("cartridge_code", reason));
        }
        Ok(Self { user_id, device_id, cartridge, person })
    }
}

/// Checks an identifier that somebody else has given out.
pub(super) fn identifier(field: &str, text: &str, limits: &Limits) -> Result<(), ServiceError> {
    let bytes_max = limits.identifier_bytes_max;
    if text.trim().is_empty() {
        return Err(ServiceError::invalid(field, "is empty"));
    }
    if text.len() > bytes_max || text.chars().any(char::is_control) {
        let reason = format!("expected at most {bytes_max} bytes without control characters");
        return Err(ServiceError::invalid(field, reason));
    }
    Ok(())
}

/// Which families may be measured with; all that are registered, until one is withdrawn.
const fn is_active(category: Category) -> bool {
    match category {
        Category::HealthBiomarker
        | Category::Environmental
        | Category::FoodSafety
        | Category::ElectronicSensor
        | Category::AdvancedAnalysis
        | Category::CustomResearch => true,
    }
}

/// State of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Status {
    /// Takes packets.
    Active,
    /// Analysed and stored.
    Completed,
    /// Ended without a packet.
    Aborted,
    /// Ended by silence.
    TimedOut,
}

impl Status {
    /// Checks a change of state: the only one allowed is from active to an end.
    pub(super) fn become_ended(self, end: Self) -> Result<Self, ServiceError> {
        match (self, end) {
            (Self::Active, Self::Completed | Self::Aborted | Self::TimedOut) => Ok(end),
            (_, Self::Active) | (Self::Completed | Self::Aborted | Self::TimedOut, _) => Err(self.refusal()),
        }
    }

    /// Why a session in this state takes no packet.
    pub(super) fn refusal(self) -> ServiceError {
        ServiceError::precondition(match self {
            Self::Active => "the session is running: end it first",
            Self::Completed => "the session is completed: start a new one",
            Self::Aborted => "the session was ended without a packet: start a new one",
            Self::TimedOut => "the session timed out after a long silence: start a new one",
        })
    }
}

/// Surroundings of a packet or, as means, of a measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Environment {
    pub(super) temperature_celsius: f64,
    pub(super) humidity_percent: f64,
    pub(super) pressure_kilopascal: f64,
    pub(super) battery_percent: f64,
}

impl Environment {
    /// Refuses what no sensor can have read.
    pub(super) fn check(&self) -> Result<(), ServiceError> {
        let Self { temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent } = *self;
        // 0 kPa is what a reader without a barometer sends.
        let fields = [
            ("temperature_celsius", temperature_celsius, -60.0, 120.0),
            ("humidity_percent", humidity_percent, 0.0, 100.0),
            ("pressure_kilopascal", pressure_kilopascal, 0.0, 200.0),
            ("battery_percent", battery_percent, 0.0, 100.0),
        ];
        match fields.into_iter().find(|&(_, value, low, high)| !(low..=high).contains(&value)) {
            Some((field, value, low, high)) => {
                let reason = format!("{value} is impossible: expected {low} to {high}");
                Err(ServiceError::invalid(format!("packet.environment.{field}"), reason))
            }
            None => Ok(()),
        }
    }
}

/// One packet as a reader sent it; vectors in ohm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packet {
    pub(super) sequence: u64,
    pub(super) time_ms: u64,
    pub(super) detection: Vec<f32>,
    pub(super) reference: Vec<f32>,
    pub(super) environment: Option<Environment>,
    pub(super) self_test_passed: bool,
}

impl Packet {
    /// Checks shape and surroundings; the numbers themselves are checked while they are corrected.
    pub(super) fn check(&self, channels: usize) -> Result<(), ServiceError> {
        for (field, vector) in [("packet.detection", &self.detection), ("packet.reference", &self.reference)]
        {
            if vector.len() != channels {
                let reason = format!("has {} channels: the cartridge has {channels}", vector.len());
                return Err(ServiceError::invalid(field, reason));
            }
        }
        self.environment.map_or(Ok(()), |environment| environment.check())
    }
}

/// Names the field of a packet that could not be corrected.
pub(super) fn correction_refused(error: &CorrectionError) -> ServiceError {
    let field = match error {
        CorrectionError::NotFinite { what, channel } => format!("packet.{what}[{channel}]"),
        CorrectionError::Channels { what, .. } => format!("packet.{what}"),
        CorrectionError::Alpha { .. } => "cartridge_code".to_owned(),
    };
    ServiceError::invalid(field, error.to_string())
}

/// Progress in percent after `time_ms` of a measurement of `seconds`.
pub(super) fn progress_percent(time_ms: u64, seconds: u16) -> f64 {
    (time_ms as f64 / (f64::from(seconds.max(1)) * 10.0)).min(100.0)
}

/// A gate's outcome as it is told and kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GateNote {
    pub(super) gate: String,
    pub(super) passed: bool,
    pub(super) value: Option<f64>,
    pub(super) limit: f64,
    pub(super) unit: String,
    pub(super) message: String,
}

impl From<&Outcome> for GateNote {
    fn from(outcome: &Outcome) -> Self {
        let message = match outcome.status {
            GateStatus::Pass => "",
            GateStatus::Warn => "close to the limit",
            GateStatus::Fail => "beyond the limit: take the result with caution",
            GateStatus::Unknown => "not measured",
        };
        Self {
            gate: outcome.gate.code().to_owned(),
            passed: matches!(outcome.status, GateStatus::Pass | GateStatus::Warn),
            value: outcome.measured,
            limit: outcome.limit,
            unit: outcome.gate.unit().to_owned(),
            message: message.to_owned(),
        }
    }
}

impl GateNote {
    /// The gate that fails when a packet got no analysis; `reason` says why.
    pub(super) fn not_analysed(reason: &str) -> Self {
        Self {
            gate: "analysis".to_owned(),
            passed: false,
            value: None,
            limit: 1.0,
            unit: "1".to_owned(),
            message: format!("the packet was kept but not analysed: {reason}"),
        }
    }
}

/// Reads a session or measurement identifier.
pub(super) fn session_id(field: &str, text: &str) -> Result<Uuid, ServiceError> {
    Uuid::try_parse(text).map_err(|_| ServiceError::invalid(field, "expected the UUID of a session"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: &str, cartridge: &str) -> Result<NewSession, ServiceError> {
        let limits = Limits::default();
        NewSession::check(user.to_owned(), String::new(), cartridge, Person::default(), &limits)
    }

    fn field(error: ServiceError) -> String {
        let ServiceError::Invalid { field, .. } = error else {
            panic!("expected a wrong field, got {error}")
        };
        field
    }

    #[test]
    fn a_session_needs_a_user_and_a_registered_cartridge() {
        assert!(check("u", "01:01").is_ok());
        for user in ["", "  ", "a\nb", &"x".repeat(129)] {
            assert_eq!(field(check(user, "01:01").expect_err(user)), "user_id");
        }
        for code in ["", "01", "01:FF", "FE:01", "glucose"] {
            assert_eq!(field(check("u", code).expect_err(code)), "cartridge_code");
        }
    }

    #[test]
    fn a_session_ends_once() {
        use Status::{Aborted, Active, Completed, TimedOut};
        for end in [Completed, Aborted, TimedOut] {
            assert_eq!(Active.become_ended(end).ok(), Some(end));
            for from in [Completed, Aborted, TimedOut] {
                assert!(from.become_ended(end).is_err(), "{from:?} to {end:?}");
            }
            assert!(end.become_ended(Active).is_err());
        }
    }

    #[test]
    fn impossible_surroundings_are_named() {
        let sound = Environment {
            temperature_celsius: 25.0,
            humidity_percent: 45.0,
            pressure_kilopascal: 101.3,
            battery_percent: 80.0,
        };
        assert!(sound.check().is_ok());
        let field = |environment: Environment| field(environment.check().expect_err("impossible"));
        let name = "packet.environment.battery_percent";
        assert_eq!(field(Environment { battery_percent: 100.1, ..sound }), name);
        assert_eq!(field(Environment { battery_percent: f64::NAN, ..sound }), name);
        let cold = Environment { temperature_celsius: -300.0, ..sound };
        assert_eq!(field(cold), "packet.environment.temperature_celsius");
    }

    #[test]
    fn progress_ends_at_a_hundred() {
        assert_eq!(progress_percent(0, 15), 0.0);
        assert_eq!(progress_percent(7_500, 15), 50.0);
        assert_eq!(progress_percent(u64::MAX, 15), 100.0);
    }
}
