//! What models, aliases and tags may be called.

use super::LIVE;
use crate::error::RegistryError;

/// Longest name of a model or an alias, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Longest key of a tag, in bytes.
const KEY_BYTES_MAX: usize = 250;
/// Longest value of a tag, in bytes. Clients write lists into tags.
const VALUE_BYTES_MAX: usize = 8_000;

/// `name`, if a model may be called so: it becomes a folder and part of addresses.
pub(crate) fn name_checked(name: &str) -> Result<&str, RegistryError> {
    let refuse = |reason: &str| Err(RegistryError::invalid("name", format!("a model's name {reason}")));
    if name.trim().is_empty() {
        return refuse("must not be empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse("has at most 200 bytes");
    }
    if name.starts_with('.') || name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ':')) {
        return refuse("does not begin with a point and has no slash, backslash, colon or control character");
    }
    Ok(name)
}

/// `alias`, if callers may set it.
pub(crate) fn alias_checked(alias: &str) -> Result<&str, RegistryError> {
    let refuse = |reason: String| Err(RegistryError::invalid("alias", reason));
    if alias.eq_ignore_ascii_case("latest") {
        return refuse("`latest` means the version with the highest number".into());
    }
    let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if alias.strip_prefix(['v', 'V']).is_some_and(is_number) || is_number(alias) {
        return refuse(format!("`{alias}` could be taken for a version's number"));
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if alias.len() > NAME_BYTES_MAX || !alias.chars().all(fits) {
        return refuse("an alias has letters, digits, `_`, `-` and `.`, at most 200 bytes".into());
    }
    Ok(alias)
}

/// Whether an alias belongs to the release path.
pub(crate) fn is_reserved(alias: &str) -> bool {
    alias.eq_ignore_ascii_case(LIVE)
}

/// A tag, if it is one.
pub(crate) fn tag_checked(key: &str, value: &str) -> Result<(), RegistryError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.chars().any(char::is_control) {
        return Err(RegistryError::invalid("key", "a tag's key has 1 to 250 bytes and no control character"));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(RegistryError::invalid(
            "value",
            format!("tag `{key}` has more than {VALUE_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_taken_for_something_else_are_refused() {
        for bad in ["", "  ", "a/b", "a:b", ".hidden", "a\\b", "a\n", &"x".repeat(201)] {
            assert!(name_checked(bad).is_err(), "{bad:?}");
        }
        assert!(name_checked("Thyroid state (v2) é").is_ok());
        for bad in ["", "latest", "v12", "12", "a b", "a/b"] {
            assert!(alias_checked(bad).is_err(), "{bad:?}");
        }
        assert!(alias_checked("champion").is_ok() && alias_checked("v2-candidate").is_ok());
        assert!(is_reserved("live") && is_reserved("LIVE") && !is_reserved("lively"));
    }
}
