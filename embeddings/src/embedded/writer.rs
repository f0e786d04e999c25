//! Writing: what arrives while a transaction runs shares the next one, so that a disk that syncs slowly costs
//! latency and not throughput. A write is answered when its transaction is on disk and the change is visible.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::iter::successors;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::loader::off;
use super::row::Row;
use super::rows::SLOTS_MAX;
use super::shelf::{Change, Shelf};
use super::store::{Kept, Removed, Store, payload_text};
use super::table::Entry;
use crate::{EmbeddingError, Limits, Payload, PointId, Tenant};

/// When a refused write may come back: about one transaction.
const RETRY_AFTER_MS: u64 = 50;

/// A point ready to be written.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) id: PointId,
    pub(super) row: Row,
    pub(super) payload: Payload,
}

/// What to write.
pub(super) enum Work {
    Put(Vec<Ready>),
    Remove(Vec<PointId>),
}

/// One write of one caller.
pub(super) struct Write {
    pub(super) shelf: Arc<Shelf>,
    pub(super) tenant: Tenant,
    pub(super) work: Work,
}

struct Waiting {
    write: Write,
    answer: oneshot::Sender<Result<u64, EmbeddingError>>,
}

/// The way to the writer, cheap to clone.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Waiting>);

impl Writer {
    /// Starts the writer; `sequence` is the highest number ever given out.
    pub(super) fn start(store: Store, sequence: u64, limits: Limits) -> (Self, tokio::task::JoinHandle<()>) {
        let (to, from) = mpsc::channel(limits.write_queue_max);
        let task = tokio::spawn(run(Group { store, sequence, limits }, from));
        (Self(to), task)
    }

    /// Writes and waits for the disk; how many points were put or removed.
    pub(super) async fn write(&self, write: Write) -> Result<u64, EmbeddingError> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Waiting { write, answer }).map_err(refused)?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn refused(error: mpsc::error::TrySendError<Waiting>) -> EmbeddingError {
    match error {
        mpsc::error::TrySendError::Full(waiting) => {
            waiting.write.shelf.monitor.refused();
            EmbeddingError::Overloaded { retry_after_ms: RETRY_AFTER_MS }
        }
        mpsc::error::TrySendError::Closed(_) => closed(),
    }
}

fn closed() -> EmbeddingError {
    EmbeddingError::Unavailable { reason: "it is closed".to_owned() }
}

impl Work {
    fn points(&self) -> usize {
        match self {
            Self::Put(points) => points.len(),
            Self::Remove(ids) => ids.len(),
        }
    }
}

struct Group {
    store: Store,
    sequence: u64,
    limits: Limits,
}

async fn run(mut group: Group, mut from: mpsc::Receiver<Waiting>) {
    while let Some(first) = from.recv().await {
        let mut points = first.write.work.points();
        let mut waiting = vec![first];
        while points < group.limits.commit_points_max
            && let Ok(next) = from.try_recv()
        {
            points += next.write.work.points();
            waiting.push(next);
        }
        group.commit(waiting).await;
    }
}

impl Group {
    async fn commit(&mut self, waiting: Vec<Waiting>) {
        let mut plan = Plan::new(self.sequence);
        let (writes, answers): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.write, waiting.answer)).unzip();
        let planned: Vec<_> = writes.into_iter().map(|write| plan.add(write, &self.limits)).collect();
        // Numbers of a transaction that failed are not used again: it may have reached the disk after all.
        self.sequence = plan.sequence;
        let result = plan.write(&self.store).await;
        for (answer, planned) in answers.into_iter().zip(planned) {
            let result = match (&result, planned) {
                (_, Err(error)) => Err(error),
                (Ok(()), Ok(count)) => Ok(count),
                (Err(error), Ok(_)) => Err(shared(error)),
            };
            // A caller who has gone does not mind.
            let _ = answer.send(result);
        }
    }
}

/// One failed transaction, told to each of its callers.
fn shared(error: &EmbeddingError) -> EmbeddingError {
    let causes = successors(error.source(), |&cause| cause.source());
    let cause = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    tracing::error!(%error, cause, "a transaction of vectors failed");
    if error.is_transient() {
        EmbeddingError::Overloaded { retry_after_ms: RETRY_AFTER_MS }
    } else {
        EmbeddingError::Unavailable { reason: format!("its database refused a transaction: {cause}") }
    }
}

