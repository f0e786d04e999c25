//! A version as one side of a comparison.

use futures::TryStreamExt;
use models::bundle::{BundleConfig, CONFIG_FILE};

use super::Registry;
use crate::{diff::Side, error::RegistryError, versions::Version};

/// Largest configuration of a bundle that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

impl Registry {
    /// What a version is made of and what the gates found in it.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn side(&self, version: &Version) -> Result<Side, RegistryError> {
        let folder = self.bundle_folder(version).await?;
        let files = self.artifacts.below(&folder).await?;
        let config = format!("{folder}/{CONFIG_FILE}");
        let is_readable = files.iter().any(|file| file.path == config && file.size <= CONFIG_BYTES_MAX);
        let config = if is_readable { self.config(&config).await? } else { None };
        let name = |path: &str| path.get(folder.len() + 1..).unwrap_or(path).to_owned();
        let report = self.report(&version.model, version.number).await?;
        Ok(Side {
            name: version.subject(),
            config,
            files: files.into_iter().map(|file| (name(&file.path), (file.sha256, file.size))).collect(),
            gates: report.map(|report| report.gates).unwrap_or_default(),
        })
    }

    /// A configuration, unless it is none: what the gates refused may say anything.
    async fn config(&self, path: &str) -> Result<Option<BundleConfig>, RegistryError> {
        let (_, parts) = self.artifacts.get(path).await?;
        let text = parts.try_fold(Vec::new(), |mut text, part| async move {
            text.extend_from_slice(&part);
            Ok(text)
        });
        let text = String::from_utf8(text.await?).unwrap_or_default();
        Ok(BundleConfig::from_toml(&text).ok())
    }
}
