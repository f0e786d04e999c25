//! A backup of the registry: a folder with every table as of one moment, the blobs they name, and hashes of all of it.
//!
//! | place | holds |
//! |---|---|
//! | `backup.json` | what there is, hashes of the tables, where the audit chain ends |
//! | `rows/TABLE.jsonl` | one row a line |
//! | `blobs/SHA256` | the bytes of an artifact |
//!
//! Blobs never change, so they are copied after the moment of the rows. The folder appears by one rename.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use futures::{Stream, TryStreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt,
};

use crate::{
    artifacts::{Artifact, FILE_BYTES_MAX, bytes_of},
    audit::Break,
    error::RegistryError,
    principal::Role,
    registry::{Act, Registry},
    store::{artifacts as tree, audit, backup as table},
};

/// Version of the folder's form.
const FORM: u32 = 1;
const HEAD: &str = "backup.json";
const ROWS: &str = "rows";
const BLOBS: &str = "blobs";

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Rows of all tables.
    pub rows: u64,
    /// Artifacts.
    pub files: u64,
    /// Their bytes; one that several paths hold counts for each.
    pub bytes: u64,
    /// Last link of the audit chain and its hash.
    pub audit: (i64, String),
}

/// Content of `backup.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    form: u32,
    made_ms: i64,
    tables: Vec<table::Written>,
    links: i64,
    audit_head: String,
}

impl Registry {
    /// Copies everything into a new folder.
    ///
    /// # Errors
    /// A caller who may not, a folder that is there or cannot be written, a blob that is not what it was, or the database.
    pub async fn backup(&self, act: Act<'_>, into: &Path) -> Result<Kept, RegistryError> {
        act.needs("make a backup", &[Role::Admin])?;
        if fs::try_exists(into).await.map_err(at(into))? {
            let reason = "is there already; a backup is written into a new folder";
            return Err(RegistryError::invalid(into.display().to_string(), reason));
        }
        let event = act.event("registry.backup", "registry", "", &into.display().to_string());
        self.change(event, |_| Box::pin(async { Ok(()) })).await?;
        let staging = staging(into)?;
        let kept = self.copy_out(&staging, act.at_ms).await;
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                // What cannot be removed is named like what it is.
                let _ = fs::remove_dir_all(&staging).await;
                return Err(error);
            }
        };
        fs::rename(&staging, into).await.map_err(at(into))?;
        Ok(kept)
    }

    async fn copy_out(&self, folder: &Path, made_ms: i64) -> Result<Kept, RegistryError> {
        let (rows, blobs) = (folder.join(ROWS), folder.join(BLOBS));
        for folder in [&rows, &blobs] {
            fs::create_dir_all(folder).await.map_err(at(folder))?;
        }
        let to = rows.clone();
        let tables = self
            .database
            .snapshot(move |open| Box::pin(async move { table::export(open, &to).await }))
            .await?;
        let (files, (links, audit_head)) = in_rows(&rows).await?;
        let mut done = BTreeSet::new();
        for file in &files {
            if done.insert(&file.sha256) {
                let mut bytes = self.artifacts.blobs().read(&file.blob).await?;
                let found = save(&mut bytes, &blobs.join(&file.sha256)).await?;
                same(&file.path, &found, &file.sha256)?;
            }
        }
        let kept = kept(&tables, &files, (links, audit_head.clone()));
        let head = Head { form: FORM, made_ms, tables, links, audit_head };
        let text = serde_json::to_vec_pretty(&head).map_err(|error| unreadable(&error))?;
        let path = folder.join(HEAD);
        fs::write(&path, text).await.map_err(at(&path))?;
        Ok(kept)
    }

    /// Puts a backup in the place of an empty registry, or with `force` of any, and verifies what is there then: every
    /// artifact and the audit chain.
    ///
    /// # Errors
    /// A caller who may not, a folder that is no whole backup (nothing is changed then), a registry that is not empty,
    /// or the database.
    pub async fn restore(&self, act: Act<'_>, from: &Path, force: bool) -> Result<Kept, RegistryError> {
        act.needs("restore a backup", &[Role::Admin])?;
        let (rows, blobs) = (from.join(ROWS), from.join(BLOBS));
        let head = read_head(from).await?;
        for of in &head.tables {
            let path = table::file(&rows, &of.table);
            same(&of.table, &hash(&path).await?, &of.sha256)?;
        }
        let (files, chain) = in_rows(&rows).await?;
        for file in &files {
            same(&file.path, &hash(&blobs.join(&file.sha256)).await?, &file.sha256)?;
        }
        self.refuse_unless_empty(force).await?;
        for file in &files {
            let kept = blobs.join(&file.sha256);
            let body = bytes_of(&kept).await.map_err(at(&kept))?;
            self.artifacts.blobs().write_as(file.blob.clone(), body, Some(file.size), FILE_BYTES_MAX).await?;
        }
        self.database
            .transaction(move |open| {
                Box::pin(async move {
                    if !(force || table::is_empty(open).await?) {
                        return Err(not_empty());
                    }
                    table::import(open, &rows).await
                })
            })
            .await?;
        self.check_restored(&files, &chain).await?;
        let event = act.event("registry.restore", "registry", "", &from.display().to_string());
        self.change(event, |_| Box::pin(async { Ok(()) })).await?;
        Ok(kept(&head.tables, &files, chain))
    }

    async fn refuse_unless_empty(&self, force: bool) -> Result<(), RegistryError> {
        let empty = self
            .database
            .snapshot(|open| Box::pin(async move { Ok::<_, RegistryError>(table::is_empty(open).await?) }))
            .await?;
        if empty || force { Ok(()) } else { Err(not_empty()) }
    }

    async fn check_restored(&self, files: &[Artifact], chain: &(i64, String)) -> Result<(), RegistryError> {
        let wrong = |what: String| RegistryError::Conflict(format!("restored, but not sound: {what}"));
        let there = tree::below(&self.database, "").await?;
        if there.len() != files.len() {
            return Err(wrong(format!("{} artifacts of {}", there.len(), files.len())));
        }
        for file in &there {
            if self.artifacts.hash(&file.blob).await? != file.sha256 {
                return Err(wrong(format!("artifact `{}` is not what it was", file.path)));
            }
        }
        match self.audit_verify().await? {
            Ok(end) if end == *chain => Ok(()),
            Ok((links, _)) => Err(wrong(format!("the audit ends at link {links}, not {}", chain.0))),
            Err(broken) => Err(wrong(Break::to_string(&broken))),
        }
    }
}

