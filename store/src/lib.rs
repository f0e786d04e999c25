//! How we keep things: one SQL database per module, opened by URL, migrated at start, with bounded waits.
//!
//! This crate knows no table. A module brings its own migrations and entities and keeps its own database, so nobody
//! can read another's tables. SQLite is what works today; a PostgreSQL URL is recognised and refused with a reason,
//! because entities and migrations are written for both and only the driver feature is missing.

mod database;
mod error;
mod url;

pub use database::{Database, Limits, Transaction};
pub use error::{StoreError, translate};
pub use url::Url;
