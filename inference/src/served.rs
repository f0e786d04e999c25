//! One model version that serves, as the rest of the program sees it.

use std::{fmt, sync::Arc};

use models::{
    Bundle, ModelError, Signature, Tensor,
    bundle::{BatchingConfig, Filled, SequenceConfig},
    engine::Device,
};

use crate::{
    Ensemble, InferError, Limits, ModelSource, Response, Terms,
    cores::Cores,
    drift::Ground,
    ensemble::{Plan, Serving},
    error::chain,
    monitor::Statistics,
    pool::{Call, Pool},
    worker,
};

/// Whether a model version answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelState {
    /// It answers.
    Ready,
    /// It does not, and why: the file or library at fault and what fixes it.
    Unavailable {
        /// Text for people.
        reason: String,
    },
}

/// One row of the list of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// Model name.
    pub name: String,
    /// Version identifier.
    pub version: String,
    /// Family, for example `biomarker`; empty when the bundle could not be read.
    pub family: String,
    /// Task, for example `diabetes`.
    pub task: String,
    /// Engine, `candle` or `onnx`.
    pub platform: String,
    /// Whether this version answers requests that name none.
    pub live: bool,
    /// Whether it answers at all.
    pub state: ModelState,
}

/// A loaded model version.
pub struct Served {
    pool: Arc<Pool>,
    ground: Option<Arc<Ground>>,
    /// What callers see of the signature.
    signature: Signature,
    /// How it answers, where other models do.
    ensemble: Option<Serving>,
}

impl Served {
    /// Loads and warms up every instance, then starts the workers. This takes as long as the
    /// weights need and belongs on a thread of its own.
    pub(crate) fn load(
        source: ModelSource,
        limits: Arc<Limits>,
        cores: Arc<Cores>,
    ) -> Result<Self, ModelError> {
        let instances = source.instances.max(1);
        let pool = Pool::new(source, limits, cores);
        pool.load_first()?;
        (0..instances).for_each(|_| worker::spawn(&pool));
        let ground = pool.source.bundle.as_ref().and_then(|bundle| Ground::of(bundle, &pool.version));
        let inner = &pool.source.signature;
        let sequence = pool.source.batching.sequence.as_ref();
        let signature = sequence.map_or_else(|| inner.clone(), |sequence| sequence.visible(inner));
        Ok(Self { pool, ground, signature, ensemble: None })
    }

    /// An ensemble, which has no instance of its own.
    pub(crate) fn ensemble(
        source: ModelSource,
        ensemble: Serving,
        limits: Arc<Limits>,
        cores: Arc<Cores>,
    ) -> Self {
        let signature = source.signature.clone();
        let pool = Pool::new(source, limits, cores);
        Self { pool, ground: None, signature, ensemble: Some(ensemble) }
    }

    /// Model name.
    pub fn name(&self) -> &str {
        &self.pool.name
    }

    /// Version identifier.
    pub fn version(&self) -> &str {
        &self.pool.version
    }

    /// Engine that runs it.
    pub fn platform(&self) -> &str {
        &self.pool.source.platform
    }

    /// Family of the model.
    pub fn family(&self) -> &str {
        &self.pool.source.family
    }

    /// Task of the model.
    pub fn task(&self) -> &str {
        &self.pool.source.task
    }

    /// Inputs and outputs that callers see.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Inputs and outputs of the model itself, with what it remembers of a sequence.
    pub(crate) fn inner_signature(&self) -> &Signature {
        &self.pool.source.signature
    }

    /// How it remembers, if it does.
    pub fn sequence(&self) -> Option<&SequenceConfig> {
        self.pool.source.batching.sequence.as_ref()
    }

    /// Its steps, if it is an ensemble.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.ensemble.as_ref().map(|serving| &*serving.plan)
    }

    /// Rows that one request may have.
    pub fn rows_max(&self) -> usize {
        self.pool.rows_max()
    }

    /// Whether the same tensors mean the same to `other`, and its answers can stand for this one's.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.signature() == other.signature() && self.columns().eq(other.columns())
    }

    /// Meaning of the columns of its first input.
    fn columns(&self) -> impl Iterator<Item = &str> {
        let features = self.bundle().into_iter().flat_map(|bundle| &bundle.config().features);
        features.map(|feature| feature.name.as_str())
    }

    /// The bundle it was loaded from; none for models that tests make up.
    pub fn bundle(&self) -> Option<&Arc<Bundle>> {
        self.pool.source.bundle.as_ref()
    }

    /// Whether it answers now.
    pub fn state(&self) -> ModelState {
        let fault = self.ensemble.as_ref().map_or_else(|| self.pool.fault(), Serving::fault);
        match fault {
            None => ModelState::Ready,
            Some(reason) => ModelState::Unavailable { reason },
        }
    }

    /// Counts and durations since it was loaded.
    pub fn statistics(&self) -> Statistics {
        self.pool.statistics()
    }

    /// Where its instances compute.
    pub fn device(&self) -> Device {
        self.pool.source.device
    }

    /// Instances that run side by side.
    pub fn instances(&self) -> usize {
        self.pool.source.instances.max(1)
    }

    /// How its requests wait and are put together.
    pub fn batching(&self) -> &BatchingConfig {
        &self.pool.source.batching
    }

    /// What it was declared to be, if it is an ensemble.
    pub fn steps(&self) -> Option<&Ensemble> {
        self.plan().map(Plan::ensemble)
    }

    /// Its row of the list.
    pub(crate) fn status(&self, live: bool) -> ModelStatus {
        ModelStatus {
            name: self.name().to_owned(),
            version: self.version().to_owned(),
            family: self.family().to_owned(),
            task: self.task().to_owned(),
            platform: self.platform().to_owned(),
            live,
            state: self.state(),
        }
    }

    /// What its requests are compared with, where its bundle tells of the training.
    pub(crate) fn ground(&self) -> Option<&Arc<Ground>> {
        self.ground.as_ref()
    }

    /// Runs the model itself on all of its inputs, filled up to a length where it has such.
    pub(crate) async fn infer(
        &self,
        tensors: Vec<Tensor>,
        rows: usize,
        terms: Terms,
    ) -> Result<Response, InferError> {
        let Some(lengths) = &self.batching().lengths else {
            return self.pool.infer(Call { tensors, rows, bucket: 0, terms }).await;
        };
        let Filled { tensors, length, bucket } = lengths.fill(self.inner_signature(), tensors)?;
        let mut answer = self.pool.infer(Call { tensors, rows, bucket, terms }).await?;
        let cut = lengths.cut(self.inner_signature(), answer.tensors, length);
        answer.tensors = cut.map_err(|error| {
            tracing::error!(model = self.name(), error = chain(&error), "model gave less than it was given");
            InferError::Failed { model: self.name().to_owned() }
        })?;
        Ok(answer)
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Served {
    /// The last user of a version that was replaced ends its workers.
    fn drop(&mut self) {
        self.pool.close();
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("name", &self.name())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
