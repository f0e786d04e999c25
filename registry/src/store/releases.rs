//! Releases under way and pins in the database.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::{Database, StoreError, Transaction, translate};

use super::entity::{pin, release};
use crate::release::{Pin, Release};

/// Every release under way, by model.
pub(crate) async fn all(database: &Database) -> Result<Vec<Release>, StoreError> {
    let find = release::Entity::find().order_by_asc(release::Column::Model);
    let rows = database.call(|database| find.all(database)).await?;
    Ok(rows.into_iter().map(read).collect())
}

/// The release of a model that is under way, held against other writers.
pub(crate) async fn locked(open: &Transaction, model: &str) -> Result<Option<Release>, StoreError> {
    let find = release::Entity::find_by_id(model).lock_exclusive();
    Ok(find.one(open).await.map_err(translate)?.map(read))
}

/// Writes where the release of a model is.
pub(crate) async fn put(open: &Transaction, at: &Release) -> Result<(), StoreError> {
    let Release { model, number, share, since_ms } = at.clone();
    let row = release::ActiveModel {
        model: Set(model),
        number: Set(number),
        share: Set(i32::from(share)),
        since_ms: Set(since_ms),
    };
    let columns = [release::Column::Number, release::Column::Share, release::Column::SinceMs];
    let again = OnConflict::column(release::Column::Model).update_columns(columns).to_owned();
    let insert = release::Entity::insert(row).on_conflict(again);
    insert.exec_without_returning(open).await.map_err(translate)?;
    Ok(())
}

/// Ends the release of a version; one that is not under way is fine.
pub(crate) async fn end(open: &Transaction, model: &str, number: i64) -> Result<(), StoreError> {
    let delete = release::Entity::delete_many()
        .filter(release::Column::Model.eq(model))
        .filter(release::Column::Number.eq(number));
    delete.exec(open).await.map_err(translate)?;
    Ok(())
}

/// Every pin, by model and cartridge.
pub(crate) async fn pins(database: &Database) -> Result<Vec<Pin>, StoreError> {
    let find = pin::Entity::find().order_by_asc(pin::Column::Model).order_by_asc(pin::Column::Cartridge);
    let rows = database.call(|database| find.all(database)).await?;
    let read = |row: pin::Model| Pin { model: row.model, cartridge: row.cartridge, number: row.number };
    Ok(rows.into_iter().map(read).collect())
}

/// Pins a version.
pub(crate) async fn pin(open: &Transaction, pin: &Pin) -> Result<(), StoreError> {
    let Pin { model, cartridge, number } = pin.clone();
    let row = pin::ActiveModel { model: Set(model), cartridge: Set(cartridge), number: Set(number) };
    let again = OnConflict::columns([pin::Column::Model, pin::Column::Cartridge])
        .update_column(pin::Column::Number)
        .to_owned();
    let insert = pin::Entity::insert(row).on_conflict(again);
    insert.exec_without_returning(open).await.map_err(translate)?;
    Ok(())
}

/// Takes a pin away; whether it was there.
pub(crate) async fn unpin(open: &Transaction, model: &str, cartridge: &str) -> Result<bool, StoreError> {
    let delete = pin::Entity::delete_by_id((model.to_owned(), cartridge.to_owned()));
    Ok(delete.exec(open).await.map_err(translate)?.rows_affected > 0)
}

/// The table keeps a percentage, which fits.
fn read(row: release::Model) -> Release {
    let share = u8::try_from(row.share).unwrap_or(0).min(100);
    Release { model: row.model, number: row.number, share, since_ms: row.since_ms }
}
