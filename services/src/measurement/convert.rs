//! Between the wire and what the rules speak of; every field is named, so that a new one cannot be forgotten.

use clinical::gate::Quality;
use clinical::{Person, Sex};
use prost::Message;
use proto::manpasik::v1 as wire;
use tonic::Status as GrpcStatus;
use uuid::Uuid;

use super::analyst::Analysed;
use super::history::{HistoryQuery, Series};
use super::rules::{Environment, GateNote, NewSession, Packet, Status};
use super::session::{Ended, Live, Measurement, Session, Value};
use super::store::{FingerprintState, Page};
use crate::kernel::{Limits, ServiceError};

/// Reads the request for a session.
pub(super) fn new_session(
    request: wire::StartSessionRequest,
    limits: &Limits,
) -> Result<NewSession, ServiceError> {
    let wire::StartSessionRequest { user_id, device_id, cartridge_code, subject } = request;
    let person = person(subject.unwrap_or_default())?;
    NewSession::check(user_id, device_id, &cartridge_code, person, limits)
}

fn person(subject: wire::Subject) -> Result<Person, ServiceError> {
    let wire::Subject { age_years, sex } = subject;
    let sex = match wire::Sex::try_from(sex) {
        Ok(wire::Sex::Unspecified) => None,
        Ok(wire::Sex::Female) => Some(Sex::Female),
        Ok(wire::Sex::Male) => Some(Sex::Male),
        Err(_) => return Err(ServiceError::invalid("subject.sex", format!("{sex} is not a known value"))),
    };
    Person::new(age_years, sex).map_err(|error| ServiceError::invalid("subject.age_years", error.to_string()))
}

fn subject(person: &Person) -> wire::Subject {
    let sex = match person.sex() {
        None => wire::Sex::Unspecified,
        Some(Sex::Female) => wire::Sex::Female,
        Some(Sex::Male) => wire::Sex::Male,
    };
    wire::Subject { age_years: person.age_years(), sex: sex.into() }
}

/// Answers a session that was opened.
pub(super) fn started(session: &Session, limits: &Limits) -> wire::StartSessionResponse {
    let cartridge = session.new.cartridge;
    wire::StartSessionResponse {
        session_id: session.id.to_string(),
        channels: u32::try_from(cartridge.channels()).unwrap_or(u32::MAX),
        duration_seconds: u32::from(cartridge.seconds),
        idle_timeout_seconds: u32::try_from(limits.session_idle_ms_max / 1000).unwrap_or(u32::MAX),
    }
}

/// Reads a packet.
pub(super) fn packet(packet: wire::RawPacket) -> Packet {
    let wire::RawPacket { sequence, time_ms, detection, reference, environment, self_test_passed } = packet;
    let environment =
        environment.map(|environment| {
            let wire::Environment {
                temperature_celsius,
                humidity_percent,
                pressure_kilopascal,
                battery_percent,
            } = environment;
            Environment { temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent }
        });
    Packet { sequence, time_ms, detection, reference, environment, self_test_passed }
}

/// Answers a message without a packet: where the session stands.
pub(super) fn stream_status(live: &Live) -> wire::StreamMeasurementResponse {
    wire::StreamMeasurementResponse {
        sequence: live.running.kept().sequences.highest,
        progress_percent: live.running.progress_percent(),
        stored_sequence: live.stored,
        ..Default::default()
    }
}

/// Answers a packet seen before.
pub(super) fn stream_repeated(
    sequence: u64,
    progress_percent: f64,
    stored_sequence: Option<u64>,
) -> wire::StreamMeasurementResponse {
    let duplicate = true;
    wire::StreamMeasurementResponse {
        sequence,
        progress_percent,
        duplicate,
        stored_sequence,
        ..Default::default()
    }
}

/// Answers a packet that counts; its analysis is added later.
pub(super) fn stream_accepted(
    sequence: u64,
    progress_percent: f64,
    notes: Vec<GateNote>,
    stored_sequence: Option<u64>,
) -> wire::StreamMeasurementResponse {
    let failed_gates = notes.into_iter().map(Into::into).collect();
    wire::StreamMeasurementResponse {
        sequence,
        progress_percent,
        failed_gates,
        stored_sequence,
        ..Default::default()
    }
}

