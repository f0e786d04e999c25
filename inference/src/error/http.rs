//! Errors as HTTP answers: one exhaustive table, and always a JSON body with the key `error`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{ErrorCode, InferError};

impl From<ErrorCode> for StatusCode {
    fn from(code: ErrorCode) -> Self {
        match code {
            // Too large is one kind of wrong; clients of the protocol know 400.
            ErrorCode::InvalidArgument | ErrorCode::PayloadTooLarge => Self::BAD_REQUEST,
            ErrorCode::NotFound => Self::NOT_FOUND,
            ErrorCode::ResourceExhausted => Self::TOO_MANY_REQUESTS,
            ErrorCode::Unavailable => Self::SERVICE_UNAVAILABLE,
            ErrorCode::DeadlineExceeded => Self::GATEWAY_TIMEOUT,
            ErrorCode::PermissionDenied => Self::FORBIDDEN,
            ErrorCode::Unimplemented => Self::NOT_IMPLEMENTED,
            ErrorCode::Internal => Self::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for InferError {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "error": self.to_string() }));
        let mut response = (StatusCode::from(self.code()), body).into_response();
        if let Some(after) = self.retry_after() {
            // The header counts whole seconds; zero would invite a retry at once.
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_is_429_with_retry_after() {
        let response = InferError::Overloaded { model: "m".into(), retry_after_ms: 1200 }.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn every_code_is_a_failure() {
        for code in ErrorCode::ALL {
            let status = StatusCode::from(code);
            assert!(status.is_client_error() || status.is_server_error(), "{code:?}");
        }
    }
}
