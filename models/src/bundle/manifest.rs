//! `manifest.json`, the size and SHA-256 of every file of a bundle, and `manifest.sig`, an
//! ed25519 signature of the manifest's bytes. Together they make a bundle one sealed thing.

use std::collections::BTreeMap;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::files::{LIMITS, plain, sha256};
use super::{CONFIG_FILE, MANIFEST_FILE, SIGNATURE_FILE};
use crate::ModelError;

/// Size and hash of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
}

/// Every file of a bundle but the manifest itself and its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    schema_version: u32,
    files: BTreeMap<String, FileEntry>,
}

impl Manifest {
    /// The manifest of these files.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let entry = |content: &[u8]| FileEntry { sha256: sha256(content), size: content.len() as u64 };
        let files = files.into_iter().map(|(name, content)| (name.to_owned(), entry(content))).collect();
        Self { schema_version: 1, files }
    }

    /// Reads and checks the text of `manifest.json`.
    pub(super) fn parse(content: &[u8]) -> Result<Self, ModelError> {
        let invalid = |reason: String| ModelError::invalid(MANIFEST_FILE, reason);
        let manifest: Self = serde_json::from_slice(content).map_err(|error| invalid(error.to_string()))?;
        if manifest.schema_version != 1 {
            return Err(invalid(format!("schema_version is {}, expected 1", manifest.schema_version)));
        }
        if manifest.files.len() > LIMITS.files_max {
            return Err(invalid(format!("lists more than {} files", LIMITS.files_max)));
        }
        for (name, entry) in &manifest.files {
            if !plain(name) || name == MANIFEST_FILE || name == SIGNATURE_FILE {
                return Err(invalid(format!("lists `{name}`, which is not a plain file name of a bundle")));
            }
            if entry.size > LIMITS.bytes_max(name) {
                let max = LIMITS.bytes_max(name);
                return Err(invalid(format!("`{name}` has {} bytes, at most {max} are read", entry.size)));
            }
        }
        if !manifest.files.contains_key(CONFIG_FILE) {
            return Err(invalid(format!("does not list `{CONFIG_FILE}`")));
        }
        Ok(manifest)
    }

    /// The text of `manifest.json`.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, ModelError> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| ModelError::invalid(MANIFEST_FILE, error.to_string()))?;
        text.push(b'\n');
        Ok(text)
    }

    /// Names, sizes and hashes.
    pub fn files(&self) -> &BTreeMap<String, FileEntry> {
        &self.files
    }

    /// Checks that `content` is what the manifest promises for `name`.
    pub(super) fn verify(&self, name: &str, content: &[u8]) -> Result<(), ModelError> {
        let Some(entry) = self.files.get(name) else {
            return Err(ModelError::invalid(name, "is not listed in manifest.json"));
        };
        if entry.size != content.len() as u64 {
            let reason = format!("has {} bytes, the manifest says {}", content.len(), entry.size);
            return Err(ModelError::invalid(name, reason));
        }
        let got = sha256(content);
        if got != entry.sha256 {
            let reason = format!("has SHA-256 {got}, the manifest says {}", entry.sha256);
            return Err(ModelError::invalid(name, reason));
        }
        Ok(())
    }
}

/// Checks who made a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, ModelError> {
        VerifyingKey::from_bytes(&key_bytes("public key", text)?)
            .map(Self)
            .map_err(|error| ModelError::input("public key", error.to_string()))
    }

    /// 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.as_bytes())
    }

    /// Checks `signature`, the content of `manifest.sig`, against the manifest's bytes.
    pub(super) fn verify(&self, manifest: &[u8], signature: &[u8]) -> Result<(), ModelError> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(signature.trim_ascii(), &mut bytes)
            .map_err(|error| ModelError::invalid(SIGNATURE_FILE, format!("is not a signature: {error}")))?;
        self.0.verify_strict(manifest, &Signature::from_bytes(&bytes)).map_err(|_| {
            let reason = format!("was not made for this manifest by key {}", self.to_hex());
            ModelError::invalid(SIGNATURE_FILE, reason)
        })
    }
}

/// Signs bundles.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, ModelError> {
        key_bytes("secret key", text).map(|bytes| Self(SigningKey::from_bytes(&bytes)))
    }

    /// A new one from the system's randomness.
    pub fn generate() -> Self {
        Self(SigningKey::from_bytes(&rand::random()))
    }

    /// 64 hexadecimal digits, to be kept where nobody else reads them.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.to_bytes())
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The content of `manifest.sig`.
    pub(super) fn sign(&self, manifest: &[u8]) -> String {
        format!("{}\n", hex::encode(self.0.sign(manifest).to_bytes()))
    }
}

// Never shows the key.
impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").finish_non_exhaustive()
    }
}

fn key_bytes(field: &str, text: &str) -> Result<[u8; 32], ModelError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes)
        .map_err(|error| ModelError::input(field, format!("expected 64 hexadecimal digits: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_lead_elsewhere() {
        for name in ["../model.toml", "/etc/passwd", "a/b", "manifest.sig", "manifest.json"] {
            let text = format!(r#"{{"schema_version":1,"files":{{"{name}":{{"sha256":"00","size":1}}}}}}"#);
            let error = Manifest::parse(text.as_bytes()).expect_err(name).to_string();
            assert!(error.contains("manifest.json") && error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_signature_holds_for_one_manifest_and_one_key() {
        let key = |digit: &str| SecretKey::from_hex(&digit.repeat(64)).expect("64 digits");
        let signature = key("1").sign(b"manifest");
        let check = |key: &SecretKey, text: &[u8], signature: &[u8]| key.public().verify(text, signature);
        assert!(check(&key("1"), b"manifest", signature.as_bytes()).is_ok());
        assert!(check(&key("1"), b"manifesT", signature.as_bytes()).is_err());
        assert!(check(&key("2"), b"manifest", signature.as_bytes()).is_err());
        assert!(check(&key("1"), b"manifest", b"zz").is_err());
        assert!(!format!("{:?}", key("1")).contains("11"));
    }
}
