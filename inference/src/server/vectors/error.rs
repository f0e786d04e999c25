//! A vector store's errors as gRPC status: one exhaustive table.

use embeddings::EmbeddingError;
use tonic::{Code, Status, metadata::MetadataValue};

use crate::error::RETRY_AFTER_MS;

/// Fields of a request that an error of the store can be about.
pub(super) struct Fields {
    vector: &'static str,
    payload: &'static str,
    many: &'static str,
}

impl Fields {
    pub(super) const COLLECTION: Self = Self::all("collection");
    pub(super) const POINTS: Self = Self::all("points");
    pub(super) const IDS: Self = Self::all("ids");
    pub(super) const SEARCH: Self = Self { vector: "vector", payload: "conditions", many: "conditions" };
    pub(super) const SCROLL: Self = Self { vector: "vector", payload: "conditions", many: "page_size" };

    const fn all(field: &'static str) -> Self {
        Self { vector: field, payload: field, many: field }
    }
}

/// The status of a refused or failed call.
pub(super) fn refused(error: &EmbeddingError, fields: &Fields) -> Status {
    let code = code(error);
    if matches!(code, Code::Internal | Code::Unavailable) {
        tracing::error!(error = error as &dyn std::error::Error, "a call on vectors failed");
    }
    let message = match field(error, fields) {
        Some(field) => format!("{field}: {error}"),
        None => error.to_string(),
    };
    let mut status = Status::new(code, message);
    if let EmbeddingError::Overloaded { retry_after_ms } = error {
        status.metadata_mut().insert(RETRY_AFTER_MS, MetadataValue::from(*retry_after_ms));
    }
    status
}

fn code(error: &EmbeddingError) -> Code {
    match error {
        EmbeddingError::Dimension { .. }
        | EmbeddingError::NotFinite { .. }
        | EmbeddingError::ZeroVector { .. }
        | EmbeddingError::Description { .. }
        | EmbeddingError::K { .. }
        | EmbeddingError::UnknownField { .. }
        | EmbeddingError::FieldKind { .. }
        | EmbeddingError::Unordered { .. }
        | EmbeddingError::Name { .. }
        | EmbeddingError::Cursor { .. }
        | EmbeddingError::TooMany { .. } => Code::InvalidArgument,
        EmbeddingError::UnknownCollection { .. } => Code::NotFound,
        EmbeddingError::CollectionDiffers { .. } => Code::AlreadyExists,
        EmbeddingError::Overloaded { .. } => Code::ResourceExhausted,
        EmbeddingError::Deadline { .. } => Code::DeadlineExceeded,
        EmbeddingError::Unavailable { .. } => Code::Unavailable,
        EmbeddingError::Store(error) if error.is_transient() => Code::Unavailable,
        EmbeddingError::Corrupt { .. } | EmbeddingError::Store(_) => Code::Internal,
    }
}

/// The field of the request that has to change, if that helps.
fn field(error: &EmbeddingError, fields: &Fields) -> Option<&'static str> {
    match error {
        EmbeddingError::Dimension { .. }
        | EmbeddingError::NotFinite { .. }
        | EmbeddingError::ZeroVector { .. } => Some(fields.vector),
        EmbeddingError::UnknownField { .. }
        | EmbeddingError::FieldKind { .. }
        | EmbeddingError::Unordered { .. } => Some(fields.payload),
        EmbeddingError::TooMany { what: "conditions in a filter", .. } => Some("conditions"),
        EmbeddingError::TooMany { .. } => Some(fields.many),
        EmbeddingError::K { .. } => Some("k"),
        EmbeddingError::Name { what, .. } => Some(what),
        EmbeddingError::Cursor { .. } => Some("page_token"),
        EmbeddingError::Description { .. }
        | EmbeddingError::CollectionDiffers { .. }
        | EmbeddingError::UnknownCollection { .. } => Some("collection"),
        EmbeddingError::Overloaded { .. }
        | EmbeddingError::Deadline { .. }
        | EmbeddingError::Unavailable { .. }
        | EmbeddingError::Corrupt { .. }
        | EmbeddingError::Store(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_says_when_to_come_back() {
        let status = refused(&EmbeddingError::Overloaded { retry_after_ms: 40 }, &Fields::POINTS);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get(RETRY_AFTER_MS).and_then(|v| v.to_str().ok()), Some("40"));
    }

    #[test]
    fn a_mistake_is_told_with_its_field() {
        let zero = EmbeddingError::ZeroVector { collection: "c".into() };
        assert!(refused(&zero, &Fields::SEARCH).message().starts_with("vector: a zero vector"));
        assert!(refused(&zero, &Fields::POINTS).message().starts_with("points: a zero vector"));
        let many = EmbeddingError::TooMany { what: "conditions in a filter", got: 99, max: 32 };
        assert!(refused(&many, &Fields::SCROLL).message().starts_with("conditions: 99"));
        let unknown = refused(&EmbeddingError::UnknownCollection { name: "c".into() }, &Fields::SEARCH);
        assert_eq!(unknown.code(), Code::NotFound);
        assert!(unknown.message().starts_with("collection: "), "{}", unknown.message());
    }
}
