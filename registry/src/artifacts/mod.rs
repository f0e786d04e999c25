//! The artifact tree: what runs, logged models and versions consist of, a file a path.
//!
//! A path is a row that names a blob, its size and its hash. Writing puts the bytes first and the row last, in one
//! step, so a path holds the old bytes or the new ones and never a part; sending again what broke off is all it
//! takes to resume. Blobs that no row names are swept once they are too old to be on their way.

mod blobs;
mod location;
mod path;

use std::{fmt::Display, io, path::Path};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use sha2::{Digest, Sha256};
use store::Database;
use tokio::{fs::File, io::AsyncReadExt};

pub use self::location::Location;
pub(crate) use self::{
    blobs::Blobs,
    path::{checked, root_of_file, root_of_folder},
};
use crate::{error::RegistryError, store::artifacts as table};

/// Largest file, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 30;
/// Most files below one version, run or logged model.
pub const FILES_MAX: usize = 2_000;
/// Bytes read from a file at a time.
const READ_BYTES: usize = 1 << 20;
/// Age from which a blob that no path names is swept, ms: longer than an upload takes, which some stores date from its
/// beginning.
pub const ORPHAN_AGE_MS: i64 = 86_400_000;
/// Below here are the files of registered versions, which nobody writes to.
pub const SEALED: &str = "registry";
/// Below here are files on their way to become a version; they stay as long as that takes.
pub const PUSHED: &str = "push";

/// A file of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its place.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Hexadecimal digits.
    pub sha256: String,
    /// The blob that holds it.
    pub(crate) blob: String,
}

/// What a folder holds directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path from the root of the tree.
    pub path: String,
    /// Bytes, of a file.
    pub size: Option<u64>,
}

/// The tree, cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts {
    database: Database,
    blobs: Blobs,
}

impl Artifacts {
    pub(crate) fn new(database: Database, blobs: Blobs) -> Self {
        Self { database, blobs }
    }

    /// Writes a file in place of what was there. `expected` is its size, where the sender said so.
    ///
    /// # Errors
    /// A path that leads out of the tree or to a registered version, too many or too large files, a body that
    /// breaks off (what was there stays), or a store that fails.
    pub async fn put<E: Display>(
        &self,
        path: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        expected: Option<u64>,
        now_ms: i64,
    ) -> Result<Artifact, RegistryError> {
        let path = checked(path)?;
        if path == SEALED || path.starts_with(&format!("{SEALED}/")) {
            let reason = "the files of a registered version do not change; log a new model and register that";
            return Err(RegistryError::Forbidden(format!("`{path}`: {reason}")));
        }
        self.write(path, body, expected, now_ms).await
    }

    /// The same at any path, sealed ones too.
    pub(crate) async fn write<E: Display>(
        &self,
        path: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        expected: Option<u64>,
        now_ms: i64,
    ) -> Result<Artifact, RegistryError> {
        if table::is_folder(&self.database, path).await? {
            return Err(RegistryError::invalid("path", format!("`{path}` is a folder")));
        }
        let root = root_of_file(path);
        if table::count(&self.database, &root).await? >= FILES_MAX as u64 {
            return Err(RegistryError::invalid(
                "path",
                format!("`{root}` has {FILES_MAX} files already, the most there may be"),
            ));
        }
        let written = self.blobs.write(body, expected, FILE_BYTES_MAX).await?;
        let new = Artifact {
            path: path.to_owned(),
            size: written.bytes,
            sha256: written.sha256,
            blob: written.blob,
        };
        table::put(&self.database, &new, now_ms).await?;
        Ok(new)
    }

    /// What a path holds, and its bytes.
    ///
    /// # Errors
    /// A path that holds nothing, or a store that fails.
    pub async fn get(
        &self,
        path: &str,
    ) -> Result<(Artifact, BoxStream<'static, Result<Bytes, object_store::Error>>), RegistryError> {
        let path = checked(path)?;
        let found = table::get(&self.database, path).await?;
        let found = found.ok_or_else(|| RegistryError::NotFound(format!("artifact `{path}`")))?;
        let bytes = self.blobs.read(&found.blob).await?;
        Ok((found, bytes))
    }

