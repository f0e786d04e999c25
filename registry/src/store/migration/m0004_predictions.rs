//! Step 4: what models answered and how it came out, the payloads behind answers where they are kept, and windows of
//! drift.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, blob, double_null, integer, string, text, text_null,
};

use super::index;

/// Times are milliseconds since the Unix epoch, hashes are in hexadecimal digits, lists are JSON.
pub(super) struct M0004Predictions;

impl MigrationName for M0004Predictions {
    fn name(&self) -> &'static str {
        "m0004_predictions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0004Predictions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [prediction(), payload(), drift_window()] {
            manager.create_table(table).await?;
        }
        manager.create_index(index("prediction_by_model", "prediction", &["model", "at_ms"])).await?;
        manager.create_index(index("prediction_by_time", "prediction", &["at_ms"])).await?;
        manager.create_index(index("drift_by_model", "drift_window", &["model", "closed_ms"])).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["drift_window", "payload", "prediction"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn new(table: &'static str) -> TableCreateStatement {
    Table::create().if_not_exists().table(table).to_owned()
}

/// One row for each model behind an answer.
fn prediction() -> TableCreateStatement {
    new("prediction")
        .col(string("id"))
        .col(integer("part"))
        .col(string("rpc"))
        .col(string("model"))
        .col(string("version"))
        .col(string("input_sha256"))
        .col(text("output"))
        .col(double_null("low"))
        .col(double_null("high"))
        .col(text("classes"))
        .col(string("cohort"))
        .col(string("tenant"))
        .col(big_integer("at_ms"))
        .col(text_null("outcome"))
        .col(big_integer_null("labelled_ms"))
        .primary_key(Index::create().col("id").col("part"))
        .to_owned()
}

/// Request and answer, encrypted.
fn payload() -> TableCreateStatement {
    new("payload")
        .col(string("id").primary_key())
        .col(blob("request"))
        .col(blob("answer"))
        .col(big_integer("at_ms"))
        .to_owned()
}

fn drift_window() -> TableCreateStatement {
    new("drift_window")
        .col(big_pk_auto("id"))
        .col(string("model"))
        .col(string("version"))
        .col(string("cohort"))
        .col(big_integer("rows"))
        .col(text("figures"))
        .col(big_integer("closed_ms"))
        .to_owned()
}
