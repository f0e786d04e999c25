//! Names in the artifact tree: checked once, at the door.

use super::SEALED;
use crate::error::RegistryError;

/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 1_024;
/// Deepest path.
const SEGMENTS_MAX: usize = 32;

/// `text` without slashes at its ends, if it names a place inside the tree.
///
/// # Errors
/// What leads elsewhere (`..`), has empty parts, control characters or backslashes, or is too long.
pub(crate) fn checked(text: &str) -> Result<&str, RegistryError> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let refuse = |reason: &str| Err(RegistryError::invalid("path", format!("`{}` {reason}", shown(text))));
    if path.is_empty() {
        return refuse("is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return refuse("is longer than 1,024 bytes");
    }
    if path.starts_with('/') {
        return refuse("begins with a slash");
    }
    let mut count = 0;
    for segment in path.split('/') {
        count += 1;
        if matches!(segment, "" | "." | "..") {
            return refuse("has a part that is empty, `.` or `..`");
        }
        if segment.chars().any(|c| c.is_control() || matches!(c, '\\' | '\u{202e}' | '\u{202d}')) {
            return refuse("has a backslash or a control character");
        }
    }
    if count > SEGMENTS_MAX { refuse("is deeper than 32 folders") } else { Ok(path) }
}

/// The folder that a file belongs to as one of many: that of a run (`0/<run>`), of a logged model
/// (`0/models/<id>`) or of a version (`registry/<name>/<number>`); of a file that lies higher, its own.
pub(crate) fn root_of_file(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let depth = depth(&parts).min(parts.len().saturating_sub(1));
    parts.get(..depth).unwrap_or_default().join("/")
}

/// The root of all files below a folder, unless they have several.
pub(crate) fn root_of_folder(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    parts.get(..depth(&parts)).map(|root| root.join("/"))
}

fn depth(parts: &[&str]) -> usize {
    match parts {
        [SEALED, ..] | [_, "models", ..] => 3,
        _ => 2,
    }
}

/// A start of `text` that is fit for a message.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ways_out_of_the_tree_are_refused() {
        for bad in ["", "/", "/etc/passwd", "a/../b", "..", "a//b", "a/./b", "a\\b", "a/\u{0}", "a/\n"] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
        assert!(checked(&"a/".repeat(33)).is_err() && checked(&"x".repeat(1_025)).is_err());
        assert_eq!(checked("0/run/artifacts/model é.onnx").ok(), Some("0/run/artifacts/model é.onnx"));
        assert_eq!(checked("0/run/").ok(), Some("0/run"));
    }

    #[test]
    fn files_of_one_thing_share_a_root() {
        for (file, root) in [
            ("0/run/artifacts/a/b", "0/run"),
            ("0/models/m-1/artifacts/MLmodel", "0/models/m-1"),
            ("registry/thyroid/3/model.onnx", "registry/thyroid/3"),
            ("a/b", "a"),
            ("a", ""),
        ] {
            assert_eq!(root_of_file(file), root, "{file}");
        }
        assert_eq!(root_of_folder("0/models"), None);
        assert_eq!(root_of_folder("0/models/m-1/artifacts").as_deref(), Some("0/models/m-1"));
        assert_eq!(root_of_folder("0/run").as_deref(), Some("0/run"));
    }

    proptest! {
        #[test]
        fn fuzz_paths_never_lead_out(text in ".{0,60}") {
            if let Ok(path) = checked(&text) {
                let way = std::path::Path::new(path);
                prop_assert!(way.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
