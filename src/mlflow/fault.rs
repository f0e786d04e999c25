//! Refusals in MLflow's words: `{"error_code", "message"}`, which its clients turn into exceptions.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use registry::{RegistryError, runs::RunError};
use serde_json::json;

/// Why a call was not answered.
#[derive(Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Fault {
    /// What was sent cannot be.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "INVALID_PARAMETER_VALUE", message: message.into() }
    }

    /// It is not there.
    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "RESOURCE_DOES_NOT_EXIST", message: message.into() }
    }

    /// This server does not do that.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_IMPLEMENTED, code: "NOT_IMPLEMENTED", message: message.into() }
    }

    /// Nobody knows the caller.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, code: "UNAUTHENTICATED", message: message.into() }
    }

    fn refused(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message }
    }

    fn store(error: &store::StoreError) -> Self {
        if error.is_transient() {
            let text = "the registry's database is busy: try again".to_owned();
            return Self::refused(StatusCode::SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE", text);
        }
        // What the driver says is for the log.
        tracing::error!(%error, cause = ?error, "the registry's database failed");
        let text = "the registry's database failed; the server's log says why".to_owned();
        Self::refused(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", text)
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        let message = error.to_string();
        match error {
            RegistryError::NotFound(_) => Self::missing(message),
            RegistryError::Exists(_) => {
                Self::refused(StatusCode::BAD_REQUEST, "RESOURCE_ALREADY_EXISTS", message)
            }
            RegistryError::Invalid { .. } | RegistryError::Filter(_) => Self::invalid(message),
            RegistryError::Forbidden(_) => Self::refused(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message),
            RegistryError::Conflict(_) => Self::refused(StatusCode::BAD_REQUEST, "INVALID_STATE", message),
            RegistryError::Upload(_) => Self::refused(StatusCode::BAD_REQUEST, "BAD_REQUEST", message),
            RegistryError::Artifacts(error) => {
                tracing::error!(%error, "the artifact store failed");
                let text = "the artifact store failed; the server's log says why".to_owned();
                Self::refused(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", text)
            }
            RegistryError::Store(error) => Self::store(&error),
        }
    }
}

impl From<RunError> for Fault {
    fn from(error: RunError) -> Self {
        let message = error.to_string();
        match error {
            RunError::Unknown { .. } | RunError::NoExperiment(_) => Self::missing(message),
            RunError::ExperimentExists(_) => {
                Self::refused(StatusCode::BAD_REQUEST, "RESOURCE_ALREADY_EXISTS", message)
            }
            RunError::Param { .. } | RunError::Filter(_) => Self::invalid(message),
            RunError::Refused(_) => Self::refused(StatusCode::BAD_REQUEST, "INVALID_STATE", message),
            RunError::Corrupt { .. } => {
                tracing::error!(%message, "a row of the run table is damaged");
                Self::refused(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
            }
            RunError::Store(error) => Self::store(&error),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error_code": self.code, "message": self.message }));
        (self.status, body).into_response()
    }
}
