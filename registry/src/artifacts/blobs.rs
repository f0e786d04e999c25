//! The bytes of artifacts, in a folder or in an object store. A blob is written once, under a name nobody else has,
//! and is whole or absent; which blob a path holds stands in the database.

use std::{fs, io, path::PathBuf, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, path::Path as Key};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Location;
use crate::error::RegistryError;

/// Bytes of one part of an upload, and so what is held in memory, times [`PARTS_WAITING_MAX`].
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at a time; the sender waits for room.
const PARTS_WAITING_MAX: usize = 2;
/// Where blobs are in the store.
const ROOT: &str = "blobs";

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// Name of the blob.
    pub(crate) blob: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub(crate) sha256: String,
}

/// Blobs, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Where they are, if in a folder.
    folder: Option<PathBuf>,
}

/// An upload under way. One that is dropped before its end, because whoever sent it has gone, is aborted too.
struct Upload(Option<WriteMultipart>);

impl Upload {
    async fn write(&mut self, part: &[u8]) -> Result<(), object_store::Error> {
        if let Some(writer) = &mut self.0 {
            writer.wait_for_capacity(PARTS_WAITING_MAX).await?;
            writer.write(part);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<(), object_store::Error> {
        if let Some(writer) = self.0.take() {
            writer.finish().await?;
        }
        Ok(())
    }

    async fn abort(mut self) {
        if let Some(writer) = self.0.take() {
            // What cannot be cleaned now is swept later.
            let _ = writer.abort().await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(writer), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(writer.abort());
        }
    }
}

impl Blobs {
    /// Opens the blobs at `location`.
    pub(crate) async fn open(location: &Location) -> Result<Self, RegistryError> {
        let folder = match location {
            Location::Folder(folder) => Some(folder.clone()),
            Location::Bucket { .. } => None,
        };
        Ok(Self { store: location.open().await?, folder })
    }

    /// Writes what `body` gives, at most `bytes_max`, and exactly `expected` bytes where the sender said how many.
    /// Of a body that breaks off nothing stays.
    pub(crate) async fn write<E: std::fmt::Display>(
        &self,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        expected: Option<u64>,
        bytes_max: u64,
    ) -> Result<Written, RegistryError> {
        self.write_as(Uuid::new_v4().simple().to_string(), body, expected, bytes_max).await
    }

    /// The same under a name that is given: that of the blob in a backup.
    pub(crate) async fn write_as<E: std::fmt::Display>(
        &self,
        blob: String,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        expected: Option<u64>,
        bytes_max: u64,
    ) -> Result<Written, RegistryError> {
        let upload = self.store.put_multipart(&key(&blob)).await?;
        let mut upload = Upload(Some(WriteMultipart::new_with_chunk_size(upload, PART_BYTES)));
        let mut hasher = Sha256::new();
        let mut bytes = 0_u64;
        let filled = async {
            while let Some(part) = body.next().await {
                let part = part.map_err(|error| RegistryError::Upload(error.to_string()))?;
                bytes += part.len() as u64;
                if bytes > bytes_max {
                    return Err(RegistryError::invalid("body", format!("is larger than {bytes_max} bytes")));
                }
                hasher.update(&part);
                upload.write(&part).await?;
            }
            match expected {
                Some(expected) if expected != bytes => {
                    Err(RegistryError::Upload(format!("{bytes} bytes came, {expected} were announced")))
                }
                Some(_) | None => Ok(()),
            }
        };
        if let Err(error) = filled.await {
            upload.abort().await;
            return Err(error);
        }
        upload.finish().await?;
        Ok(Written { blob, bytes, sha256: hex::encode(hasher.finalize()) })
    }

    /// The bytes of a blob as they come.
    pub(crate) async fn read(
        &self,
        blob: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, object_store::Error>>, RegistryError> {
        Ok(self.store.get(&key(blob)).await?.into_stream())
    }

    /// Removes a blob; one that is gone already is fine.
    pub(crate) async fn remove(&self, blob: &str) -> Result<(), RegistryError> {
        match self.store.delete(&key(blob)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Every blob last written before `before_ms` since the Unix epoch, with its size.
    pub(crate) async fn older_than(&self, before_ms: i64) -> Result<Vec<(String, u64)>, RegistryError> {
        let all: Vec<_> = self.store.list(Some(&Key::from(ROOT))).try_collect().await?;
        let old = all.into_iter().filter(|object| object.last_modified.timestamp_millis() < before_ms);
        Ok(old.filter_map(|object| Some((object.location.filename()?.to_owned(), object.size))).collect())
    }

    /// Removes what uploads that were killed before `before_ms` left unfinished in a folder, which a listing does not
    /// show; how many, and their bytes. A bucket has a rule of its own for that (docs/keeping.md).
    pub(crate) async fn sweep_unfinished(&self, before_ms: i64) -> Result<(u64, u64), RegistryError> {
        let Some(folder) = &self.folder else { return Ok((0, 0)) };
        let folder = folder.join(ROOT);
        let swept = tokio::task::spawn_blocking(move || remove_unfinished(&folder, before_ms)).await;
        let swept = swept.unwrap_or_else(|error| Err(io::Error::other(error)));
        swept.map_err(|error| RegistryError::invalid("registry.artifacts", error.to_string()))
    }
}

/// In folders of 256, as file systems like it.
fn key(blob: &str) -> Key {
    Key::from_iter([ROOT, blob.get(..2).unwrap_or("00"), blob])
}

/// The store writes `name#1` and renames it to `name`.
fn remove_unfinished(root: &std::path::Path, before_ms: i64) -> io::Result<(u64, u64)> {
    let mut removed = (0, 0);
    let folders = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(removed),
        folders => folders?,
    };
    for folder in folders {
        for entry in fs::read_dir(folder?.path())? {
            let entry = entry?;
            // One that was finished meanwhile is not there under this name.
            let Ok(about) = entry.metadata() else { continue };
            let age = about.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            if entry.file_name().to_string_lossy().contains('#') && (age.as_millis() as i64) < before_ms {
                fs::remove_file(entry.path())?;
                removed = (removed.0 + 1, removed.1 + about.len());
            }
        }
    }
    Ok(removed)
}
