//! Versions in the database.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::{Database, StoreError, Transaction, translate};

use super::{
    entity::{label, model_alias, model_version},
    labels,
    search::{self, Place},
};
use crate::{
    error::RegistryError,
    state::State,
    versions::{Query, Version},
};

/// Writes a version that is not there yet.
pub(crate) async fn insert(open: &Transaction, version: &Version) -> Result<(), StoreError> {
    let Version {
        model,
        number,
        version_id,
        family,
        state,
        reason,
        source,
        run_id,
        logged_id,
        user,
        description,
        digest,
        created_ms,
        updated_ms,
        tags,
        aliases: _,
    } = version.clone();
    labels::write(open, Place::Versions.kind(), &model, number, &tags).await?;
    let row = model_version::ActiveModel {
        model: Set(model),
        number: Set(number),
        version_id: Set(version_id),
        family: Set(family),
        state: Set(state.code().to_owned()),
        reason: Set(reason),
        source: Set(source),
        run_id: Set(run_id),
        logged_id: Set(logged_id),
        user: Set(user),
        description: Set(description),
        digest: Set(digest),
        created_ms: Set(created_ms),
        updated_ms: Set(updated_ms),
        deleted_ms: Set(None),
    };
    model_version::Entity::insert(row).exec_without_returning(open).await.map_err(translate)?;
    Ok(())
}

/// The version of that number, unless deleted.
pub(crate) async fn get(
    database: &Database,
    model: &str,
    number: i64,
) -> Result<Option<Version>, RegistryError> {
    let find = model_version::Entity::find_by_id((model.to_owned(), number))
        .filter(model_version::Column::DeletedMs.is_null());
    let row = database.call(|database| find.one(database)).await?;
    Ok(whole(database, row.into_iter().collect()).await?.pop())
}

/// The number after the last one given, to deleted ones too.
pub(crate) async fn next_number(database: &Database, model: &str) -> Result<i64, StoreError> {
    let find = model_version::Entity::find()
        .filter(model_version::Column::Model.eq(model))
        .order_by_desc(model_version::Column::Number);
    Ok(database.call(|database| find.one(database)).await?.map_or(0, |row| row.number) + 1)
}

/// The state of a version within a transaction, held against other writers.
pub(crate) async fn state_locked(
    open: &Transaction,
    model: &str,
    number: i64,
) -> Result<Option<(State, String)>, RegistryError> {
    let find = model_version::Entity::find_by_id((model.to_owned(), number))
        .filter(model_version::Column::DeletedMs.is_null())
        .lock_exclusive();
    let row = find.one(open).await.map_err(translate)?;
    row.map(|row| Ok((state(&row)?, row.digest))).transpose()
}

/// Versions that the query asks for, the newest first unless told otherwise.
pub(crate) async fn search(database: &Database, query: &Query) -> Result<Vec<Version>, RegistryError> {
    let find = model_version::Entity::find().filter(model_version::Column::DeletedMs.is_null());
    let find = search::narrowed(Place::Versions, find, &query.conditions)?;
    let find = search::ordered(Place::Versions, find, &query.order)?
        .order_by_desc(model_version::Column::UpdatedMs)
        .order_by_asc(model_version::Column::Model)
        .order_by_desc(model_version::Column::Number)
        .offset(query.offset)
        .limit(query.limit);
    let rows = database.call(|database| find.all(database)).await?;
    whole(database, rows).await
}

/// Versions of any model in one of `states`.
pub(crate) async fn in_states(database: &Database, states: &[State]) -> Result<Vec<Version>, RegistryError> {
    let find = model_version::Entity::find()
        .filter(model_version::Column::DeletedMs.is_null())
        .filter(model_version::Column::State.is_in(states.iter().map(|state| state.code())))
        .order_by_asc(model_version::Column::Model)
        .order_by_asc(model_version::Column::Number);
    let rows = database.call(|database| find.all(database)).await?;
    whole(database, rows).await
}

/// Versions of a model, the oldest first.
pub(crate) async fn of_model(database: &Database, model: &str) -> Result<Vec<Version>, RegistryError> {
    let find = model_version::Entity::find()
        .filter(model_version::Column::DeletedMs.is_null())
        .filter(model_version::Column::Model.eq(model))
        .order_by_asc(model_version::Column::Number);
    let rows = database.call(|database| find.all(database)).await?;
    whole(database, rows).await
}

