//! Between rows and what the rules speak of; every field is named on both sides, so that none is forgotten.

use clinical::cartridge::Cartridge;
use clinical::gate::Quality;
use clinical::{Person, Sex};
use sea_orm::ActiveValue::{NotSet, Set};

use super::FingerprintState;
use super::entity::session::{FingerprintRow, StatusRow};
use super::entity::{EnvironmentRow, Exact, GateRow, GateRows, StateRow, session, value};
use crate::kernel::ServiceError;
use crate::measurement::rules::{Environment, GateNote, NewSession, Status};
use crate::measurement::running::Kept;
use crate::measurement::sequence::Sequences;
use crate::measurement::session::{Ended, Measurement, Session, Value};
use crate::measurement::statistics::{Level, Noise, Surroundings};

/// The row of a session that begins.
pub(super) fn begun(session: &Session) -> session::ActiveModel {
    let Session { id, new, started_ms } = session;
    let NewSession { user_id, device_id, cartridge, person } = new;
    session::ActiveModel {
        id: Set(*id),
        user_id: Set(user_id.clone()),
        device_id: Set(device_id.clone()),
        cartridge_code: Set(cartridge.code.to_string()),
        age_years: Set(person.age_years()),
        sex: Set(person.sex().map(|sex| sex.code().to_owned())),
        status: Set(StatusRow::Active),
        started_ms: Set(*started_ms),
        packets: Set(0),
        ..Default::default()
    }
}

/// The changes to the row of a session that ends.
pub(super) fn ended(ended: &Ended) -> session::ActiveModel {
    let Ended { status, ended_ms, packets, quality, gates, channels, environment, digest, analysis, .. } =
        ended;
    session::ActiveModel {
        id: NotSet,
        status: Set((*status).into()),
        ended_ms: Set(Some(*ended_ms)),
        packets: Set(packets.cast_signed()),
        state: Set(None),
        quality: Set(Some(quality.code().to_owned())),
        gates: Set(Some(GateRows(gates.iter().map(GateRow::from).collect()))),
        environment: Set(environment.map(EnvironmentRow::from)),
        channels: Set(Some(channels.iter().flat_map(|value| value.to_le_bytes()).collect())),
        digest: Set(Some(digest.clone())),
        analysis: Set(Some(analysis.clone())),
        ..Default::default()
    }
}

/// The row of one value.
pub(super) fn value(session_id: uuid::Uuid, value: &Value) -> value::ActiveModel {
    let Value { code, loinc, value, unit, low, high, coverage, model, version } = value.clone();
    value::ActiveModel {
        session_id: Set(session_id),
        code: Set(code),
        loinc: Set(loinc),
        value: Set(value),
        unit: Set(unit),
        low: Set(low),
        high: Set(high),
        coverage: Set(coverage),
        model: Set(model),
        version: Set(version),
    }
}

/// Reads a session back.
pub(super) fn session(row: &session::Model) -> Result<Session, ServiceError> {
    let corrupt = |error: &dyn std::error::Error| corrupt(row, &error.to_string());
    let cartridge = Cartridge::parse(&row.cartridge_code).map_err(|error| corrupt(&error))?;
    let sex = row.sex.as_deref().and_then(Sex::from_code);
    let person = Person::new(row.age_years, sex).map_err(|error| corrupt(&error))?;
    let (user_id, device_id) = (row.user_id.clone(), row.device_id.clone());
    let new = NewSession { user_id, device_id, cartridge, person };
    Ok(Session { id: row.id, new, started_ms: row.started_ms })
}

/// Reads an ended session and its values back.
pub(super) fn measurement(
    row: session::Model,
    values: Vec<value::Model>,
) -> Result<Measurement, ServiceError> {
    let session = session(&row)?;
    let missing = |what: &str| ServiceError::Corrupt {
        detail: detail(row.id, &format!("{what} is missing or unknown")),
    };
    let qualities = [Quality::Good, Quality::Fair, Quality::Poor];
    let quality = qualities.into_iter().find(|quality| row.quality.as_deref() == Some(quality.code()));
    let channels = row.channels.ok_or_else(|| missing("channels"))?;
    let gates = row.gates.ok_or_else(|| missing("gates"))?;
    let ended = Ended {
        status: row.status.into(),
        ended_ms: row.ended_ms.ok_or_else(|| missing("ended_ms"))?,
        packets: row.packets.cast_unsigned(),
        quality: quality.ok_or_else(|| missing("quality"))?,
        gates: gates.0.into_iter().map(Into::into).collect(),
        channels: channels.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect(),
        environment: row.environment.map(Into::into),
        digest: row.digest.ok_or_else(|| missing("digest"))?,
        values: values.into_iter().map(Into::into).collect(),
        analysis: row.analysis.unwrap_or_default(),
    };
    Ok(Measurement { session, ended })
}

/// A row that cannot be read; the message stays in the log.
pub(super) fn corrupt(row: &session::Model, why: &str) -> ServiceError {
    ServiceError::Corrupt { detail: detail(row.id, why) }
}

fn detail(id: uuid::Uuid, why: &str) -> String {
    format!("measurement_session {id}: {why}")
}

impl From<Status> for StatusRow {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Completed => Self::Completed,
            Status::Aborted => Self::Aborted,
            Status::TimedOut => Self::TimedOut,
        }
    }
}

