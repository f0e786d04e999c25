//! The tables of this module and every question asked of them. Its rows are the truth; all else can be made again.

mod codes;
mod entity;
mod migration;

use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::{Database, Transaction, Url};

use self::entity::{collection, counter, point};
use crate::{Collection, EmbeddingError, Payload};

/// Rows of one statement; each has six values and the database takes 32,766.
const ROWS_PER_STATEMENT: usize = 500;
/// Rows removed at once where a dropped collection is cleared away.
const PURGE_ROWS: u64 = 2_000;
/// Longest wait for another writer: a whole transaction on a slow disk.
const BUSY_MS_MAX: u64 = 10_000;
/// Longest wait for one call, large transactions on slow disks included.
const CALL_MS_MAX: u64 = 30_000;

/// A point as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// Rises with every write, over all collections; never given out twice.
    pub(super) sequence: u64,
    pub(super) collection: i64,
    pub(super) tenant: String,
    pub(super) id: String,
    pub(super) payload: String,
    pub(super) vector: Vec<u8>,
}

/// Points of one tenant to remove.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Removed {
    pub(super) collection: i64,
    pub(super) tenant: String,
    pub(super) ids: Vec<String>,
}

/// The vector database.
#[derive(Debug, Clone)]
pub(super) struct Store(Database);

/// A payload as text.
pub(super) fn payload_text(payload: &Payload) -> String {
    codes::payload_text(payload)
}

/// Reads the text of a payload.
pub(super) fn payload(text: &str, collection: &Collection) -> Result<Payload, EmbeddingError> {
    codes::payload(text, collection)
}

impl Store {
    /// Opens the database and brings its tables up to date.
    pub(super) async fn open(url: &Url) -> Result<Self, EmbeddingError> {
        let limits =
            store::Limits { busy_ms_max: BUSY_MS_MAX, call_ms_max: CALL_MS_MAX, ..store::Limits::default() };
        Ok(Self(Database::open::<migration::Migrator>(url, limits).await?))
    }

    /// Every collection with its number.
    pub(super) async fn collections(&self) -> Result<Vec<(i64, Collection)>, EmbeddingError> {
        let find = collection::Entity::find().order_by_asc(collection::Column::Name);
        let rows = self.0.call(|database| find.all(database)).await?;
        rows.iter().map(|row| Ok((row.id, codes::collection(row)?))).collect()
    }

    /// Writes a collection; its number.
    pub(super) async fn create(&self, collection: &Collection) -> Result<i64, EmbeddingError> {
        let row = collection::ActiveModel { id: NotSet, ..codes::row(collection) };
        let inserted = self.0.call(|database| collection::Entity::insert(row).exec(database)).await?;
        Ok(inserted.last_insert_id)
    }

    /// Removes a collection, then its points little by little, so that no transaction grows long.
    pub(super) async fn drop_collection(&self, id: i64) -> Result<(), EmbeddingError> {
        self.0.call(|database| collection::Entity::delete_by_id(id).exec(database)).await?;
        self.purge(id).await
    }

    /// Removes the points of a collection that is gone.
    pub(super) async fn purge(&self, id: i64) -> Result<(), EmbeddingError> {
        loop {
            let some = point::Entity::find()
                .select_only()
                .column(point::Column::Sequence)
                .filter(point::Column::Collection.eq(id))
                .limit(PURGE_ROWS)
                .into_tuple();
            let some: Vec<i64> = self.0.call(|database| some.all(database)).await?;
            if some.is_empty() {
                return Ok(());
            }
            let delete = point::Entity::delete_many().filter(point::Column::Sequence.is_in(some));
            self.0.call(|database| delete.exec(database)).await?;
        }
    }

    /// The highest sequence number ever given out.
    pub(super) async fn sequence(&self) -> Result<u64, EmbeddingError> {
        let row = self.0.call(|database| counter::Entity::find_by_id(1).one(database)).await?;
        let row =
            row.ok_or_else(|| codes::corrupt("the counter of sequence numbers", "its row is missing"))?;
        Ok(row.sequence.cast_unsigned())
    }

    /// Removes and writes points in one transaction, on disk when this returns.
    pub(super) async fn write(
        &self,
        removed: Vec<Removed>,
        kept: &[Kept],
        sequence: u64,
    ) -> Result<(), EmbeddingError> {
        let rows: Vec<point::ActiveModel> = kept.iter().map(active).collect();
        self.0
            .transaction(|open| {
                Box::pin(async move {
                    for removed in removed {
                        remove(open, removed).await?;
                    }
                    for rows in rows.chunks(ROWS_PER_STATEMENT) {
                        insert(open, rows.to_vec()).await?;
                    }
                    count(open, sequence).await
                })
            })
            .await
    }

    /// Points written after `sequence`, oldest first, at most `limit`.
    pub(super) async fn after(&self, sequence: u64, limit: u64) -> Result<Vec<Kept>, EmbeddingError> {
        let find = point::Entity::find()
            .filter(point::Column::Sequence.gt(sequence.cast_signed()))
            .order_by_asc(point::Column::Sequence)
            .limit(limit);
        let rows = self.0.call(|database| find.all(database)).await?;
        Ok(rows.into_iter().map(kept).collect())
    }

    /// Closes the database.
    pub(super) async fn close(self) -> Result<(), EmbeddingError> {
        Ok(self.0.close().await?)
    }
}

fn active(kept: &Kept) -> point::ActiveModel {
    point::ActiveModel {
        sequence: Set(kept.sequence.cast_signed()),
        collection: Set(kept.collection),
        tenant: Set(kept.tenant.clone()),
        point: Set(kept.id.clone()),
        payload: Set(kept.payload.clone()),
        vector: Set(kept.vector.clone()),
    }
}

fn kept(row: point::Model) -> Kept {
    let point::Model { sequence, collection, tenant, point, payload, vector } = row;
    Kept { sequence: sequence.cast_unsigned(), collection, tenant, id: point, payload, vector }
}

/// By name and not by sequence number: a write whose answer was lost may have left a newer row than we know of.
async fn remove(open: &Transaction, removed: Removed) -> Result<(), EmbeddingError> {
    for ids in removed.ids.chunks(ROWS_PER_STATEMENT) {
        let delete = point::Entity::delete_many()
            .filter(point::Column::Collection.eq(removed.collection))
            .filter(point::Column::Tenant.eq(&removed.tenant))
            .filter(point::Column::Point.is_in(ids));
        delete.exec(open).await.map_err(store::translate)?;
    }
    Ok(())
}

async fn insert(open: &Transaction, rows: Vec<point::ActiveModel>) -> Result<(), EmbeddingError> {
    let key = [point::Column::Collection, point::Column::Tenant, point::Column::Point];
    let replace = OnConflict::columns(key)
        .update_columns([point::Column::Sequence, point::Column::Payload, point::Column::Vector])
        .to_owned();
    let insert = point::Entity::insert_many(rows).on_conflict(replace);
    insert.exec_without_returning(open).await.map_err(store::translate)?;
    Ok(())
}

async fn count(open: &Transaction, sequence: u64) -> Result<(), EmbeddingError> {
    let update = counter::Entity::update_many()
        .col_expr(counter::Column::Sequence, Expr::value(sequence.cast_signed()))
        .filter(counter::Column::Id.eq(1));
    update.exec(open).await.map_err(store::translate)?;
    Ok(())
}
