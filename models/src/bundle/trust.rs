//! Whose bundles are believed, and how a bundle gets its signature.

use std::fs;
use std::path::Path;

use super::manifest::{PublicKey, SecretKey};
use super::{Bundle, MANIFEST_FILE, SIGNATURE_FILE, files};
use crate::ModelError;

/// Keys whose signatures count. A signature that none of them made is a fault, wherever it came from: a bundle that
/// claims a maker must be able to prove it.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Vec<PublicKey>,
    signed_only: bool,
}

impl Trust {
    /// Trust in the makers that `keys` belong to; with `signed_only` in nobody else.
    pub fn new(keys: Vec<PublicKey>, signed_only: bool) -> Self {
        Self { keys, signed_only }
    }

    /// Whether a key vouches for the manifest; an error names `manifest.sig` and what is wrong with it.
    pub(super) fn check(&self, manifest: &[u8], signature: Option<&[u8]>) -> Result<bool, ModelError> {
        let fault = |reason: &str| Err(ModelError::invalid(SIGNATURE_FILE, reason));
        match (signature, self.keys.as_slice()) {
            (None, _) if self.signed_only => fault("is missing, and only signed bundles are served"),
            (None, _) => Ok(false),
            (Some(_), []) => {
                fault("is there, but no trusted key to check it with; name its key, or remove it")
            }
            (Some(signature), [key]) => key.verify(manifest, signature).map(|()| true),
            (Some(signature), keys) => {
                if keys.iter().any(|key| key.verify(manifest, signature).is_ok()) {
                    return Ok(true);
                }
                fault("was not made for this manifest by any of the trusted keys")
            }
        }
    }
}

/// Signs a sound bundle in place of an earlier signature; the folder is whole at every moment.
pub fn sign(dir: &Path, key: &SecretKey) -> Result<(), ModelError> {
    Bundle::open(dir)?;
    let signature = key.sign(&files::read(dir, MANIFEST_FILE)?);
    let failed = |source| ModelError::Write { path: dir.join(SIGNATURE_FILE), source };
    // Not in the folder: a file the manifest does not list makes a bundle unsound.
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.with_file_name(format!(".{name}.{:016x}.sig", rand::random::<u64>()));
    let written = fs::write(&temporary, signature)
        .and_then(|()| fs::File::open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, dir.join(SIGNATURE_FILE)))
        .and_then(|()| fs::File::open(dir)?.sync_all());
    written.map_err(|source| {
        // It may be gone already, which is as well.
        let _ = fs::remove_file(&temporary);
        failed(source)
    })
}
