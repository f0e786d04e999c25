//! How we keep things: one SQL database per module, opened by URL, migrated at start, with bounded waits.
//!
//! This crate knows no domain. A module brings its own migrations and entities and keeps its own database, so nobody
//! can read another's tables. SQLite is what works today; a PostgreSQL URL is recognised and refused with a reason,
//! because entities and migrations are written for both and only the driver feature is missing.

//!
//! The one thing it gives to put into such a database is the [`outbox`]: events written in the transaction they tell
//! of, and the dispatcher that hands them on.

mod database;
mod error;
mod limits;
pub mod outbox;
mod url;

pub use database::{Database, Transaction};
pub use error::{StoreError, translate};
pub use limits::Limits;
pub use url::Url;
