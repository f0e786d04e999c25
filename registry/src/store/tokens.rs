//! Tokens in the database: hashes, never the tokens themselves.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use store::{Database, StoreError, Transaction, translate};

use super::entity::token;

/// Writes a new one.
pub(crate) async fn insert(open: &Transaction, row: token::Model) -> Result<(), StoreError> {
    let token::Model { id, name, hash, roles, created_ms, expires_ms, revoked_ms, models } = row;
    let row = token::ActiveModel {
        id: Set(id),
        name: Set(name),
        hash: Set(hash),
        roles: Set(roles),
        created_ms: Set(created_ms),
        expires_ms: Set(expires_ms),
        revoked_ms: Set(revoked_ms),
        models: Set(models),
    };
    token::Entity::insert(row).exec_without_returning(open).await.map_err(translate)?;
    Ok(())
}

/// The one of that id.
pub(crate) async fn get(database: &Database, id: &str) -> Result<Option<token::Model>, StoreError> {
    let find = token::Entity::find_by_id(id);
    database.call(|database| find.one(database)).await
}

/// The one of that name.
pub(crate) async fn by_name(database: &Database, name: &str) -> Result<Option<token::Model>, StoreError> {
    let find = token::Entity::find().filter(token::Column::Name.eq(name));
    database.call(|database| find.one(database)).await
}

/// All, by name.
pub(crate) async fn list(database: &Database) -> Result<Vec<token::Model>, StoreError> {
    let find = token::Entity::find().order_by_asc(token::Column::Name);
    database.call(|database| find.all(database)).await
}

/// Ends one.
pub(crate) async fn revoke(open: &Transaction, id: &str, now_ms: i64) -> Result<(), StoreError> {
    let update = token::Entity::update_many()
        .col_expr(token::Column::RevokedMs, Expr::value(now_ms))
        .filter(token::Column::Id.eq(id));
    update.exec(open).await.map_err(translate)?;
    Ok(())
}
