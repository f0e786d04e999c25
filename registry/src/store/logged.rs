//! Logged models in the database.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::{Database, StoreError, Transaction, translate};

use super::{
    entity::{logged_figure, logged_model},
    labels,
    search::{self, Place},
};
use crate::{
    error::RegistryError,
    logged::{Logged, LoggedMetric, LoggedStatus},
    versions::Query,
};

/// Settings are labels of a kind of their own.
pub(crate) const PARAMS: &str = "logged_param";

/// Writes one that is not there yet.
pub(crate) async fn insert(open: &Transaction, logged: &Logged) -> Result<(), StoreError> {
    let Logged {
        id,
        experiment,
        name,
        model_type,
        run_id,
        status,
        created_ms,
        updated_ms,
        params,
        tags,
        metrics: _,
    } = logged.clone();
    labels::write(open, PARAMS, &id, 0, &params).await?;
    labels::write(open, Place::Logged.kind(), &id, 0, &tags).await?;
    let row = logged_model::ActiveModel {
        id: Set(id),
        experiment_id: Set(experiment),
        name: Set(name),
        model_type: Set(model_type),
        run_id: Set(run_id),
        status: Set(status.code().to_owned()),
        status_message: Set(String::new()),
        created_ms: Set(created_ms),
        updated_ms: Set(updated_ms),
        deleted_ms: Set(None),
    };
    logged_model::Entity::insert(row).exec_without_returning(open).await.map_err(translate)?;
    Ok(())
}

/// The one of that id, unless deleted.
pub(crate) async fn get(database: &Database, id: &str) -> Result<Option<Logged>, RegistryError> {
    let find = logged_model::Entity::find_by_id(id).filter(logged_model::Column::DeletedMs.is_null());
    match database.call(|database| find.one(database)).await? {
        Some(row) => whole(database, row).await.map(Some),
        None => Ok(None),
    }
}

/// Those of some experiments (none: of all) that the query asks for, the newest first unless told otherwise.
pub(crate) async fn search(
    database: &Database,
    experiments: &[i64],
    query: &Query,
) -> Result<Vec<Logged>, RegistryError> {
    let mut find = logged_model::Entity::find().filter(logged_model::Column::DeletedMs.is_null());
    if !experiments.is_empty() {
        find = find.filter(logged_model::Column::ExperimentId.is_in(experiments.iter().copied()));
    }
    let find = search::narrowed(Place::Logged, find, &query.conditions)?;
    let find = search::ordered(Place::Logged, find, &query.order)?
        .order_by_desc(logged_model::Column::CreatedMs)
        .order_by_asc(logged_model::Column::Id)
        .offset(query.offset)
        .limit(query.limit);
    let mut found = Vec::new();
    for row in database.call(|database| find.all(database)).await? {
        found.push(whole(database, row).await?);
    }
    Ok(found)
}

async fn whole(database: &Database, row: logged_model::Model) -> Result<Logged, RegistryError> {
    let status = LoggedStatus::read(&row.status).ok_or_else(|| {
        RegistryError::Conflict(format!("logged model {} has the unknown status `{}`", row.id, row.status))
    })?;
    let params = labels::read(database, PARAMS, &row.id, 0).await?;
    let tags = labels::read(database, Place::Logged.kind(), &row.id, 0).await?;
    let find = logged_figure::Entity::find().filter(logged_figure::Column::LoggedId.eq(&row.id));
    let figures = database.call(|database| find.all(database)).await?;
    let metric = |row: logged_figure::Model| LoggedMetric {
        key: row.key,
        value: row.value.unwrap_or(f64::NAN),
        step: row.step,
        at_ms: row.at_ms,
        run_id: row.run_id,
    };
    Ok(Logged {
        id: row.id,
        experiment: row.experiment_id,
        name: row.name,
        model_type: row.model_type,
        run_id: row.run_id,
        status,
        created_ms: row.created_ms,
        updated_ms: row.updated_ms,
        params,
        tags,
        metrics: figures.into_iter().map(metric).collect(),
    })
}

/// Writes how the upload stands.
pub(crate) async fn set_status(
    database: &Database,
    id: &str,
    status: LoggedStatus,
    now_ms: i64,
) -> Result<(), StoreError> {
    let update = logged_model::Entity::update_many()
        .col_expr(logged_model::Column::Status, Expr::value(status.code()))
        .col_expr(logged_model::Column::UpdatedMs, Expr::value(now_ms))
        .filter(logged_model::Column::Id.eq(id));
    database.call(|database| update.exec(database)).await?;
    Ok(())
}

/// Hides one; its row stays.
pub(crate) async fn delete(database: &Database, id: &str, now_ms: i64) -> Result<(), StoreError> {
    let update = logged_model::Entity::update_many()
        .col_expr(logged_model::Column::DeletedMs, Expr::value(now_ms))
        .filter(logged_model::Column::Id.eq(id));
    database.call(|database| update.exec(database)).await?;
    Ok(())
}

/// Writes tags or settings.
pub(crate) async fn label(
    database: &Database,
    kind: &str,
    id: &str,
    pairs: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    for (key, value) in pairs {
        labels::change(database, kind, id, 0, key, Some(value)).await?;
    }
    Ok(())
}

/// Notes figures measured on one.
pub(crate) async fn add_metrics(
    database: &Database,
    id: &str,
    metrics: &[LoggedMetric],
) -> Result<(), StoreError> {
    use logged_figure::Column::{AtMs, Key, LoggedId, RunId, Step, Value};
    let row = |metric: &LoggedMetric| logged_figure::ActiveModel {
        logged_id: Set(id.to_owned()),
        run_id: Set(metric.run_id.clone()),
        key: Set(metric.key.clone()),
        step: Set(metric.step),
        value: Set((!metric.value.is_nan()).then_some(metric.value)),
        at_ms: Set(metric.at_ms),
    };
    for metric in metrics {
        let again =
            OnConflict::columns([LoggedId, RunId, Key, Step]).update_columns([Value, AtMs]).to_owned();
        let insert = logged_figure::Entity::insert(row(metric)).on_conflict(again);
        database.call(|database| insert.exec_without_returning(database)).await?;
    }
    Ok(())
}
