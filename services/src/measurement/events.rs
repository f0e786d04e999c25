//! What this module tells others, in its wire form: events are kept and may be read by another process.

use prost::Message;
use proto::manpasik::v1 as wire;
use sha2::{Digest, Sha256};
use store::outbox::NewEvent;

use super::convert;
use super::rules::{NewSession, Status};
use super::session::{Ended, Measurement, Session};

/// A session was analysed and stored.
pub(super) const COMPLETED: &str = "measurement.completed";

/// The event of a session that ended; only one that was analysed has one. Its key is the user, so that a consumer
/// sees the measurements of one person in their order.
pub(super) fn ended(measurement: &Measurement) -> Option<NewEvent> {
    match measurement.ended.status {
        Status::Completed => Some(NewEvent {
            topic: COMPLETED.to_owned(),
            key: measurement.session.new.user_id.clone(),
            payload: completed(measurement).encode_to_vec(),
        }),
        Status::Active | Status::Aborted | Status::TimedOut => None,
    }
}

fn completed(measurement: &Measurement) -> wire::MeasurementCompleted {
    let Measurement { session: Session { id, new, started_ms }, ended } = measurement;
    let NewSession { user_id, device_id, cartridge, person: _ } = new;
    let Ended {
        status: _,
        ended_ms,
        packets,
        quality,
        gates: _,
        channels,
        environment,
        digest,
        values,
        analysis: _,
    } = ended;
    wire::MeasurementCompleted {
        session_id: id.to_string(),
        user_id: user_id.clone(),
        device_id: device_id.clone(),
        cartridge_code: cartridge.code.to_string(),
        cartridge_category: cartridge.category.code().to_owned(),
        cartridge_type: cartridge.name.to_owned(),
        values: values.iter().map(convert::measured).collect(),
        quality: convert::wire_quality(*quality).into(),
        dimension: u32::try_from(channels.len()).unwrap_or(u32::MAX),
        vector_digest: vector_digest(channels),
        packets: *packets,
        started_unix_ms: *started_ms,
        ended_unix_ms: *ended_ms,
        duration_ms: ended_ms.abs_diff(*started_ms),
        environment: environment.map(convert::wire_environment),
        packets_digest: digest.clone(),
    }
}

/// SHA-256 over the numbers as little-endian 32-bit floats.
pub(super) fn vector_digest(channels: &[f32]) -> String {
    let bytes: Vec<u8> = channels.iter().flat_map(|value| value.to_le_bytes()).collect();
    hex::encode(Sha256::digest(bytes))
}
