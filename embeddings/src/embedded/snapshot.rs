//! The file that saves an index over a restart: a cache beside the rows, never the truth.
//!
//! It holds the graph and the sequence number of each slot, no vectors and no names; those come from the rows. A
//! checksum covers every byte, so a damaged file is noticed and the index built anew. The file is written beside its
//! place and renamed, so it is whole or absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::graph::Tuned;
use crate::{Collection, Metric, Storage};

const MAGIC: &[u8; 8] = b"MPKVEC02";
const HEADER_BYTES: usize = 56;
const DIGEST_BYTES: usize = 32;

/// A saved index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The sequence of each slot the index covers, rising.
    pub(super) sequences: Vec<u64>,
    /// What it was tuned to.
    pub(super) tuned: Tuned,
    /// The index.
    pub(super) graph: Vec<u8>,
}

/// Where the snapshot of a collection is.
pub(super) fn path(folder: &Path, collection: i64) -> PathBuf {
    folder.join(format!("{collection}.index"))
}

/// Writes a snapshot in place of an earlier one.
pub(super) fn write(path: &Path, collection: &Collection, snapshot: &Snapshot) -> io::Result<()> {
    let temporary = path.with_extension("part");
    let mut file = Hashing { file: File::create(&temporary)?, digest: Sha256::new() };
    file.put(&header(collection, snapshot))?;
    let sequences: Vec<u8> = snapshot.sequences.iter().flat_map(|sequence| sequence.to_le_bytes()).collect();
    file.put(&sequences)?;
    file.put(&snapshot.graph)?;
    let Hashing { mut file, digest } = file;
    file.write_all(&digest.finalize())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // The rename itself is on disk when the folder is.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Reads a snapshot; `None` when there is none.
///
/// # Errors
/// A text that says what is wrong with the file.
pub(super) fn read(path: &Path, collection: &Collection) -> Result<Option<Snapshot>, String> {
    let mut bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let body = bytes.len().checked_sub(DIGEST_BYTES).filter(|body| *body >= HEADER_BYTES);
    let body = body.ok_or("it is shorter than its header")?;
    if Sha256::digest(&bytes[..body])[..] != bytes[body..] {
        return Err("its checksum does not match".to_owned());
    }
    bytes.truncate(body);
    parse(&bytes, collection).map(Some).ok_or_else(|| "it was written for another collection".to_owned())
}

fn parse(bytes: &[u8], collection: &Collection) -> Option<Snapshot> {
    let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let slots = usize::try_from(number(32)?).ok()?;
    let tuned = Tuned { expansion: usize::try_from(number(40)?).ok()?, fine: number(48)? == 1 };
    let graph = HEADER_BYTES.checked_add(slots.checked_mul(8)?)?;
    let (sequences, _) = bytes.get(HEADER_BYTES..graph)?.as_chunks();
    let sequences = sequences.iter().map(|sequence| u64::from_le_bytes(*sequence)).collect();
    let snapshot = Snapshot { sequences, tuned, graph: bytes.get(graph..)?.to_vec() };
    (header(collection, &snapshot) == bytes[..HEADER_BYTES]).then_some(snapshot)
}

fn header(collection: &Collection, snapshot: &Snapshot) -> Vec<u8> {
    let metric: u64 = match collection.metric {
        Metric::Cosine => 1,
        Metric::L2 => 2,
    };
    let storage: u64 = match collection.storage {
        Storage::F32 => 1,
        Storage::F16 => 2,
        Storage::I8 => 3,
    };
    let numbers = [
        collection.dimension as u64,
        metric,
        storage,
        snapshot.sequences.len() as u64,
        snapshot.tuned.expansion as u64,
        u64::from(snapshot.tuned.fine),
    ];
    MAGIC.iter().copied().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
}

struct Hashing {
    file: File,
    digest: Sha256,
}

impl Hashing {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CollectionName;

    fn collection(dimension: usize) -> Collection {
        let (name, layout) = (CollectionName::parse("c").expect("a name"), "test".to_owned());
        let (metric, storage) = (Metric::Cosine, Storage::F32);
        Collection { name, dimension, metric, layout, storage, fields: Vec::new() }
    }

    #[test]
    fn what_was_written_is_read_and_any_damage_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path(folder.path(), 7);
        assert_eq!(read(&path, &collection(4)), Ok(None));
        let tuned = Tuned { expansion: 64, fine: true };
        let snapshot = Snapshot { sequences: vec![1, 5, 9], tuned, graph: vec![7; 100] };
        write(&path, &collection(4), &snapshot).expect("writes");
        assert_eq!(read(&path, &collection(4)).expect("reads"), Some(snapshot));
        assert!(read(&path, &collection(5)).is_err(), "another dimension");

        let whole = fs::read(&path).expect("reads");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).expect("writes");
            assert!(read(&path, &collection(4)).is_err(), "byte {at} flipped");
            fs::write(&path, &whole[..at]).expect("writes");
            assert!(read(&path, &collection(4)).is_err(), "cut at {at}");
        }
    }
}
