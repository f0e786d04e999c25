//! Step 1: runs.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, double_null, string, string_uniq, text,
};

use super::index;

/// Experiments, runs, their params, tags and metrics. Times are milliseconds since the Unix epoch. Each step may find
/// its work done: a process may be killed between two of them.
pub(super) struct M0001Runs;

impl MigrationName for M0001Runs {
    fn name(&self) -> &'static str {
        "m0001_runs"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0001Runs {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [experiment(), run(), pairs("run_param"), pairs("run_tag"), metric()] {
            manager.create_table(table).await?;
        }
        manager.create_index(index("run_by_start", "run", &["started_ms"])).await?;
        manager.create_index(index("run_tag_by_value", "run_tag", &["key", "value"])).await?;
        manager.create_index(index("run_metric_history", "run_metric", &["run_id", "key"])).await?;
        let default = Query::insert()
            .into_table("experiment")
            .columns(["id", "name"])
            .values_panic([crate::runs::DEFAULT_EXPERIMENT.into(), "Default".into()])
            .on_conflict(OnConflict::column("id").do_nothing().to_owned())
            .to_owned();
        manager.execute(default).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["run_metric", "run_tag", "run_param", "run", "experiment"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn experiment() -> TableCreateStatement {
    Table::create()
        .if_not_exists()
        .table("experiment")
        .col(big_pk_auto("id"))
        .col(string_uniq("name"))
        .to_owned()
}

fn run() -> TableCreateStatement {
    Table::create()
        .if_not_exists()
        .table("run")
        .col(string("id").primary_key())
        .col(big_integer("experiment_id"))
        .col(string("name"))
        .col(string("status"))
        .col(big_integer("started_ms"))
        .col(big_integer_null("ended_ms"))
        .col(big_integer_null("seen_ms"))
        .to_owned()
}

/// Names and values of a run, each name once.
fn pairs(table: &str) -> TableCreateStatement {
    Table::create()
        .if_not_exists()
        .table(table.to_owned())
        .col(string("run_id"))
        .col(string("key"))
        .col(text("value"))
        .primary_key(Index::create().col("run_id").col("key"))
        .to_owned()
}

fn metric() -> TableCreateStatement {
    Table::create()
        .if_not_exists()
        .table("run_metric")
        .col(big_pk_auto("id"))
        .col(string("run_id"))
        .col(string("key"))
        .col(double_null("value"))
        .col(big_integer("step"))
        .col(big_integer("at_ms"))
        .to_owned()
}
