//! What somebody with the database in hand could do to it.

use std::collections::BTreeSet;

use ::store::Url;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};

use super::Place;

/// Does `statement` to the rows without the registry; `@` stands before the name of a table.
pub(super) async fn behind_its_back(place: &Place, statement: &str) {
    let (database, table) = beside(place).await;
    database.execute_unprepared(&statement.replace('@', &table)).await.expect("done");
}

/// Ends the connections that wait for word of changes to this registry.
pub(super) async fn cut_listeners(place: &Place) {
    let Url::Postgres { schema, .. } = &place.url else { panic!("only PostgreSQL carries word") };
    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%{schema}%' AND pid <> pg_backend_pid()"
    );
    behind_its_back(place, &cut).await;
}

/// The blobs that paths name.
pub(super) async fn blobs_named(place: &Place) -> BTreeSet<String> {
    let (database, table) = beside(place).await;
    let statement = Statement::from_string(backend(place), format!("SELECT blob FROM {table}artifact"));
    let rows = database.query_all_raw(statement).await.expect("asked");
    rows.iter().map(|row| row.try_get("", "blob").expect("a name")).collect()
}

/// A connection of its own, and what stands before the names of tables.
async fn beside(place: &Place) -> (DatabaseConnection, String) {
    let (url, table) = match &place.url {
        Url::SqliteFile(path) => (format!("sqlite:{}", path.display()), String::new()),
        Url::SqliteMemory => panic!("nobody else reaches it"),
        Url::Postgres { url, schema } => (url.clone(), format!("{schema}.")),
    };
    (Database::connect(url).await.expect("connects"), table)
}

fn backend(place: &Place) -> DbBackend {
    match place.url {
        Url::SqliteFile(_) | Url::SqliteMemory => DbBackend::Sqlite,
        Url::Postgres { .. } => DbBackend::Postgres,
    }
}
