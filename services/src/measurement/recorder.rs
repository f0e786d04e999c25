//! The consumer that gives ended sessions to the vector service. Writing a fingerprint twice is the same as once, so
//! a replay after a crash does no harm.

use async_trait::async_trait;
use clinical::fingerprint::Fingerprint;
use prost::Message;
use proto::manpasik::v1::MeasurementCompleted;
use store::outbox::{Consumer, Event, Failure};
use tonic::Code;

use super::events::{self, COMPLETED};
use super::fingerprints::{Fingerprints, has_shape};
use super::rules;
use super::session::Measurement;
use super::store::{FingerprintState, Found, Store};
use crate::kernel::{ErrorCode, ServiceError};

/// Keeps the fingerprints of ended sessions.
pub(super) struct Recorder {
    store: Store,
    fingerprints: Fingerprints,
}

impl Recorder {
    pub(super) fn new(store: Store, fingerprints: Fingerprints) -> Self {
        Self { store, fingerprints }
    }

    /// The session the event tells of, if it is the one that was stored.
    async fn measurement(&self, event: &Event) -> Result<Measurement, Failure> {
        let told = MeasurementCompleted::decode(event.payload.as_slice())
            .map_err(|error| Failure::Reject(format!("the event cannot be read: {error}")))?;
        let id = rules::session_id("session_id", &told.session_id).map_err(failure)?;
        match self.store.find(id).await.map_err(failure)? {
            Some(Found::Ended(found))
                if events::vector_digest(&found.ended.channels) == told.vector_digest =>
            {
                Ok(*found)
            }
            Some(Found::Ended(_)) => {
                Err(Failure::Reject(format!("session {id} has another vector than the event tells of")))
            }
            Some(Found::Running) | None => Err(Failure::Reject(format!("session {id} has not ended"))),
        }
    }

    /// Keeps the fingerprint, or says why there is none.
    async fn keep(&self, measurement: &Measurement) -> Result<FingerprintState, Failure> {
        let channels = &measurement.ended.channels;
        if !has_shape(channels.len()) {
            return Ok(FingerprintState::None);
        }
        let fingerprint = Fingerprint::new(channels).map_err(|error| Failure::Reject(error.to_string()))?;
        let kept = self.fingerprints.keep(measurement, fingerprint).await;
        kept.map(|()| FingerprintState::Kept).map_err(|status| refused(&status))
    }
}

#[async_trait]
impl Consumer for Recorder {
    fn name(&self) -> &'static str {
        "measurement.fingerprints"
    }

    fn topics(&self) -> &'static [&'static str] {
        &[COMPLETED]
    }

    async fn handle(&self, event: &Event) -> Result<(), Failure> {
        let measurement = self.measurement(event).await?;
        let kept = self.keep(&measurement).await;
        let state = match &kept {
            Ok(state) => *state,
            Err(Failure::Reject(_)) => FingerprintState::None,
            Err(Failure::Retry(reason)) => return Err(Failure::Retry(reason.clone())),
        };
        self.store.mark(measurement.session.id, state).await.map_err(failure)?;
        kept.map(|_| ())
    }
}

/// Only what is wrong with the vector itself stays wrong; everything else an operator or time can mend.
fn refused(status: &tonic::Status) -> Failure {
    let reason = format!("the vector service: {} ({:?})", status.message(), status.code());
    if status.code() == Code::InvalidArgument { Failure::Reject(reason) } else { Failure::Retry(reason) }
}

#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn failure(error: ServiceError) -> Failure {
    match error.code() {
        ErrorCode::InvalidArgument | ErrorCode::NotFound => Failure::Reject(error.to_string()),
        ErrorCode::Internal if matches!(error, ServiceError::Corrupt { .. }) => {
            Failure::Reject(error.to_string())
        }
        ErrorCode::FailedPrecondition
        | ErrorCode::Conflict
        | ErrorCode::Exhausted
        | ErrorCode::Unavailable
        | ErrorCode::Internal => Failure::Retry(error.to_string()),
    }
}
