//! Where the instances of one model version come from. The scheduler knows a model only
//! through this, so tests drive it with models that have no bundle.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use models::{Bundle, Engine, Model, ModelError, Signature, bundle::BatchingConfig, engine::Device};

use crate::Candidate;

/// Loads one fresh, verified instance.
pub type Loader = Box<dyn Fn() -> Result<Box<dyn Model>, ModelError> + Send + Sync>;

/// Where versions of a model come from when a client asks for it to be loaded.
pub trait Repository: Send + Sync {
    /// Every version of `model` that can be served; none when there is no such model. This may read and
    /// verify files and belongs on a thread that may block.
    ///
    /// # Errors
    /// Why no version of a model that is there can be used.
    fn find(&self, model: &str) -> Result<Vec<Candidate>, String>;

    /// A version of `model` made of an ONNX graph that a client sent along, of family `generic`; `taken` says that the
    /// name answers already. What is kept of it goes with the last instance. This may take as long as examining the graph
    /// does.
    ///
    /// # Errors
    /// Why it cannot be served; a repository that makes none says so.
    fn make(&self, model: &str, version: u64, graph: &Bytes, taken: bool) -> Result<Candidate, String> {
        let _ = (model, version, graph, taken);
        Err("this server makes no model of what is sent along".to_owned())
    }
}

/// One model version that can be served.
pub struct ModelSource {
    /// Model name.
    pub name: String,
    /// Version identifier.
    pub version: String,
    /// Engine that runs it.
    pub platform: String,
    /// Family of `model.toml`, for example `biomarker`.
    pub family: String,
    /// Task of `model.toml`, for example `diabetes`.
    pub task: String,
    /// Inputs and outputs.
    pub signature: Signature,
    /// How requests wait and are put together.
    pub batching: BatchingConfig,
    /// Instances, each run by at most one thread at a time.
    pub instances: usize,
    /// Threads that compute while one instance runs.
    pub threads: usize,
    /// Where its instances compute.
    pub device: Device,
    /// The bundle, where there is one.
    pub bundle: Option<Arc<Bundle>>,
    /// Loads an instance; called again when one is replaced.
    pub load: Loader,
}

impl ModelSource {
    /// The model of `bundle` on whichever of `engines` it asks for. An engine that is not there
    /// shows when the model is loaded, as the reason why it cannot serve.
    pub fn from_bundle(bundle: &Arc<Bundle>, engines: &[Arc<dyn Engine>]) -> Self {
        let config = bundle.config();
        let name = config.engine.name();
        let engine = engines.iter().find(|engine| engine.name() == name).cloned();
        let loaded = Arc::clone(bundle);
        let load = move || match &engine {
            Some(engine) => loaded.load(&**engine),
            None => {
                let reason = "this server was built or started without it".to_owned();
                Err(ModelError::EngineUnavailable { engine: name, reason })
            }
        };
        Self {
            platform: name.to_owned(),
            family: config.family.name().to_owned(),
            task: config.task.clone(),
            batching: config.batching.clone(),
            bundle: Some(Arc::clone(bundle)),
            ..Self::new(
                &config.name,
                config.version.to_string(),
                bundle.signature().clone(),
                config.batching.rows_max,
                Box::new(load),
            )
        }
    }

    /// A source without a bundle: one instance, no linger, family `generic`.
    pub fn new(
        name: impl Into<String>,
        version: impl Into<String>,
        signature: Signature,
        rows_max: usize,
        load: Loader,
    ) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            platform: "none".into(),
            family: "generic".into(),
            task: String::new(),
            signature,
            batching: BatchingConfig::new(rows_max),
            instances: 1,
            threads: 1,
            device: Device::Cpu,
            bundle: None,
            load,
        }
    }
}

impl fmt::Debug for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelSource")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
