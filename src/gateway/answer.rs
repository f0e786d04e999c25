//! Messages to JSON answers, statuses to JSON errors: `{"error":{"code","message","field"}}`.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use tonic::{Code, Status};

/// Metadata key with which a service tells a refused caller when to come back.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// A body within the limit; a larger or broken one is refused in the words of the gateway.
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state).await;
        body.map(Self)
            .map_err(|refused| Failure(Status::invalid_argument(format!("body: {}", refused.body_text()))))
    }
}

/// Reads a body as the JSON form of a message.
pub(crate) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure(Status::invalid_argument(format!("body: {error}"))))
}

/// An answer as JSON.
pub(super) fn json<T: Serialize>(answer: Result<tonic::Response<T>, Status>) -> Response {
    match answer {
        Ok(message) => Json(message.into_inner()).into_response(),
        Err(status) => Failure(status).into_response(),
    }
}

/// A refusal.
pub(crate) struct Failure(pub(crate) Status);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = &self.0;
        let (field, message) = split_field(status.message());
        let mut error = serde_json::json!({ "code": name(status.code()), "message": message });
        if let Some(field) = field {
            error["field"] = field.into();
        }
        let mut response =
            (http_status(status.code()), Json(serde_json::json!({ "error": error }))).into_response();
        let millis =
            status.metadata().get(RETRY_AFTER_MS).and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(millis) = millis {
            let seconds = u64::div_ceil(millis, 1000).max(1);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Answers a path that is none.
pub(super) async fn nowhere(uri: Uri) -> Response {
    let text = format!("there is nothing at `{}`; /openapi.json lists what there is", uri.path());
    Failure(Status::not_found(text)).into_response()
}

/// Answers a method that the path does not have.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    let text = format!("`{}` does not answer {method}; /openapi.json says what it answers", uri.path());
    let mut response = Failure(Status::unimplemented(text)).into_response();
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// `field: reason` apart, when the text before the colon is one word.
fn split_field(message: &str) -> (Option<&str>, &str) {
    match message.split_once(": ") {
        Some((field, reason)) if !field.is_empty() && !field.contains(' ') => (Some(field), reason),
        _ => (None, message),
    }
}

/// Status codes of HTTP for those of gRPC.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// Name of a code as gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::manpasik::v1::{AnalyzeMeasurementRequest, StartSessionRequest};

    #[test]
    fn the_field_is_told_apart_from_the_reason() {
        assert_eq!(split_field("panel.glucose: is negative"), (Some("panel.glucose"), "is negative"));
        assert_eq!(split_field("no such model: x"), (None, "no such model: x"));
        assert_eq!(split_field("plain"), (None, "plain"));
    }

    #[test]
    fn overload_tells_when_to_come_back_in_whole_seconds() {
        let mut status = Status::resource_exhausted("busy");
        status.metadata_mut().insert(RETRY_AFTER_MS, 1200.into());
        let response = Failure(status).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn unknown_enum_names_and_fields_are_refused() {
        let body = Bytes::from_static(br#"{"analyses":["ANALYSIS_KIND_NONSENSE"]}"#);
        assert!(read::<AnalyzeMeasurementRequest>(&body).is_err());
        let body = Bytes::from_static(br#"{"colour":"red"}"#);
        let Err(Failure(status)) = read::<StartSessionRequest>(&body) else { panic!("refused") };
        assert!(status.message().contains("colour"), "{status}");
    }
}
