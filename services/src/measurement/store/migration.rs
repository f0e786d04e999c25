//! The tables of this module, numbered; a landed migration is never changed, a new one is added.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, blob_null, double, double_null, json_null, pk_uuid, string, string_null,
    text_null, uuid,
};

/// Brings the tables up to date.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(M0001Sessions), Box::new(M0002Fingerprint), store::outbox::migration()]
    }
}

/// Sessions and the values they gave. Times are milliseconds since the Unix epoch.
struct M0001Sessions;

impl MigrationName for M0001Sessions {
    fn name(&self) -> &'static str {
        "m0001_sessions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0001Sessions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(session()).await?;
        manager.create_table(value()).await?;
        let pages = Index::create()
            .name("measurement_session_pages")
            .table("measurement_session")
            .col("user_id")
            .col("ended_ms")
            .col("id")
            .to_owned();
        manager.create_index(pages).await?;
        let codes = Index::create()
            .name("measurement_value_codes")
            .table("measurement_value")
            .col("code")
            .col("session_id")
            .to_owned();
        manager.create_index(codes).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("measurement_value").to_owned()).await?;
        manager.drop_table(Table::drop().table("measurement_session").to_owned()).await
    }
}

/// Whether the vector service has the shape of a session.
struct M0002Fingerprint;

impl MigrationName for M0002Fingerprint {
    fn name(&self) -> &'static str {
        "m0002_fingerprint"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0002Fingerprint {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add =
            Table::alter().table("measurement_session").add_column(string_null("fingerprint")).to_owned();
        manager.alter_table(add).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::alter().table("measurement_session").drop_column("fingerprint").to_owned();
        manager.alter_table(drop).await
    }
}

fn session() -> TableCreateStatement {
    Table::create()
        .table("measurement_session")
        .col(pk_uuid("id"))
        .col(string("user_id"))
        .col(string("device_id"))
        .col(string("cartridge_code"))
        .col(double_null("age_years"))
        .col(string_null("sex"))
        .col(string("status"))
        .col(big_integer("started_ms"))
        .col(big_integer_null("ended_ms"))
        .col(big_integer("packets"))
        // What a running session resumes from; null once it has ended.
        .col(text_null("state"))
        // What it ended with; null while it runs.
        .col(string_null("quality"))
        .col(json_null("gates"))
        .col(json_null("environment"))
        .col(blob_null("channels"))
        .col(string_null("digest"))
        .col(blob_null("analysis"))
        .to_owned()
}

/// One row a predicted value: what people query by, never without unit and model version.
fn value() -> TableCreateStatement {
    Table::create()
        .table("measurement_value")
        .col(uuid("session_id"))
        .col(string("code"))
        .col(string("loinc"))
        .col(double("value"))
        .col(string("unit"))
        .col(double_null("low"))
        .col(double_null("high"))
        .col(double_null("coverage"))
        .col(string("model"))
        .col(string("version"))
        .primary_key(Index::create().col("session_id").col("code"))
        .foreign_key(
            ForeignKey::create()
                .from("measurement_value", "session_id")
                .to("measurement_session", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
