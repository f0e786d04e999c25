//! Sequences under way: what a model that remembers is given with the next request of each.
//!
//! A sequence begins with a request that says so and stays with the version that answered it, whatever becomes live
//! meanwhile, until a request ends it or none comes for a while. Its requests run one after another in the order they
//! came; those of different sequences share batches. One that fails or whose caller leaves changes nothing: it can be
//! asked again.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use models::{ModelError, Tensor, bundle::SequenceConfig};
use tokio::time::timeout_at;

use crate::{InferError, Limits, Response, Served, Terms};

/// Requests of one sequence that wait for the ones before them.
const WAITING_MAX: usize = 64;
/// When to come back where too many wait or there are too many sequences.
const RETRY_AFTER_MS: u64 = 100;

/// What a caller calls a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SequenceId {
    /// A number; 0 stands for no sequence.
    Number(u64),
    /// A text; an empty one stands for no sequence.
    Text(Arc<str>),
}

impl fmt::Display for SequenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl SequenceId {
    /// Whether it names none.
    fn is_none(&self) -> bool {
        match self {
            Self::Number(number) => *number == 0,
            Self::Text(text) => text.is_empty(),
        }
    }
}

impl Default for SequenceId {
    /// The number that stands for no sequence.
    fn default() -> Self {
        Self::Number(0)
    }
}

/// The place of a request in a sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SequenceStep {
    /// Which sequence.
    pub id: SequenceId,
    /// Whether it begins here; one that is under way by that name is forgotten.
    pub start: bool,
    /// Whether it ends here.
    pub end: bool,
}

/// Sequences of different tenants have nothing to do with each other.
type Key = (Option<Arc<str>>, SequenceId);

/// One sequence.
struct Slot {
    served: Arc<Served>,
    /// What the next request is given; none once it has ended.
    states: tokio::sync::Mutex<Option<Vec<Tensor>>>,
    waiting: AtomicUsize,
    touched: Mutex<Instant>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Sequences(Mutex<HashMap<String, HashMap<Key, Arc<Slot>>>>);

impl fmt::Debug for Sequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequences").finish_non_exhaustive()
    }
}

/// Counts a request in while it waits or runs.
struct Turn<'a>(&'a Slot);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        self.0.touch();
    }
}

impl Sequences {
    /// Runs one request of a sequence on the version it began with; `served` is the version a new one begins with.
    pub(crate) async fn run(
        &self,
        served: &Arc<Served>,
        config: &SequenceConfig,
        tensors: Vec<Tensor>,
        terms: Terms,
        limits: &Limits,
    ) -> Result<Response, InferError> {
        let latest = Instant::now() + limits.deadline_max();
        let deadline = terms.deadline.map_or(latest, |deadline| deadline.min(latest));
        let step = terms.sequence.clone().filter(|step| !step.id.is_none()).ok_or_else(|| unnamed(served))?;
        let key: Key = (terms.tenant.clone(), step.id.clone());
        let slot = match step.start {
            true => {
                let rows = tensors.first().map_or(0, Tensor::rows);
                self.begin(served, config, key.clone(), rows, limits.sequence_bytes_max)?
            }
            false => self.find(served, &key).ok_or_else(|| not_begun(served, &step.id))?,
        };
        let answer = slot.run(tensors, terms, &step, deadline).await?;
        if step.end {
            self.end(&key, &slot);
        }
        Ok(answer)
    }

    fn find(&self, served: &Served, key: &Key) -> Option<Arc<Slot>> {
        self.lock().get(served.name())?.get(key).cloned()
    }

    fn begin(
        &self,
        served: &Arc<Served>,
        config: &SequenceConfig,
        key: Key,
        rows: usize,
        bytes_max: usize,
    ) -> Result<Arc<Slot>, InferError> {
        let signature = served.inner_signature();
        let mut all = self.lock();
        let known = all.entry(served.name().to_owned()).or_default();
        let fits = |count: usize| {
            let bytes = config.bytes(signature, rows).and_then(|own| own.checked_mul(count + 1));
            count < config.sequences_max && bytes.is_some_and(|bytes| bytes <= bytes_max)
        };
        let is_new = !known.contains_key(&key);
        if is_new && !fits(known.len()) {
            known.retain(|_, slot| !slot.is_idle(Instant::now()));
        }
        if is_new && !fits(known.len()) || !fits(0) {
            return Err(crowded(served));
        }
        let slot = Arc::new(Slot {
            served: Arc::clone(served),
            states: tokio::sync::Mutex::new(Some(config.zeros(signature, rows)?)),
            waiting: AtomicUsize::new(0),
            touched: Mutex::new(Instant::now()),
        });
        known.insert(key, Arc::clone(&slot));
        Ok(slot)
    }