    /// What a folder holds directly, by name; nothing, if it is not there. Of a file, itself.
    ///
    /// # Errors
    /// A path that leads out of the tree, or the database.
    pub async fn list(&self, folder: &str) -> Result<Vec<Entry>, RegistryError> {
        let folder = if folder.trim_matches('/').is_empty() { "" } else { checked(folder)? };
        let below = table::below(&self.database, folder).await?;
        let skip = if folder.is_empty() { 0 } else { folder.len() + 1 };
        let mut entries: Vec<Entry> = Vec::new();
        for file in below {
            let Some(rest) = file.path.get(skip..) else { continue };
            let entry = match rest.split_once('/') {
                Some((first, _)) => Entry { path: file.path[..skip + first.len()].to_owned(), size: None },
                None => Entry { path: file.path, size: Some(file.size) },
            };
            if entries.last() != Some(&entry) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Every file below a folder, by path.
    ///
    /// # Errors
    /// A path that leads out of the tree, or the database.
    pub async fn below(&self, folder: &str) -> Result<Vec<Artifact>, RegistryError> {
        Ok(table::below(&self.database, checked(folder)?).await?)
    }

    /// Removes a file, or a folder with everything in it; how many files. Their bytes go with the next sweep.
    ///
    /// # Errors
    /// A registered version's files, a path that leads out of the tree, or the database.
    pub async fn delete(&self, path: &str) -> Result<u64, RegistryError> {
        let path = checked(path)?;
        if path == SEALED || path.starts_with(&format!("{SEALED}/")) {
            return Err(RegistryError::Forbidden(format!("`{path}` belongs to a registered version")));
        }
        Ok(table::delete(&self.database, path).await?)
    }

    /// Removes blobs that no path names, or that were never finished, and that are too old to be on their way; how
    /// many, and their bytes. A folder that a killed `push` left goes with them.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn sweep(&self, now_ms: i64) -> Result<(u64, u64), RegistryError> {
        let before_ms = now_ms - ORPHAN_AGE_MS;
        table::delete_older(&self.database, PUSHED, before_ms).await?;
        let mut removed = self.blobs.sweep_unfinished(before_ms).await?;
        for (blob, bytes) in self.blobs.older_than(before_ms).await? {
            if !table::is_named(&self.database, &blob).await? {
                self.blobs.remove(&blob).await?;
                removed = (removed.0 + 1, removed.1 + bytes);
            }
        }
        Ok(removed)
    }

    /// Reads the files below `folder` again and compares their hashes; the paths that are not what they were.
    ///
    /// # Errors
    /// A path that leads out of the tree, or the database; a blob that cannot be read counts as changed.
    pub async fn verify(&self, folder: &str) -> Result<Vec<String>, RegistryError> {
        let mut changed = Vec::new();
        for file in self.below(folder).await? {
            if self.hash(&file.blob).await.ok().as_ref() != Some(&file.sha256) {
                changed.push(file.path);
            }
        }
        Ok(changed)
    }

    /// Blobs behind the tree.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    pub(crate) async fn hash(&self, blob: &str) -> Result<String, RegistryError> {
        use futures::TryStreamExt;
        let mut bytes = self.blobs.read(blob).await?;
        let mut hasher = Sha256::new();
        while let Some(part) = bytes.try_next().await? {
            hasher.update(&part);
        }
        Ok(hex::encode(hasher.finalize()))
    }
}

/// The bytes of a file as they come; one that is being read holds one part in memory.
///
/// # Errors
/// A file that cannot be opened.
pub async fn bytes_of(file: &Path) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    let file = File::open(file).await?;
    let parts = futures::stream::try_unfold(file, |mut file| async move {
        let mut part = vec![0; READ_BYTES];
        let read = file.read(&mut part).await?;
        part.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(part), file)))
    });
    Ok(parts.boxed())
}

/// One hash for a set of files: of their names below `folder`, sizes and hashes.
pub(crate) fn digest(folder: &str, files: &[Artifact]) -> String {
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.path.get(folder.len()..).unwrap_or(&file.path);
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(file.size.to_le_bytes());
        hasher.update(file.sha256.as_bytes());
    }
    hex::encode(hasher.finalize())
}

/// The tree of `database` with its bytes at `location`.
pub(crate) async fn open(database: Database, location: &Location) -> Result<Artifacts, RegistryError> {
    Ok(Artifacts::new(database, Blobs::open(location).await?))
}
