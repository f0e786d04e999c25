//! Everything that can go wrong with a request, as one closed list, and the table of codes
//! from which both wire mappings are made.

mod grpc;
mod http;

use std::time::Duration;

use models::ModelError;

pub(crate) use self::grpc::RETRY_AFTER_MS;

/// Why a request got no answer. The text is meant for the caller; what only operators should
/// see is logged where it happens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// No model of that name. The wording is the one existing clients match on.
    #[error("Request for unknown model: '{name}' is not found")]
    UnknownModel {
        /// Name that was asked for.
        name: String,
    },
    /// The model exists, but not in that version. The wording is the one clients match on.
    #[error("Request for unknown model: '{name}' version {version} is not found")]
    UnknownVersion {
        /// Model name.
        name: String,
        /// Version that was asked for.
        version: String,
    },
    /// The model is known and cannot serve.
    #[error("model '{name}' is unavailable: {reason}")]
    Unavailable {
        /// Model name.
        name: String,
        /// Which file or library is at fault and what fixes it.
        reason: String,
    },
    /// One field or tensor of the request is wrong.
    #[error("{field}: {reason}")]
    Input {
        /// Field or tensor name.
        field: String,
        /// What was expected and what was got.
        reason: String,
    },
    /// The request as a whole is wrong, in the words its protocol prescribes.
    #[error("{0}")]
    Malformed(String),
    /// The request is larger than the server takes.
    #[error("{what} has more than {limit_bytes} bytes; send it in parts")]
    TooLarge {
        /// `request body` or a tensor name.
        what: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// The queue is full or the wait would be too long.
    #[error("model '{model}' is overloaded; retry in {retry_after_ms} ms")]
    Overloaded {
        /// Model name.
        model: String,
        /// Time after which a place is likely.
        retry_after_ms: u64,
    },
    /// By what the model is known to cost, the answer would come too late.
    #[error("model '{model}' cannot answer before the deadline; its queue takes {retry_after_ms} ms")]
    CannotMeet {
        /// Model name.
        model: String,
        /// Time after which the queue is worked off.
        retry_after_ms: u64,
    },
    /// The tenant has as many requests under way as it may.
    #[error("tenant '{tenant}' has {limit} requests under way; retry in {retry_after_ms} ms")]
    TenantBusy {
        /// Who asked.
        tenant: String,
        /// The limit.
        limit: usize,
        /// Time after which a place is likely.
        retry_after_ms: u64,
    },
    /// The tenant asks faster than it may.
    #[error("tenant '{tenant}' asks more than {per_s} times a second; retry in {retry_after_ms} ms")]
    TenantFast {
        /// Who asked.
        tenant: String,
        /// The limit.
        per_s: u32,
        /// Time after which a request is due.
        retry_after_ms: u64,
    },
    /// The caller's deadline passed first.
    #[error("deadline passed before model '{model}' answered")]
    DeadlineExceeded {
        /// Model name.
        model: String,
    },
    /// The server is shutting down.
    #[error("the server is shutting down; ask another replica")]
    Draining,
    /// The model failed on a valid batch; the log has the cause.
    #[error("model '{model}' failed on this request")]
    Failed {
        /// Model name.
        model: String,
    },
    /// A part of the protocol that this server does not offer.
    #[error("{0}")]
    Unsupported(String),
    /// A model of the repository could not be loaded. The wording is the one clients match on.
    #[error("failed to load '{model}', {reason}")]
    LoadFailed {
        /// Model name.
        model: String,
        /// Which file or library is at fault.
        reason: String,
    },
    /// The caller's token is for other models.
    #[error("{caller} may not use model '{model}': the token is for other models")]
    NotAllowed {
        /// Who asked.
        caller: String,
        /// Model name.
        model: String,
    },
    /// Something that a request names, other than a model, does not exist.
    #[error("{0}")]
    NotFound(String),
}

/// What kind of failure it is; each wire protocol maps these and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The caller must change the request.
    InvalidArgument,
    /// The thing that was named does not exist.
    NotFound,
    /// The request is too large.
    PayloadTooLarge,
    /// Too many requests; retry later.
    ResourceExhausted,
    /// Cannot be served now.
    Unavailable,
    /// Too late.
    DeadlineExceeded,
    /// The caller may not.
    PermissionDenied,
    /// Not offered.
    Unimplemented,
    /// Our fault.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 9] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::PayloadTooLarge,
        Self::ResourceExhausted,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::PermissionDenied,
        Self::Unimplemented,
        Self::Internal,
    ];

    /// Name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::PayloadTooLarge => "payload_too_large",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::PermissionDenied => "permission_denied",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
        }
    }
}

impl InferError {
    /// A mistake of the caller in `field`.
    pub fn input(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Input { field: field.into(), reason: reason.into() }
    }

    /// The row of the code table.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Input { .. } | Self::Malformed(_) => ErrorCode::InvalidArgument,
            Self::UnknownModel { .. } | Self::UnknownVersion { .. } | Self::NotFound(_) => {
                ErrorCode::NotFound
            }
            Self::TooLarge { .. } => ErrorCode::PayloadTooLarge,
            Self::Overloaded { .. } | Self::TenantBusy { .. } | Self::TenantFast { .. } => {
                ErrorCode::ResourceExhausted
            }
            Self::Unavailable { .. } | Self::Draining => ErrorCode::Unavailable,
            Self::DeadlineExceeded { .. } | Self::CannotMeet { .. } => ErrorCode::DeadlineExceeded,
            Self::NotAllowed { .. } => ErrorCode::PermissionDenied,
            Self::Unsupported(_) => ErrorCode::Unimplemented,
            Self::Failed { .. } | Self::LoadFailed { .. } => ErrorCode::Internal,
        }
    }

    /// When to come back, where that helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after_ms, .. }
            | Self::CannotMeet { retry_after_ms, .. }
            | Self::TenantBusy { retry_after_ms, .. }
            | Self::TenantFast { retry_after_ms, .. } => Some(Duration::from_millis(*retry_after_ms)),
            Self::Draining => Some(Duration::from_secs(1)),
            Self::UnknownModel { .. }
            | Self::UnknownVersion { .. }
            | Self::Unavailable { .. }
            | Self::Input { .. }
            | Self::Malformed(_)
            | Self::TooLarge { .. }
            | Self::DeadlineExceeded { .. }
            | Self::Failed { .. }
            | Self::LoadFailed { .. }
            | Self::NotFound(_)
            | Self::NotAllowed { .. }
            | Self::Unsupported(_) => None,
        }
    }
}

impl From<ModelError> for InferError {
    /// A caller's mistake stays one; anything else is ours.
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Input { field, reason } => Self::Input { field, reason },
            ModelError::Run { model, reason } => {
                tracing::error!(model, reason, "model failed");
                Self::Failed { model }
            }
            ModelError::Read { .. }
            | ModelError::Write { .. }
            | ModelError::Invalid { .. }
            | ModelError::EngineUnavailable { .. } => {
                // Its bundle was sound when it was loaded; operators get the cause, callers the fact.
                tracing::error!(error = chain(&error), "a bundle in use cannot be read");
                Self::Failed { model: "of this request".into() }
            }
        }
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
