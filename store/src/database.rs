//! The one way to a database: opened with the settings below, every call under a deadline, writes in transactions.
//!
//! On PostgreSQL each module has a schema, created at the first start and put first on the search path, so that
//! its tables have the names they have in a file of its own. Two starts at once take turns at the migrations.
//!
//! SQLite settings, and why:
//! - write-ahead log: readers never wait for the writer;
//! - `synchronous = FULL`: a commit is on disk before it is answered. What we keep are health records that a person
//!   was told are stored; `NORMAL` would be faster and could lose the last of them with the power;
//! - foreign keys on: SQLite leaves them off unless told;
//! - LIKE tells capitals from small letters, as PostgreSQL's does;
//! - transactions begin `IMMEDIATE`: a transaction that reads first and writes later would otherwise fail at once
//!   when another writer came between, instead of waiting its turn.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    IsolationLevel, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;

use crate::error::{StoreError, translate};
use crate::limits::Limits;
use crate::url::Url;

/// An open transaction; dropped without commit it is rolled back.
pub type Transaction = DatabaseTransaction;

/// A boxed step of a transaction that borrows it.
type Step<'t, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 't>>;

/// A database, cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    connection: DatabaseConnection,
    limits: Limits,
}

impl Database {
    /// Opens the database at `url`, creating a file and its folder when absent, and brings its schema up to date
    /// with the migrations of `M`.
    ///
    /// # Errors
    /// [`StoreError`] when the place cannot be opened or a migration fails.
    pub async fn open<M: MigratorTrait>(url: &Url, limits: Limits) -> Result<Self, StoreError> {
        if let Url::SqliteFile(_) = url {
            migrate_alone::<M>(url, limits).await?;
        }
        let connection = sea_orm::Database::connect(options(url, limits)?).await.map_err(translate)?;
        match url {
            Url::SqliteFile(_) => {}
            Url::SqliteMemory => M::up(&connection, None).await.map_err(translate)?,
            Url::Postgres { schema, .. } => migrate_in_turn::<M>(&connection, schema).await?,
        }
        Ok(Self { connection, limits })
    }

    pub(crate) const fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Its bounds.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Runs reads or a single write under the deadline.
    ///
    /// # Errors
    /// What `call` answers, translated, or [`StoreError::Deadline`].
    pub async fn call<'d, T, F>(
        &'d self,
        call: impl FnOnce(&'d DatabaseConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, DbErr>> + Send + 'd,
    {
        self.deadline(async { call(&self.connection).await.map_err(translate) }).await
    }

    /// Runs `steps` in one transaction: committed when they succeed, rolled back when they fail or the deadline
    /// passes.
    ///
    /// # Errors
    /// What `steps` answers, or [`StoreError`] of the transaction itself.
    pub async fn transaction<T, E>(
        &self,
        steps: impl for<'t> FnOnce(&'t Transaction) -> Step<'t, T, E> + Send,
    ) -> Result<T, E>
    where
        T: Send,
        E: From<StoreError> + Send,
    {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.deadline(async {
            let open = self.connection.begin_with_options(options).await.map_err(translate)?;
            let answer = steps(&open).await?;
            open.commit().await.map_err(translate)?;
            Ok(answer)
        })
        .await
    }

    /// Runs reads that all see the database as it was at the first of them.
    ///
    /// # Errors
    /// What `steps` answers, or [`StoreError`] of the transaction itself.
    pub async fn snapshot<T, E>(
        &self,
        steps: impl for<'t> FnOnce(&'t Transaction) -> Step<'t, T, E> + Send,
    ) -> Result<T, E>
    where
        T: Send,
        E: From<StoreError> + Send,
    {
        // A transaction of SQLite is a snapshot anyway.
        let is_server = self.connection.get_database_backend() == DbBackend::Postgres;
        let options = TransactionOptions {
            isolation_level: is_server.then_some(IsolationLevel::RepeatableRead),
            ..TransactionOptions::default()
        };
        self.deadline(async {
            let open = self.connection.begin_with_options(options).await.map_err(translate)?;
            let answer = steps(&open).await?;
            open.rollback().await.map_err(translate)?;
            Ok(answer)
        })
        .await
    }

    /// Closes every connection; the log is merged into the file.
    ///
    /// # Errors
    /// [`StoreError`] of the driver.
    pub async fn close(self) -> Result<(), StoreError> {
        self.connection.close().await.map_err(translate)
    }

    async fn deadline<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let deadline_ms = self.limits.call_ms_max;
        match tokio::time::timeout(Duration::from_millis(deadline_ms), work).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Deadline { deadline_ms }.into()),
        }
    }
}

