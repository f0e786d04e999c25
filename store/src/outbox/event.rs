//! What an event is before and after it was written.

use tokio::sync::watch;
use uuid::Uuid;

use crate::{Limits, StoreError};

/// Something that is about to have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// What kind of thing, for example `measurement.completed`.
    pub topic: String,
    /// Whose order matters: events of one key are handed on in the order they were committed.
    pub key: String,
    /// The event itself, in a form that its topic settles.
    pub payload: Vec<u8>,
}

impl NewEvent {
    pub(super) fn check(&self, limits: &Limits) -> Result<(), StoreError> {
        let Self { topic, key, payload } = self;
        let bytes_max = limits.outbox_payload_bytes_max;
        let refused = |reason| Err(StoreError::Event { topic: topic.clone(), reason });
        match (topic.is_empty(), key.is_empty(), payload.len() > bytes_max) {
            (true, _, _) => refused("its topic is empty".to_owned()),
            (_, true, _) => refused("its key is empty".to_owned()),
            (_, _, true) => refused(format!("its payload has {} bytes: at most {bytes_max}", payload.len())),
            (false, false, false) => Ok(()),
        }
    }
}

/// Something that has happened, as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The same at every try, and in every process.
    pub id: Uuid,
    /// What kind of thing.
    pub topic: String,
    /// Whose order matters.
    pub key: String,
    /// The event itself.
    pub payload: Vec<u8>,
    /// When it was written, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// What a consumer has still to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Events that wait or are in hand.
    pub pending: u64,
    /// Events given up after too many tries.
    pub parked: u64,
    /// Events the consumer refused for good.
    pub rejected: u64,
    /// Age of the oldest pending event.
    pub oldest_ms: u64,
}

/// Wakes the dispatcher when dropped.
#[derive(Debug)]
#[must_use = "carry it out of the transaction: dropped before the commit it wakes the dispatcher too early"]
pub struct Wake(watch::Sender<()>);

impl Wake {
    pub(super) const fn new(appended: watch::Sender<()>) -> Self {
        Self(appended)
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.send_replace(());
    }
}
