//! Where a scroll goes on: opaque to the caller and bound to its tenant and collection.
//!
//! The binding is a plain digest and no secret. It turns a cursor that went astray into a clear error; isolation does
//! not rest on it, because the tenant is part of every read whatever the cursor says.

use sha2::{Digest, Sha256};

use crate::{CollectionName, EmbeddingError, Tenant};

/// Longest text of a cursor, in bytes.
const CURSOR_BYTES_MAX: usize = 256;
/// Bytes of the digest that are kept.
const TAG_BYTES: usize = 8;

/// Where a scroll goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor at `position`, which the implementation understands.
    #[must_use]
    pub fn new(tenant: &Tenant, collection: &CollectionName, position: &str) -> Self {
        Self(format!("{}-{position}", tag(tenant, collection, position)))
    }

    /// Takes the text of a cursor as it was given out; whether it is one shows when it is used.
    ///
    /// # Errors
    /// [`EmbeddingError::Cursor`] for a text longer than any cursor.
    pub fn parse(text: impl Into<String>) -> Result<Self, EmbeddingError> {
        let text = text.into();
        if text.is_empty() || text.len() > CURSOR_BYTES_MAX {
            return Err(EmbeddingError::Cursor { reason: "it has the wrong length" });
        }
        Ok(Self(text))
    }

    /// The cursor as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The position, if the cursor was given to this tenant for this collection.
    ///
    /// # Errors
    /// [`EmbeddingError::Cursor`] otherwise.
    pub fn position(&self, tenant: &Tenant, collection: &CollectionName) -> Result<&str, EmbeddingError> {
        let Some((tag_given, position)) = self.0.split_once('-') else {
            return Err(EmbeddingError::Cursor { reason: "it is not one of ours" });
        };
        if tag_given != tag(tenant, collection, position) {
            return Err(EmbeddingError::Cursor { reason: "it was given for another tenant or collection" });
        }
        Ok(position)
    }
}

fn tag(tenant: &Tenant, collection: &CollectionName, position: &str) -> String {
    let digest = Sha256::new()
        // Names hold no zero byte, so the parts cannot run into each other.
        .chain_update(tenant.as_str())
        .chain_update([0])
        .chain_update(collection.as_str())
        .chain_update([0])
        .chain_update(position)
        .finalize();
    digest.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).expect("a name")
    }

    #[test]
    fn a_cursor_opens_only_for_whom_and_where_it_was_made() {
        let name = CollectionName::parse("c").expect("a name");
        let other = CollectionName::parse("d").expect("a name");
        let cursor = Cursor::new(&tenant("a"), &name, "17-x");
        let cursor = Cursor::parse(cursor.as_str()).expect("short");
        assert_eq!(cursor.position(&tenant("a"), &name).expect("own"), "17-x");
        assert!(cursor.position(&tenant("b"), &name).is_err());
        assert!(cursor.position(&tenant("a"), &other).is_err());
    }

    #[test]
    fn broken_texts_are_refused() {
        let name = CollectionName::parse("c").expect("a name");
        for text in ["x", "-", "0011223344556677-9", "한글"] {
            assert!(Cursor::parse(text).expect("short").position(&tenant("a"), &name).is_err(), "{text}");
        }
        assert!(Cursor::parse("").is_err());
        assert!(Cursor::parse("x".repeat(257)).is_err());
    }
}
