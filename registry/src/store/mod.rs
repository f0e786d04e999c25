//! The tables of this crate and every question asked of them, one file a subject.

pub(crate) mod artifacts;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod entity;
mod experiments;
pub(crate) mod labels;
pub(crate) mod logged;
mod migration;
pub(crate) mod models;
pub(crate) mod predictions;
pub(crate) mod releases;
pub(crate) mod runs;
pub(crate) mod search;
pub(crate) mod tokens;
pub(crate) mod versions;

use store::{Database, Limits, StoreError, Url};

/// Opens the registry's database and brings it up to date.
pub(crate) async fn open(url: &Url, limits: Limits) -> Result<Database, StoreError> {
    Database::open::<migration::Migrator>(url, limits).await
}
