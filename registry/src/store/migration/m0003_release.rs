//! Step 3: releases under way, and versions pinned to a type of cartridge.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, integer, string};

/// Every replica splits by these rows, and one that starts goes on where the others are.
pub(super) struct M0003Release;

impl MigrationName for M0003Release {
    fn name(&self) -> &'static str {
        "m0003_release"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0003Release {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(release()).await?;
        manager.create_table(pin()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["pin", "release"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

/// One row a model: two releases of one model at once could not be told apart by what they do.
fn release() -> TableCreateStatement {
    Table::create()
        .if_not_exists()
        .table("release")
        .col(string("model").primary_key())
        .col(big_integer("number"))
        .col(integer("share"))
        .col(big_integer("since_ms"))
        .to_owned()
}

fn pin() -> TableCreateStatement {
    Table::create()
        .if_not_exists()
        .table("pin")
        .col(string("model"))
        .col(string("cartridge"))
        .col(big_integer("number"))
        .primary_key(Index::create().col("model").col("cartridge"))
        .to_owned()
}
