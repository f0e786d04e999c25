//! What the vector store says, as a status; shared by the services that keep something in it.

use embeddings::EmbeddingError;
use tonic::{Status, metadata::MetadataValue};

use crate::error::chain;

/// A failure of the store as a status. Those of the caller's making name no field here: each service has checked
/// its own fields before it asks.
pub(super) fn failed(error: &EmbeddingError) -> Status {
    match error {
        EmbeddingError::Overloaded { retry_after_ms } => {
            let mut status = Status::resource_exhausted(error.to_string());
            status.metadata_mut().insert("retry-after-ms", MetadataValue::from(*retry_after_ms));
            status
        }
        EmbeddingError::Deadline { .. } | EmbeddingError::Unavailable { .. } => {
            Status::unavailable(error.to_string())
        }
        EmbeddingError::TooMany { .. } => Status::resource_exhausted(error.to_string()),
        EmbeddingError::Dimension { .. }
        | EmbeddingError::NotFinite { .. }
        | EmbeddingError::ZeroVector { .. }
        | EmbeddingError::UnknownCollection { .. }
        | EmbeddingError::CollectionDiffers { .. }
        | EmbeddingError::Description { .. }
        | EmbeddingError::K { .. }
        | EmbeddingError::UnknownField { .. }
        | EmbeddingError::FieldKind { .. }
        | EmbeddingError::Unordered { .. }
        | EmbeddingError::Name { .. }
        | EmbeddingError::Cursor { .. }
        | EmbeddingError::Corrupt { .. }
        | EmbeddingError::Store(_) => {
            tracing::error!(error = chain(error), "the vector store failed");
            Status::internal("the vector store failed; the log says why")
        }
    }
}
