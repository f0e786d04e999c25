//! The question and its answer on the wire.

use clinical::cartridge::Cartridge;
use proto::manpasik::v1 as wire;
use proto::manpasik::v1::find_similar_sessions_request::Like as Asked;

use super::super::convert::{measured, wire_quality};
use super::super::rules;
use super::super::session::{Ended, Measurement, Session};
use super::{Like, Similar, SimilarQuery, Wanted};
use crate::kernel::{Limits, ServiceError};

/// Reads the question.
pub(in crate::measurement) fn query(
    request: wire::FindSimilarSessionsRequest,
    limits: &Limits,
) -> Result<SimilarQuery, ServiceError> {
    let wire::FindSimilarSessionsRequest { user_id, like, k, from_unix_ms, to_unix_ms, cartridge_code } =
        request;
    let like = match like {
        Some(Asked::SessionId(id)) => Like::Session(rules::session_id("session_id", &id)?),
        Some(Asked::Channels(given)) => Like::Channels(channels(given)?),
        None => return Err(ServiceError::invalid("session_id", "is absent, and so is channels: give one")),
    };
    let cartridge = match cartridge_code.as_str() {
        "" => None,
        code => Some(cartridge("cartridge_code", code)?),
    };
    let wanted = Wanted { from_ms: from_unix_ms, to_ms: to_unix_ms, cartridge };
    SimilarQuery::check(user_id, like, k, wanted, limits)
}

fn cartridge(field: &str, code: &str) -> Result<&'static Cartridge, ServiceError> {
    Cartridge::parse(code).map_err(|error| ServiceError::invalid(field, error.to_string()))
}

fn channels(given: wire::Channels) -> Result<Vec<f32>, ServiceError> {
    let wire::Channels { cartridge_code, values, environment: _ } = given;
    let wanted = cartridge("channels.cartridge_code", &cartridge_code)?.channels();
    if values.len() != wanted {
        let reason = format!("has {} channels: cartridge {cartridge_code} has {wanted}", values.len());
        return Err(ServiceError::invalid("channels.values", reason));
    }
    Ok(values)
}

/// Writes the answer.
pub(in crate::measurement) fn answer(found: Vec<Similar>) -> wire::FindSimilarSessionsResponse {
    wire::FindSimilarSessionsResponse { sessions: found.into_iter().map(similar).collect() }
}

fn similar((measurement, similarity): Similar) -> wire::SimilarSession {
    let Measurement { session: Session { id, new, started_ms: _ }, ended } = measurement;
    let Ended { ended_ms, quality, values, .. } = ended;
    wire::SimilarSession {
        session_id: id.to_string(),
        similarity,
        ended_unix_ms: ended_ms,
        cartridge_code: new.cartridge.code.to_string(),
        quality: wire_quality(quality).into(),
        values: values.iter().map(measured).collect(),
    }
}
