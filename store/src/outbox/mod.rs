//! Events that are written in the transaction they tell of, and handed on afterwards: an event exists exactly when
//! what it tells of was committed, and no crash between the two can lose or invent one.
//!
//! The tables belong to the module whose database they are in: it takes [`migration`] into its own migrations, calls
//! [`Outbox::append`] in its transactions, and starts a [`Dispatcher`] with the consumers that live in its process.
//!
//! - **At least once.** An event is settled after its consumer has answered. What was in hand in a crash is handed
//!   out again, so a consumer has to be idempotent; the identifier of the event is the same each time.
//! - **Each consumer on its own.** An append writes one delivery row for each consumer of the topic, and the row goes
//!   when that consumer is done; the event goes with its last row. An event that nobody consumes yet stays until
//!   somebody does.
//! - **In order within a key.** A consumer sees the events of one key one after the other, in the order of their
//!   commits; different keys do not wait for each other.
//! - **Never lost.** A failed event is tried again after a growing pause, then parked; a rejected one is kept too.
//!   Both stop holding back their key, both are counted in metrics and logged as errors, and parked ones are tried
//!   again when the dispatcher is started next.

mod consumer;
mod dispatcher;
mod entity;
mod event;
mod metrics;
mod migration;
mod table;

use std::sync::Arc;

use tokio::sync::watch;

pub use self::consumer::{Consumer, Failure};
pub use self::dispatcher::Dispatcher;
pub use self::event::{Backlog, Event, NewEvent, Wake};
pub use self::migration::migration;
use crate::{Database, StoreError, Transaction};

/// Tells the time, in milliseconds since the Unix epoch.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The outbox of one database; cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    database: Database,
    now: Now,
    appended: watch::Sender<()>,
}

impl Outbox {
    /// The outbox in `database`, whose migrations include [`migration`].
    #[must_use]
    pub fn new(database: Database, now: Now) -> Self {
        Self { database, now, appended: watch::Sender::new(()) }
    }

    /// Writes an event as part of the open transaction. The answer wakes the dispatcher when it is dropped: carry it
    /// out of the transaction, so that this is after the commit.
    ///
    /// # Errors
    /// [`StoreError::Event`] when topic or key is empty or the payload too large, else what the database says.
    pub async fn append(&self, open: &Transaction, event: NewEvent) -> Result<Wake, StoreError> {
        event.check(self.database.limits())?;
        table::append(open, event, (self.now)()).await?;
        Ok(Wake::new(self.appended.clone()))
    }

    /// What a consumer has still to do.
    ///
    /// # Errors
    /// What the database says.
    pub async fn backlog(&self, consumer: &str) -> Result<Backlog, StoreError> {
        let backlog = self.database.call(|database| table::backlog(database, consumer)).await?;
        let age = |created_ms: i64| u64::try_from((self.now)() - created_ms).unwrap_or(0);
        let (pending, parked, rejected, oldest) = backlog;
        Ok(Backlog { pending, parked, rejected, oldest_ms: oldest.map_or(0, age) })
    }
}
