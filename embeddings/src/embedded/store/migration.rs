//! The tables of this module, numbered; a landed migration is never changed, a new one is added.
//!
//! SQLite runs the steps of a migration one by one, and a process may be killed between two of them: each step may
//! find its work done.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary, pk_auto, string, string_uniq, text};

/// Brings the tables up to date.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(M0001Vectors)]
    }
}

/// Collections, points and the counter of sequence numbers.
struct M0001Vectors;

impl MigrationName for M0001Vectors {
    fn name(&self) -> &'static str {
        "m0001_vectors"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0001Vectors {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(collection()).await?;
        manager.create_table(point()).await?;
        manager.create_table(counter()).await?;
        let key = Index::create()
            .if_not_exists()
            .name("vector_point_key")
            .table("vector_point")
            .col("collection")
            .col("tenant")
            .col("point")
            .unique()
            .to_owned();
        manager.create_index(key).await?;
        let first = Query::insert()
            .into_table("vector_counter")
            .columns(["id", "sequence"])
            .values_panic([1.into(), 0.into()])
            .on_conflict(OnConflict::column("id").do_nothing().to_owned())
            .to_owned();
        manager.execute(first).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["vector_point", "vector_collection", "vector_counter"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

/// Its numbers are never given out again: a dropped collection's points are removed little by little.
fn collection() -> TableCreateStatement {
    Table::create()
        .if_not_exists()
        .table("vector_collection")
        .col(pk_auto("id"))
        .col(string_uniq("name"))
        .col(big_integer("dimension"))
        .col(string("metric"))
        .col(string("layout"))
        .col(string("storage"))
        .col(text("fields"))
        .to_owned()
}

/// In the order of writing, which is the order of reading at start.
fn point() -> TableCreateStatement {
    Table::create()
        .if_not_exists()
        .table("vector_point")
        .col(big_integer("sequence").primary_key())
        .col(big_integer("collection"))
        .col(string("tenant"))
        .col(string("point"))
        .col(text("payload"))
        .col(binary("vector"))
        .to_owned()
}

/// One row. Counting the points instead would give a deleted point's number out again.
fn counter() -> TableCreateStatement {
    Table::create()
        .if_not_exists()
        .table("vector_counter")
        .col(big_integer("id").primary_key())
        .col(big_integer("sequence"))
        .to_owned()
}
