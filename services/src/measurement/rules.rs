//! The business of a measurement session, pure: what may be started, which packet may count, what the gates say, and
//! which change of state is allowed. Nothing here waits, stores or speaks to anybody.

use clinical::cartridge::{Cartridge, Category};
use clinical::correction::CorrectionError;
use clinical::gate::{Outcome, Status as GateStatus};
use clinical::{Biomarker, Person};
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

/// What a page of a user's measurements is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HistoryQuery {
    pub(super) user_id: String,
    pub(super) page_size: u32,
    pub(super) after: Option<Cursor>,
    pub(super) biomarker: Option<Biomarker>,
}

impl HistoryQuery {
    /// Checks what was asked for; an empty token starts at the newest, an empty code takes all.
    pub(super) fn check(
        user_id: String,
        page_size: u32,
        page_token: &str,
        biomarker_code: &str,
        limits: &Limits,
    ) -> Result<Self, ServiceError> {
        identifier("user_id", &user_id, limits)?;
        if page_size > limits.page_size_max {
            let reason = format!("{page_size} is too many: at most {}", limits.page_size_max);
            return Err(ServiceError::invalid("page_size", reason));
        }
        let page_size = if page_size == 0 { limits.page_size_default } else { page_size };
        let after = if page_token.is_empty() { None } else { Some(Cursor::parse(page_token)?) };
        let known = |code| Biomarker::from_code(code).or_else(|| Biomarker::from_loinc(code));
        let biomarker = match (biomarker_code.is_empty(), known(biomarker_code)) {
            (true, _) => None,
            (false, Some(biomarker)) => Some(biomarker),
            (false, None) => {
                let reason = "is not known: expected a code such as glucose, or a LOINC code";
                return Err(ServiceError::invalid("biomarker_code", reason));
            }
        };
        Ok(Self { user_id, page_size, after, biomarker })
    }
}

/// Last measurement of a page: what comes after it stays the same when newer ones are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) ended_ms: i64,
    pub(super) id: Uuid,
}

impl Cursor {
    /// Reads a page token.
    pub(super) fn parse(token: &str) -> Result<Self, ServiceError> {
        let refused =
            || ServiceError::invalid("page_token", "is not one of ours: send the one last answered");
        let bytes: [u8; 24] =
            hex::decode(token).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(refused)?;
        let (ended_ms, id) = bytes.split_at(8);
        Ok(Self {
            ended_ms: i64::from_be_bytes(ended_ms.try_into().map_err(|_| refused())?),
            id: Uuid::from_slice(id).map_err(|_| refused())?,
        })
    }

    /// Writes a page token.
    pub(super) fn token(self) -> String {
        hex::encode([self.ended_ms.to_be_bytes().as_slice(), self.id.as_bytes()].concat())
    }
}

/// Reads a session or measurement identifier.
pub(super) fn session_id(field: &str, text: &str) -> Result<Uuid, ServiceError> {
    Uuid::try_parse(text).map_err(|_| ServiceError::invalid(field, "expected the UUID of a session"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn a_page_is_bounded_and_a_biomarker_known() {
        let limits = Limits::default();
        let ask = |size, token: &str, code: &str| {
            HistoryQuery::check("u".to_owned(), size, token, code, &limits).map_err(field)
        };
        assert_eq!(ask(0, "", "").map(|query| query.page_size), Ok(50));
        assert_eq!(ask(200, "", "2345-7").map(|query| query.biomarker), Ok(Some(Biomarker::Glucose)));
        assert_eq!(ask(201, "", ""), Err("page_size".to_owned()));
        assert_eq!(ask(1, "zz", ""), Err("page_token".to_owned()));
        assert_eq!(ask(1, "00", ""), Err("page_token".to_owned()));
        assert_eq!(ask(1, "", "mood"), Err("biomarker_code".to_owned()));
    }

    proptest! {
        #[test]
        fn a_page_token_reads_back(ended_ms: i64, id: u128) {
            let cursor = Cursor { ended_ms, id: Uuid::from_u128(id) };
            prop_assert_eq!(Cursor::parse(&cursor.token()).ok(), Some(cursor));
        }

        #[test]
        fn any_token_is_read_or_refused(token in ".{0,64}") {
            let _ = Cursor::parse(&token);
        }
    }
}
