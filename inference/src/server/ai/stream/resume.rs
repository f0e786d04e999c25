//! Streams that broke off. What was known of each is kept for a while with the answers it gave last, so that its client
//! goes on where it was, on another connection: nothing is analysed twice, and no answer is missing.
//!
//! A client often knows before the server that a connection is dead. It may then take its stream over while the old
//! connection still seems open. That one finds nothing any more where the stream was, and a batch that it had under way
//! counts as not analysed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto::manpasik::v1 as wire;
use tokio::sync::Notify;
use tonic::Status;
use uuid::Uuid;

use super::{super::family::Asked, sequence::Sequence, tally::Tally};

/// How long a stream that broke off is kept, as long as one that is silent lives.
const KEPT_FOR: Duration = super::IDLE_MAX;
/// Streams kept at a time; each holds up to 100 kB. Where one more breaks off, the oldest goes.
const KEPT_MAX: usize = 512;
/// Answers of a stream that can be told again.
const ANSWERS_MAX: usize = 256;

/// What is known of a stream.
pub(super) struct Known {
    pub(super) asked: Arc<Asked>,
    pub(super) label: String,
    pub(super) sequence: Sequence,
    pub(super) tally: Tally,
    /// Count of packets at the last explanation.
    pub(super) explained: Option<u64>,
    /// Whether a client did not get an answer that was no longer kept.
    pub(super) has_lost_answers: bool,
    answers: VecDeque<wire::PacketAnalysis>,
}

impl Known {
    /// Of a stream that begins.
    pub(super) fn new(asked: Asked, label: String, channels: usize) -> Self {
        Self {
            asked: Arc::new(asked),
            label,
            sequence: Sequence::default(),
            tally: Tally::new(channels),
            explained: None,
            has_lost_answers: false,
            answers: VecDeque::with_capacity(ANSWERS_MAX),
        }
    }

    /// Keeps an answer that is about to be sent.
    pub(super) fn answered(&mut self, answer: &wire::PacketAnalysis) {
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(answer.clone());
    }

    /// The answers after the one to packet `last`, and whether some of them are no longer kept. Without `last` none has
    /// arrived.
    pub(super) fn after(&self, last: Option<u64>) -> (Vec<wire::PacketAnalysis>, bool) {
        let at = last.and_then(|last| self.answers.iter().rposition(|answer| answer.sequence == last));
        let from = at.map_or(0, |at| at + 1);
        let is_whole = at.is_some() || (last.is_none() && self.tally.packets() <= ANSWERS_MAX as u64);
        (self.answers.range(from..).cloned().collect(), !is_whole)
    }
}

/// Where a connection has its stream, until another takes it over.
#[derive(Default)]
struct Slot {
    known: Mutex<Option<Box<Known>>>,
    taken: Notify,
}

impl Slot {
    fn of(known: Box<Known>) -> Arc<Self> {
        Arc::new(Self { known: Mutex::new(Some(known)), taken: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Entry {
    owner: Option<String>,
    slot: Arc<Slot>,
    /// Since when nobody is connected.
    broken: Option<Instant>,
}

/// The streams there are.
#[derive(Default)]
pub(in super::super) struct Streams(Mutex<HashMap<Uuid, Entry>>);

/// A connection's hold on its stream.
pub(super) struct Lease {
    streams: Arc<Streams>,
    id: Uuid,
    slot: Arc<Slot>,
}

impl Streams {
    /// A new stream of `owner`.
    pub(super) fn begin(self: &Arc<Self>, owner: Option<String>, known: Box<Known>) -> Lease {
        let (id, slot) = (Uuid::new_v4(), Slot::of(known));
        let mut entries = self.lock();
        forget(&mut entries);
        entries.insert(id, Entry { owner, slot: Arc::clone(&slot), broken: None });
        drop(entries);
        Lease { streams: Arc::clone(self), id, slot }
    }

    /// The stream `id` of `owner`, taken from its old connection if that still seems to be there.
    pub(super) fn resume(self: &Arc<Self>, id: &str, owner: Option<&str>) -> Result<Lease, Status> {
        let unknown = || {
            let minutes = KEPT_FOR.as_secs() / 60;
            Status::not_found(format!(
                "start.resume.stream_id: no stream of that name broke off in the last {minutes} minutes; start anew"
            ))
        };
        let id = Uuid::parse_str(id).map_err(|_| unknown())?;
        let mut entries = self.lock();
        forget(&mut entries);
        let entry = entries.get_mut(&id).filter(|entry| entry.owner.as_deref() == owner);
        let entry = entry.ok_or_else(unknown)?;
        let known = entry.slot.lock().take().ok_or_else(unknown)?;
        let slot = Slot::of(known);
        std::mem::replace(&mut entry.slot, Arc::clone(&slot)).taken.notify_one();
        entry.broken = None;
        drop(entries);
        Ok(Lease { streams: Arc::clone(self), id, slot })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what broke off too long ago, and the oldest of too many.
fn forget(entries: &mut HashMap<Uuid, Entry>) {
    entries.retain(|_, entry| entry.broken.is_none_or(|broken| broken.elapsed() < KEPT_FOR));
    let broken = entries.iter().filter_map(|(id, entry)| Some((entry.broken?, *id)));
    let mut broken: Vec<_> = broken.collect();
    let many = broken.len().saturating_sub(KEPT_MAX);
    if many > 0 {
        broken.sort_unstable();
    }
    for (_, id) in &broken[..many] {
        entries.remove(id);
    }
}

impl Lease {
    /// The stream's name.
    pub(super) fn id(&self) -> String {
        self.id.to_string()
    }

    /// What `ask` says of the stream; nothing if another connection goes on with it.
    pub(super) fn with<T>(&self, ask: impl FnOnce(&mut Known) -> T) -> Option<T> {
        self.slot.lock().as_deref_mut().map(ask)
    }

    /// Waits until another connection goes on with the stream.
    pub(super) async fn taken(&self) {
        self.slot.taken.notified().await;
    }

    /// Ends the stream; what was known of it, unless another connection goes on with it.
    pub(super) fn end(&self) -> Option<Box<Known>> {
        let known = self.slot.lock().take()?;
        self.streams.lock().remove(&self.id);
        Some(known)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut entries = self.streams.lock();
        if let Some(entry) = entries.get_mut(&self.id)
            && Arc::ptr_eq(&entry.slot, &self.slot)
        {
            entry.broken = Some(Instant::now());
            forget(&mut entries);
        }
    }
}
