//! Step 5: with what probability a class was answered, so that outcomes tell whether probabilities mean what they say.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::double_null;

/// A column of `prediction`; rows of before have none.
pub(super) struct M0005Probability;

impl MigrationName for M0005Probability {
    fn name(&self) -> &'static str {
        "m0005_probability"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0005Probability {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("prediction", "probability").await? {
            return Ok(());
        }
        let add = Table::alter().table("prediction").add_column(double_null("probability")).to_owned();
        manager.alter_table(add).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::alter().table("prediction").drop_column("probability").to_owned();
        manager.alter_table(drop).await
    }
}
