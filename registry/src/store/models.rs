//! Registered models, aliases, approvals and gate reports in the database.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::{Database, StoreError, Transaction, translate};

use super::{
    entity::{approval, gate_report, label, model_alias, model_version, registered_model},
    labels,
    search::{self, Place},
};
use crate::{
    error::RegistryError,
    gates::Report,
    versions::{Approval, Model, Query},
};

/// Writes a model that is not there yet.
pub(crate) async fn insert(open: &Transaction, model: &Model) -> Result<(), StoreError> {
    let row = registered_model::ActiveModel {
        name: Set(model.name.clone()),
        description: Set(model.description.clone()),
        user: Set(model.user.clone()),
        policy: Set(model.policy.clone()),
        created_ms: Set(model.created_ms),
        updated_ms: Set(model.updated_ms),
    };
    registered_model::Entity::insert(row).exec_without_returning(open).await.map_err(translate)?;
    labels::write(open, Place::Models.kind(), &model.name, 0, &model.tags).await
}

/// The model of that name.
pub(crate) async fn get(database: &Database, name: &str) -> Result<Option<Model>, StoreError> {
    let find = registered_model::Entity::find_by_id(name);
    match database.call(|database| find.one(database)).await? {
        Some(row) => Ok(whole(database, vec![row]).await?.pop()),
        None => Ok(None),
    }
}

/// Models that the query asks for, by name unless told otherwise.
pub(crate) async fn search(database: &Database, query: &Query) -> Result<Vec<Model>, RegistryError> {
    let find = search::narrowed(Place::Models, registered_model::Entity::find(), &query.conditions)?;
    let find = search::ordered(Place::Models, find, &query.order)?
        .order_by_asc(registered_model::Column::Name)
        .offset(query.offset)
        .limit(query.limit);
    let rows = database.call(|database| find.all(database)).await?;
    Ok(whole(database, rows).await?)
}

