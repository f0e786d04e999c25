//! Shared memory of the system: tensors that lie beside the message instead of in it.
//!
//! A region is a part of a shared memory object, which is a file of a folder in memory. It is read and written
//! as a file and never mapped: a client that shortens its object then gets an error, where a mapping would end
//! the process. What is read is a copy, so that a client may write on while the model runs.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use proto::inference::system_shared_memory_status_response::RegionStatus;

use super::parameters::Place;
use crate::InferError;

/// What turns shared memory on.
const OFF: &str = "system shared memory is off on this server; `server.shared_memory = true` turns it on";

/// A registered part of a shared memory object.
#[derive(Debug)]
struct Region {
    name: String,
    key: String,
    offset: u64,
    byte_size: u64,
    file: File,
}

/// The regions that clients have registered.
#[derive(Debug)]
pub(super) struct Regions {
    folder: PathBuf,
    count_max: usize,
    table: RwLock<BTreeMap<String, Arc<Region>>>,
}

impl Regions {
    /// None yet, over the objects of `folder`.
    pub(super) fn new(folder: PathBuf, count_max: usize) -> Self {
        Self { folder, count_max, table: RwLock::default() }
    }

    /// Opens the object `key` and keeps `byte_size` bytes of it from `offset` under `name`.
    fn register(&self, name: &str, key: &str, offset: u64, byte_size: u64) -> Result<(), InferError> {
        if name.is_empty() {
            return Err(InferError::input("name", "of a shared memory region must not be empty"));
        }
        let fault = |text: &str| {
            InferError::Malformed(format!("Unable to open shared memory region: '{key}': {text}"))
        };
        let file = open(&self.folder, key).map_err(|text| fault(&text))?;
        let length = file.metadata().map_err(|error| fault(&error.to_string()))?.len();
        if byte_size == 0 || offset.checked_add(byte_size).is_none_or(|end| end > length) {
            let text = format!("it has {length} bytes, but {byte_size} are wanted from {offset}");
            return Err(fault(&text));
        }
        let region = Region { name: name.to_owned(), key: key.to_owned(), offset, byte_size, file };
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.contains_key(name) {
            return Err(InferError::Malformed(format!("shared memory region '{name}' already in manager")));
        }
        if table.len() >= self.count_max {
            let text = format!("{} shared memory regions are registered, which is the most", self.count_max);
            return Err(InferError::Malformed(text));
        }
        table.insert(name.to_owned(), Arc::new(region));
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Arc<Region>, InferError> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(name).cloned().ok_or_else(|| {
            InferError::NotFound(format!("Unable to find system shared memory region: '{name}'"))
        })
    }

    /// The part of a region that `place` names, checked against the region's bounds.
    pub(super) fn window(&self, tensor: &str, place: &Place) -> Result<Window, InferError> {
        let Place { region, offset, byte_size } = place;
        let region = self.find(region)?;
        let inside = offset.checked_add(*byte_size).is_some_and(|end| end <= region.byte_size);
        let bytes = usize::try_from(*byte_size).ok().filter(|_| inside).ok_or_else(|| {
            let reason = format!(
                "{byte_size} bytes from {offset} are not within shared memory region '{}' of {} bytes",
                region.name, region.byte_size
            );
            InferError::input(tensor, reason)
        })?;
        Ok(Window { offset: *offset, bytes, region })
    }
}

/// The object `key` of `folder`. Only plain names are taken, and only plain files: no link leads elsewhere.
fn open(folder: &Path, key: &str) -> Result<File, String> {
    let name = Path::new(key.strip_prefix('/').unwrap_or(key));
    let mut parts = name.components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
        return Err("the key must be one name, with or without a slash before it".to_owned());
    }
    let path = folder.join(name);
    let text = |error: std::io::Error| error.to_string();
    if !path.symlink_metadata().map_err(text)?.is_file() {
        return Err("it is not a shared memory object".to_owned());
    }
    OpenOptions::new().read(true).write(true).open(path).map_err(text)
}

/// Part of a region.
#[derive(Debug, Clone)]
pub(super) struct Window {
    region: Arc<Region>,
    /// From the begin of the region.
    offset: u64,
    bytes: usize,
}

