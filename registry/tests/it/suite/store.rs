//! What somebody with the database in hand could do to it.

use ::store::Url;
use sea_orm::{ConnectionTrait, Database};

use super::Place;

/// Does `statement` to the rows without the registry; `@` stands before the name of a table.
pub(super) async fn behind_its_back(place: &Place, statement: &str) {
    let url = match &place.url {
        Url::SqliteFile(path) => format!("sqlite:{}", path.display()),
        Url::SqliteMemory => panic!("nobody else reaches it"),
        Url::Postgres { url, .. } => url.clone(),
    };
    let database = Database::connect(url).await.expect("connects");
    let table = match &place.url {
        Url::Postgres { schema, .. } => format!("{schema}."),
        Url::SqliteFile(_) | Url::SqliteMemory => String::new(),
    };
    database.execute_unprepared(&statement.replace('@', &table)).await.expect("done");
}
