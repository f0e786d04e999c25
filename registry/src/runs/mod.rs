//! Records of runs: what was tried with which settings on which data, and what came of it.
//!
//! The words are those of MLflow, whose clients ask the same table: an experiment holds runs; a run has params (its
//! settings), tags (what else is known of it) and metrics, each a history of values over steps.
//!
//! A run that this program does itself gives a sign of life ([`Runs::alive`]); one that stopped giving it without an
//! end was killed, and [`Runs::sweep`] says so. A client that never gave a sign is left alone.

use std::collections::BTreeMap;

use ::store::{Database, Limits};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    search::{Condition, FilterError, Order},
    store::{self, runs::Store},
};

/// The experiment that is always there.
pub const DEFAULT_EXPERIMENT: i64 = 0;
/// Tag of a run that belongs to another, and the other's id.
pub const PARENT_TAG: &str = "mlflow.parentRunId";
/// Tag with the git revision that a run came from.
pub const COMMIT_TAG: &str = "mlflow.source.git.commit";
/// Longest silence of a run before it counts as killed, ms. Signs come every [`SIGN_MS`].
pub const SILENCE_MS_MAX: i64 = 60_000;
/// Time between two signs of life, ms.
pub const SIGN_MS: u64 = 10_000;

/// Why a record could not be written or read.
#[derive(Debug, Error)]
pub enum RunError {
    /// No run, or more than one, has an id that begins so.
    #[error("{count} runs have an id that begins with `{id}`; see `manpasik runs list`")]
    Unknown {
        /// What was asked for.
        id: String,
        /// How many there are.
        count: usize,
    },
    /// A param is written once.
    #[error("param `{key}` of run {run} has the value `{old}` and cannot become `{new}`")]
    Param {
        /// The run.
        run: String,
        /// The param.
        key: String,
        /// What it is.
        old: String,
        /// What it should have become.
        new: String,
    },
    /// No experiment has this id or name.
    #[error("there is no experiment `{0}`")]
    NoExperiment(String),
    /// The name of an experiment is taken.
    #[error("there is an experiment called `{0}` already")]
    ExperimentExists(String),
    /// Something deleted, or that may not be deleted.
    #[error("{0}")]
    Refused(String),
    /// A filter that cannot be read.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A row that cannot be read.
    #[error("run {run} cannot be read: {reason}")]
    Corrupt {
        /// The run.
        run: String,
        /// What is wrong.
        reason: String,
    },
    /// The database.
    #[error("the run table failed")]
    Store(#[from] ::store::StoreError),
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunStatus {
    /// It goes on.
    Running,
    /// It came to its end.
    Finished,
    /// It ended with an error.
    Failed,
    /// It was stopped from outside.
    Killed,
}

impl RunStatus {
    /// The word on the wire and in the table.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn read(code: &str) -> Option<Self> {
        [Self::Running, Self::Finished, Self::Failed, Self::Killed].into_iter().find(|s| s.code() == code)
    }
}

/// One value of one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Name of the figure.
    pub key: String,
    /// Its value; may be no number, where training went astray.
    pub value: f64,
    /// Epoch or other count within the run.
    pub step: i64,
    /// When it was known, ms since the Unix epoch.
    pub at_ms: i64,
}

/// What is known of a run when it begins.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewRun {
    /// The experiment it belongs to.
    pub experiment: i64,
    /// Name for people; need not be unique.
    pub name: String,
    /// Settings.
    pub params: BTreeMap<String, String>,
    /// What else is known.
    pub tags: BTreeMap<String, String>,
    /// ms since the Unix epoch.
    pub started_ms: i64,
    /// Whether signs of life will come.
    pub watched: bool,
    /// Who began it.
    pub user: String,
}

/// A run as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The experiment it belongs to.
    pub experiment: i64,
    /// Name for people.
    pub name: String,
    /// Who began it.
    pub user: String,
    /// Whether it was deleted; it can be restored.
    pub deleted: bool,
    /// How it stands.
    pub status: RunStatus,
    /// ms since the Unix epoch.
    pub started_ms: i64,
    /// ms since the Unix epoch, once it has ended.
    pub ended_ms: Option<i64>,
    /// Settings.
    pub params: BTreeMap<String, String>,
    /// What else is known.
    pub tags: BTreeMap<String, String>,
    /// The last value of each figure: of the highest step, and of those the latest.
    pub metrics: BTreeMap<String, f64>,
}

