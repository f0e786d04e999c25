//! What a service can answer instead of a result. One closed table of codes, mapped to gRPC in one exhaustive match.
//!
//! The message of a [`ServiceError`] is for the caller. What only an operator may see stays in the source, which is
//! logged once, where the error becomes a status.

use std::error::Error;

use store::StoreError;
use tonic::{Code, Status};

/// What kind of failure it was, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is wrong and will stay wrong.
    InvalidArgument,
    /// What was asked for does not exist.
    NotFound,
    /// The request is right, the state is not.
    FailedPrecondition,
    /// Another caller came between.
    Conflict,
    /// A limit is reached; try later.
    Exhausted,
    /// Something needed is down; try again.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidArgument => Self::InvalidArgument,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::FailedPrecondition => Self::FailedPrecondition,
            ErrorCode::Conflict => Self::Aborted,
            ErrorCode::Exhausted => Self::ResourceExhausted,
            ErrorCode::Unavailable => Self::Unavailable,
            ErrorCode::Internal => Self::Internal,
        }
    }
}

/// Why a service refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A field of the request is wrong.
    #[error("{field}: {reason}")]
    Invalid {
        /// Path of the field, for example `packet.detection[17]`.
        field: String,
        /// What was expected and what was got.
        reason: String,
    },
    /// Nothing has this identifier.
    #[error("{what} was not found")]
    NotFound {
        /// Kind of thing and its identifier.
        what: String,
    },
    /// The state forbids it.
    #[error("{reason}")]
    Precondition {
        /// The state and what to do.
        reason: String,
    },
    /// Another caller took over.
    #[error("{reason}")]
    Conflict {
        /// What happened.
        reason: String,
    },
    /// A limit is reached.
    #[error("{what}: at most {limit}")]
    Exhausted {
        /// Which limit.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Another service is down or too slow.
    #[error("{reason}")]
    Unavailable {
        /// What is down and what to do.
        reason: String,
        /// What it said.
        source: Option<Box<Status>>,
    },
    /// The database failed.
    #[error("the measurement could not be stored or read")]
    Store(#[from] StoreError),
    /// Something kept cannot be read any more.
    #[error("a stored row cannot be read")]
    Corrupt {
        /// Which row and why; for the log.
        detail: String,
    },
}

impl ServiceError {
    /// A field of the request is wrong.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    /// The state forbids it.
    pub fn precondition(reason: impl Into<String>) -> Self {
        Self::Precondition { reason: reason.into() }
    }

    /// The code of this error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } => ErrorCode::InvalidArgument,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Precondition { .. } => ErrorCode::FailedPrecondition,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::Exhausted { .. } => ErrorCode::Exhausted,
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Store(error) if error.is_transient() => ErrorCode::Unavailable,
            Self::Store(_) | Self::Corrupt { .. } => ErrorCode::Internal,
        }
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let code = error.code();
        match code {
            ErrorCode::Internal | ErrorCode::Unavailable => {
                tracing::error!(?code, error = chain(&error), "call failed");
            }
            ErrorCode::InvalidArgument
            | ErrorCode::NotFound
            | ErrorCode::FailedPrecondition
            | ErrorCode::Conflict
            | ErrorCode::Exhausted => tracing::debug!(?code, %error, "call refused"),
        }
        Self::new(code.into(), error.to_string())
    }
}

/// The error and its sources on one line.
fn chain(error: &ServiceError) -> String {
    let mut line = error.to_string();
    if let ServiceError::Corrupt { detail } = error {
        line = format!("{line}: {detail}");
    }
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_database_may_be_tried_again_and_a_broken_one_tells_nothing() {
        let busy = Status::from(ServiceError::from(StoreError::Busy));
        assert_eq!(busy.code(), Code::Unavailable);
        let corrupt = ServiceError::Corrupt { detail: "session 7 of secret".to_owned() };
        assert_eq!(chain(&corrupt), "a stored row cannot be read: session 7 of secret");
        let status = Status::from(corrupt);
        assert_eq!((status.code(), status.message()), (Code::Internal, "a stored row cannot be read"));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let status = Status::from(ServiceError::invalid("user_id", "is empty"));
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "user_id: is empty"));
    }
}
