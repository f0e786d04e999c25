//! From a name and an optional version to the model that answers. The whole table is replaced
//! at once, so a request sees the old or the new version and never half of a change.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;

use crate::{Caller, InferError, ModelState, ModelStatus, Route, Served, release::Release};

/// Versions of one model.
#[derive(Debug, Clone, Default)]
struct Versions {
    live: Option<Arc<Served>>,
    all: Vec<Arc<Served>>,
    refused: Vec<ModelStatus>,
    /// The trial of one version beside the live one.
    release: Option<Arc<Release>>,
    /// Versions by the type of cartridge that they answer for.
    pins: BTreeMap<String, String>,
}

type Table = BTreeMap<String, Versions>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Router {
    table: ArcSwap<Table>,
    writers: Mutex<()>,
    /// Whether any model has a trial or a pin: while none has, nobody looks who asks.
    is_split: AtomicBool,
}

impl Router {
    /// The version that answers, or why none does.
    pub(crate) fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Served>, InferError> {
        let table = self.table.load();
        let versions = table.get(name).ok_or_else(|| InferError::UnknownModel { name: name.to_owned() })?;
        let refused = |version: Option<&str>| {
            versions
                .refused
                .iter()
                .rev()
                .find(|status| version.is_none_or(|version| status.version == version))
        };
        let found = match version {
            None => versions.live.as_ref(),
            Some(version) => versions.all.iter().find(|served| served.version() == version),
        };
        match (found, refused(version)) {
            (Some(served), _) => Ok(Arc::clone(served)),
            (None, Some(status)) => Err(unavailable(status)),
            (None, None) => Err(InferError::UnknownVersion {
                name: name.to_owned(),
                version: version.unwrap_or_default().to_owned(),
            }),
        }
    }

    /// Whether it may matter who asks.
    pub(crate) fn is_split(&self) -> bool {
        self.is_split.load(Relaxed)
    }

    /// Where a request leads: to the version it names; else to the one pinned to its cartridge; else to the live one
    /// or the one on trial beside it.
    pub(crate) fn route(
        &self,
        name: &str,
        version: Option<&str>,
        caller: &Caller,
        id: &str,
    ) -> Result<Route, InferError> {
        if version.is_none()
            && self.is_split()
            && let Some(versions) = self.table.load().get(name)
            && let Some(route) = versions.route(name, caller, id)?
        {
            return Ok(route);
        }
        self.find(name, version).map(Route::to)
    }

    /// The trial of a model.
    pub(crate) fn release(&self, name: &str) -> Option<Arc<Release>> {
        self.table.load().get(name)?.release.clone()
    }

    /// Every trial.
    pub(crate) fn releases(&self) -> Vec<Arc<Release>> {
        self.table.load().values().filter_map(|versions| versions.release.clone()).collect()
    }

    /// Begins, changes or ends the trial of a model.
    pub(crate) fn set_release(&self, name: &str, release: Option<Arc<Release>>) {
        self.change(name, |versions| versions.release = release);
    }

    /// Sets which versions answer for which types of cartridge.
    pub(crate) fn set_pins(&self, name: &str, pins: BTreeMap<String, String>) {
        if self.table.load().get(name).map_or(pins.is_empty(), |versions| versions.pins == pins) {
            return;
        }
        self.change(name, |versions| versions.pins = pins);
    }

    /// Makes a loaded version the live one; whether it is loaded.
    pub(crate) fn flip(&self, name: &str, version: &str) -> bool {
        let loaded = |table: &Table| table.get(name).and_then(|versions| versions.loaded(version)).is_some();
        loaded(&self.table.load())
            && self.change(name, |versions| {
                let found = versions.loaded(version).cloned();
                let is_loaded = found.is_some();
                versions.live = found.or_else(|| versions.live.take());
                is_loaded
            })
    }

    /// Takes one version out of service; gives back what served, which still works off its queue.
    pub(crate) fn forget(&self, name: &str, version: &str) -> Option<Arc<Served>> {
        self.table.load().get(name)?.loaded(version)?;
        self.change(name, |versions| {
            if versions.live.as_ref().is_some_and(|live| live.version() == version) {
                versions.live = None;
            }
            take(&mut versions.all, version)
        })
    }

    /// The live version of the model with that family and task.
    pub(crate) fn find_task(&self, family: &str, task: &str) -> Option<Arc<Served>> {
        let table = self.table.load();
        let mut live = table.values().filter_map(|versions| versions.live.as_ref());
        live.find(|served| served.family() == family && served.task() == task).cloned()
    }

