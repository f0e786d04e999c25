//! Runs and experiments in the database.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::Database;

use super::{
    entity::{run, run_metric as metric, run_output as output, run_param as param, run_tag as tag},
    search::{self, Place},
};
use crate::runs::{Filter, Metric, NewRun, Run, RunError, RunStatus, View};

/// Rows of one statement; each has at most six values and the database takes 32,766.
const ROWS_PER_STATEMENT: usize = 500;
/// Rows of a list without a limit: an offset needs one.
pub(super) const ALL: u64 = i64::MAX as u64;
/// Of a run or an experiment that is there.
pub(super) const ACTIVE: &str = "active";
/// Of one that was deleted and can be restored.
pub(super) const DELETED: &str = "deleted";

/// Runs in the database.
#[derive(Debug, Clone)]
pub(crate) struct Store(pub(crate) Database);

impl Store {
    /// Writes a run with its params and tags, all or nothing.
    pub(crate) async fn insert(&self, id: &str, new: &NewRun) -> Result<(), RunError> {
        let row = run::ActiveModel {
            id: Set(id.to_owned()),
            experiment_id: Set(new.experiment),
            name: Set(new.name.clone()),
            status: Set(RunStatus::Running.code().to_owned()),
            started_ms: Set(new.started_ms),
            ended_ms: Set(None),
            seen_ms: Set(new.watched.then_some(new.started_ms)),
            user: Set(new.user.clone()),
            lifecycle: Set(ACTIVE.to_owned()),
        };
        let (params, tags) = (param_rows(id, &new.params), tag_rows(id, &new.tags));
        self.0
            .transaction(|open| {
                Box::pin(async move {
                    let translate = store::translate;
                    run::Entity::insert(row).exec_without_returning(open).await.map_err(translate)?;
                    if !params.is_empty() {
                        let insert = param::Entity::insert_many(params);
                        insert.exec_without_returning(open).await.map_err(translate)?;
                    }
                    if !tags.is_empty() {
                        let insert = tag::Entity::insert_many(tags);
                        insert.exec_without_returning(open).await.map_err(translate)?;
                    }
                    Ok::<_, RunError>(())
                })
            })
            .await
    }

    pub(crate) async fn params(&self, id: &str, params: &BTreeMap<String, String>) -> Result<(), RunError> {
        let find = param::Entity::find().filter(param::Column::RunId.eq(id));
        let old = self.0.call(|database| find.all(database)).await?;
        for row in &old {
            if let Some(new) = params.get(&row.key).filter(|new| **new != row.value) {
                let (run, key) = (id.to_owned(), row.key.clone());
                return Err(RunError::Param { run, key, old: row.value.clone(), new: new.clone() });
            }
        }
        let mut rows = param_rows(id, params);
        rows.retain(|row| !old.iter().any(|old| row.key == Set(old.key.clone())));
        if rows.is_empty() {
            return Ok(());
        }
        let insert = param::Entity::insert_many(rows);
        self.0.call(|database| insert.exec_without_returning(database)).await?;
        Ok(())
    }

    pub(crate) async fn tags(&self, id: &str, tags: &BTreeMap<String, String>) -> Result<(), RunError> {
        let rows = tag_rows(id, tags);
        if rows.is_empty() {
            return Ok(());
        }
        let same = OnConflict::columns([tag::Column::RunId, tag::Column::Key])
            .update_column(tag::Column::Value)
            .to_owned();
        let insert = tag::Entity::insert_many(rows).on_conflict(same);
        self.0.call(|database| insert.exec_without_returning(database)).await?;
        Ok(())
    }

    pub(crate) async fn metrics(&self, id: &str, metrics: &[Metric]) -> Result<(), RunError> {
        for some in metrics.chunks(ROWS_PER_STATEMENT) {
            let row = |metric: &Metric| metric::ActiveModel {
                id: NotSet,
                run_id: Set(id.to_owned()),
                key: Set(metric.key.clone()),
                value: Set((!metric.value.is_nan()).then_some(metric.value)),
                step: Set(metric.step),
                at_ms: Set(metric.at_ms),
            };
            let insert = metric::Entity::insert_many(some.iter().map(row));
            self.0.call(|database| insert.exec_without_returning(database)).await?;
        }
        Ok(())
    }