    /// Forgets `slot`, unless another sequence has begun under its name.
    fn end(&self, key: &Key, slot: &Arc<Slot>) {
        let mut all = self.lock();
        let Some(known) = all.get_mut(slot.served.name()) else { return };
        if known.get(key).is_some_and(|now| Arc::ptr_eq(now, slot)) {
            known.remove(key);
        }
    }

    /// Forgets every sequence of `model`.
    pub(crate) fn forget(&self, model: &str) {
        drop(self.lock().remove(model));
    }

    /// Forgets the sequences on which nothing came for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        // What they held is dropped behind the lock: it may be the last of a version.
        let mut idle = Vec::new();
        let mut all = self.lock();
        for known in all.values_mut() {
            idle.extend(known.extract_if(|_, slot| slot.is_idle(now)).map(|(_, slot)| slot));
        }
        all.retain(|_, known| !known.is_empty());
        drop(all);
    }

    /// Sequences of `model` that are remembered.
    pub(crate) fn count(&self, model: &str) -> usize {
        self.lock().get(model).map_or(0, HashMap::len)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<Key, Arc<Slot>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    async fn run(
        &self,
        tensors: Vec<Tensor>,
        terms: Terms,
        step: &SequenceStep,
        deadline: Instant,
    ) -> Result<Response, InferError> {
        let _turn = self.turn()?;
        let served = &self.served;
        let Some(config) = served.sequence() else { return Err(not_begun(served, &step.id)) };
        let late = |_| InferError::DeadlineExceeded { model: served.name().to_owned() };
        let mut states = timeout_at(deadline.into(), self.states.lock()).await.map_err(late)?;
        let Some(before) = states.as_ref() else { return Err(not_begun(served, &step.id)) };
        let rows = served.signature().check_inputs(&tensors)?;
        check_rows(before, rows, &step.id)?;
        let signature = served.inner_signature();
        let tensors = config.join(signature, tensors, before);
        let mut answer = served.infer(tensors, rows, terms).await?;
        let (seen, after) = config.split(signature, std::mem::take(&mut answer.tensors));
        answer.tensors = seen;
        *states = (!step.end).then_some(after);
        Ok(answer)
    }

    fn turn(&self) -> Result<Turn<'_>, InferError> {
        let turn = Turn(self);
        if self.waiting.fetch_add(1, Relaxed) >= WAITING_MAX {
            return Err(crowded(&self.served));
        }
        Ok(turn)
    }

    fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_idle(&self, now: Instant) -> bool {
        let limit = self.served.sequence().map_or(0, |config| config.idle_ms_max);
        let touched = *self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.load(Relaxed) == 0
            && now.saturating_duration_since(touched) > Duration::from_millis(limit)
    }
}

fn check_rows(states: &[Tensor], rows: usize, id: &SequenceId) -> Result<(), ModelError> {
    match states.first().map(Tensor::rows) {
        Some(own) if own != rows => {
            let reason = format!("sequence {id} began with {own} rows, this request has {rows}");
            Err(ModelError::input("inputs", reason))
        }
        _ => Ok(()),
    }
}

fn crowded(served: &Served) -> InferError {
    InferError::Overloaded { model: served.name().to_owned(), retry_after_ms: RETRY_AFTER_MS }
}

/// In the words that clients match on.
fn unnamed(served: &Served) -> InferError {
    InferError::Malformed(format!(
        "inference request to model '{}' must specify a non-zero or non-empty correlation ID",
        served.name()
    ))
}

/// In the words that clients match on.
fn not_begun(served: &Served, id: &SequenceId) -> InferError {
    InferError::Malformed(format!(
        "inference request for sequence {id} to model '{}' must specify the START flag on the first request of the \
         sequence",
        served.name()
    ))
}