/// An experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// Its number.
    pub id: i64,
    /// Its name, which no other has.
    pub name: String,
    /// Whether it was deleted; it can be restored.
    pub deleted: bool,
    /// ms since the Unix epoch.
    pub created_ms: i64,
    /// ms since the Unix epoch.
    pub updated_ms: i64,
    /// What else is known.
    pub tags: BTreeMap<String, String>,
}

/// Deleted ones, the others, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// What is there.
    #[default]
    Active,
    /// What was deleted.
    Deleted,
    /// Both.
    All,
}

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// Only runs with these tags.
    pub tags: BTreeMap<String, String>,
    /// Only runs of these experiments; none: of all.
    pub experiments: Vec<i64>,
    /// Only runs that all of these hold for.
    pub conditions: Vec<Condition>,
    /// In this order, then the newest first.
    pub order: Vec<Order>,
    /// Deleted ones too?
    pub view: View,
    /// So many are passed over.
    pub offset: u64,
    /// At most so many; none: all.
    pub limit: Option<u64>,
}

/// The run table, cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs(pub(crate) Store);

impl Runs {
    /// Opens the table at `url` and brings it up to date.
    ///
    /// # Errors
    /// A database that cannot be opened.
    pub async fn open(url: &::store::Url) -> Result<Self, RunError> {
        Ok(Self::over(store::open(url, Limits::default()).await?))
    }

    /// The table in an open database of the registry.
    pub(crate) fn over(database: Database) -> Self {
        Self(Store(database))
    }

    /// Writes a run that begins; its id.
    ///
    /// # Errors
    /// The database.
    pub async fn start(&self, new: &NewRun) -> Result<String, RunError> {
        let id = Uuid::new_v4().simple().to_string();
        self.0.insert(&id, new).await?;
        Ok(id)
    }

    /// Writes settings; the same value again is no change.
    ///
    /// # Errors
    /// A param that has another value already, or the database.
    pub async fn log_params(&self, id: &str, params: &BTreeMap<String, String>) -> Result<(), RunError> {
        self.0.params(id, params).await
    }

    /// Writes tags over those of the same name.
    ///
    /// # Errors
    /// The database.
    pub async fn set_tags(&self, id: &str, tags: &BTreeMap<String, String>) -> Result<(), RunError> {
        self.0.tags(id, tags).await
    }

    /// Adds values to the histories of their figures.
    ///
    /// # Errors
    /// The database.
    pub async fn log_metrics(&self, id: &str, metrics: &[Metric]) -> Result<(), RunError> {
        self.0.metrics(id, metrics).await
    }

    /// A sign of life at `now_ms`.
    ///
    /// # Errors
    /// The database.
    pub async fn alive(&self, id: &str, now_ms: i64) -> Result<(), RunError> {
        self.0.seen(id, now_ms).await
    }

    /// Takes up a run that had ended or was killed; signs of life will come.
    ///
    /// # Errors
    /// The database.
    pub async fn resume(&self, id: &str, now_ms: i64) -> Result<(), RunError> {
        self.0.resume(id, now_ms).await
    }

    /// Ends a run.
    ///
    /// # Errors
    /// The database.
    pub async fn end(&self, id: &str, status: RunStatus, ended_ms: i64) -> Result<(), RunError> {
        self.0.end(id, status, ended_ms).await
    }

    /// Calls killed what gave signs of life and has been silent too long at `now_ms`; how many.
    ///
    /// # Errors
    /// The database.
    pub async fn sweep(&self, now_ms: i64) -> Result<u64, RunError> {
        self.0.kill_silent(now_ms - SILENCE_MS_MAX).await
    }

