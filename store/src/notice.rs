//! Word of a change, from the transaction that commits one to whoever listens at another process.
//!
//! PostgreSQL carries it (`NOTIFY`, `LISTEN`) and hands it out when the transaction commits; SQLite carries none. Word
//! may be lost with its connection, so who listens looks by itself from time to time as well.

use std::time::Duration;

use sea_orm::sqlx::{
    self,
    postgres::{PgListener, PgPoolOptions},
};
use sea_orm::{ConnectionTrait, DbBackend};

use crate::{
    database::{Database, Transaction},
    error::{StoreError, translate},
};

/// Pause before a lost connection is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Tells whoever listens to the same schema that something changed, once `open` is committed.
///
/// # Errors
/// [`StoreError`] of the database.
pub async fn tell(open: &Transaction) -> Result<(), StoreError> {
    if open.get_database_backend() == DbBackend::Postgres {
        open.execute_unprepared("SELECT pg_notify(current_schema(), '')").await.map_err(translate)?;
    }
    Ok(())
}

/// Hears of changes, on a connection of its own.
#[derive(Debug)]
pub struct Listener {
    database: Database,
    connection: Option<PgListener>,
}

impl Listener {
    /// Over the schema that `database` is in.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { database: database.clone(), connection: None }
    }

    /// Waits for word of a change. It comes too when the connection is made, or made anew after it was lost: what changed
    /// until then was not heard of. Without a server that carries word, none comes.
    pub async fn next(&mut self) {
        if self.database.connection().get_database_backend() != DbBackend::Postgres {
            return std::future::pending().await;
        }
        while let Err(error) = self.heard().await {
            tracing::debug!(%error, "word of changes is not heard");
            self.connection = None;
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn heard(&mut self) -> Result<(), sqlx::Error> {
        if let Some(connection) = &mut self.connection
            && connection.try_recv().await?.is_some()
        {
            return Ok(());
        }
        // There is none yet, or it was lost.
        self.connection = Some(listen(&self.database).await?);
        Ok(())
    }
}

/// A connection beside the pool's: one that waits for word would be missing there.
async fn listen(database: &Database) -> Result<PgListener, sqlx::Error> {
    let pool = database.connection().get_postgres_connection_pool();
    let options = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let own = options.connect_lazy_with(pool.connect_options().as_ref().clone());
    // The pool puts the schema first on the search path of its own connections only.
    let schema: String = sqlx::query_scalar("SELECT current_schema()::text").fetch_one(pool).await?;
    let mut listener = PgListener::connect_with(&own).await?;
    listener.listen(&schema).await?;
    Ok(listener)
}
