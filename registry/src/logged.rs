//! Logged models: what a run gave, before anybody registers it.

use std::collections::BTreeMap;

/// How the upload of a logged model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedStatus {
    /// Its files are coming.
    Pending,
    /// All are there.
    Ready,
    /// The client gave up.
    Failed,
}

impl LoggedStatus {
    /// The word on the wire and in the table.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pending => "LOGGED_MODEL_PENDING",
            Self::Ready => "LOGGED_MODEL_READY",
            Self::Failed => "LOGGED_MODEL_UPLOAD_FAILED",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn read(code: &str) -> Option<Self> {
        [Self::Pending, Self::Ready, Self::Failed].into_iter().find(|status| status.code() == code)
    }
}

/// What is known of a logged model when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewLogged {
    /// The experiment it belongs to.
    pub experiment: i64,
    /// Name for people; empty: made up of its id.
    pub name: String,
    /// What kind of model, in the client's words.
    pub model_type: String,
    /// The run that gives it.
    pub run_id: Option<String>,
    /// Settings.
    pub params: BTreeMap<String, String>,
    /// What else is known.
    pub tags: BTreeMap<String, String>,
}

/// A figure that a run measured on it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedMetric {
    /// Name of the figure.
    pub key: String,
    /// Its value.
    pub value: f64,
    /// Epoch or other count.
    pub step: i64,
    /// ms since the Unix epoch.
    pub at_ms: i64,
    /// The run.
    pub run_id: String,
}

/// A logged model.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// `m-` and 32 hexadecimal digits.
    pub id: String,
    /// The experiment it belongs to.
    pub experiment: i64,
    /// Name for people.
    pub name: String,
    /// What kind of model, in the client's words.
    pub model_type: String,
    /// The run that gave it.
    pub run_id: Option<String>,
    /// How its upload stands.
    pub status: LoggedStatus,
    /// ms since the Unix epoch.
    pub created_ms: i64,
    /// ms since the Unix epoch.
    pub updated_ms: i64,
    /// Settings.
    pub params: BTreeMap<String, String>,
    /// What else is known.
    pub tags: BTreeMap<String, String>,
    /// Figures measured on it.
    pub metrics: Vec<LoggedMetric>,
}

impl Logged {
    /// Where its files are in the artifact tree.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}/models/{}/artifacts", self.experiment, self.id)
    }
}
