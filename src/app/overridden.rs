//! Models that clients send along when they ask for them to be loaded: examined as an upload is, served as `generic`, kept
//! in a folder that goes with the last instance or at the next start.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use anyhow::{Context, bail};
use models::Bundle;
use registry::gates::GRAPH;
use tempfile::TempDir;

use super::gates;
use crate::config::Config;

/// Folder below the data folder.
const FOLDER: &str = "sent-along";

/// Removes what an earlier server has left. A command beside a running one does not: these are its models.
pub(super) fn clear(config: &Config) {
    // It is not there at most starts.
    let _ = fs::remove_dir_all(config.data_dir.join(FOLDER));
}

/// The folders there are, by model.
pub(super) struct Overridden {
    folder: PathBuf,
    made: Mutex<BTreeMap<String, Weak<TempDir>>>,
}

impl Overridden {
    /// Nothing yet.
    pub(super) fn new(config: &Config) -> Self {
        Self { folder: config.data_dir.join(FOLDER), made: Mutex::default() }
    }

    /// A bundle made of `graph`, and the folder it lives in. A name that answers already stays what it is, unless it was
    /// made here too.
    pub(super) fn make(
        &self,
        config: &Config,
        (model, version): (&str, u64),
        graph: &[u8],
        taken: bool,
    ) -> anyhow::Result<(Arc<Bundle>, Arc<TempDir>)> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, folder| folder.strong_count() > 0);
        if taken && !made.contains_key(model) {
            bail!("a model of this name is served already: send it along under another name");
        }
        let number = i64::try_from(version).context("the version's number is too large")?;
        fs::create_dir_all(&self.folder).context("the data folder cannot be written")?;
        let folder = TempDir::new_in(&self.folder).context("the data folder cannot be written")?;
        let files = folder.path().join(gates::FILES);
        fs::create_dir(&files)?;
        fs::write(files.join(GRAPH), graph)?;
        let examined = gates::examine_graph(config, model, number, folder.path());
        tokio::runtime::Handle::current().block_on(examined)?;
        let bundle = Arc::new(Bundle::open(folder.path().join(gates::BUNDLE))?);
        fs::remove_dir_all(files)?;
        let folder = Arc::new(folder);
        made.insert(model.to_owned(), Arc::downgrade(&folder));
        Ok((bundle, folder))
    }
}
