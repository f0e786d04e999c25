//! Files of versions between the artifact tree and folders: out to the gates and the engines, in what the gates made.

use std::path::Path;

use futures::TryStreamExt;
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt,
};

use super::Registry;
use super::versions::CREATED;
use crate::{
    artifacts::{self, Artifact, bytes_of},
    error::RegistryError,
    versions::Version,
};

impl Registry {
    /// Writes the files of a version, as they were registered, into a folder.
    ///
    /// # Errors
    /// A folder that cannot be written, a blob that is not what it was, or the database.
    pub async fn version_files(&self, version: &Version, into: &Path) -> Result<(), RegistryError> {
        self.lay_out(&version.folder(), into).await
    }

    /// Writes the bundle of a version into a folder: the one the gates made of it, or its files, which are one.
    ///
    /// # Errors
    /// A folder that cannot be written, a blob that is not what it was, or the database.
    pub async fn version_bundle(&self, version: &Version, into: &Path) -> Result<(), RegistryError> {
        self.lay_out(&self.bundle_folder(version).await?, into).await
    }

    /// Where in the artifact tree that is.
    pub(super) async fn bundle_folder(&self, version: &Version) -> Result<String, RegistryError> {
        let made = made(version);
        let is_made = !self.artifacts.list(&made).await?.is_empty();
        Ok(if is_made { made } else { version.folder() })
    }

    /// Reads every file of a version again, and compares them with their hashes, and those with what was registered and
    /// what the audit says of it. What is not as it was, in words; nothing: all is.
    ///
    /// # Errors
    /// None of that number, or the database.
    pub async fn version_verify(&self, model: &str, number: i64) -> Result<Vec<String>, RegistryError> {
        let version = self.version(model, number).await?;
        let mut faults = Vec::new();
        for folder in [version.folder(), made(&version)] {
            let changed = self.artifacts.verify(&folder).await?;
            faults.extend(changed.into_iter().map(|path| format!("`{path}` is not what it was")));
        }
        let files = self.artifacts.below(&version.folder()).await?;
        if artifacts::digest(&version.folder(), &files) != version.digest {
            faults.push("its files are not those that were registered".to_owned());
        }
        let links = self.audit(0, Some(&version.subject()), 1).await?;
        let made = links.first().filter(|link| link.event.action == CREATED);
        if made.is_none_or(|link| link.event.digest != version.digest) {
            faults.push("the audit tells of other files".to_owned());
        }
        Ok(faults)
    }

    /// Keeps the bundle that the gates made of a version beside its files.
    ///
    /// # Errors
    /// A file that cannot be read, or a store that fails.
    pub async fn keep_bundle(
        &self,
        version: &Version,
        from: &Path,
        now_ms: i64,
    ) -> Result<(), RegistryError> {
        let mut entries = fs::read_dir(from).await.map_err(at(from))?;
        while let Some(entry) = entries.next_entry().await.map_err(at(from))? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let body = bytes_of(&entry.path()).await.map_err(at(&entry.path()))?;
            self.artifacts.write(&format!("{}/{name}", made(version)), body, None, now_ms).await?;
        }
        Ok(())
    }

    async fn lay_out(&self, folder: &str, into: &Path) -> Result<(), RegistryError> {
        fs::create_dir_all(into).await.map_err(at(into))?;
        for file in self.artifacts.below(folder).await? {
            let name = file.path.get(folder.len() + 1..).unwrap_or(&file.path).to_owned();
            self.lay_file(&file, &into.join(name)).await?;
        }
        Ok(())
    }

    async fn lay_file(&self, file: &Artifact, to: &Path) -> Result<(), RegistryError> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).await.map_err(at(parent))?;
        }
        let (_, mut bytes) = self.artifacts.get(&file.path).await?;
        let mut out = File::create(to).await.map_err(at(to))?;
        while let Some(part) = bytes.try_next().await? {
            out.write_all(&part).await.map_err(at(to))?;
        }
        out.flush().await.map_err(at(to))
    }
}

/// Where the bundle that the gates made is in the artifact tree.
fn made(version: &Version) -> String {
    format!("{}.bundle", version.folder())
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> RegistryError {
    let shown = path.display().to_string();
    move |error| RegistryError::invalid(shown, error.to_string())
}