    pub(crate) async fn seen(&self, id: &str, now_ms: i64) -> Result<(), RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::SeenMs, Expr::value(now_ms))
            .filter(run::Column::Id.eq(id));
        self.0.call(|database| update.exec(database)).await?;
        Ok(())
    }

    pub(crate) async fn resume(&self, id: &str, now_ms: i64) -> Result<(), RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::Status, Expr::value(RunStatus::Running.code()))
            .col_expr(run::Column::EndedMs, Expr::value(Option::<i64>::None))
            .col_expr(run::Column::SeenMs, Expr::value(now_ms))
            .filter(run::Column::Id.eq(id));
        self.0.call(|database| update.exec(database)).await?;
        Ok(())
    }

    pub(crate) async fn end(&self, id: &str, status: RunStatus, ended_ms: i64) -> Result<(), RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::Status, Expr::value(status.code()))
            .col_expr(run::Column::EndedMs, Expr::value(ended_ms))
            .filter(run::Column::Id.eq(id));
        self.0.call(|database| update.exec(database)).await?;
        Ok(())
    }

    /// Ends what runs and was last seen before `seen_ms`, at the time it was last seen.
    pub(crate) async fn kill_silent(&self, seen_ms: i64) -> Result<u64, RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::Status, Expr::value(RunStatus::Killed.code()))
            .col_expr(run::Column::EndedMs, Expr::col(run::Column::SeenMs))
            .filter(run::Column::Status.eq(RunStatus::Running.code()))
            .filter(run::Column::SeenMs.lt(seen_ms));
        Ok(self.0.call(|database| update.exec(database)).await?.rows_affected)
    }

    /// Runs whose id begins with `prefix`.
    pub(crate) async fn find(&self, prefix: &str) -> Result<Vec<Run>, RunError> {
        if prefix.is_empty() || !prefix.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let find = run::Entity::find().filter(run::Column::Id.starts_with(prefix.to_lowercase())).limit(3);
        let rows = self.0.call(|database| find.all(database)).await?;
        self.whole(rows).await
    }

    pub(crate) async fn list(&self, filter: &Filter) -> Result<Vec<Run>, RunError> {
        let mut find = search::narrowed(Place::Runs, run::Entity::find(), &filter.conditions)?;
        find = search::ordered(Place::Runs, find, &filter.order)?
            .order_by_desc(run::Column::StartedMs)
            .order_by_desc(run::Column::Id);
        if !filter.experiments.is_empty() {
            find = find.filter(run::Column::ExperimentId.is_in(filter.experiments.iter().copied()));
        }
        if let Some(lifecycle) = lifecycle(filter.view) {
            find = find.filter(run::Column::Lifecycle.eq(lifecycle));
        }
        for (key, value) in &filter.tags {
            let with = Query::select()
                .column(tag::Column::RunId)
                .from(tag::Entity)
                .and_where(tag::Column::Key.eq(key.as_str()))
                .and_where(tag::Column::Value.eq(value.as_str()))
                .to_owned();
            find = find.filter(run::Column::Id.in_subquery(with));
        }
        let find = find.offset(filter.offset).limit(filter.limit.unwrap_or(ALL));
        let rows = self.0.call(|database| find.all(database)).await?;
        self.whole(rows).await
    }

    pub(crate) async fn history(&self, id: &str, key: &str) -> Result<Vec<Metric>, RunError> {
        let find = metric::Entity::find()
            .filter(metric::Column::RunId.eq(id))
            .filter(metric::Column::Key.eq(key))
            .order_by_asc(metric::Column::Id);
        let rows = self.0.call(|database| find.all(database)).await?;
        let read = |row: metric::Model| Metric {
            key: row.key,
            value: row.value.unwrap_or(f64::NAN),
            step: row.step,
            at_ms: row.at_ms,
        };
        Ok(rows.into_iter().map(read).collect())
    }

    pub(crate) async fn rename(&self, id: &str, name: &str) -> Result<(), RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::Name, Expr::value(name))
            .filter(run::Column::Id.eq(id));
        self.0.call(|database| update.exec(database)).await?;
        Ok(())
    }

    pub(crate) async fn set_deleted(&self, id: &str, deleted: bool) -> Result<(), RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::Lifecycle, Expr::value(if deleted { DELETED } else { ACTIVE }))
            .filter(run::Column::Id.eq(id));
        self.0.call(|database| update.exec(database)).await?;
        Ok(())
    }

    pub(crate) async fn delete_tag(&self, id: &str, key: &str) -> Result<bool, RunError> {
        let delete =
            tag::Entity::delete_many().filter(tag::Column::RunId.eq(id)).filter(tag::Column::Key.eq(key));
        Ok(self.0.call(|database| delete.exec(database)).await?.rows_affected > 0)
    }

    pub(crate) async fn outputs(&self, id: &str) -> Result<Vec<(String, i64)>, RunError> {
        let find = output::Entity::find().filter(output::Column::RunId.eq(id));
        let rows = self.0.call(|database| find.all(database)).await?;
        Ok(rows.into_iter().map(|row| (row.logged_id, row.step)).collect())
    }

    pub(crate) async fn add_outputs(&self, id: &str, models: &[(String, i64)]) -> Result<(), RunError> {
        let row = |(logged, step): &(String, i64)| output::ActiveModel {
            run_id: Set(id.to_owned()),
            logged_id: Set(logged.clone()),
            step: Set(*step),
        };
        if models.is_empty() {
            return Ok(());
        }
        let again = OnConflict::columns([output::Column::RunId, output::Column::LoggedId])
            .update_column(output::Column::Step)
            .to_owned();
        let insert = output::Entity::insert_many(models.iter().map(row)).on_conflict(again);
        self.0.call(|database| insert.exec_without_returning(database)).await?;
        Ok(())
    }

    pub(crate) async fn close(self) -> Result<(), RunError> {
        Ok(self.0.close().await?)
    }

    /// Runs with everything that belongs to them, in the order of `rows`.
    async fn whole(&self, rows: Vec<run::Model>) -> Result<Vec<Run>, RunError> {
        let mut runs = Vec::with_capacity(rows.len());
        for row in rows {
            let params = param::Entity::find().filter(param::Column::RunId.eq(&row.id));
            let params = self.0.call(|database| params.all(database)).await?;
            let tags = tag::Entity::find().filter(tag::Column::RunId.eq(&row.id));
            let tags = self.0.call(|database| tags.all(database)).await?;
            let metrics = metric::Entity::find()
                .filter(metric::Column::RunId.eq(&row.id))
                .order_by_asc(metric::Column::Step)
                .order_by_asc(metric::Column::AtMs)
                .order_by_asc(metric::Column::Id);
            let metrics = self.0.call(|database| metrics.all(database)).await?;
            let status = RunStatus::read(&row.status).ok_or_else(|| RunError::Corrupt {
                run: row.id.clone(),
                reason: format!("there is no status `{}`", row.status),
            })?;
            runs.push(Run {
                id: row.id,
                experiment: row.experiment_id,
                name: row.name,
                user: row.user,
                deleted: row.lifecycle == DELETED,
                status,
                started_ms: row.started_ms,
                ended_ms: row.ended_ms,
                params: params.into_iter().map(|row| (row.key, row.value)).collect(),
                tags: tags.into_iter().map(|row| (row.key, row.value)).collect(),
                // The last one written of each key stays.
                metrics: metrics.into_iter().map(|row| (row.key, row.value.unwrap_or(f64::NAN))).collect(),
            });
        }
        Ok(runs)
    }
}

/// The word of the table for what a view shows; none: everything.
pub(super) const fn lifecycle(view: View) -> Option<&'static str> {
    match view {
        View::Active => Some(ACTIVE),
        View::Deleted => Some(DELETED),
        View::All => None,
    }
}

fn param_rows(id: &str, params: &BTreeMap<String, String>) -> Vec<param::ActiveModel> {
    let row = |(key, value): (&String, &String)| param::ActiveModel {
        run_id: Set(id.to_owned()),
        key: Set(key.clone()),
        value: Set(value.clone()),
    };
    params.iter().map(row).collect()
}

fn tag_rows(id: &str, tags: &BTreeMap<String, String>) -> Vec<tag::ActiveModel> {
    let row = |(key, value): (&String, &String)| tag::ActiveModel {
        run_id: Set(id.to_owned()),
        key: Set(key.clone()),
        value: Set(value.clone()),
    };
    tags.iter().map(row).collect()
}
