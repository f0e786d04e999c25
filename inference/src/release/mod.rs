//! A version on trial beside the live one.
//!
//! In shadow, requests that the live version has answered are run again on the version on trial. In canary a share of
//! the callers, always the same ones, is answered by the version on trial, and its answers are compared with the live
//! version's. A request that the version on trial fails is answered by the live one, so its callers notice nothing
//! but their time. Only requests that name no version take part.
//!
//! Who a caller is, is said by the request parameter `user_id` or the header `x-user-id`. Without either the request's
//! id decides, so that what is sent again meets the same version; without an id requests take turns.

mod figures;
mod mirror;
mod share;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use models::Tensor;

pub use self::figures::Figures;
use self::{
    figures::Counts,
    mirror::{Job, Mirror},
};
use crate::{Handle, InferError, Limits, Response, Served, Terms, monitor::TrialMetrics};

/// What is done with a version on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is sent copies and answers nobody.
    Shadow,
    /// It answers a share of the callers.
    Canary,
}

/// A version on trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The version, as it is loaded.
    pub version: String,
    /// What is done with it.
    pub stage: Stage,
    /// Percent of the callers that it answers in canary; percent of the requests it is sent in shadow.
    pub share: u8,
    /// Percent of its answers that are compared in canary.
    pub compared: u8,
    /// Numbers agree that differ by no more than this part of the larger, or of 1.
    pub tolerance: f64,
}

/// Who asks, as far as that decides which version answers. Empty is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The person or the session.
    pub user: String,
    /// Category and type of the cartridge, such as `01:01`.
    pub cartridge: String,
}

/// The version that answers a request, and what else is to be done with it.
#[derive(Debug, Clone)]
pub struct Route {
    served: Arc<Served>,
    tried: Option<Tried>,
}

/// How a request takes part in a trial.
#[derive(Debug, Clone)]
struct Tried {
    release: Arc<Release>,
    /// The version that is not asked first.
    other: Arc<Served>,
    /// Whether the version on trial is.
    first: bool,
}

impl Route {
    /// To a version, and nothing else.
    pub(crate) fn to(served: Arc<Served>) -> Self {
        Self { served, tried: None }
    }

    /// The version that is asked first.
    #[must_use]
    pub fn served(&self) -> &Arc<Served> {
        &self.served
    }

    /// Whether that version is on trial.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.first)
    }

    /// The live version, where the one that is asked first is on trial.
    #[must_use]
    pub(crate) fn live(&self) -> Option<Self> {
        let tried = self.tried.as_ref().filter(|tried| tried.first)?;
        Some(Self::to(Arc::clone(&tried.other)))
    }

    /// The version on trial failed what the live one then answered.
    pub(crate) fn failed(&self) {
        if let Some(tried) = &self.tried {
            tried.release.failed();
        }
    }
}

/// A trial under way: its counters and its queue.
#[derive(Debug)]
pub(crate) struct Release {
    model: String,
    trial: Trial,
    counts: Arc<Counts>,
    mirror: Mirror,
    turns: AtomicU64,
    copies: AtomicU64,
    metrics: TrialMetrics,
}

impl Release {
    /// Starts a trial; this must be called on a runtime.
    pub(crate) fn start(model: &str, trial: Trial, limits: &Limits) -> Self {
        let counts = Arc::new(Counts::default());
        let (depth, bytes) = (limits.mirror_depth_max, limits.mirror_bytes_max);
        let mirror = Mirror::start(depth, bytes, trial.stage, trial.tolerance, &counts);
        let metrics = TrialMetrics::new(model, &trial.version);
        let (turns, copies) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { model: model.to_owned(), trial, counts, mirror, turns, copies, metrics }
    }

    pub(crate) fn trial(&self) -> &Trial {
        &self.trial
    }

    pub(crate) fn figures(&self) -> Figures {
        self.counts.read()
    }

    /// Somebody says why the version on trial drifts.
    pub(crate) fn drifts(&self, reason: &str) {
        self.counts.drifts(reason);
    }

    /// Brings the metrics up to date with the counters.
    pub(crate) fn observe(&self) {
        self.metrics.observe(&self.counts.read(), self.trial.stage, self.trial.share);
    }

