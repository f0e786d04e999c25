//! Why the registry refused or failed.

use thiserror::Error;

use crate::search::FilterError;

/// Why something was not done.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// It is not there.
    #[error("{0} not found")]
    NotFound(String),
    /// It is there already.
    #[error("{0} exists already")]
    Exists(String),
    /// What was given cannot be.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which part.
        field: String,
        /// What was expected.
        reason: String,
    },
    /// The caller may not.
    #[error("{0}")]
    Forbidden(String),
    /// It stands in a state that does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// A filter that cannot be read.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The bytes of an artifact could not be kept or read.
    #[error("the artifact store failed: {0}")]
    Artifacts(#[source] object_store::Error),
    /// The sender of an artifact stopped.
    #[error("the upload broke off: {0}")]
    Upload(String),
    /// The database.
    #[error("the registry's database failed")]
    Store(#[from] store::StoreError),
}

impl RegistryError {
    /// What was given as `field` cannot be, because of `reason`.
    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }
}

impl From<object_store::Error> for RegistryError {
    fn from(error: object_store::Error) -> Self {
        Self::Artifacts(error)
    }
}