/// Tags and aliases of all rows come in two questions, not two a row.
async fn whole(database: &Database, rows: Vec<model_version::Model>) -> Result<Vec<Version>, RegistryError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut models: Vec<String> = rows.iter().map(|row| row.model.clone()).collect();
    models.dedup();
    let find = label::Entity::find()
        .filter(label::Column::Kind.eq(Place::Versions.kind()))
        .filter(label::Column::Name.is_in(models.clone()))
        .filter(label::Column::Number.is_in(rows.iter().map(|row| row.number)));
    let mut tags: BTreeMap<(String, i64), BTreeMap<String, String>> = BTreeMap::new();
    for row in database.call(|database| find.all(database)).await? {
        tags.entry((row.name, row.number)).or_default().insert(row.key, row.value);
    }
    let find = model_alias::Entity::find().filter(model_alias::Column::Model.is_in(models));
    let mut aliases: BTreeMap<(String, i64), Vec<String>> = BTreeMap::new();
    for row in database.call(|database| find.all(database)).await? {
        aliases.entry((row.model, row.number)).or_default().push(row.alias);
    }
    let read = |row: model_version::Model| {
        let key = (row.model.clone(), row.number);
        let (tags, aliases) =
            (tags.remove(&key).unwrap_or_default(), aliases.remove(&key).unwrap_or_default());
        read(row, tags, aliases)
    };
    rows.into_iter().map(read).collect()
}

fn state(row: &model_version::Model) -> Result<State, RegistryError> {
    State::read(&row.state).ok_or_else(|| {
        RegistryError::Conflict(format!(
            "version {}/{} has the unknown state `{}`",
            row.model, row.number, row.state
        ))
    })
}

fn read(
    row: model_version::Model,
    tags: BTreeMap<String, String>,
    aliases: Vec<String>,
) -> Result<Version, RegistryError> {
    let state = state(&row)?;
    let model_version::Model {
        model,
        number,
        version_id,
        family,
        state: _,
        reason,
        source,
        run_id,
        logged_id,
        user,
        description,
        digest,
        created_ms,
        updated_ms,
        deleted_ms: _,
    } = row;
    Ok(Version {
        model,
        number,
        version_id,
        family,
        state,
        reason,
        source,
        run_id,
        logged_id,
        user,
        description,
        digest,
        created_ms,
        updated_ms,
        tags,
        aliases,
    })
}

/// Moves a version to a state.
pub(crate) async fn set_state(
    open: &Transaction,
    model: &str,
    number: i64,
    state: State,
    reason: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    let update = change(model, number, now_ms)
        .col_expr(model_version::Column::State, Expr::value(state.code()))
        .col_expr(model_version::Column::Reason, Expr::value(reason));
    update.exec(open).await.map_err(translate)?;
    Ok(())
}

/// Writes what the gates learned of a version.
pub(crate) async fn set_identity(
    open: &Transaction,
    model: &str,
    number: i64,
    version_id: &str,
    family: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    let update = change(model, number, now_ms)
        .col_expr(model_version::Column::VersionId, Expr::value(version_id))
        .col_expr(model_version::Column::Family, Expr::value(family));
    update.exec(open).await.map_err(translate)?;
    Ok(())
}

/// Describes a version.
pub(crate) async fn describe(
    open: &Transaction,
    model: &str,
    number: i64,
    description: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    let update =
        change(model, number, now_ms).col_expr(model_version::Column::Description, Expr::value(description));
    update.exec(open).await.map_err(translate)?;
    Ok(())
}

/// Hides a version; its row stays, so that its number is not given again.
pub(crate) async fn delete(
    open: &Transaction,
    model: &str,
    number: i64,
    now_ms: i64,
) -> Result<(), StoreError> {
    let update =
        change(model, number, now_ms).col_expr(model_version::Column::DeletedMs, Expr::value(now_ms));
    update.exec(open).await.map_err(translate)?;
    Ok(())
}

fn change(model: &str, number: i64, now_ms: i64) -> sea_orm::UpdateMany<model_version::Entity> {
    model_version::Entity::update_many()
        .col_expr(model_version::Column::UpdatedMs, Expr::value(now_ms))
        .filter(model_version::Column::Model.eq(model))
        .filter(model_version::Column::Number.eq(number))
}
