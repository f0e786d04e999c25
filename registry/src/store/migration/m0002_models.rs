//! Step 2: registered models with their versions, aliases and approvals; logged models; artifacts; the audit chain;
//! tokens. Runs get what MLflow knows of them beyond training.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, double_null, string, string_null, string_uniq, text,
};

use super::index;

/// Times are milliseconds since the Unix epoch, hashes are in hexadecimal digits, lists are JSON.
pub(super) struct M0002Models;

impl MigrationName for M0002Models {
    fn name(&self) -> &'static str {
        "m0002_models"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0002Models {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [model(), version(), alias(), label(), approval(), report()] {
            manager.create_table(table).await?;
        }
        for table in [logged_model(), logged_figure(), output(), artifact(), audit(), audit_head(), token()] {
            manager.create_table(table).await?;
        }
        for (table, column) in additions() {
            if !manager.has_column(table, column.get_column_name()).await? {
                let change = Table::alter().table(table).add_column(column).to_owned();
                manager.alter_table(change).await?;
            }
        }
        manager.create_index(index("version_by_run", "model_version", &["run_id"])).await?;
        manager.create_index(index("version_by_time", "model_version", &["updated_ms"])).await?;
        manager.create_index(index("label_by_value", "label", &["kind", "key", "value"])).await?;
        manager.create_index(index("logged_by_experiment", "logged_model", &["experiment_id"])).await?;
        manager.create_index(index("logged_by_run", "logged_model", &["run_id"])).await?;
        manager.create_index(index("artifact_by_root", "artifact", &["root"])).await?;
        manager.create_index(index("artifact_by_blob", "artifact", &["blob"])).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            "token",
            "audit_head",
            "audit",
            "artifact",
            "run_output",
            "logged_figure",
            "logged_model",
            "gate_report",
            "approval",
            "label",
            "model_alias",
            "model_version",
            "registered_model",
        ];
        for table in tables {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        for (table, column) in additions() {
            let change = Table::alter().table(table).drop_column(column.get_column_name()).to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }
}

/// Columns that tables of step 1 get.
fn additions() -> Vec<(&'static str, ColumnDef)> {
    vec![
        ("run", string("user").default("").to_owned()),
        ("run", string("lifecycle").default("active").to_owned()),
        ("experiment", string("lifecycle").default("active").to_owned()),
        ("experiment", big_integer("created_ms").default(0).to_owned()),
        ("experiment", big_integer("updated_ms").default(0).to_owned()),
    ]
}

fn new(table: &'static str) -> TableCreateStatement {
    Table::create().if_not_exists().table(table).to_owned()
}

fn model() -> TableCreateStatement {
    new("registered_model")
        .col(string("name").primary_key())
        .col(text("description"))
        .col(string("user"))
        .col(text("policy"))
        .col(big_integer("created_ms"))
        .col(big_integer("updated_ms"))
        .to_owned()
}

/// Numbers are never given twice: a deleted version keeps its row.
fn version() -> TableCreateStatement {
    new("model_version")
        .col(string("model"))
        .col(big_integer("number"))
        .col(string_null("version_id"))
        .col(string_null("family"))
        .col(string("state"))
        .col(text("reason"))
        .col(text("source"))
        .col(string_null("run_id"))
        .col(string_null("logged_id"))
        .col(string("user"))
        .col(text("description"))
        .col(string("digest"))
        .col(big_integer("created_ms"))
        .col(big_integer("updated_ms"))
        .col(big_integer_null("deleted_ms"))
        .primary_key(Index::create().col("model").col("number"))
        .to_owned()
}

fn alias() -> TableCreateStatement {
    new("model_alias")
        .col(string("model"))
        .col(string("alias"))
        .col(big_integer("number"))
        .primary_key(Index::create().col("model").col("alias"))
        .to_owned()
}

/// Tags of everything but runs; `number` is that of a version and 0 otherwise.
fn label() -> TableCreateStatement {
    new("label")
        .col(string("kind"))
        .col(string("name"))
        .col(big_integer("number"))
        .col(string("key"))
        .col(text("value"))
        .primary_key(Index::create().col("kind").col("name").col("number").col("key"))
        .to_owned()
}

fn approval() -> TableCreateStatement {
    new("approval")
        .col(big_pk_auto("id"))
        .col(string("model"))
        .col(big_integer("number"))
        .col(string("digest"))
        .col(string("who"))
        .col(text("why"))
        .col(big_integer("at_ms"))
        .to_owned()
}

fn report() -> TableCreateStatement {
    new("gate_report")
        .col(big_pk_auto("id"))
        .col(string("model"))
        .col(big_integer("number"))
        .col(string("digest"))
        .col(string("outcome"))
        .col(text("gates"))
        .col(big_integer("at_ms"))
        .to_owned()
}

fn logged_model() -> TableCreateStatement {
    new("logged_model")
        .col(string("id").primary_key())
        .col(big_integer("experiment_id"))
        .col(string("name"))
        .col(string("model_type"))
        .col(string_null("run_id"))
        .col(string("status"))
        .col(text("status_message"))
        .col(big_integer("created_ms"))
        .col(big_integer("updated_ms"))
        .col(big_integer_null("deleted_ms"))
        .to_owned()
}

/// A figure that a run measured on a logged model.
fn logged_figure() -> TableCreateStatement {
    new("logged_figure")
        .col(string("logged_id"))
        .col(string("run_id"))
        .col(string("key"))
        .col(double_null("value"))
        .col(big_integer("step"))
        .col(big_integer("at_ms"))
        .primary_key(Index::create().col("logged_id").col("run_id").col("key").col("step"))
        .to_owned()
}

fn output() -> TableCreateStatement {
    new("run_output")
        .col(string("run_id"))
        .col(string("logged_id"))
        .col(big_integer("step"))
        .primary_key(Index::create().col("run_id").col("logged_id"))
        .to_owned()
}

/// What a path of the artifact tree holds now; its bytes are the blob of that name.
fn artifact() -> TableCreateStatement {
    new("artifact")
        .col(string("path").primary_key())
        .col(string("root"))
        .col(string("blob"))
        .col(big_integer("size"))
        .col(string("sha256"))
        .col(big_integer("created_ms"))
        .to_owned()
}

fn audit() -> TableCreateStatement {
    new("audit")
        .col(big_integer("position").primary_key())
        .col(big_integer("at_ms"))
        .col(string("who"))
        .col(string("action"))
        .col(string("subject"))
        .col(string("digest"))
        .col(text("why"))
        .col(string("previous"))
        .col(string("hash"))
        .to_owned()
}

/// One row: where the chain ends, so that rows missing at its end are missed.
fn audit_head() -> TableCreateStatement {
    new("audit_head")
        .col(big_integer("id").primary_key())
        .col(big_integer("position"))
        .col(string("hash"))
        .to_owned()
}

fn token() -> TableCreateStatement {
    new("token")
        .col(string("id").primary_key())
        .col(string_uniq("name"))
        .col(string("hash"))
        .col(text("roles"))
        .col(big_integer("created_ms"))
        .col(big_integer_null("expires_ms"))
        .col(big_integer_null("revoked_ms"))
        .to_owned()
}
