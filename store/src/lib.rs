//! How we keep things: one SQL database per module, opened by URL, migrated at start, with bounded waits.
//!
//! This crate knows no domain. A module brings its own migrations and entities and keeps its own database (a SQLite
//! file, or a schema of a PostgreSQL server), so nobody can read another's tables.
//!
//! The one thing it gives to put into such a database is the [`outbox`]: events written in the transaction they tell
//! of, and the dispatcher that hands them on.

mod database;
mod error;
mod limits;
pub mod notice;
pub mod outbox;
mod url;

pub use database::{Database, Transaction};
pub use error::{StoreError, translate};
pub use limits::Limits;
pub use url::Url;
