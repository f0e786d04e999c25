//! The tables of this module and every question asked of them.

mod entity;
mod migration;

use std::collections::BTreeMap;

use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::{Database, Limits, Url};

use self::entity::{metric, param, run, tag};
use super::{Filter, Metric, NewRun, Run, RunError, RunStatus};

/// Rows of one statement; each has at most six values and the database takes 32,766.
const ROWS_PER_STATEMENT: usize = 500;

/// The run database.
#[derive(Debug, Clone)]
pub(super) struct Store(Database);

impl Store {
    pub(super) async fn open(url: &Url) -> Result<Self, RunError> {
        Ok(Self(Database::open::<migration::Migrator>(url, Limits::default()).await?))
    }

    /// Writes a run with its params and tags, all or nothing.
    pub(super) async fn insert(&self, id: &str, new: &NewRun) -> Result<(), RunError> {
        let row = run::ActiveModel {
            id: Set(id.to_owned()),
            experiment_id: Set(new.experiment),
            name: Set(new.name.clone()),
            status: Set(RunStatus::Running.code().to_owned()),
            started_ms: Set(new.started_ms),
            ended_ms: Set(None),
            seen_ms: Set(new.watched.then_some(new.started_ms)),
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

    pub(super) async fn params(&self, id: &str, params: &BTreeMap<String, String>) -> Result<(), RunError> {
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

    pub(super) async fn tags(&self, id: &str, tags: &BTreeMap<String, String>) -> Result<(), RunError> {
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

    pub(super) async fn metrics(&self, id: &str, metrics: &[Metric]) -> Result<(), RunError> {
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

    pub(super) async fn seen(&self, id: &str, now_ms: i64) -> Result<(), RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::SeenMs, Expr::value(now_ms))
            .filter(run::Column::Id.eq(id));
        self.0.call(|database| update.exec(database)).await?;
        Ok(())
    }

    pub(super) async fn resume(&self, id: &str, now_ms: i64) -> Result<(), RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::Status, Expr::value(RunStatus::Running.code()))
            .col_expr(run::Column::EndedMs, Expr::value(Option::<i64>::None))
            .col_expr(run::Column::SeenMs, Expr::value(now_ms))
            .filter(run::Column::Id.eq(id));
        self.0.call(|database| update.exec(database)).await?;
        Ok(())
    }

    pub(super) async fn end(&self, id: &str, status: RunStatus, ended_ms: i64) -> Result<(), RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::Status, Expr::value(status.code()))
            .col_expr(run::Column::EndedMs, Expr::value(ended_ms))
            .filter(run::Column::Id.eq(id));
        self.0.call(|database| update.exec(database)).await?;
        Ok(())
    }

    /// Ends what runs and was last seen before `seen_ms`, at the time it was last seen.
    pub(super) async fn kill_silent(&self, seen_ms: i64) -> Result<u64, RunError> {
        let update = run::Entity::update_many()
            .col_expr(run::Column::Status, Expr::value(RunStatus::Killed.code()))
            .col_expr(run::Column::EndedMs, Expr::col(run::Column::SeenMs))
            .filter(run::Column::Status.eq(RunStatus::Running.code()))
            .filter(run::Column::SeenMs.lt(seen_ms));
        Ok(self.0.call(|database| update.exec(database)).await?.rows_affected)
    }

    /// Runs whose id begins with `prefix`.
    pub(super) async fn find(&self, prefix: &str) -> Result<Vec<Run>, RunError> {
        if prefix.is_empty() || !prefix.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let find = run::Entity::find().filter(run::Column::Id.starts_with(prefix.to_lowercase())).limit(3);
        let rows = self.0.call(|database| find.all(database)).await?;
        self.whole(rows).await
    }

    pub(super) async fn list(&self, filter: &Filter) -> Result<Vec<Run>, RunError> {
        let mut find =
            run::Entity::find().order_by_desc(run::Column::StartedMs).order_by_desc(run::Column::Id);
        for (key, value) in &filter.tags {
            let with = Query::select()
                .column(tag::Column::RunId)
                .from(tag::Entity)
                .and_where(tag::Column::Key.eq(key.as_str()))
                .and_where(tag::Column::Value.eq(value.as_str()))
                .to_owned();
            find = find.filter(run::Column::Id.in_subquery(with));
        }
        let find = find.limit(filter.limit);
        let rows = self.0.call(|database| find.all(database)).await?;
        self.whole(rows).await
    }

    pub(super) async fn history(&self, id: &str, key: &str) -> Result<Vec<Metric>, RunError> {
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

    pub(super) async fn close(self) -> Result<(), RunError> {
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
