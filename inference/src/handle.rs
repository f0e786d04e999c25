//! The only way in: a cheap handle through which servers, families and benches reach models.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use models::Tensor;

use crate::{
    Caller, Candidate, Figures, InferError, Limits, ModelState, ModelStatus, Request, Response, Route,
    Served, Terms, TraceContext, Trial,
    cores::Cores,
    drift::{Closed, Drift, Thresholds},
    ensemble::{self, Ensemble, Ensembles},
    release::Release,
    router::Router,
    sequences::Sequences,
    server::guard,
    spans::SpanId,
    start,
    tenants::{Full, Quota, Seat, Tenants},
};

/// Why a model that was taken out of service does not answer, in the word of the protocol.
const UNLOADED: &str = "unloaded";

/// When to come back to a server, or as a tenant, that has too many requests under way.
const RETRY_AFTER_MS: u64 = 100;

/// State shared by every handle and by the server that owns it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) router: Router,
    pub(crate) limits: Arc<Limits>,
    pub(crate) cores: Arc<Cores>,
    tenants: Tenants,
    pub(crate) required: Vec<String>,
    pub(crate) accepting: AtomicBool,
    pub(crate) drift: OnceLock<Drift>,
    pub(crate) ensembles: Ensembles,
    pub(crate) sequences: Sequences,
    inflight: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(limits: Limits, required: Vec<String>) -> Self {
        Self {
            router: Router::default(),
            limits: Arc::new(limits),
            cores: Arc::default(),
            tenants: Tenants::default(),
            required,
            accepting: AtomicBool::new(false),
            drift: OnceLock::new(),
            ensembles: Ensembles::default(),
            sequences: Sequences::default(),
            inflight: AtomicUsize::new(0),
        }
    }

    /// Requests inside the scheduler.
    pub(crate) fn inflight(&self) -> usize {
        self.inflight.load(Ordering::Acquire)
    }

    /// Answers checked tensors, as an ensemble, as part of a sequence, or by themselves.
    pub(crate) async fn answer(
        &self,
        served: &Served,
        tensors: Vec<Tensor>,
        rows: usize,
        terms: Terms,
    ) -> Result<Response, InferError> {
        match served.plan() {
            Some(plan) => {
                // The spans of the steps stand below that of the whole.
                let own = terms.trace.map(|trace| (trace, SpanId::fresh()));
                let trace = own.map(|(trace, own)| TraceContext { parent: Some(own), ..trace });
                let terms = Terms { trace, ..terms };
                served.pool().account(own, rows, plan.run(self, tensors, &terms)).await
            }
            None => self.ask(served, tensors, rows, terms).await,
        }
    }

    /// The same of a version that is no ensemble.
    pub(crate) async fn ask(
        &self,
        served: &Served,
        tensors: Vec<Tensor>,
        rows: usize,
        terms: Terms,
    ) -> Result<Response, InferError> {
        let Some(config) = served.sequence() else { return served.infer(tensors, rows, terms).await };
        // A sequence holds on to the version it begins with.
        let served = self.router.find(served.name(), Some(served.version()))?;
        self.sequences.run(&served, config, tensors, terms, &self.limits).await
    }
}

/// Counts a request in for as long as it lives.
struct Permit<'a>(&'a AtomicUsize);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// See the module. Clones share everything.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

/// Whether the server takes requests, and what every model has to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it takes requests.
    pub ready: bool,
    /// Why not, when it does not.
    pub reason: Option<String>,
    /// Every known model version.
    pub models: Vec<ModelStatus>,
}

impl Handle {
    /// Runs `request` on the model it names.
    pub async fn infer(&self, request: Request) -> Result<Response, InferError> {
        let Request { model, version, tensors, terms } = request;
        let served = self.model(&model, version.as_deref())?;
        self.infer_on(&served, tensors, terms).await
    }

    /// Runs `tensors` on a model that was looked up before. Datatypes, shapes and row counts
    /// are checked against its signature.
    pub async fn infer_on(
        &self,
        served: &Served,
        tensors: Vec<Tensor>,
        terms: Terms,
    ) -> Result<Response, InferError> {
        self.run(served, tensors, terms, usize::MAX).await
    }