    /// The route of a request of `caller`, or without one of `id`, to a model whose live version is `live`. Versions
    /// with other tensors cannot stand for each other: then there is no trial.
    pub(crate) fn route(
        self: &Arc<Self>,
        live: &Arc<Served>,
        candidate: &Arc<Served>,
        caller: &Caller,
        id: &str,
    ) -> Route {
        if Arc::ptr_eq(live, candidate) || !live.is_like(candidate) {
            return Route::to(Arc::clone(live));
        }
        let first = self.trial.stage == Stage::Canary && self.holds(caller, id);
        let (served, other) = if first { (candidate, live) } else { (live, candidate) };
        let tried = Tried { release: Arc::clone(self), other: Arc::clone(other), first };
        Route { served: Arc::clone(served), tried: Some(tried) }
    }

    fn holds(&self, caller: &Caller, id: &str) -> bool {
        let Trial { share, version, .. } = &self.trial;
        match [caller.user.as_str(), id].into_iter().find(|name| !name.is_empty()) {
            Some(name) => share::holds(*share, &self.model, version, name),
            None => share::takes(*share, self.turns.fetch_add(1, Relaxed)),
        }
    }

    fn failed(&self) {
        self.counts.failed.fetch_add(1, Relaxed);
    }

    /// Whether the next request is to be mirrored: in shadow one that the live version answers, in canary one that
    /// the version on trial does.
    fn copies(&self, first: bool) -> bool {
        let share = match (self.trial.stage, first) {
            (Stage::Shadow, false) => self.trial.share,
            (Stage::Canary, true) => self.trial.compared,
            (Stage::Shadow, true) | (Stage::Canary, false) => return false,
        };
        share::takes(share, self.copies.fetch_add(1, Relaxed))
    }

    fn answered(&self, first: bool, answer: &Response) {
        if first {
            self.counts.answered.fetch_add(1, Relaxed);
            self.counts.ran(answer.compute_us);
        } else {
            self.counts.live_ran(answer.compute_us);
        }
    }

    fn mirror(&self, again: &Arc<Served>, tensors: Vec<Tensor>, answer: &Response) {
        let job = Job { again: Arc::clone(again), tensors, answer: answer.tensors.clone() };
        if !self.mirror.offer(job) {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        self.metrics.observe(&self.counts.read(), self.trial.stage, 0);
    }
}

impl Handle {
    /// Runs `tensors` where `route` leads; what a version on trial fails, the live version answers.
    ///
    /// # Errors
    /// What the live version says, or the only one.
    pub async fn infer_by(
        &self,
        route: &Route,
        tensors: Vec<Tensor>,
        terms: Terms,
    ) -> Result<Response, InferError> {
        let Some(live) = route.live() else {
            return self.infer_first(route, tensors, terms, usize::MAX).await;
        };
        match self.infer_first(route, tensors.clone(), terms.clone(), usize::MAX).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                // What both refuse is the caller's fault, and what both fail nobody's in particular.
                let answer = self.infer_on(&live.served, tensors, terms).await?;
                route.failed();
                Ok(answer)
            }
        }
    }

    /// Runs `tensors` on the version that is asked first, and on no other. One on trial gets half of the time there
    /// is, so that there is time to ask again. Drift is measured on the first `cases` rows.
    pub(crate) async fn infer_first(
        &self,
        route: &Route,
        tensors: Vec<Tensor>,
        terms: Terms,
        cases: usize,
    ) -> Result<Response, InferError> {
        let Some(tried) = &route.tried else {
            return self.run(&route.served, tensors, terms, cases).await;
        };
        // What is answered out of a sequence cannot be asked again by itself.
        let copied = terms.sequence.is_none() && tried.release.copies(tried.first);
        let copy = copied.then(|| tensors.clone());
        let deadline = if tried.first { Some(self.half(terms.deadline)) } else { terms.deadline };
        let answer = self.run(&route.served, tensors, Terms { deadline, ..terms }, cases).await?;
        tried.release.answered(tried.first, &answer);
        if let Some(copy) = copy {
            tried.release.mirror(&tried.other, copy, &answer);
        }
        Ok(answer)
    }

    fn half(&self, deadline: Option<Instant>) -> Instant {
        let now = Instant::now();
        let until = deadline.unwrap_or_else(|| now + self.limits().deadline_max());
        now + until.saturating_duration_since(now) / 2
    }
}
