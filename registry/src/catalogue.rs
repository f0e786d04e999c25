//! Bundles found in folders, each opened and verified; a damaged one never hides the others.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use models::{Bundle, ModelError, bundle::Trust};

/// Most bundles looked at, so that a folder given by mistake does not hold up the start.
const BUNDLES_MAX: usize = 1_000;

/// One model version on disk.
#[derive(Debug)]
pub struct Entry {
    name: String,
    version: String,
    folder: PathBuf,
    bundle: Result<Arc<Bundle>, String>,
}

impl Entry {
    /// Model name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version id.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bundle, when it is sound.
    pub fn bundle(&self) -> Option<&Arc<Bundle>> {
        self.bundle.as_ref().ok()
    }

    /// Why it cannot be used, naming the file.
    pub fn reason(&self) -> Option<&str> {
        self.bundle.as_ref().err().map(String::as_str)
    }
}

/// Every bundle below some folders, by name and then by version.
#[derive(Debug, Default)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

impl Catalogue {
    /// Looks into `folders`, in this order: of two bundles with one name and version the first
    /// that is sound is kept. A folder that does not exist holds no bundle, and one signed by somebody whom `trust`
    /// does not know is not sound.
    pub fn scan(folders: &[PathBuf], trust: &Trust) -> Self {
        let mut found = BTreeMap::new();
        for folder in folders.iter().flat_map(|folder| version_folders(folder)).take(BUNDLES_MAX) {
            let entry = open(folder, trust);
            let key = (entry.name.clone(), entry.version.clone());
            let kept: Option<&Entry> = found.get(&key);
            if let Some(kept) = kept.filter(|kept| kept.bundle.is_ok() || entry.bundle.is_err()) {
                let (passed_over, kept) = (entry.folder.display(), kept.folder.display());
                tracing::warn!(%passed_over, %kept, "same name and version");
                continue;
            }
            found.insert(key, entry);
        }
        Self { entries: found.into_values().collect() }
    }

    /// Everything found, sound or not.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The version that serves `name`: the highest of those that are sound.
    pub fn live(&self, name: &str) -> Option<&Entry> {
        let sound = self.entries.iter().filter(|entry| entry.name == name && entry.bundle.is_ok());
        sound.max_by_key(|entry| {
            let version = entry.bundle().map(|bundle| bundle.config().version.clone());
            (version.as_ref().map(|version| version.number()), Reverse(version))
        })
    }
}

/// Folders two levels down, which is where versions lie.
fn version_folders(root: &Path) -> Vec<PathBuf> {
    subfolders(root).iter().flat_map(|model| subfolders(model)).collect()
}

/// Folders in `parent` in order of their names; hidden ones are unfinished work of a writer.
fn subfolders(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

fn open(folder: PathBuf, trust: &Trust) -> Entry {
    let part = |path: Option<&Path>| {
        path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
    };
    let (name, version) = (part(folder.parent()), part(Some(&folder)));
    let bundle = Bundle::open_trusted(&folder, trust).and_then(|bundle| check_place(&name, &version, bundle));
    Entry { name, version, folder, bundle: bundle.map(Arc::new).map_err(|error| chain(&error)) }
}

/// A bundle that says it is another model than its folder does would answer under a false name.
fn check_place(name: &str, version: &str, bundle: Bundle) -> Result<Bundle, ModelError> {
    let config = bundle.config();
    if config.name == name && config.version.to_string() == version {
        return Ok(bundle);
    }
    let reason = format!("says {} {}, but lies in {name}/{version}", config.name, config.version);
    Err(ModelError::invalid(models::bundle::CONFIG_FILE, reason))
}

/// An error with its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