    /// Every loaded version of one model, oldest first; of every model without a name.
    pub(crate) fn loaded(&self, name: Option<&str>) -> Vec<Arc<Served>> {
        let table = self.table.load();
        let wanted = table.iter().filter(|(key, _)| name.is_none_or(|name| name == key.as_str()));
        wanted.flat_map(|(_, versions)| versions.all.iter().cloned()).collect()
    }

    /// Every version of one model, oldest first.
    pub(crate) fn versions(&self, name: &str) -> Vec<String> {
        let table = self.table.load();
        let versions = table.get(name).map(|versions| versions.all.as_slice());
        versions.unwrap_or_default().iter().map(|served| served.version().to_owned()).collect()
    }

    /// Every known version with its state, by name.
    pub(crate) fn statuses(&self) -> Vec<ModelStatus> {
        let table = self.table.load();
        table.values().flat_map(statuses_of).collect()
    }

    /// Makes `served` answer for its version and, when `live`, for its name; gives back the
    /// version it replaces, which still works off its queue.
    pub(crate) fn install(&self, served: &Arc<Served>, live: bool) -> Option<Arc<Served>> {
        self.change(served.name(), |versions| {
            let replaced = take(&mut versions.all, served.version());
            versions.refused.retain(|status| status.version != served.version());
            versions.all.push(Arc::clone(served));
            if live {
                versions.live = Some(Arc::clone(served));
            }
            replaced
        })
    }

    /// Notes a version that cannot serve. A version of the same name that serves stays.
    pub(crate) fn refuse(&self, status: ModelStatus) {
        self.change(&status.name.clone(), |versions| {
            versions.refused.retain(|other| other.version != status.version);
            versions.refused.push(status);
        });
    }

    /// Takes every version of `name` out of service and notes `reason`; gives back what served, which still
    /// works off its queue. A name that is not known stays so.
    pub(crate) fn remove(&self, name: &str, reason: &str) -> Vec<Arc<Served>> {
        if !self.table.load().contains_key(name) {
            return Vec::new();
        }
        self.change(name, |versions| {
            let state = || ModelState::Unavailable { reason: reason.to_owned() };
            versions.live = None;
            let removed = std::mem::take(&mut versions.all);
            let rows = removed.iter().map(|served| ModelStatus { state: state(), ..served.status(false) });
            for row in rows {
                versions.refused.retain(|other| other.version != row.version);
                versions.refused.push(row);
            }
            removed
        })
    }

    fn change<T>(&self, name: &str, edit: impl FnOnce(&mut Versions) -> T) -> T {
        let _alone = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.table.load());
        let result = edit(table.entry(name.to_owned()).or_default());
        let is_split = table.values().any(|versions| versions.release.is_some() || !versions.pins.is_empty());
        self.table.store(Arc::new(table));
        self.is_split.store(is_split, Relaxed);
        result
    }
}

impl Versions {
    fn loaded(&self, version: &str) -> Option<&Arc<Served>> {
        self.all.iter().find(|served| served.version() == version)
    }

    /// Where a request that names no version leads, unless simply to the live one.
    fn route(&self, name: &str, caller: &Caller, id: &str) -> Result<Option<Route>, InferError> {
        if let Some(version) = self.pins.get(&caller.cartridge) {
            let reason =
                format!("version {version}, pinned to cartridge {}, is not loaded", caller.cartridge);
            let missing = || InferError::Unavailable { name: name.to_owned(), reason };
            return Ok(Some(Route::to(Arc::clone(self.loaded(version).ok_or_else(missing)?))));
        }
        let Some((release, live)) = self.release.as_ref().zip(self.live.as_ref()) else { return Ok(None) };
        let candidate = self.loaded(&release.trial().version);
        Ok(candidate.map(|candidate| release.route(live, candidate, caller, id)))
    }
}

fn take(all: &mut Vec<Arc<Served>>, version: &str) -> Option<Arc<Served>> {
    let index = all.iter().position(|served| served.version() == version)?;
    Some(all.remove(index))
}

fn statuses_of(versions: &Versions) -> Vec<ModelStatus> {
    let is_live = |served: &Arc<Served>| versions.live.as_ref().is_some_and(|live| Arc::ptr_eq(live, served));
    let loaded = versions.all.iter().map(|served| served.status(is_live(served)));
    loaded.chain(versions.refused.iter().cloned()).collect()
}

fn unavailable(status: &ModelStatus) -> InferError {
    let reason = match &status.state {
        ModelState::Ready => String::new(),
        ModelState::Unavailable { reason } => reason.clone(),
    };
    InferError::Unavailable { name: status.name.clone(), reason }
}
