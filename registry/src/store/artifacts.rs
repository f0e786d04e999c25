//! The artifact tree in the database.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{LikeExpr, OnConflict};
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use store::{Database, StoreError, Transaction};

use super::entity::artifact;
use crate::artifacts::{Artifact, root_of_file, root_of_folder};
use crate::error::RegistryError;

/// The path and everything below it: by the root they share, where the path says which that is.
fn within(path: &str) -> Condition {
    let pattern = format!("{}/%", path.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
    let below = artifact::Column::Path.like(LikeExpr::new(pattern).escape('\\'));
    let whole = Condition::any().add(artifact::Column::Path.eq(path)).add(below);
    match root_of_folder(path) {
        Some(root) => Condition::all().add(artifact::Column::Root.eq(root)).add(whole),
        None => whole,
    }
}

fn row(file: &Artifact, now_ms: i64) -> artifact::ActiveModel {
    artifact::ActiveModel {
        path: Set(file.path.clone()),
        root: Set(root_of_file(&file.path)),
        blob: Set(file.blob.clone()),
        size: Set(i64::try_from(file.size).unwrap_or(i64::MAX)),
        sha256: Set(file.sha256.clone()),
        created_ms: Set(now_ms),
    }
}

fn read(row: artifact::Model) -> Artifact {
    let artifact::Model { path, root: _, blob, size, sha256, created_ms: _ } = row;
    Artifact { path, size: u64::try_from(size).unwrap_or(0), sha256, blob }
}

/// Writes a path in place of what it held.
pub(crate) async fn put(database: &Database, file: &Artifact, now_ms: i64) -> Result<(), StoreError> {
    use artifact::Column::{Blob, CreatedMs, Sha256, Size};
    let again =
        OnConflict::column(artifact::Column::Path).update_columns([Blob, Size, Sha256, CreatedMs]).to_owned();
    let insert = artifact::Entity::insert(row(file, now_ms)).on_conflict(again);
    database.call(|database| insert.exec_without_returning(database)).await?;
    Ok(())
}

/// Writes several new paths in a transaction.
pub(crate) async fn put_all(open: &Transaction, files: &[Artifact], now_ms: i64) -> Result<(), StoreError> {
    for some in files.chunks(500) {
        let insert = artifact::Entity::insert_many(some.iter().map(|file| row(file, now_ms)));
        insert.exec_without_returning(open).await.map_err(store::translate)?;
    }
    Ok(())
}

/// What a path holds.
pub(crate) async fn get(database: &Database, path: &str) -> Result<Option<Artifact>, StoreError> {
    let find = artifact::Entity::find_by_id(path);
    Ok(database.call(|database| find.one(database)).await?.map(read))
}

/// Every file at or below `folder`, by path; of the empty folder, everything.
pub(crate) async fn below(database: &Database, folder: &str) -> Result<Vec<Artifact>, StoreError> {
    let mut find = artifact::Entity::find();
    if !folder.is_empty() {
        find = find.filter(within(folder));
    }
    let mut files: Vec<Artifact> =
        database.call(|database| find.all(database)).await?.into_iter().map(read).collect();
    // The database may sort by the rules of a language.
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// Whether something lies below `path`.
pub(crate) async fn is_folder(database: &Database, path: &str) -> Result<bool, StoreError> {
    let find = artifact::Entity::find().filter(within(path)).filter(artifact::Column::Path.ne(path));
    Ok(database.call(|database| find.one(database)).await?.is_some())
}

/// Files at or below `path`.
pub(crate) async fn count(database: &Database, path: &str) -> Result<u64, StoreError> {
    let find = artifact::Entity::find().filter(within(path)).order_by_asc(artifact::Column::Path);
    database.call(|database| find.count(database)).await
}

/// Forgets what is at or below `path`.
pub(crate) async fn delete(database: &Database, path: &str) -> Result<u64, StoreError> {
    let delete = artifact::Entity::delete_many().filter(within(path));
    Ok(database.call(|database| delete.exec(database)).await?.rows_affected)
}

/// Forgets what is at or below `path` and was written before `before_ms`.
pub(crate) async fn delete_older(database: &Database, path: &str, before_ms: i64) -> Result<u64, StoreError> {
    let old = Condition::all().add(within(path)).add(artifact::Column::CreatedMs.lt(before_ms));
    let delete = artifact::Entity::delete_many().filter(old);
    Ok(database.call(|database| delete.exec(database)).await?.rows_affected)
}

/// The same in a transaction.
pub(crate) async fn delete_in(open: &Transaction, path: &str) -> Result<u64, StoreError> {
    let delete = artifact::Entity::delete_many().filter(within(path));
    Ok(delete.exec(open).await.map_err(store::translate)?.rows_affected)
}

/// Whether a path names this blob.
pub(crate) async fn is_named(database: &Database, blob: &str) -> Result<bool, StoreError> {
    let find = artifact::Entity::find().filter(artifact::Column::Blob.eq(blob));
    Ok(database.call(|database| find.one(database)).await?.is_some())
}

/// The files in lines of a backup.
pub(crate) fn from_lines(lines: &str) -> Result<Vec<Artifact>, RegistryError> {
    let of = |line: &str| serde_json::from_str(line).map(read);
    let broken = |error: serde_json::Error| RegistryError::invalid("artifact", error.to_string());
    lines.lines().map(|line| of(line).map_err(broken)).collect()
}