    /// The run whose id begins with `id`.
    ///
    /// # Errors
    /// None or several such runs, or the database.
    pub async fn get(&self, id: &str) -> Result<Run, RunError> {
        let mut found = self.0.find(id).await?;
        match (found.pop(), found.len()) {
            (Some(run), 0) => Ok(run),
            (None, _) => Err(RunError::Unknown { id: id.to_owned(), count: 0 }),
            (Some(_), others) => Err(RunError::Unknown { id: id.to_owned(), count: others + 1 }),
        }
    }

    /// Runs, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Run>, RunError> {
        self.0.list(filter).await
    }

    /// All values of one figure of a run in the order they were written.
    ///
    /// # Errors
    /// The database.
    pub async fn history(&self, id: &str, key: &str) -> Result<Vec<Metric>, RunError> {
        self.0.history(id, key).await
    }

    /// Gives a run another name.
    ///
    /// # Errors
    /// The database.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), RunError> {
        self.0.rename(id, name).await
    }

    /// Deletes a run, or restores it; nothing of it is lost.
    ///
    /// # Errors
    /// The database.
    pub async fn set_deleted(&self, id: &str, deleted: bool) -> Result<(), RunError> {
        self.0.set_deleted(id, deleted).await
    }

    /// Takes a tag off a run; whether it was there.
    ///
    /// # Errors
    /// The database.
    pub async fn delete_tag(&self, id: &str, key: &str) -> Result<bool, RunError> {
        self.0.delete_tag(id, key).await
    }

    /// Logged models that a run gave, with the step of each.
    ///
    /// # Errors
    /// The database.
    pub async fn outputs(&self, id: &str) -> Result<Vec<(String, i64)>, RunError> {
        self.0.outputs(id).await
    }

    /// Notes logged models that a run gave.
    ///
    /// # Errors
    /// The database.
    pub async fn add_outputs(&self, id: &str, models: &[(String, i64)]) -> Result<(), RunError> {
        self.0.add_outputs(id, models).await
    }

    /// Makes an experiment; its id.
    ///
    /// # Errors
    /// A name that is taken, or the database.
    pub async fn create_experiment(
        &self,
        name: &str,
        tags: &BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<i64, RunError> {
        self.0.create_experiment(name, tags, now_ms).await
    }

    /// The experiment of that id.
    ///
    /// # Errors
    /// None, or the database.
    pub async fn experiment(&self, id: i64) -> Result<Experiment, RunError> {
        self.0.experiment(id).await?.ok_or_else(|| RunError::NoExperiment(id.to_string()))
    }

    /// The experiment of that name, deleted or not.
    ///
    /// # Errors
    /// None, or the database.
    pub async fn experiment_by_name(&self, name: &str) -> Result<Experiment, RunError> {
        self.0.experiment_by_name(name).await?.ok_or_else(|| RunError::NoExperiment(name.to_owned()))
    }

    /// Experiments; of the filter, tags and experiments do not count.
    ///
    /// # Errors
    /// A filter about what experiments do not have, or the database.
    pub async fn experiments(&self, filter: &Filter) -> Result<Vec<Experiment>, RunError> {
        self.0.experiments(filter).await
    }

    /// Gives an experiment another name, deletes or restores it.
    ///
    /// # Errors
    /// A name that is taken, the default experiment deleted, none of that id, or the database.
    pub async fn change_experiment(
        &self,
        id: i64,
        name: Option<&str>,
        deleted: Option<bool>,
        now_ms: i64,
    ) -> Result<(), RunError> {
        if id == DEFAULT_EXPERIMENT && deleted == Some(true) {
            return Err(RunError::Refused("the default experiment cannot be deleted".into()));
        }
        self.experiment(id).await?;
        self.0.change_experiment(id, name, deleted, now_ms).await
    }

    /// Writes a tag of an experiment, or takes it off.
    ///
    /// # Errors
    /// None of that id, or the database.
    pub async fn tag_experiment(&self, id: i64, key: &str, value: Option<&str>) -> Result<(), RunError> {
        self.experiment(id).await?;
        self.0.tag_experiment(id, key, value).await
    }

    /// Closes the database.
    ///
    /// # Errors
    /// The database.
    pub async fn close(self) -> Result<(), RunError> {
        self.0.close().await
    }
}
