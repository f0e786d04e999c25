//! Writing a bundle: a folder appears whole and checked, or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::config::BundleConfig;
use super::files::plain;
use super::golden::Golden;
use super::manifest::{Manifest, SecretKey};
use super::{
    Bundle, CALIBRATION_FILE, CARD_FILE, CONFIG_FILE, GOLDEN_FILE, MANIFEST_FILE, REQUIRED_FILES,
    SIGNATURE_FILE,
};
use crate::ModelError;

/// Collects the files of a bundle and writes them.
#[derive(Debug)]
pub struct BundleWriter {
    config: BundleConfig,
    files: BTreeMap<String, Vec<u8>>,
    key: Option<SecretKey>,
    replace: bool,
}

impl BundleWriter {
    /// A bundle with this `model.toml`.
    pub fn new(config: BundleConfig) -> Self {
        Self { config, files: BTreeMap::new(), key: None, replace: false }
    }

    /// The weights of a candle model or the graph of an ONNX model.
    pub fn weights(self, content: Vec<u8>) -> Self {
        let name = self.config.engine.weights_file();
        self.file(name, content)
    }

    /// The text of `calibration.json`.
    pub fn calibration(self, json: impl Into<String>) -> Self {
        self.file(CALIBRATION_FILE, json.into())
    }

    /// The text of `card.md`.
    pub fn card(self, markdown: impl Into<String>) -> Self {
        self.file(CARD_FILE, markdown.into())
    }

    /// The golden tensors.
    pub fn golden(self, golden: &Golden) -> Result<Self, ModelError> {
        let content = golden.to_bytes(&self.config.signature()?)?;
        Ok(self.file(GOLDEN_FILE, content))
    }

    /// Any further file, for example `nutrition.tsv`.
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.to_owned(), content.into());
        self
    }

    /// Signs the manifest.
    pub fn sign(mut self, key: SecretKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Puts the bundle in place of one that is already there.
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }

    /// Writes the folder `dir` and opens it. Everything is written and verified in a temporary
    /// folder beside it first; `dir` appears by one rename.
    pub fn write(self, dir: impl AsRef<Path>) -> Result<Bundle, ModelError> {
        let dir = dir.as_ref();
        let (replace, files) = (self.replace, self.complete()?);
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(at(parent))?;
        let staging = Staging::create(parent, dir)?;
        for (name, content) in &files {
            write_synced(&staging.path.join(name), content)?;
        }
        sync(&staging.path)?;
        Bundle::open(&staging.path)?;
        staging.move_to(dir, replace)?;
        sync(parent)?;
        Bundle::open(dir)
    }

    /// All files of the folder, the manifest last; refuses what `open` would refuse.
    fn complete(mut self) -> Result<Vec<(String, Vec<u8>)>, ModelError> {
        self.config.check()?;
        self.files.insert(CONFIG_FILE.to_owned(), self.config.to_toml()?.into_bytes());
        for required in REQUIRED_FILES.into_iter().chain([self.config.engine.weights_file()]) {
            if !self.files.contains_key(required) {
                return Err(ModelError::invalid(required, "is missing: a bundle is written whole"));
            }
        }
        if let Some(name) = self.files.keys().find(|name| !plain(name)) {
            return Err(ModelError::invalid(name, "is not a plain file name"));
        }
        let listed = self.files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
        let manifest = Manifest::of(listed).to_json()?;
        let signature = self.key.map(|key| (SIGNATURE_FILE.to_owned(), key.sign(&manifest).into_bytes()));
        let mut files: Vec<_> = self.files.into_iter().collect();
        files.extend(signature);
        files.push((MANIFEST_FILE.to_owned(), manifest));
        Ok(files)
    }
}

/// A temporary folder that removes itself unless it was moved into place.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn create(parent: &Path, target: &Path) -> Result<Self, ModelError> {
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.is_empty() {
            return Err(ModelError::input("dir", format!("`{}` has no name", target.display())));
        }
        let path = parent.join(format!(".{name}.{:016x}", rand::random::<u64>()));
        fs::create_dir(&path).map_err(at(&path))?;
        Ok(Self { path })
    }

    /// Renames into place. An old folder is moved aside first and removed last, because a
    /// rename cannot replace a folder that holds files.
    fn move_to(&self, dir: &Path, replace: bool) -> Result<(), ModelError> {
        let exists = fs::symlink_metadata(dir).is_ok();
        if exists && !replace {
            let reason = "is already there; a version is never changed, only replaced on demand";
            return Err(ModelError::invalid(dir.display().to_string(), reason));
        }
        if !exists {
            return fs::rename(&self.path, dir).map_err(at(dir));
        }
        // The random part stays in the name: what an earlier replacement left behind is not in the way.
        let mut old = self.path.clone().into_os_string();
        old.push(".old");
        let old = PathBuf::from(old);
        fs::rename(dir, &old).map_err(at(dir))?;
        if let Err(source) = fs::rename(&self.path, dir) {
            fs::rename(&old, dir).map_err(at(dir))?;
            return Err(at(dir)(source));
        }
        fs::remove_dir_all(&old).map_err(at(&old))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone after a move; after a failure there is nobody left to tell.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn write_synced(path: &Path, content: &[u8]) -> Result<(), ModelError> {
    let mut file = fs::File::create_new(path).map_err(at(path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(at(path))
}

fn sync(dir: &Path) -> Result<(), ModelError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> ModelError {
    let path = path.to_owned();
    |source| ModelError::Write { path, source }
}
