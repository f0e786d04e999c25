//! Step 6: which models a token is for.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::string;

/// A column of `token`; those of before are for every model.
pub(super) struct M0006TokenModels;

impl MigrationName for M0006TokenModels {
    fn name(&self) -> &'static str {
        "m0006_token_models"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0006TokenModels {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("token", "models").await? {
            return Ok(());
        }
        let add = Table::alter().table("token").add_column(string("models").default("")).to_owned();
        manager.alter_table(add).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::alter().table("token").drop_column("models").to_owned();
        manager.alter_table(drop).await
    }
}