impl Window {
    fn position(&self) -> u64 {
        self.region.offset + self.offset
    }

    fn fault(&self, error: &std::io::Error) -> InferError {
        InferError::Malformed(format!("shared memory region '{}': {error}", self.region.name))
    }

    fn read(&self) -> Result<Bytes, InferError> {
        let mut bytes = vec![0; self.bytes];
        let read = self.region.file.read_exact_at(&mut bytes, self.position());
        read.map(|()| bytes.into()).map_err(|error| self.fault(&error))
    }

    /// Puts the bytes of an output here.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), InferError> {
        self.region.file.write_all_at(bytes, self.position()).map_err(|error| self.fault(&error))
    }

    /// Whether the output `tensor` of `bytes` bytes has room here.
    pub(super) fn check_room(&self, tensor: &str, bytes: usize) -> Result<(), InferError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        Err(InferError::Malformed(format!(
            "shared memory size specified with the request for output '{tensor}' ({} bytes) should be at least \
             {bytes} bytes to hold the results",
            self.bytes
        )))
    }

    /// Name of the region.
    pub(super) fn region(&self) -> &str {
        &self.region.name
    }

    /// Offset within the region.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

/// Runs a copy on a thread that may block: a region can be as large as a request.
pub(super) async fn copying<T: Send + 'static>(
    copy: impl FnOnce() -> Result<T, InferError> + Send + 'static,
) -> Result<T, InferError> {
    let copied = tokio::task::spawn_blocking(copy).await;
    copied.unwrap_or_else(|_| Err(InferError::Malformed("shared memory cannot be copied".to_owned())))
}

/// Reads the regions of one request, a limited number of bytes altogether.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    regions: Option<&'a Regions>,
    left: usize,
    bytes_max: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(regions: Option<&'a Regions>, bytes_max: usize) -> Self {
        Self { regions, left: bytes_max, bytes_max }
    }

    /// Bytes of the input `tensor`, which lies at `place`.
    pub(super) fn read(&mut self, tensor: &str, place: &Place) -> Result<Bytes, InferError> {
        let window = enabled(self.regions)?.window(tensor, place)?;
        self.left = self.left.checked_sub(window.bytes).ok_or_else(|| InferError::TooLarge {
            what: "shared memory of the inputs".into(),
            limit_bytes: self.bytes_max,
        })?;
        window.read()
    }
}

/// The regions, when shared memory is on.
pub(super) fn enabled(regions: Option<&Regions>) -> Result<&Regions, InferError> {
    regions.ok_or_else(|| InferError::Unsupported(OFF.to_owned()))
}

/// Registers a region.
pub(super) fn register(
    regions: Option<&Regions>,
    name: &str,
    key: &str,
    offset: u64,
    byte_size: u64,
) -> Result<(), InferError> {
    enabled(regions)?.register(name, key, offset, byte_size)
}

/// Forgets one region, or all when `name` is empty. One that is not known is none the less forgotten.
pub(super) fn unregister(regions: Option<&Regions>, name: &str) {
    let Some(regions) = regions else { return };
    let mut table = regions.table.write().unwrap_or_else(PoisonError::into_inner);
    if name.is_empty() {
        table.clear();
    } else {
        table.remove(name);
    }
}

/// One region, or all by name when `name` is empty.
pub(super) fn status(regions: Option<&Regions>, name: &str) -> Result<Vec<RegionStatus>, InferError> {
    let Some(regions) = regions else {
        return if name.is_empty() { Ok(Vec::new()) } else { enabled(regions).map(|_| Vec::new()) };
    };
    let tell = |region: &Arc<Region>| RegionStatus {
        name: region.name.clone(),
        key: region.key.clone(),
        offset: region.offset,
        byte_size: region.byte_size,
    };
    if name.is_empty() {
        let table = regions.table.read().unwrap_or_else(PoisonError::into_inner);
        return Ok(table.values().map(tell).collect());
    }
    Ok(vec![tell(&regions.find(name)?)])
}

/// What is said to whoever wants to share memory of a GPU.
pub(super) fn no_cuda() -> InferError {
    let text =
        "memory of a GPU cannot be shared with this server; register system shared memory or send the bytes";
    InferError::Unsupported(text.to_owned())
}
