//! What both faces of the protocol share: the way in, the repository, regions of memory and settings.

use std::{fmt, path::PathBuf, sync::Arc};

use tokio::sync::Mutex;

use super::{
    log::{Log, LogControl},
    memory::Regions,
    trace::Tracing,
};
use crate::{Handle, Repository};

/// What the faces may do beside inference; by default nothing of it.
#[derive(Clone, Default)]
pub struct OipOptions {
    /// Where models come from that a client asks to load.
    pub repository: Option<Arc<dyn Repository>>,
    /// Bytes of a model that a client may send along with a load; 0: models come from the repository alone.
    pub override_bytes_max: usize,
    /// Folder of the shared memory objects that clients may register; none: shared memory is off.
    pub shared_memory: Option<PathBuf>,
    /// What puts changed log settings into effect.
    pub log: Option<LogControl>,
}

impl fmt::Debug for OipOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OipOptions").field("shared_memory", &self.shared_memory).finish_non_exhaustive()
    }
}

/// State of the protocol. Clones share it; a face is made over a clone.
#[derive(Debug, Clone)]
pub struct Oip {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    repository: Option<Arc<dyn Repository>>,
    override_bytes_max: usize,
    loading: Arc<Mutex<()>>,
    regions: Option<Regions>,
    trace: Tracing,
    log: Log,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("regions", &self.regions).finish_non_exhaustive()
    }
}

impl Oip {
    /// The protocol over `handle`.
    pub fn new(handle: Handle, options: OipOptions) -> Self {
        let OipOptions { repository, override_bytes_max, shared_memory, log } = options;
        let shared = Shared {
            regions: shared_memory.map(|folder| Regions::new(folder, handle.limits().regions_max)),
            handle,
            repository,
            override_bytes_max,
            loading: Arc::default(),
            trace: Tracing::default(),
            log: Log::new(log),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The way to the models.
    pub fn handle(&self) -> &Handle {
        &self.shared.handle
    }

    pub(super) fn repository(&self) -> Option<&Arc<dyn Repository>> {
        self.shared.repository.as_ref()
    }

    /// Bytes of a model that a client may send along.
    pub(super) fn override_bytes_max(&self) -> usize {
        self.shared.override_bytes_max
    }

    /// Held while a model is loaded: loads run one after another.
    pub(super) fn loading(&self) -> &Arc<Mutex<()>> {
        &self.shared.loading
    }

    pub(super) fn regions(&self) -> Option<&Regions> {
        self.shared.regions.as_ref()
    }

    pub(super) fn trace(&self) -> &Tracing {
        &self.shared.trace
    }

    pub(super) fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Protocol extensions that this server offers, in the names and the order the protocol gives them.
    pub(super) fn extensions(&self) -> Vec<String> {
        let memory = self.regions().map(|_| "system_shared_memory");
        let before = [
            "classification",
            "model_repository",
            "model_repository(unload_dependents)",
            "schedule_policy",
            "model_configuration",
        ];
        let behind = ["binary_tensor_data", "parameters", "statistics", "trace", "logging"];
        before.into_iter().chain(memory).chain(behind).map(str::to_owned).collect()
    }
}

impl From<Handle> for Oip {
    fn from(handle: Handle) -> Self {
        Self::new(handle, OipOptions::default())
    }
}

impl From<&Handle> for Oip {
    fn from(handle: &Handle) -> Self {
        handle.clone().into()
    }
}

impl From<&Oip> for Oip {
    fn from(oip: &Oip) -> Self {
        oip.clone()
    }
}