/// Adds the analysis to an answer.
pub(super) fn add_analysis(answer: &mut wire::StreamMeasurementResponse, analysed: Analysed) {
    let wire::PacketAnalysis { sequence: _, score, anomalous, explanation } = analysed.packet;
    answer.anomaly_score = Some(f64::from(score));
    answer.anomalous = Some(anomalous);
    answer.explanation = explanation;
    answer.model = analysed.model;
}

/// Asks for the analysis of the mean sweep.
pub(super) fn analysis_request(
    session: &Session,
    ended: &Ended,
    history: Vec<Series>,
) -> wire::AnalyzeMeasurementRequest {
    let point = |(time_unix_ms, value)| wire::SeriesPoint { time_unix_ms, value };
    let series = |Series { code, unit, points }| wire::Series {
        code,
        unit,
        points: points.into_iter().map(point).collect(),
    };
    wire::AnalyzeMeasurementRequest {
        source: Some(wire::analyze_measurement_request::Source::Channels(channels(session, ended))),
        subject: Some(subject(&session.new.person)),
        history: history.into_iter().map(series).collect(),
        analyses: Vec::new(),
    }
}

/// The answer when the service will never analyse such a measurement.
pub(super) fn refused_analysis(id: Uuid, status: &GrpcStatus) -> wire::AnalyzeMeasurementResponse {
    let warning = wire::Warning {
        code: "not_analysed".to_owned(),
        message: format!("the measurement was stored but not analysed: {}", status.message()),
        field: "cartridge_code".to_owned(),
    };
    let (warnings, measurement_id) = (vec![warning], id.to_string());
    wire::AnalyzeMeasurementResponse { warnings, measurement_id, ..Default::default() }
}

/// The predicted values of an analysis. One without unit or model version is refused: nobody could use it later.
pub(super) fn values(analysis: &wire::AnalyzeMeasurementResponse) -> Result<Vec<Value>, ServiceError> {
    let values = analysis.biomarkers.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let twice = values
        .iter()
        .enumerate()
        .find(|(index, value)| values[..*index].iter().any(|v| v.code == value.code));
    match twice {
        None => Ok(values),
        Some((_, value)) => Err(ServiceError::Unavailable {
            reason: format!("the analysis gave {} twice; the session stays open", value.code),
            source: None,
        }),
    }
}

fn value(result: &wire::BiomarkerResult) -> Result<Value, ServiceError> {
    let incomplete = |what: &str| ServiceError::Unavailable {
        reason: format!("the analysis gave a value without {what}; the session stays open"),
        source: None,
    };
    let quantity = result.quantity.clone().ok_or_else(|| incomplete("quantity"))?;
    let model = result.model.clone().ok_or_else(|| incomplete("model"))?;
    let wire::Quantity { value, unit, loinc, name } = quantity;
    let wire::ModelReference { name: model, version, calibration_id: _, trained_on_synthetic_data: _ } =
        model;
    for (what, text) in
        [("name", &name), ("unit", &unit), ("model name", &model), ("model version", &version)]
    {
        if text.is_empty() {
            return Err(incomplete(what));
        }
    }
    if !value.is_finite() {
        return Err(incomplete("finite number"));
    }
    let interval = result.interval;
    Ok(Value {
        code: name,
        loinc,
        value,
        unit,
        low: interval.map(|interval| interval.low),
        high: interval.map(|interval| interval.high),
        coverage: interval.map(|interval| interval.coverage),
        model,
        version,
    })
}

/// The analysis as it is kept: the very answer, so that a repeat and an audit see the same.
pub(super) fn encode_analysis(analysis: &wire::AnalyzeMeasurementResponse) -> Vec<u8> {
    analysis.encode_to_vec()
}

fn decode_analysis(
    session: &Session,
    ended: &Ended,
) -> Result<wire::AnalyzeMeasurementResponse, ServiceError> {
    wire::AnalyzeMeasurementResponse::decode(ended.analysis.as_slice()).map_err(|error| {
        ServiceError::Corrupt { detail: format!("analysis of session {}: {error}", session.id) }
    })
}

/// Answers a session that has ended.
pub(super) fn ended(measurement: Measurement) -> Result<wire::EndSessionResponse, ServiceError> {
    let analysis = decode_analysis(&measurement.session, &measurement.ended)?;
    let analysis = (!measurement.ended.analysis.is_empty()).then_some(analysis);
    Ok(wire::EndSessionResponse { measurement: Some(self::measurement(measurement)?), analysis })
}

