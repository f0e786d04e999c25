//! The bytes of artifacts, in a folder or in an object store. A blob is written once, under a name nobody else has,
//! and is whole or absent; which blob a path holds stands in the database.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, local::LocalFileSystem, path::Path as Key};
use sha2::{Digest, Sha256};
use uuid::Uuid;

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
}

impl Blobs {
    /// Blobs in a folder, made when absent.
    pub(crate) fn folder(folder: &Path) -> Result<Self, RegistryError> {
        std::fs::create_dir_all(folder).map_err(|error| {
            RegistryError::invalid(
                "registry.artifacts",
                format!("cannot create {}: {error}", folder.display()),
            )
        })?;
        Ok(Self::over(Arc::new(LocalFileSystem::new_with_prefix(folder)?)))
    }

    /// Blobs in any object store.
    pub(crate) fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
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
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
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
                writer.wait_for_capacity(PARTS_WAITING_MAX).await?;
                writer.write(&part);
            }
            match expected {
                Some(expected) if expected != bytes => {
                    Err(RegistryError::Upload(format!("{bytes} bytes came, {expected} were announced")))
                }
                Some(_) | None => Ok(()),
            }
        };
        if let Err(error) = filled.await {
            // What cannot be cleaned now is swept later.
            let _ = writer.abort().await;
            return Err(error);
        }
        writer.finish().await?;
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
}

/// In folders of 256, as file systems like it.
fn key(blob: &str) -> Key {
    Key::from_iter([ROOT, blob.get(..2).unwrap_or("00"), blob])
}
