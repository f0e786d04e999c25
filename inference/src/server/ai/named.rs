//! The stored measurement that a question names. It is read once for a question, however often the question is asked,
//! and kept with a traced request: otherwise a replay would depend on what the measurement service says by then.

use std::sync::{Mutex, PoisonError};

use prost::Message;
use proto::manpasik::v1 as wire;
use tonic::Status;

use super::{Inner, read};

tokio::task_local! {
    static NAMED: Mutex<Option<wire::Measurement>>;
}

/// What a payload holds beside the fields of its request. The field's number is one that no request has, so that both
/// can be read from the same bytes.
#[derive(Clone, PartialEq, Message)]
struct Beside {
    #[prost(message, optional, tag = "1000")]
    measurement: Option<wire::Measurement>,
}

/// An encoded measurement, to be appended to the encoded request that names it.
pub(super) fn beside(measurement: wire::Measurement) -> Vec<u8> {
    Beside { measurement: Some(measurement) }.encode_to_vec()
}

/// The measurement that was appended to a request, if one was.
pub(super) fn kept(request: &[u8]) -> Option<wire::Measurement> {
    Beside::decode(request).ok()?.measurement
}

/// Asks a question that finds `measurement` read already; gives back, beside the answer, the one that it was about.
pub(super) async fn about<T>(
    measurement: Option<wire::Measurement>,
    question: impl Future<Output = T>,
) -> (T, Option<wire::Measurement>) {
    let question = async {
        let answer = question.await;
        (answer, NAMED.with(|named| named.lock().unwrap_or_else(PoisonError::into_inner).take()))
    };
    NAMED.scope(Mutex::new(measurement), question).await
}

impl Inner {
    /// The stored measurement `id`.
    pub(super) async fn measurement(&self, id: &str) -> Result<wire::Measurement, Status> {
        if id.is_empty() || id.len() > read::TEXT_CHARS_MAX {
            return Err(read::invalid("measurement_id", "must be 1 to 256 characters"));
        }
        let named = NAMED.try_with(|named| named.lock().unwrap_or_else(PoisonError::into_inner).clone());
        if let Ok(Some(measurement)) = named {
            return Ok(measurement);
        }
        let source = self.measurements.get().ok_or_else(|| {
            Status::failed_precondition(
                "measurement_id: no measurement service is connected; send the panel or the channels instead",
            )
        })?;
        let measurement = source.measurement(id).await?;
        let keep = |named: &Mutex<Option<wire::Measurement>>| {
            *named.lock().unwrap_or_else(PoisonError::into_inner) = Some(measurement.clone());
        };
        // Outside of a question it is kept for nobody.
        let _ = NAMED.try_with(keep);
        Ok(measurement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_the_same_with_a_measurement_beside_it() {
        use wire::analyze_measurement_request::Source;
        let request = wire::AnalyzeMeasurementRequest {
            source: Some(Source::MeasurementId("m1".into())),
            ..Default::default()
        };
        let measurement = wire::Measurement { id: "m1".into(), ..Default::default() };
        let alone = request.encode_to_vec();
        let both = [alone.clone(), beside(measurement.clone())].concat();
        assert_eq!(wire::AnalyzeMeasurementRequest::decode(&both[..]).expect("read"), request);
        assert_eq!((kept(&both), kept(&alone)), (Some(measurement), None));
    }
}
