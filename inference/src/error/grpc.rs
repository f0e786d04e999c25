//! Errors as gRPC status: one exhaustive table.

use tonic::{Code, Status, metadata::MetadataValue};

use super::{ErrorCode, InferError};

/// Metadata key that tells a refused caller when to come back, in milliseconds.
pub(crate) const RETRY_AFTER_MS: &str = "retry-after-ms";

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidArgument | ErrorCode::PayloadTooLarge => Self::InvalidArgument,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::ResourceExhausted => Self::ResourceExhausted,
            ErrorCode::Unavailable => Self::Unavailable,
            ErrorCode::DeadlineExceeded => Self::DeadlineExceeded,
            ErrorCode::PermissionDenied => Self::PermissionDenied,
            ErrorCode::Unimplemented => Self::Unimplemented,
            ErrorCode::Internal => Self::Internal,
        }
    }
}

impl From<Code> for ErrorCode {
    /// What a status of ours says; there are more codes than we give.
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists => {
                Self::InvalidArgument
            }
            Code::NotFound => Self::NotFound,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::Unavailable => Self::Unavailable,
            Code::DeadlineExceeded | Code::Cancelled => Self::DeadlineExceeded,
            Code::PermissionDenied | Code::Unauthenticated => Self::PermissionDenied,
            Code::Unimplemented => Self::Unimplemented,
            Code::Ok | Code::Unknown | Code::Aborted | Code::Internal | Code::DataLoss => Self::Internal,
        }
    }
}

impl From<InferError> for Status {
    fn from(error: InferError) -> Self {
        let mut status = Self::new(error.code().into(), error.to_string());
        if let Some(after) = error.retry_after() {
            let millis = MetadataValue::from(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            status.metadata_mut().insert(RETRY_AFTER_MS, millis);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_says_when_to_retry() {
        let status = Status::from(InferError::Overloaded { model: "m".into(), retry_after_ms: 12 });
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get(RETRY_AFTER_MS).and_then(|v| v.to_str().ok()), Some("12"));
    }

    #[test]
    fn codes_come_back_from_a_status() {
        for code in ErrorCode::ALL {
            let back = ErrorCode::from(Code::from(code));
            assert!(back == code || code == ErrorCode::PayloadTooLarge, "{code:?} came back as {back:?}");
        }
    }

    #[test]
    fn caller_mistakes_name_the_field() {
        let status = Status::from(InferError::input("features", "index 3 is NaN"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "features: index 3 is NaN");
    }
}