/// Tags and aliases of all rows come in two questions, not two a row.
async fn whole(database: &Database, rows: Vec<registered_model::Model>) -> Result<Vec<Model>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let find = label::Entity::find()
        .filter(label::Column::Kind.eq(Place::Models.kind()))
        .filter(label::Column::Name.is_in(names.clone()));
    let mut tags: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for row in database.call(|database| find.all(database)).await? {
        tags.entry(row.name).or_default().insert(row.key, row.value);
    }
    let find = model_alias::Entity::find().filter(model_alias::Column::Model.is_in(names));
    let mut aliases: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for row in database.call(|database| find.all(database)).await? {
        aliases.entry(row.model).or_default().insert(row.alias, row.number);
    }
    let read = |row: registered_model::Model| {
        let registered_model::Model { name, description, user, policy, created_ms, updated_ms } = row;
        let (tags, aliases) =
            (tags.remove(&name).unwrap_or_default(), aliases.remove(&name).unwrap_or_default());
        Model { name, description, user, policy, created_ms, updated_ms, tags, aliases }
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Writes description and policy, and that it changed.
pub(crate) async fn update(
    open: &Transaction,
    name: &str,
    description: Option<&str>,
    policy: Option<&str>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut update = registered_model::Entity::update_many()
        .col_expr(registered_model::Column::UpdatedMs, Expr::value(now_ms))
        .filter(registered_model::Column::Name.eq(name));
    if let Some(description) = description {
        update = update.col_expr(registered_model::Column::Description, Expr::value(description));
    }
    if let Some(policy) = policy {
        update = update.col_expr(registered_model::Column::Policy, Expr::value(policy));
    }
    update.exec(open).await.map_err(translate)?;
    Ok(())
}

/// Models whose policy was set, with its text.
pub(crate) async fn policies(database: &Database) -> Result<Vec<(String, String)>, StoreError> {
    let find = registered_model::Entity::find()
        .select_only()
        .columns([registered_model::Column::Name, registered_model::Column::Policy])
        .filter(registered_model::Column::Policy.ne(""))
        .into_tuple();
    database.call(|database| find.all(database)).await
}

/// Gives a model without versions another name.
pub(crate) async fn rename(open: &Transaction, old: &str, new: &str, now_ms: i64) -> Result<(), StoreError> {
    let update = registered_model::Entity::update_many()
        .col_expr(registered_model::Column::Name, Expr::value(new))
        .col_expr(registered_model::Column::UpdatedMs, Expr::value(now_ms))
        .filter(registered_model::Column::Name.eq(old));
    update.exec(open).await.map_err(translate)?;
    let labels = label::Entity::update_many()
        .col_expr(label::Column::Name, Expr::value(new))
        .filter(label::Column::Kind.eq(Place::Models.kind()))
        .filter(label::Column::Name.eq(old));
    labels.exec(open).await.map_err(translate)?;
    Ok(())
}

/// Forgets a model without versions.
pub(crate) async fn delete(open: &Transaction, name: &str) -> Result<(), StoreError> {
    registered_model::Entity::delete_by_id(name).exec(open).await.map_err(translate)?;
    let labels = label::Entity::delete_many()
        .filter(label::Column::Kind.is_in([Place::Models.kind(), Place::Versions.kind()]))
        .filter(label::Column::Name.eq(name));
    labels.exec(open).await.map_err(translate)?;
    model_alias::Entity::delete_many()
        .filter(model_alias::Column::Model.eq(name))
        .exec(open)
        .await
        .map_err(translate)?;
    Ok(())
}

/// Numbers ever given to versions of a model, deleted ones too.
pub(crate) async fn last_number(open: &Transaction, name: &str) -> Result<i64, StoreError> {
    let find = model_version::Entity::find()
        .filter(model_version::Column::Model.eq(name))
        .order_by_desc(model_version::Column::Number);
    Ok(find.one(open).await.map_err(translate)?.map_or(0, |row| row.number))
}

/// The number an alias points to.
pub(crate) async fn alias(database: &Database, name: &str, alias: &str) -> Result<Option<i64>, StoreError> {
    let find = model_alias::Entity::find_by_id((name.to_owned(), alias.to_owned()));
    Ok(database.call(|database| find.one(database)).await?.map(|row| row.number))
}

/// Points an alias to a version.
pub(crate) async fn set_alias(
    open: &Transaction,
    name: &str,
    alias: &str,
    number: i64,
) -> Result<(), StoreError> {
    let row = model_alias::ActiveModel {
        model: Set(name.to_owned()),
        alias: Set(alias.to_owned()),
        number: Set(number),
    };
    let again = OnConflict::columns([model_alias::Column::Model, model_alias::Column::Alias])
        .update_column(model_alias::Column::Number)
        .to_owned();
    let insert = model_alias::Entity::insert(row).on_conflict(again);
    insert.exec_without_returning(open).await.map_err(translate)?;
    Ok(())
}

/// Takes an alias away; whether it was there.
pub(crate) async fn delete_alias(open: &Transaction, name: &str, alias: &str) -> Result<bool, StoreError> {
    let delete = model_alias::Entity::delete_by_id((name.to_owned(), alias.to_owned()));
    Ok(delete.exec(open).await.map_err(translate)?.rows_affected > 0)
}

/// Takes every alias of a version away.
pub(crate) async fn delete_aliases(open: &Transaction, name: &str, number: i64) -> Result<(), StoreError> {
    let delete = model_alias::Entity::delete_many()
        .filter(model_alias::Column::Model.eq(name))
        .filter(model_alias::Column::Number.eq(number));
    delete.exec(open).await.map_err(translate)?;
    Ok(())
}

/// Writes a yes.
pub(crate) async fn approve(
    open: &Transaction,
    name: &str,
    number: i64,
    yes: &Approval,
) -> Result<(), StoreError> {
    let row = approval::ActiveModel {
        id: NotSet,
        model: Set(name.to_owned()),
        number: Set(number),
        digest: Set(yes.digest.clone()),
        who: Set(yes.who.clone()),
        why: Set(yes.why.clone()),
        at_ms: Set(yes.at_ms),
    };
    approval::Entity::insert(row).exec_without_returning(open).await.map_err(translate)?;
    Ok(())
}

/// Every yes to a version, the first one first.
pub(crate) async fn approvals(
    database: &Database,
    name: &str,
    number: i64,
) -> Result<Vec<Approval>, StoreError> {
    let find = approval::Entity::find()
        .filter(approval::Column::Model.eq(name))
        .filter(approval::Column::Number.eq(number))
        .order_by_asc(approval::Column::Id);
    let rows = database.call(|database| find.all(database)).await?;
    let read =
        |row: approval::Model| Approval { who: row.who, why: row.why, digest: row.digest, at_ms: row.at_ms };
    Ok(rows.into_iter().map(read).collect())
}

/// Keeps what the gates found.
pub(crate) async fn add_report(
    open: &Transaction,
    name: &str,
    number: i64,
    report: &Report,
) -> Result<(), StoreError> {
    let row = gate_report::ActiveModel {
        id: NotSet,
        model: Set(name.to_owned()),
        number: Set(number),
        digest: Set(report.digest.clone()),
        outcome: Set(report.outcome().to_owned()),
        gates: Set(report.to_json()),
        at_ms: Set(report.at_ms),
    };
    gate_report::Entity::insert(row).exec_without_returning(open).await.map_err(translate)?;
    Ok(())
}

/// What the gates found last.
pub(crate) async fn last_report(
    database: &Database,
    name: &str,
    number: i64,
) -> Result<Option<Report>, RegistryError> {
    let find = gate_report::Entity::find()
        .filter(gate_report::Column::Model.eq(name))
        .filter(gate_report::Column::Number.eq(number))
        .order_by_desc(gate_report::Column::Id);
    let row = database.call(|database| find.one(database)).await?;
    row.map(|row| Report::from_json(row.digest, row.at_ms, &row.gates)).transpose()
}
