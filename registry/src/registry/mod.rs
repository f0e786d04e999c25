//! The registry: one door to models, versions, artifacts, runs, tokens and the audit of what is done to them.
//!
//! Every change of a model or a version is one transaction that also writes its link of the audit chain: there is no
//! change without a link, and no link without a change.

mod diff;
mod files;
mod lifecycle;
mod logged;
mod models;
mod predictions;
mod release;
mod retention;
mod tokens;
mod versions;

use store::{Database, Limits, Transaction, Url, notice::Listener};

pub use self::lifecycle::Identity;
pub use self::tokens::{NewToken, TokenInfo};
use crate::{
    artifacts::{self, Artifacts, Location},
    audit::{Break, Event, Link, Walk},
    error::RegistryError,
    principal::{Principal, Role},
    runs::Runs,
    store as table,
};

/// Longest backup or restore.
const KEEPING_MS_MAX: u64 = 4 * 3_600_000;
/// Links read at a time.
const LINKS_PER_READ: u64 = 1_000;

/// Who does something, when, and why.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    /// Who.
    pub by: &'a Principal,
    /// ms since the Unix epoch.
    pub at_ms: i64,
    /// Why, in the caller's words; may be empty.
    pub why: &'a str,
}

impl Act<'_> {
    /// The event that this act did `action` to `subject`.
    pub(crate) fn event(&self, action: &str, subject: &str, digest: &str, detail: &str) -> Event {
        let why = match (detail.is_empty(), self.why.is_empty()) {
            (_, true) => detail.to_owned(),
            (true, false) => self.why.to_owned(),
            (false, false) => format!("{detail}: {}", self.why),
        };
        Event {
            at_ms: self.at_ms,
            who: self.by.name.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            digest: digest.to_owned(),
            why,
        }
    }

    /// Refuses whoever has none of `roles`.
    pub(crate) fn needs(&self, what: &str, roles: &[Role]) -> Result<(), RegistryError> {
        if self.by.is_any(roles) {
            return Ok(());
        }
        let names: Vec<&str> = roles.iter().map(|role| role.code()).collect();
        let text = format!("{} may not {what}: that takes the role {}", self.by.name, names.join(" or "));
        Err(RegistryError::Forbidden(text))
    }

    /// The same, and whoever has nothing to do with `model`.
    pub(crate) fn needs_on(&self, model: &str, what: &str, roles: &[Role]) -> Result<(), RegistryError> {
        self.needs(what, roles)?;
        if self.by.models.has(model) {
            return Ok(());
        }
        let text =
            format!("{} may not {what} of `{model}`: the token is for {}", self.by.name, self.by.models);
        Err(RegistryError::Forbidden(text))
    }
}

/// Who may change models.
pub(crate) const MAKERS: &[Role] = &[Role::DataScientist, Role::Admin];

/// The registry, cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) database: Database,
    pub(crate) artifacts: Artifacts,
    runs: Runs,
}

impl Registry {
    /// Opens the registry at `url` with its artifacts at `location`, and brings its tables up to date.
    ///
    /// # Errors
    /// A database, folder or bucket that cannot be opened.
    pub async fn open(url: &Url, location: &Location) -> Result<Self, RegistryError> {
        Self::open_within(url, location, Limits::default()).await
    }

    /// The same for work that takes long in one transaction: a backup, or putting one back.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub async fn open_for_keeping(url: &Url, location: &Location) -> Result<Self, RegistryError> {
        Self::open_within(url, location, Limits { call_ms_max: KEEPING_MS_MAX, ..Limits::default() }).await
    }

    async fn open_within(url: &Url, location: &Location, limits: Limits) -> Result<Self, RegistryError> {
        let database = table::open(url, limits).await?;
        let artifacts = artifacts::open(database.clone(), location).await?;
        Ok(Self::over(database, artifacts))
    }

    pub(crate) fn over(database: Database, artifacts: Artifacts) -> Self {
        let runs = Runs::over(database.clone());
        Self { database, artifacts, runs }
    }

    /// The run table.
    #[must_use]
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// The artifact tree.
    #[must_use]
    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    /// What hears of changes that any process makes, where the database carries word of them (PostgreSQL).
    #[must_use]
    pub fn changes(&self) -> Listener {
        Listener::new(&self.database)
    }

    /// Links of the audit after `position`; of one model or version, if given.
    ///
    /// # Errors
    /// The database.
    pub async fn audit(
        &self,
        position: i64,
        subject: Option<&str>,
        limit: u64,
    ) -> Result<Vec<Link>, RegistryError> {
        Ok(table::audit::after(&self.database, position, subject, limit).await?)
    }

    /// Walks the whole chain; where it ends, or where it is broken.
    ///
    /// # Errors
    /// The database.
    pub async fn audit_verify(&self) -> Result<Result<(i64, String), Break>, RegistryError> {
        let (end, end_hash) = table::audit::head(&self.database).await?;
        let mut walk = Walk::default();
        loop {
            let links = self.audit(walk.head().0, None, LINKS_PER_READ).await?;
            let last = (links.len() as u64) < LINKS_PER_READ;
            // Links written since the end was read are not yet to be judged by it.
            for link in links.iter().filter(|link| link.position <= end) {
                if let Err(broken) = walk.take(link) {
                    return Ok(Err(broken));
                }
            }
            if last || walk.head().0 >= end {
                break;
            }
        }
        Ok(walk.ends_at(end, &end_hash).map(|()| (end, end_hash)))
    }

    /// Closes the database.
    ///
    /// # Errors
    /// The database.
    pub async fn close(self) -> Result<(), RegistryError> {
        Ok(self.database.close().await?)
    }

    /// Does `steps` and writes `event` into the audit, both or neither.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        event: Event,
        steps: impl for<'t> FnOnce(&'t Transaction) -> Step<'t, T> + Send + 'static,
    ) -> Result<T, RegistryError> {
        self.database
            .transaction(move |open| {
                Box::pin(async move {
                    let answer = steps(open).await?;
                    table::audit::append(open, event).await?;
                    Ok(answer)
                })
            })
            .await
    }
}

/// A step of a transaction.
pub(crate) type Step<'t, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, RegistryError>> + Send + 't>>;
