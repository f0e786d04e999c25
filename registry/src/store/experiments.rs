//! Experiments in the database.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::StoreError;

use super::{
    entity::experiment,
    labels,
    runs::{ACTIVE, ALL, DELETED, Store, lifecycle},
    search::{self, Place},
};
use crate::runs::{Experiment, Filter, RunError};

impl Store {
    pub(crate) async fn create_experiment(
        &self,
        name: &str,
        tags: &BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<i64, RunError> {
        let row = experiment::ActiveModel {
            id: NotSet,
            name: Set(name.to_owned()),
            lifecycle: Set(ACTIVE.to_owned()),
            created_ms: Set(now_ms),
            updated_ms: Set(now_ms),
        };
        let (taken, tags) = (name.to_owned(), tags.clone());
        self.0
            .transaction(|open| {
                Box::pin(async move {
                    let written = experiment::Entity::insert(row).exec(open).await.map_err(store::translate);
                    let id = written.map_err(|error| named(error, &taken))?.last_insert_id;
                    labels::write(open, Place::Experiments.kind(), &id.to_string(), 0, &tags).await?;
                    Ok(id)
                })
            })
            .await
    }

    pub(crate) async fn experiment(&self, id: i64) -> Result<Option<Experiment>, RunError> {
        let find = experiment::Entity::find_by_id(id);
        let row = self.0.call(|database| find.one(database)).await?;
        self.with_tags(row).await
    }

    pub(crate) async fn experiment_by_name(&self, name: &str) -> Result<Option<Experiment>, RunError> {
        let find = experiment::Entity::find().filter(experiment::Column::Name.eq(name));
        let row = self.0.call(|database| find.one(database)).await?;
        self.with_tags(row).await
    }

    pub(crate) async fn experiments(&self, filter: &Filter) -> Result<Vec<Experiment>, RunError> {
        let mut find = search::narrowed(Place::Experiments, experiment::Entity::find(), &filter.conditions)?;
        find =
            search::ordered(Place::Experiments, find, &filter.order)?.order_by_desc(experiment::Column::Id);
        if let Some(lifecycle) = lifecycle(filter.view) {
            find = find.filter(experiment::Column::Lifecycle.eq(lifecycle));
        }
        let find = find.offset(filter.offset).limit(filter.limit.unwrap_or(ALL));
        let rows = self.0.call(|database| find.all(database)).await?;
        let mut experiments = Vec::with_capacity(rows.len());
        for row in rows {
            experiments.extend(self.with_tags(Some(row)).await?);
        }
        Ok(experiments)
    }

    pub(crate) async fn change_experiment(
        &self,
        id: i64,
        name: Option<&str>,
        deleted: Option<bool>,
        now_ms: i64,
    ) -> Result<(), RunError> {
        let mut update = experiment::Entity::update_many()
            .col_expr(experiment::Column::UpdatedMs, Expr::value(now_ms))
            .filter(experiment::Column::Id.eq(id));
        if let Some(name) = name {
            update = update.col_expr(experiment::Column::Name, Expr::value(name));
        }
        if let Some(deleted) = deleted {
            let lifecycle = if deleted { DELETED } else { ACTIVE };
            update = update.col_expr(experiment::Column::Lifecycle, Expr::value(lifecycle));
        }
        let changed = self.0.call(|database| update.exec(database)).await;
        changed.map(|_| ()).map_err(|error| named(error, name.unwrap_or_default()))
    }

    pub(crate) async fn tag_experiment(
        &self,
        id: i64,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), RunError> {
        labels::change(&self.0, Place::Experiments.kind(), &id.to_string(), 0, key, value).await?;
        Ok(())
    }

    async fn with_tags(&self, row: Option<experiment::Model>) -> Result<Option<Experiment>, RunError> {
        let Some(row) = row else { return Ok(None) };
        let experiment::Model { id, name, lifecycle, created_ms, updated_ms } = row;
        let tags = labels::read(&self.0, Place::Experiments.kind(), &id.to_string(), 0).await?;
        Ok(Some(Experiment { id, name, deleted: lifecycle == DELETED, created_ms, updated_ms, tags }))
    }
}

/// A name that is taken is the caller's matter.
fn named(error: StoreError, name: &str) -> RunError {
    if matches!(error, StoreError::Unique { .. }) {
        return RunError::ExperimentExists(name.to_owned());
    }
    error.into()
}
