//! The audit chain in the database.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::{Database, StoreError, Transaction};

use super::entity::{audit, audit_head};
use crate::audit::{Event, GENESIS, Link};
use crate::error::RegistryError;

/// The one row that says where the chain ends.
const HEAD: i64 = 1;

/// Appends an event in the transaction of what it tells of: both are written, or neither. Other processes on the same
/// database hear of it when it is committed.
pub(crate) async fn append(open: &Transaction, event: Event) -> Result<(), StoreError> {
    let link = event.link_after(head_locked(open).await?);
    let Link { position, event: Event { at_ms, who, action, subject, digest, why }, previous, hash } = link;
    let head = audit_head::ActiveModel { id: Set(HEAD), position: Set(position), hash: Set(hash.clone()) };
    let row = audit::ActiveModel {
        position: Set(position),
        at_ms: Set(at_ms),
        who: Set(who),
        action: Set(action),
        subject: Set(subject),
        digest: Set(digest),
        why: Set(why),
        previous: Set(previous),
        hash: Set(hash),
    };
    audit::Entity::insert(row).exec_without_returning(open).await.map_err(store::translate)?;
    let moved = OnConflict::column(audit_head::Column::Id)
        .update_columns([audit_head::Column::Position, audit_head::Column::Hash])
        .to_owned();
    let write = audit_head::Entity::insert(head).on_conflict(moved);
    write.exec_without_returning(open).await.map_err(store::translate)?;
    store::notice::tell(open).await
}

/// The end of the chain, held against other writers until the transaction ends. SQLite has one writer anyway.
async fn head_locked(open: &Transaction) -> Result<(i64, String), StoreError> {
    let find = audit_head::Entity::find_by_id(HEAD).lock_exclusive();
    let row = find.one(open).await.map_err(store::translate)?;
    Ok(row.map_or((0, GENESIS.to_owned()), |row| (row.position, row.hash)))
}

/// Where the chain was last written to.
pub(crate) async fn head(database: &Database) -> Result<(i64, String), StoreError> {
    let find = audit_head::Entity::find_by_id(HEAD);
    let row = database.call(|database| find.one(database)).await?;
    Ok(row.map_or((0, GENESIS.to_owned()), |row| (row.position, row.hash)))
}

/// Links after `position` in order, at most `limit`; of one subject, if given.
pub(crate) async fn after(
    database: &Database,
    position: i64,
    subject: Option<&str>,
    limit: u64,
) -> Result<Vec<Link>, StoreError> {
    let mut find = audit::Entity::find()
        .filter(audit::Column::Position.gt(position))
        .order_by_asc(audit::Column::Position)
        .limit(limit);
    if let Some(subject) = subject {
        let of_version = format!("{subject}/");
        find = find
            .filter(audit::Column::Subject.eq(subject).or(audit::Column::Subject.starts_with(of_version)));
    }
    let rows = database.call(|database| find.all(database)).await?;
    Ok(rows.into_iter().map(read).collect())
}

fn read(row: audit::Model) -> Link {
    let audit::Model { position, at_ms, who, action, subject, digest, why, previous, hash } = row;
    Link { position, event: Event { at_ms, who, action, subject, digest, why }, previous, hash }
}

/// The end of the chain in lines of a backup.
pub(crate) fn head_from_lines(lines: &str) -> Result<(i64, String), RegistryError> {
    let Some(line) = lines.lines().next() else { return Ok((0, GENESIS.to_owned())) };
    let row: audit_head::Model = serde_json::from_str(line)
        .map_err(|error| RegistryError::invalid("audit_head", error.to_string()))?;
    Ok((row.position, row.hash))
}
