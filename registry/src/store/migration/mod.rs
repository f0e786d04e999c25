//! The tables of this crate, numbered; a landed migration is never changed, a new one is added.

mod m0001_runs;
mod m0002_models;
mod m0004_predictions;

use sea_orm_migration::prelude::*;

/// Brings the tables up to date.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_runs::M0001Runs),
            Box::new(m0002_models::M0002Models),
            Box::new(m0004_predictions::M0004Predictions),
        ]
    }
}

/// An index of `table`, made once.
fn index(name: &str, table: &str, columns: &[&str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.if_not_exists().name(name).table(table.to_owned());
    for column in columns {
        index.col((*column).to_owned());
    }
    index
}