/// Migrates a file through a connection of its own. SQLite does not look whether the tables it has read the description of
/// are still the same when it reads `ON CONFLICT`: a connection that saw a table before its key was made would refuse
/// such an insert, so those that stay are opened when all is made.
async fn migrate_alone<M: MigratorTrait>(url: &Url, limits: Limits) -> Result<(), StoreError> {
    let alone = Limits { connections_max: 1, ..limits };
    let connection = sea_orm::Database::connect(options(url, alone)?).await.map_err(translate)?;
    let migrated = M::up(&connection, None).await.map_err(translate);
    connection.close().await.map_err(translate)?;
    migrated
}

/// Creates the schema and migrates within one transaction that holds a lock of the server, since of two replicas
/// that start together both would find the same tables missing.
async fn migrate_in_turn<M: MigratorTrait>(
    connection: &DatabaseConnection,
    schema: &str,
) -> Result<(), StoreError> {
    let open = connection.begin().await.map_err(translate)?;
    let name = schema.replace('"', "\"\"");
    for statement in [
        "SELECT pg_advisory_xact_lock(7239485102)".to_owned(),
        format!("CREATE SCHEMA IF NOT EXISTS \"{name}\""),
    ] {
        open.execute_unprepared(&statement).await.map_err(translate)?;
    }
    M::up(&open, None).await.map_err(translate)?;
    open.commit().await.map_err(translate)
}

fn options(url: &Url, limits: Limits) -> Result<ConnectOptions, StoreError> {
    // A file's path is set below rather than written into the URL, where it would need escaping.
    let mut options = match url {
        Url::SqliteFile(_) | Url::SqliteMemory => ConnectOptions::new("sqlite::memory:"),
        Url::Postgres { url, .. } => ConnectOptions::new(url.clone()),
    };
    options.acquire_timeout(Duration::from_millis(limits.call_ms_max)).sqlx_logging(false);
    // The pool (sqlx 0.9) counts idle connections a moment after they are; the task that looks for old ones may then read
    // a count below zero as one of 2^64 and never come back. Without ages there is no such task, and a connection that
    // the server has closed is found when it is next taken.
    options.idle_timeout(None).max_lifetime(None);
    match url {
        Url::SqliteFile(path) => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|error| {
                    let reason = format!("cannot create folder {}: {error}", folder.display());
                    StoreError::Database(DbErr::Custom(reason))
                })?;
            }
            let path = path.clone();
            options.max_connections(limits.connections_max).map_sqlx_sqlite_opts(move |sqlite| {
                settings(sqlite.filename(&path).create_if_missing(true), limits)
                    .in_memory(false)
                    .shared_cache(false)
            });
        }
        // A second connection, or a new one after an idle time, would see another, empty database.
        Url::SqliteMemory => {
            options.max_connections(1).min_connections(1);
            options.map_sqlx_sqlite_opts(move |sqlite| settings(sqlite, limits));
        }
        Url::Postgres { schema, .. } => {
            options.max_connections(limits.connections_max).set_schema_search_path(schema.clone());
        }
    }
    Ok(options)
}

fn settings(sqlite: SqliteConnectOptions, limits: Limits) -> SqliteConnectOptions {
    sqlite
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_millis(limits.busy_ms_max))
        .foreign_keys(true)
        .pragma("case_sensitive_like", "ON")
}