/// Key of a point: shelf, tenant and name.
type Key = (i64, Tenant, PointId);

/// The net effect of a group of writes.
struct Plan {
    sequence: u64,
    shelves: HashMap<i64, Arc<Shelf>>,
    /// The last word on each point: what it becomes, or that it goes.
    points: HashMap<Key, Option<(u64, Ready)>>,
    slots: HashMap<i64, usize>,
}

impl Plan {
    fn new(sequence: u64) -> Self {
        Self { sequence, shelves: HashMap::new(), points: HashMap::new(), slots: HashMap::new() }
    }

    fn add(&mut self, write: Write, limits: &Limits) -> Result<u64, EmbeddingError> {
        let Write { shelf, tenant, work } = write;
        let id = shelf.id;
        self.shelves.entry(id).or_insert_with(|| Arc::clone(&shelf));
        match work {
            Work::Put(points) => {
                let count = points.len();
                let slots = self.slots.entry(id).or_insert_with(|| shelf.current().table().slots() as usize);
                *slots += count;
                limits.most("points in the collection", *slots, limits.points_max.min(SLOTS_MAX))?;
                for ready in points {
                    self.sequence += 1;
                    let key = (id, tenant.clone(), ready.id.clone());
                    self.points.insert(key, Some((self.sequence, ready)));
                }
                Ok(count as u64)
            }
            Work::Remove(ids) => {
                let present = ids.into_iter().filter_map(|point| self.remove(&shelf, &tenant, point));
                Ok(present.count() as u64)
            }
        }
    }

    /// Plans a removal; `None` when there is nothing to remove.
    fn remove(&mut self, shelf: &Shelf, tenant: &Tenant, point: PointId) -> Option<()> {
        let key = (shelf.id, tenant.clone(), point);
        let present = match self.points.get(&key) {
            Some(planned) => planned.is_some(),
            None => shelf.current().table().slot(tenant, key.2.as_str()).is_some(),
        };
        if present {
            self.points.insert(key, None);
        }
        present.then_some(())
    }

    async fn write(self, store: &Store) -> Result<(), EmbeddingError> {
        if self.points.is_empty() {
            return Ok(());
        }
        let sequence = self.sequence;
        let shelves = self.shelves;
        let points = self.points;
        let (kept, removed, changes) = off(move || rows(points)).await?;
        store.write(removed, &kept, sequence).await?;
        off(move || {
            for (id, changes) in changes {
                if let Some(shelf) = shelves.get(&id) {
                    shelf.apply(changes);
                }
            }
        })
        .await
    }
}

type Rows = (Vec<Kept>, Vec<Removed>, BTreeMap<i64, Vec<Change>>);

/// Rows to write and remove, and the changes they mean, each in the order of its sequence.
fn rows(points: HashMap<Key, Option<(u64, Ready)>>) -> Rows {
    let mut ordered: Vec<_> = points.into_iter().collect();
    ordered.sort_unstable_by_key(|(_, planned)| planned.as_ref().map(|(sequence, _)| *sequence));
    let (mut kept, mut removed): (_, BTreeMap<(i64, Tenant), Vec<String>>) = (Vec::new(), BTreeMap::new());
    let mut changes: BTreeMap<i64, Vec<Change>> = BTreeMap::new();
    for ((collection, tenant, id), planned) in ordered {
        let changes = changes.entry(collection).or_default();
        let Some((sequence, Ready { row, payload, .. })) = planned else {
            removed.entry((collection, tenant.clone())).or_default().push(id.to_string());
            changes.push(Change::Remove(tenant, id));
            continue;
        };
        kept.push(Kept {
            sequence,
            collection,
            tenant: tenant.to_string(),
            id: id.to_string(),
            payload: payload_text(&payload),
            vector: row.bytes(),
        });
        changes.push(Change::Put(Box::new(Entry { sequence, tenant, id, row, payload })));
    }
    let removed = removed.into_iter();
    let removed =
        removed.map(|((collection, tenant), ids)| Removed { collection, tenant: tenant.to_string(), ids });
    (kept, removed.collect(), changes)
}