impl From<StatusRow> for Status {
    fn from(row: StatusRow) -> Self {
        match row {
            StatusRow::Active => Self::Active,
            StatusRow::Completed => Self::Completed,
            StatusRow::Aborted => Self::Aborted,
            StatusRow::TimedOut => Self::TimedOut,
        }
    }
}

impl From<FingerprintState> for FingerprintRow {
    fn from(state: FingerprintState) -> Self {
        match state {
            FingerprintState::Kept => Self::Kept,
            FingerprintState::None => Self::None,
        }
    }
}

impl From<FingerprintRow> for FingerprintState {
    fn from(row: FingerprintRow) -> Self {
        match row {
            FingerprintRow::Kept => Self::Kept,
            FingerprintRow::None => Self::None,
        }
    }
}

impl From<value::Model> for Value {
    fn from(row: value::Model) -> Self {
        let value::Model { session_id: _, code, loinc, value, unit, low, high, coverage, model, version } =
            row;
        Self { code, loinc, value, unit, low, high, coverage, model, version }
    }
}

impl From<&GateNote> for GateRow {
    fn from(note: &GateNote) -> Self {
        let GateNote { gate, passed, value, limit, unit, message } = note.clone();
        Self { gate, passed, value: value.map(Exact), limit: Exact(limit), unit, message }
    }
}

impl From<GateRow> for GateNote {
    fn from(row: GateRow) -> Self {
        let GateRow { gate, passed, value, limit: Exact(limit), unit, message } = row;
        Self { gate, passed, value: number(value), limit, unit, message }
    }
}

impl From<Environment> for EnvironmentRow {
    fn from(environment: Environment) -> Self {
        let Environment { temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent } =
            environment;
        Self {
            temperature_celsius: Exact(temperature_celsius),
            humidity_percent: Exact(humidity_percent),
            pressure_kilopascal: Exact(pressure_kilopascal),
            battery_percent: Exact(battery_percent),
        }
    }
}

impl From<EnvironmentRow> for Environment {
    fn from(row: EnvironmentRow) -> Self {
        let EnvironmentRow { temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent } =
            row;
        Self {
            temperature_celsius: temperature_celsius.0,
            humidity_percent: humidity_percent.0,
            pressure_kilopascal: pressure_kilopascal.0,
            battery_percent: battery_percent.0,
        }
    }
}

fn number(exact: Option<Exact>) -> Option<f64> {
    exact.map(|Exact(number)| number)
}

fn exact(numbers: Vec<f64>) -> Vec<Exact> {
    numbers.into_iter().map(Exact).collect()
}

fn numbers(exact: &[Exact]) -> Vec<f64> {
    exact.iter().map(|&Exact(number)| number).collect()
}

impl From<&Kept> for StateRow {
    fn from(kept: &Kept) -> Self {
        let Kept { sequences, time_ms, digest, sums, noise, level, surroundings, reference_z } = kept.clone();
        let Sequences { first, highest, seen, received } = sequences;
        let Noise { power, steps, last_sequence, last } = noise;
        let Level { width, groups, open, filled } = level;
        let Surroundings {
            reports,
            sums: environment_sums,
            temperature_worst,
            battery_lowest,
            self_test_passed,
        } = surroundings;
        Self {
            first,
            highest,
            seen,
            received,
            time_ms,
            digest: hex::encode(digest),
            sums: exact(sums),
            noise_power: Exact(power),
            noise_steps: steps,
            last_sequence,
            last,
            level_width: width,
            level_groups: exact(groups),
            level_open: Exact(open),
            level_filled: filled,
            reports,
            environment_sums: environment_sums.map(Exact),
            temperature_worst: temperature_worst.map(Exact),
            battery_lowest: battery_lowest.map(Exact),
            self_test_passed,
            reference_z: reference_z.map(Exact),
        }
    }
}

/// What a running session resumes from, as text.
pub(super) fn state(id: uuid::Uuid, kept: &Kept) -> Result<String, ServiceError> {
    serde_json::to_string(&StateRow::from(kept))
        .map_err(|error| ServiceError::Corrupt { detail: detail(id, &error.to_string()) })
}

/// Reads back what a session of `channels` resumes from; `None` when it cannot be read or does not fit.
pub(super) fn kept(state: &str, channels: usize) -> Option<Kept> {
    let row: StateRow = serde_json::from_str(state).ok()?;
    let lengths = row.sums.len() == channels && (row.last.is_empty() || row.last.len() == channels);
    let digest = hex::decode(&row.digest).ok().and_then(|bytes| bytes.try_into().ok())?;
    lengths.then(|| Kept {
        sequences: Sequences {
            first: row.first,
            highest: row.highest,
            seen: row.seen,
            received: row.received,
        },
        time_ms: row.time_ms,
        digest,
        sums: numbers(&row.sums),
        noise: Noise {
            power: row.noise_power.0,
            steps: row.noise_steps,
            last_sequence: row.last_sequence,
            last: row.last,
        },
        level: Level {
            width: row.level_width.max(1),
            groups: numbers(&row.level_groups),
            open: row.level_open.0,
            filled: row.level_filled,
        },
        surroundings: Surroundings {
            reports: row.reports,
            sums: row.environment_sums.map(|Exact(sum)| sum),
            temperature_worst: number(row.temperature_worst),
            battery_lowest: number(row.battery_lowest),
            self_test_passed: row.self_test_passed,
        },
        reference_z: number(row.reference_z),
    })
}