/// Writes a finished session.
pub(super) fn measurement(measurement: Measurement) -> Result<wire::Measurement, ServiceError> {
    let Measurement { session, ended } = measurement;
    let biomarkers = decode_analysis(&session, &ended)?.biomarkers;
    let channels = (!ended.channels.is_empty()).then(|| channels(&session, &ended));
    let Session { id, new: NewSession { user_id, device_id, cartridge, person }, started_ms } = session;
    let Ended {
        status,
        ended_ms,
        packets,
        quality,
        gates,
        channels: _,
        environment: _,
        digest,
        values: _,
        analysis: _,
    } = ended;
    Ok(wire::Measurement {
        id: id.to_string(),
        user_id,
        device_id,
        cartridge_code: cartridge.code.to_string(),
        subject: Some(subject(&person)),
        status: wire_status(status).into(),
        started_unix_ms: started_ms,
        ended_unix_ms: ended_ms,
        packets,
        quality: wire_quality(quality).into(),
        gates: gates.into_iter().map(Into::into).collect(),
        channels,
        biomarkers,
        digest,
    })
}

fn channels(session: &Session, ended: &Ended) -> wire::Channels {
    let cartridge_code = session.new.cartridge.code.to_string();
    let environment = ended.environment.map(wire_environment);
    wire::Channels { cartridge_code, values: ended.channels.clone(), environment }
}

pub(super) const fn wire_environment(environment: Environment) -> wire::Environment {
    let Environment { temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent } =
        environment;
    wire::Environment { temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent }
}

/// Writes a value as it is kept.
pub(super) fn measured(value: &Value) -> wire::MeasuredValue {
    let Value { code, loinc, value, unit, low, high, coverage, model, version } = value.clone();
    let interval = match (low, high, coverage) {
        (Some(low), Some(high), Some(coverage)) => Some(wire::Interval { low, high, coverage }),
        (_, _, _) => None,
    };
    wire::MeasuredValue {
        quantity: Some(wire::Quantity { value, unit, loinc, name: code }),
        interval,
        model: Some(wire::ModelReference { name: model, version, ..Default::default() }),
    }
}

/// Writes whether the shape of a session is kept.
pub(super) const fn wire_fingerprint(state: Option<FingerprintState>) -> wire::FingerprintState {
    match state {
        None => wire::FingerprintState::Unspecified,
        Some(FingerprintState::Kept) => wire::FingerprintState::Kept,
        Some(FingerprintState::None) => wire::FingerprintState::None,
    }
}

const fn wire_status(status: Status) -> wire::MeasurementStatus {
    match status {
        Status::Active => wire::MeasurementStatus::Active,
        Status::Completed => wire::MeasurementStatus::Completed,
        Status::Aborted => wire::MeasurementStatus::Aborted,
        Status::TimedOut => wire::MeasurementStatus::TimedOut,
    }
}

pub(super) const fn wire_quality(quality: Quality) -> wire::SignalQuality {
    match quality {
        Quality::Good => wire::SignalQuality::Good,
        Quality::Fair => wire::SignalQuality::Fair,
        Quality::Poor => wire::SignalQuality::Poor,
    }
}

impl From<GateNote> for wire::GateOutcome {
    fn from(note: GateNote) -> Self {
        let GateNote { gate, passed, value, limit, unit, message } = note;
        Self { gate, passed, value, limit, unit, message }
    }
}

/// Reads the request for a page.
pub(super) fn history_query(
    request: wire::GetMeasurementHistoryRequest,
    limits: &Limits,
) -> Result<HistoryQuery, ServiceError> {
    let wire::GetMeasurementHistoryRequest { user_id, page_size, page_token, biomarker_code } = request;
    HistoryQuery::check(user_id, page_size, &page_token, &biomarker_code, limits)
}

/// Answers a page.
pub(super) fn history(page: Page) -> Result<wire::GetMeasurementHistoryResponse, ServiceError> {
    let (measurements, next) = page;
    Ok(wire::GetMeasurementHistoryResponse {
        measurements: measurements.into_iter().map(measurement).collect::<Result<_, _>>()?,
        next_page_token: next.map(|next| next.token()).unwrap_or_default(),
    })
}
