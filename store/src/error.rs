//! What can go wrong with a database, reduced to what a caller can act on, and the one place that decides it.

use sea_orm::sqlx;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlErr};

/// Why a database call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configured location cannot be opened by this build.
    #[error("database url with scheme '{scheme}' was refused: {reason}")]
    Url {
        /// Its scheme; the rest may hold a password.
        scheme: String,
        /// What was expected.
        reason: &'static str,
    },
    /// The row exists already.
    #[error("a row with the same key exists already ({constraint})")]
    Unique {
        /// Table and columns, as the database names them.
        constraint: String,
    },
    /// A row that must exist does not.
    #[error("the row was not found")]
    NotFound,
    /// No connection or no lock within the limit: trying again can help.
    #[error("the database is busy: try again")]
    Busy,
    /// The call took longer than its deadline: trying again can help.
    #[error("the database did not answer within {deadline_ms} ms: try again")]
    Deadline {
        /// The deadline.
        deadline_ms: u64,
    },
    /// An event that cannot be written.
    #[error("an event of topic '{topic}' was refused: {reason}")]
    Event {
        /// Its topic.
        topic: String,
        /// What was expected.
        reason: String,
    },
    /// Everything else; the source says what.
    #[error("the database failed")]
    Database(#[source] DbErr),
}

impl StoreError {
    /// Whether the same call can succeed a moment later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Busy | Self::Deadline { .. } => true,
            Self::Url { .. }
            | Self::Unique { .. }
            | Self::NotFound
            | Self::Event { .. }
            | Self::Database(_) => false,
        }
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        translate(error)
    }
}

/// Translates a driver error; nothing else in the workspace looks inside one.
#[must_use]
pub fn translate(error: DbErr) -> StoreError {
    if let Some(SqlErr::UniqueConstraintViolation(message)) = error.sql_err() {
        let constraint = message.rsplit(": ").next().unwrap_or_default().to_owned();
        return StoreError::Unique { constraint };
    }
    // DbErr is non-exhaustive: what is not named here has no remedy of its own.
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign non-exhaustive enum")]
    match &error {
        DbErr::RecordNotFound(_) | DbErr::RecordNotUpdated => StoreError::NotFound,
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => StoreError::Busy,
        DbErr::Conn(cause) | DbErr::Exec(cause) | DbErr::Query(cause) if is_busy(cause) => StoreError::Busy,
        _ => StoreError::Database(error),
    }
}

/// SQLite result codes 5 (busy) and 6 (locked) with their extended forms, SQLSTATE of a serialisation failure, a
/// deadlock, a lock not available or a server that is full or shutting down, or a pool without a free connection.
fn is_busy(cause: &RuntimeErr) -> bool {
    let RuntimeErr::SqlxError(error) = cause else { return false };
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign non-exhaustive enum")]
    match error.as_ref() {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let sqlite = code.len() < 5 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xFF, 5 | 6));
            sqlite || matches!(&*code, "40001" | "40P01" | "55P03" | "53300" | "57P01")
        }
        _ => false,
    }
}
