//! Reading the files of a bundle folder, never more of one than its limit.

use std::fs;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::ModelError;

/// Largest files of a bundle.
pub(super) struct Limits {
    /// Files of one bundle.
    pub(super) files_max: usize,
    /// Bytes of `manifest.json`, `model.toml` and other text.
    pub(super) text_bytes_max: u64,
    /// Bytes of weights and golden tensors.
    pub(super) tensor_bytes_max: u64,
}

pub(super) const LIMITS: Limits =
    Limits { files_max: 64, text_bytes_max: 16 << 20, tensor_bytes_max: 1 << 30 };

impl Limits {
    /// Largest size of the file of that name.
    pub(super) fn bytes_max(&self, name: &str) -> u64 {
        let tensors = name.ends_with(".safetensors") || name.ends_with(".onnx");
        if tensors { self.tensor_bytes_max } else { self.text_bytes_max }
    }
}

/// Whether `name` is a plain file name: nothing in it can lead out of the folder.
pub(super) fn plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

/// Content of `dir/name`, which must be a regular file within its limit.
pub(super) fn read(dir: &Path, name: &str) -> Result<Vec<u8>, ModelError> {
    if !plain(name) {
        return Err(ModelError::invalid(name, "is not a plain file name"));
    }
    let path = dir.join(name);
    let unreadable = |source| ModelError::Read { path: path.clone(), source };
    // The link itself is asked, so that a link out of the folder is not followed.
    if !fs::symlink_metadata(&path).map_err(unreadable)?.is_file() {
        return Err(ModelError::invalid(name, "is not a regular file"));
    }
    let max = LIMITS.bytes_max(name);
    let mut content = Vec::new();
    let file = fs::File::open(&path).map_err(unreadable)?;
    file.take(max + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > max {
        return Err(ModelError::invalid(name, format!("is larger than the limit of {max} bytes")));
    }
    Ok(content)
}

/// The same as text.
pub(super) fn text(name: &str, content: Vec<u8>) -> Result<String, ModelError> {
    String::from_utf8(content).map_err(|error| ModelError::invalid(name, format!("is not text: {error}")))
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for name in ["model.toml", "weights.safetensors", "a-b_c.1"] {
            assert!(plain(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "../model.toml", "a/b", "a\\b", "/etc/passwd", "nul\0", "é"] {
            assert!(!plain(name), "{name}");
            assert!(read(Path::new("/"), name).is_err(), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().expect("temporary folder");
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("card.md")).expect("link");
        let error = read(dir.path(), "card.md").expect_err("a link");
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