    /// The same for tensors of which only row 0 is a case, and the others ask why the model answers it so.
    pub async fn infer_case(&self, served: &Served, tensors: Vec<Tensor>) -> Result<Response, InferError> {
        self.run(served, tensors, Terms::default(), 1).await
    }

    /// Drift is measured on the first `cases` rows.
    pub(crate) async fn run(
        &self,
        served: &Served,
        tensors: Vec<Tensor>,
        terms: Terms,
        cases: usize,
    ) -> Result<Response, InferError> {
        let rows = served.signature().check_inputs(&tensors)?;
        let _permit = self.enter(served)?;
        let _seat = terms.tenant.as_ref().map(|tenant| self.seat(tenant)).transpose()?;
        let watched = self.shared.drift.get().zip(served.ground());
        let place = watched.and_then(|(drift, ground)| drift.place(ground, &tensors, cases));
        let answer = self.shared.answer(served, tensors, rows, terms).await?;
        if let Some(place) = place {
            place.fill(&answer.tensors);
        }
        Ok(answer)
    }

    fn seat(&self, tenant: &Arc<str>) -> Result<Seat<'_>, InferError> {
        let limits = &self.shared.limits;
        let quota = Quota { at_once: limits.tenant_requests_max, per_s: limits.tenant_requests_per_s_max };
        self.shared.tenants.enter(tenant, quota, Instant::now()).map_err(|full| match full {
            Full::AtOnce => InferError::TenantBusy {
                tenant: tenant.to_string(),
                limit: quota.at_once,
                retry_after_ms: RETRY_AFTER_MS,
            },
            Full::TooFast(wait) => InferError::TenantFast {
                tenant: tenant.to_string(),
                per_s: quota.per_s,
                // Rounded up: a moment early would be in vain.
                retry_after_ms: wait.as_millis() as u64 + 1,
            },
        })
    }

    fn enter(&self, served: &Served) -> Result<Permit<'_>, InferError> {
        let shared = &*self.shared;
        let permit = Permit(&shared.inflight);
        // Counted before the look at `accepting`, so that a drain never misses a request.
        let inside = shared.inflight.fetch_add(1, Ordering::AcqRel);
        if !shared.accepting.load(Ordering::Acquire) {
            return Err(InferError::Draining);
        }
        if inside >= shared.limits.inflight_requests_max {
            return Err(InferError::Overloaded {
                model: served.name().to_owned(),
                retry_after_ms: RETRY_AFTER_MS,
            });
        }
        Ok(permit)
    }

    /// The model version that answers for `name`: the given one, or the live one.
    ///
    /// # Errors
    /// There is none, or the caller's token is for other models.
    pub fn model(&self, name: &str, version: Option<&str>) -> Result<Arc<Served>, InferError> {
        guard::check(name)?;
        self.shared.router.find(name, version)
    }

    /// Whether it may matter who asks: whether any model has a version on trial or a pin.
    pub fn is_split(&self) -> bool {
        self.shared.router.is_split()
    }

    /// Where a request of `caller` to the model `name` leads; `id` stands for a caller who is not known.
    pub fn route(
        &self,
        name: &str,
        version: Option<&str>,
        caller: &Caller,
        id: &str,
    ) -> Result<Route, InferError> {
        guard::check(name)?;
        self.shared.router.route(name, version, caller, id)
    }

    /// Begins, changes or ends the trial of a version of `name`; the same again changes nothing. A trial begins with
    /// new figures. This must be called on a runtime.
    pub fn set_trial(&self, name: &str, trial: Option<Trial>) {
        let router = &self.shared.router;
        if router.release(name).map(|release| release.trial().clone()) == trial {
            return;
        }
        let start = |trial| Arc::new(Release::start(name, trial, &self.shared.limits));
        router.set_release(name, trial.map(start));
    }

    /// The trial of a model and what was seen of it so far.
    pub fn trial(&self, name: &str) -> Option<(Trial, Figures)> {
        let release = self.shared.router.release(name)?;
        Some((release.trial().clone(), release.figures()))
    }

    /// Says that the inputs or outputs of a version are not what they were. Of one on trial it becomes part of its
    /// figures; whether it is.
    pub fn drifts(&self, name: &str, version: &str, reason: &str) -> bool {
        let release = self.shared.router.release(name).filter(|release| release.trial().version == version);
        release.inspect(|release| release.drifts(reason)).is_some()
    }

    /// Sets which versions of `name` answer for which types of cartridge, whatever is live.
    pub fn set_pins(&self, name: &str, pins: BTreeMap<String, String>) {
        self.shared.router.set_pins(name, pins);
    }

    /// Makes a version that is loaded the live one, at once; whether it is loaded.
    pub fn flip(&self, name: &str, version: &str) -> bool {
        self.shared.router.flip(name, version)
    }

    /// Takes one version of `name` out of service; what it has admitted is worked off.
    pub fn forget(&self, name: &str, version: &str) {
        drop(self.shared.router.forget(name, version));
    }

    /// The live version of the model with that family and task.
    pub fn find(&self, family: &str, task: &str) -> Option<Arc<Served>> {
        self.shared.router.find_task(family, task)
    }

    /// Versions of one model that serve, oldest first.
    pub fn versions(&self, name: &str) -> Vec<String> {
        self.shared.router.versions(name)
    }

    /// Loaded versions of one model, oldest first; of every model without a name.
    pub fn loaded(&self, name: Option<&str>) -> Vec<Arc<Served>> {
        self.shared.router.loaded(name)
    }

    /// Loads, warms up and flips to `candidate`, as [`crate::Server::install`] does.
    pub fn install(&self, candidate: Candidate) -> Result<(), InferError> {
        start::install(&self.shared, candidate)
    }

    /// Watches for drift from now on; `told` hears of every window that closes, on a thread of its own. The first call
    /// counts.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn watch_drift(&self, all: Thresholds, told: Box<dyn Fn(Closed) + Send>) -> std::io::Result<()> {
        let drift = Drift::start(all, told)?;
        let _ = self.shared.drift.set(drift);
        Ok(())
    }

    /// Gives each of these models thresholds of its own, as its policy says, and no other model.
    pub fn set_drift_thresholds(&self, own: HashMap<String, Thresholds>) {
        if let Some(drift) = self.shared.drift.get() {
            drift.set(own);
        }
    }

    /// Takes every version of `name` out of service; what it has admitted is worked off. A name that is not
    /// known is none the less out of service.
    pub fn unload(&self, name: &str) {
        self.shared.ensembles.want(name, false);
        drop(self.shared.router.remove(name, UNLOADED));
        self.shared.sequences.forget(name);
    }

    /// Serves `ensemble` as soon as all of its models serve, in place of one of its name before. A change of its models
    /// changes it too.
    ///
    /// # Errors
    /// It cannot be run whatever its models are, or its name is a model's.
    pub fn declare(&self, ensemble: Ensemble) -> Result<(), InferError> {
        ensemble::declare(&self.shared, ensemble)
    }

    /// Serves again the ensemble `name` that was unloaded; false when none was declared.
    pub fn revive(&self, name: &str) -> bool {
        let known = self.shared.ensembles.want(name, true);
        if known {
            ensemble::install(&self.shared);
        }
        known
    }

    /// Sequences of `model` that are under way.
    pub fn sequences(&self, model: &str) -> usize {
        self.shared.sequences.count(model)
    }

    /// Every known model version, also those that cannot serve, by name.
    pub fn models(&self) -> Vec<ModelStatus> {
        self.shared.router.statuses()
    }

    /// Whether requests are taken at all: neither starting nor shutting down.
    pub fn accepting(&self) -> bool {
        self.shared.accepting.load(Ordering::Acquire)
    }

    /// Bounds of the scheduler.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Whether requests are taken: not draining, at least one model serves and every required
    /// one does.
    pub fn readiness(&self) -> Readiness {
        let models = self.models();
        let serves = |name: Option<&str>| {
            models.iter().any(|status| {
                status.live
                    && status.state == ModelState::Ready
                    && name.is_none_or(|name| status.name == name)
            })
        };
        let missing = self.shared.required.iter().find(|name| !serves(Some(name)));
        let reason = if !self.shared.accepting.load(Ordering::Acquire) {
            Some("not accepting requests: starting or shutting down".to_owned())
        } else if let Some(name) = missing {
            Some(format!("required model '{name}' does not serve"))
        } else if !serves(None) {
            Some("no model serves".to_owned())
        } else {
            None
        };
        Readiness { ready: reason.is_none(), reason, models }
    }
}
