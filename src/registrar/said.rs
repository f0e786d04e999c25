//! What callers send. Unknown fields are refused, so that a typing error is never an approval for no reason.

use registry::State;
use serde::Deserialize;

/// Body of an approval, and of a rollback: both say why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approval {
    pub(super) why: String,
}

/// Body of a promotion.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Promotion {
    pub(super) to: Option<Step>,
    #[serde(default)]
    pub(super) why: String,
}

/// How far a version is released.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    Shadow,
    Canary,
    Live,
}

impl Step {
    pub(super) fn state(self) -> State {
        match self {
            Self::Shadow => State::Shadow,
            Self::Canary => State::Canary,
            Self::Live => State::Live,
        }
    }
}

/// Body with a new policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) toml: String,
    #[serde(default)]
    pub(super) why: String,
}

/// Body of a pin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pinned {
    pub(super) version: i64,
    #[serde(default)]
    pub(super) why: String,
}

/// Query of what has no body.
#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    #[serde(default)]
    pub(super) why: String,
}

/// Query of the audit.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) after: i64,
    pub(super) model: Option<String>,
    #[serde(default = "most")]
    pub(super) limit: u64,
}

fn most() -> u64 {
    super::ROWS_MAX
}