fn kept(tables: &[table::Written], files: &[Artifact], audit: (i64, String)) -> Kept {
    Kept {
        rows: tables.iter().map(|of| of.rows).sum(),
        files: files.len() as u64,
        bytes: files.iter().map(|file| file.size).sum(),
        audit,
    }
}

/// Artifacts, and the end of the audit chain, as the written rows have them.
async fn in_rows(rows: &Path) -> Result<(Vec<Artifact>, (i64, String)), RegistryError> {
    let lines = async |name: &str| {
        let path = table::file(rows, name);
        fs::read_to_string(&path).await.map_err(at(&path))
    };
    let files = tree::from_lines(&lines("artifact").await?)?;
    Ok((files, audit::head_from_lines(&lines("audit_head").await?)?))
}

async fn read_head(from: &Path) -> Result<Head, RegistryError> {
    let path = from.join(HEAD);
    let text = fs::read(&path).await.map_err(|error| {
        RegistryError::invalid(from.display().to_string(), format!("is no backup: {HEAD}: {error}"))
    })?;
    let head: Head = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
    if head.form != FORM {
        let reason = format!("has form {}, this program reads {FORM}", head.form);
        return Err(RegistryError::invalid(HEAD, reason));
    }
    Ok(head)
}

/// Beside `into`, so that it can be renamed there.
fn staging(into: &Path) -> Result<PathBuf, RegistryError> {
    let named = into.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = named.ok_or_else(|| RegistryError::invalid(into.display().to_string(), "has no name"))?;
    Ok(into.with_file_name(format!(".{name}.part-{}", uuid::Uuid::new_v4().simple())))
}

/// Writes a stream to a new file; its hash.
async fn save(
    bytes: &mut (impl Stream<Item = Result<bytes::Bytes, object_store::Error>> + Unpin),
    to: &Path,
) -> Result<String, RegistryError> {
    let (mut out, mut hasher) = (File::create(to).await.map_err(at(to))?, Sha256::new());
    while let Some(part) = bytes.try_next().await? {
        hasher.update(&part);
        out.write_all(&part).await.map_err(at(to))?;
    }
    out.sync_all().await.map_err(at(to))?;
    Ok(hex::encode(hasher.finalize()))
}

async fn hash(path: &Path) -> Result<String, RegistryError> {
    let mut parts = bytes_of(path).await.map_err(at(path))?;
    let mut hasher = Sha256::new();
    while let Some(part) = parts.try_next().await.map_err(at(path))? {
        hasher.update(&part);
    }
    Ok(hex::encode(hasher.finalize()))
}

fn same(what: &str, found: &str, promised: &str) -> Result<(), RegistryError> {
    if found == promised {
        return Ok(());
    }
    Err(RegistryError::Conflict(format!("`{what}` is not what it was: SHA-256 {found}, promised {promised}")))
}

fn not_empty() -> RegistryError {
    RegistryError::Conflict("the registry is not empty: --force replaces what it holds".into())
}

fn unreadable(error: &serde_json::Error) -> RegistryError {
    RegistryError::invalid(HEAD, error.to_string())
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> RegistryError {
    let shown = path.display().to_string();
    move |error| RegistryError::invalid(shown, error.to_string())
}
