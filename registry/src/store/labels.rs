//! Tags of everything but runs.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use store::{Database, StoreError, Transaction};

use super::entity::label;

/// Tags of one thing; `number` is that of a version and 0 otherwise.
pub(crate) async fn read(
    database: &Database,
    kind: &str,
    name: &str,
    number: i64,
) -> Result<BTreeMap<String, String>, StoreError> {
    let find = label::Entity::find()
        .filter(label::Column::Kind.eq(kind))
        .filter(label::Column::Name.eq(name))
        .filter(label::Column::Number.eq(number));
    let rows = database.call(|database| find.all(database)).await?;
    Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
}

/// Writes tags over those of the same name.
pub(crate) async fn write(
    open: &Transaction,
    kind: &str,
    name: &str,
    number: i64,
    tags: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    if tags.is_empty() {
        return Ok(());
    }
    let insert = label::Entity::insert_many(rows(kind, name, number, tags)).on_conflict(again());
    insert.exec_without_returning(open).await.map_err(store::translate)?;
    Ok(())
}

/// Writes one tag, or takes it off.
pub(crate) async fn change(
    database: &Database,
    kind: &str,
    name: &str,
    number: i64,
    key: &str,
    value: Option<&str>,
) -> Result<(), StoreError> {
    match value {
        Some(value) => {
            let tags = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            let insert = label::Entity::insert_many(rows(kind, name, number, &tags)).on_conflict(again());
            database.call(|database| insert.exec_without_returning(database)).await?;
        }
        None => {
            let delete = label::Entity::delete_many()
                .filter(label::Column::Kind.eq(kind))
                .filter(label::Column::Name.eq(name))
                .filter(label::Column::Number.eq(number))
                .filter(label::Column::Key.eq(key));
            database.call(|database| delete.exec(database)).await?;
        }
    }
    Ok(())
}

fn rows(kind: &str, name: &str, number: i64, tags: &BTreeMap<String, String>) -> Vec<label::ActiveModel> {
    let row = |(key, value): (&String, &String)| label::ActiveModel {
        kind: Set(kind.to_owned()),
        name: Set(name.to_owned()),
        number: Set(number),
        key: Set(key.clone()),
        value: Set(value.clone()),
    };
    tags.iter().map(row).collect()
}

fn again() -> OnConflict {
    use label::Column::{Key, Kind, Name, Number};
    OnConflict::columns([Kind, Name, Number, Key]).update_column(label::Column::Value).to_owned()
}
