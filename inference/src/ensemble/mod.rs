//! Ensembles: models that hand their outputs to each other inside this process, declared as steps and the names of the
//! tensors between them.
//!
//! A step runs as soon as its inputs are there, in the queue of its model like any request, so that ensembles share
//! batches with each other and with everybody else. What is handed over is never copied, and all ensembles together
//! hold so many bytes of it at most. Nothing waits for a place while it holds tensors, so ensembles cannot block each
//! other.

mod board;
mod plan;
mod run;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicUsize},
};

use models::bundle::BatchingConfig;

pub(crate) use self::plan::Plan;
use crate::{InferError, ModelSource, ModelState, ModelStatus, Served, handle::Shared};

/// What platform an ensemble says it runs on, as in Triton.
pub(crate) const PLATFORM: &str = "ensemble";

/// Steps that make one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensemble {
    /// Its name, which no other model has.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What runs, in any order.
    pub steps: Vec<EnsembleStep>,
    /// Tensors that the caller gets, in this order.
    pub outputs: Vec<String>,
}

impl Ensemble {
    /// Whether it can be run whatever its models are.
    ///
    /// # Errors
    /// What is wrong with its steps.
    pub fn check(&self) -> Result<(), String> {
        Plan::of(self.clone()).map(|_| ())
    }
}

/// One model of an ensemble.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnsembleStep {
    /// Its name.
    pub model: String,
    /// Its version, or the one that is live.
    pub version: Option<String>,
    /// For each of its inputs the tensor it takes: one of another step's, else one of the caller's.
    pub inputs: BTreeMap<String, String>,
    /// For those of its outputs that are used what they are called.
    pub outputs: BTreeMap<String, String>,
}

/// An ensemble that was declared.
#[derive(Debug)]
struct Declared {
    plan: Arc<Plan>,
    /// Whether it is to serve.
    wanted: bool,
    /// Why it does not, as it was said last.
    reason: Option<String>,
}

/// Every ensemble of a server.
#[derive(Debug, Default)]
pub(crate) struct Ensembles {
    declared: Mutex<BTreeMap<String, Declared>>,
    /// Bytes on the way from step to step.
    held: AtomicUsize,
}

impl Ensembles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Declared>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `name` is an ensemble's.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// Notes whether it is to serve; false when there is no such ensemble.
    pub(crate) fn want(&self, name: &str, wanted: bool) -> bool {
        let mut declared = self.lock();
        let found = declared.get_mut(name);
        found.map(|declared| declared.wanted = wanted).is_some()
    }
}

/// Takes `ensemble` among those that serve as soon as all of its models do, in place of one of its name before.
///
/// # Errors
/// What is wrong with it whatever models there are.
pub(crate) fn declare(shared: &Arc<Shared>, ensemble: Ensemble) -> Result<(), InferError> {
    let name = ensemble.name.clone();
    if !shared.ensembles.has(&name) && !shared.router.versions(&name).is_empty() {
        return Err(InferError::input("name", format!("`{name}` is a model's already")));
    }
    let plan =
        Plan::of(ensemble).map_err(|reason| InferError::input(format!("ensemble `{name}`"), reason))?;
    let declared = Declared { plan: Arc::new(plan), wanted: true, reason: None };
    drop(shared.router.remove(&name, "declared anew"));
    shared.ensembles.lock().insert(name, declared);
    install(shared);
    Ok(())
}

/// Puts into service what is to serve and does not, as far as its models do.
pub(crate) fn install(shared: &Arc<Shared>) {
    let mut declared = shared.ensembles.lock();
    for Declared { plan, wanted, reason } in declared.values_mut() {
        let name = &plan.ensemble().name;
        if !*wanted {
            continue;
        }
        let serving = shared.router.find(name, None).ok();
        match plan.bind(&shared.router) {
            // Models may come to take and give something else.
            Ok(bound) if serving.as_ref().is_some_and(|now| *now.signature() == bound.signature) => {}
            Ok(bound) => {
                let source = ModelSource {
                    platform: PLATFORM.to_owned(),
                    batching: BatchingConfig::new(bound.rows_max),
                    ..source(plan, bound.signature)
                };
                let plan = Serving { plan: Arc::clone(plan), shared: Arc::downgrade(shared) };
                let (limits, cores) = (Arc::clone(&shared.limits), Arc::clone(&shared.cores));
                let served = Served::ensemble(source, plan, limits, cores);
                drop(shared.router.install(&Arc::new(served), true));
                *reason = None;
            }
            Err(why) if serving.is_none() && reason.as_ref() != Some(&why) => {
                tracing::warn!(ensemble = name, reason = why, "ensemble does not serve yet");
                shared.router.refuse(status(plan, why.clone()));
                *reason = Some(why);
            }
            Err(_) => {}
        }
    }
}

fn source(plan: &Plan, signature: models::Signature) -> ModelSource {
    let ensemble = plan.ensemble();
    let never = || Err(models::ModelError::invalid("ensemble", "has no weights to load"));
    ModelSource::new(&ensemble.name, &ensemble.version, signature, 1, Box::new(never))
}

fn status(plan: &Plan, reason: String) -> ModelStatus {
    let Ensemble { name, version, .. } = plan.ensemble().clone();
    ModelStatus {
        name,
        version,
        family: "generic".to_owned(),
        task: String::new(),
        platform: PLATFORM.to_owned(),
        live: false,
        state: ModelState::Unavailable { reason },
    }
}

/// The plan of an ensemble that serves, and where its models are.
pub(crate) struct Serving {
    pub(crate) plan: Arc<Plan>,
    pub(crate) shared: Weak<Shared>,
}

impl Serving {
    /// Why it cannot answer, if it cannot.
    pub(crate) fn fault(&self) -> Option<String> {
        let shared = self.shared.upgrade()?;
        self.plan.bind(&shared.router).err()
    }
}
