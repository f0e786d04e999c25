//! Checked names: what exists as one of these types can be stored, logged and compared without a second look.

use std::fmt;

use crate::EmbeddingError;

/// Longest name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 128;

const EXPECTED: &str = "expected 1 to 128 characters of A-Z, a-z, 0-9, '.', '_', ':' and '-'";

fn check(what: &'static str, text: &str) -> Result<(), EmbeddingError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    let name = text.chars().take(NAME_BYTES_MAX).collect();
    Err(EmbeddingError::Name { what, name, reason: EXPECTED })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(String);

        impl $type {
            /// Checks `text`: 1 to 128 characters of `A-Z a-z 0-9 . _ : -`.
            ///
            /// # Errors
            /// [`EmbeddingError::Name`] for anything else.
            pub fn parse(text: impl Into<String>) -> Result<Self, EmbeddingError> {
                let text = text.into();
                check($what, &text)?;
                Ok(Self(text))
            }

            /// A name that was checked before.
            #[allow(dead_code, reason = "made for each name, needed for some")]
            pub(crate) fn trusted(text: &str) -> Self {
                Self(text.to_owned())
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Whose points they are. Part of every key: points of two tenants never meet.
    Tenant,
    "tenant"
);
name!(
    /// Name of a collection.
    CollectionName,
    "collection"
);
name!(
    /// Name of a point, unique within a collection and a tenant.
    PointId,
    "point"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_taken_and_others_refused_with_what_was_expected() {
        for name in ["a", "user-1", "sessions:2026.v1_x", &"x".repeat(128)] {
            assert_eq!(Tenant::parse(name).expect(name).as_str(), name);
        }
        for name in ["", " ", "a b", "a/b", "한", "a\n", "a\0", &"x".repeat(129)] {
            let error = PointId::parse(name).expect_err(name).to_string();
            assert!(error.contains("point") && error.contains("1 to 128"), "{error}");
            assert!(error.len() < 800, "a hostile name is not repeated in full");
        }
    }
}
