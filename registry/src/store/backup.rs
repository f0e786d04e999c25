//! Every table as lines of JSON, out of one snapshot and into one transaction. The lines are the same for every
//! database, so a backup of a file can be put into a server.

use std::path::Path;

use futures::TryStreamExt;
use sea_orm::{ActiveModelTrait, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel, PaginatorTrait};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use store::{StoreError, Transaction, translate};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
};

use super::entity::{
    approval, artifact, audit, audit_head, drift_window, experiment, gate_report, label, logged_figure,
    logged_model, model_alias, model_version, payload, pin, prediction, registered_model, release, run,
    run_metric, run_output, run_param, run_tag, token,
};
use crate::error::RegistryError;

/// Rows of one statement.
const ROWS_PER_STATEMENT: usize = 200;
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// Does something for every table: a new one is added here, and a test says so when it is not.
macro_rules! for_every_table {
    ($do:ident) => {
        $do!(
            approval,
            artifact,
            audit,
            audit_head,
            drift_window,
            experiment,
            gate_report,
            label,
            logged_figure,
            logged_model,
            model_alias,
            model_version,
            payload,
            pin,
            prediction,
            registered_model,
            release,
            run,
            run_metric,
            run_output,
            run_param,
            run_tag,
            token
        )
    };
}

/// Tables whose rows are numbered by the database.
const NUMBERED: &[&str] = &["approval", "drift_window", "experiment", "gate_report", "run_metric"];

/// What was written of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(crate) struct Written {
    /// Its name.
    pub(crate) table: String,
    /// Its rows.
    pub(crate) rows: u64,
    /// Hash of its file.
    pub(crate) sha256: String,
}

/// Writes every table to a file of its name in `folder`.
pub(crate) async fn export(open: &Transaction, folder: &Path) -> Result<Vec<Written>, RegistryError> {
    let mut all = Vec::new();
    macro_rules! export_each {
        ($($table:ident),+) => { $(all.push(out::<$table::Entity>(open, stringify!($table), folder).await?);)+ };
    }
    for_every_table!(export_each);
    Ok(all)
}

/// Reads every table that [`export`] wrote, in place of what is there.
pub(crate) async fn import(open: &Transaction, folder: &Path) -> Result<u64, RegistryError> {
    let mut rows = 0;
    macro_rules! import_each {
        ($($table:ident),+) => { $(rows += into::<$table::Entity>(open, stringify!($table), folder).await?;)+ };
    }
    for_every_table!(import_each);
    if open.get_database_backend() == DbBackend::Postgres {
        for table in NUMBERED {
            let next = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT COALESCE(MAX(id), 0) FROM {table}) + 1, false)"
            );
            open.execute_unprepared(&next).await.map_err(translate)?;
        }
    }
    Ok(rows)
}

/// Whether nobody has kept anything here yet.
pub(crate) async fn is_empty(open: &Transaction) -> Result<bool, StoreError> {
    let counts = [
        registered_model::Entity::find().count(open).await,
        run::Entity::find().count(open).await,
        audit::Entity::find().count(open).await,
        artifact::Entity::find().count(open).await,
        prediction::Entity::find().count(open).await,
    ];
    for count in counts {
        if count.map_err(translate)? > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn out<E>(open: &Transaction, table: &str, folder: &Path) -> Result<Written, RegistryError>
where
    E: EntityTrait,
    E::Model: Serialize + Send + Sync,
{
    let path = file(folder, table);
    let mut file = File::create(&path).await.map_err(at(&path))?;
    let mut rows = E::find().stream(open).await.map_err(translate)?;
    let (mut count, mut hasher, mut lines) = (0, Sha256::new(), Vec::new());
    while let Some(row) = rows.try_next().await.map_err(translate)? {
        serde_json::to_writer(&mut lines, &row).map_err(|error| broken(table, &error))?;
        lines.push(b'\n');
        count += 1;
        if lines.len() >= WRITE_BYTES {
            hasher.update(&lines);
            file.write_all(&lines).await.map_err(at(&path))?;
            lines.clear();
        }
    }
    hasher.update(&lines);
    file.write_all(&lines).await.map_err(at(&path))?;
    file.sync_all().await.map_err(at(&path))?;
    Ok(Written { table: table.to_owned(), rows: count, sha256: hex::encode(hasher.finalize()) })
}

async fn into<E>(open: &Transaction, table: &str, folder: &Path) -> Result<u64, RegistryError>
where
    E: EntityTrait,
    E::Model: DeserializeOwned + IntoActiveModel<E::ActiveModel> + Send,
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    E::delete_many().exec(open).await.map_err(translate)?;
    let path = file(folder, table);
    let mut lines = BufReader::new(File::open(&path).await.map_err(at(&path))?).lines();
    let (mut count, mut some) = (0, Vec::new());
    loop {
        let line = lines.next_line().await.map_err(at(&path))?;
        if let Some(line) = &line {
            let row: E::Model = serde_json::from_str(line).map_err(|error| broken(table, &error))?;
            some.push(row.into_active_model());
            count += 1;
        }
        if some.len() >= ROWS_PER_STATEMENT || (line.is_none() && !some.is_empty()) {
            let insert = E::insert_many(std::mem::take(&mut some));
            insert.exec_without_returning(open).await.map_err(translate)?;
        }
        if line.is_none() {
            return Ok(count);
        }
    }
}

/// The file of a table.
pub(crate) fn file(folder: &Path, table: &str) -> std::path::PathBuf {
    folder.join(format!("{table}.jsonl"))
}

fn broken(table: &str, error: &serde_json::Error) -> RegistryError {
    RegistryError::invalid(table, format!("a row cannot be written or read: {error}"))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> RegistryError {
    let shown = path.display().to_string();
    move |error| RegistryError::invalid(shown, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sea_orm::Statement;
    use store::{Limits, Url};

    use super::*;

    #[tokio::test]
    async fn every_table_of_the_schema_is_in_the_backup() {
        let database = super::super::open(&Url::SqliteMemory, Limits::default()).await.expect("opens");
        let query = "SELECT name FROM sqlite_master WHERE type = 'table'";
        let rows = database
            .call(|open| open.query_all_raw(Statement::from_string(DbBackend::Sqlite, query)))
            .await
            .expect("asked");
        let found: BTreeSet<String> = rows
            .iter()
            .map(|row| row.try_get::<String>("", "name").expect("a name"))
            .filter(|name| !name.starts_with("sqlite_") && name != "seaql_migrations")
            .collect();
        macro_rules! names {
            ($($table:ident),+) => { BTreeSet::from([$(stringify!($table).to_owned()),+]) };
        }
        assert_eq!(found, for_every_table!(names));
    }
}
