//! The tables of the outbox as a migration step, for the module that owns the database to take into its own.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_pk_auto, blob, integer, string, string_null, text, uuid_uniq,
};

/// The step; it comes once into the migrations of a database, at any place.
#[must_use]
pub fn migration() -> Box<dyn MigrationTrait> {
    Box::new(M0001Outbox)
}

struct M0001Outbox;

impl MigrationName for M0001Outbox {
    fn name(&self) -> &'static str {
        "outbox_m0001"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0001Outbox {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(event()).await?;
        manager.create_table(delivery()).await?;
        manager.create_table(subscription()).await?;
        let heads = Index::create()
            .name("outbox_delivery_heads")
            .table("outbox_delivery")
            .col("consumer")
            .col("state")
            .col("key")
            .col("position")
            .to_owned();
        manager.create_index(heads).await?;
        let events = Index::create()
            .name("outbox_delivery_events")
            .table("outbox_delivery")
            .col("position")
            .to_owned();
        manager.create_index(events).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["outbox_subscription", "outbox_delivery", "outbox_event"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn event() -> TableCreateStatement {
    Table::create()
        .table("outbox_event")
        .col(big_pk_auto("position"))
        .col(uuid_uniq("id"))
        .col(string("topic"))
        .col(text("key"))
        .col(blob("payload"))
        .col(big_integer("created_ms"))
        .to_owned()
}

fn delivery() -> TableCreateStatement {
    Table::create()
        .table("outbox_delivery")
        .col(string("consumer"))
        .col(big_integer("position"))
        .col(text("key"))
        .col(string("state"))
        .col(integer("attempts"))
        .col(big_integer("available_ms"))
        .col(string_null("reason"))
        .primary_key(Index::create().col("consumer").col("position"))
        .foreign_key(
            ForeignKey::create()
                .from("outbox_delivery", "position")
                .to("outbox_event", "position")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn subscription() -> TableCreateStatement {
    Table::create()
        .table("outbox_subscription")
        .col(string("consumer"))
        .col(string("topic"))
        .primary_key(Index::create().col("consumer").col("topic"))
        .to_owned()
}
