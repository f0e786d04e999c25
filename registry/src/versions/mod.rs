//! Registered models and their versions, as the registry tells of them.

mod names;

use std::collections::BTreeMap;

pub(crate) use self::names::{alias_checked, is_reserved, name_checked, tag_checked};
use crate::{
    search::{Condition, Order},
    state::State,
};

/// The alias of the version that answers for the model's name. Only a release moves it.
pub const LIVE: &str = "live";

/// A registered model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Who made it.
    pub user: String,
    /// Its policy as TOML; empty: the default one.
    pub policy: String,
    /// ms since the Unix epoch.
    pub created_ms: i64,
    /// ms since the Unix epoch.
    pub updated_ms: i64,
    /// What else is known.
    pub tags: BTreeMap<String, String>,
    /// Names of versions.
    pub aliases: BTreeMap<String, i64>,
}

/// A version of a registered model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The model's name.
    pub model: String,
    /// 1 for the first; never given twice.
    pub number: i64,
    /// `MPS-...`, once it is known to be a bundle.
    pub version_id: Option<String>,
    /// The family it answers as, once known.
    pub family: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Why it stands there.
    pub reason: String,
    /// Where its files were taken from.
    pub source: String,
    /// The run that made it.
    pub run_id: Option<String>,
    /// The logged model it is.
    pub logged_id: Option<String>,
    /// Its maker.
    pub user: String,
    /// For people.
    pub description: String,
    /// One hash for all its files.
    pub digest: String,
    /// ms since the Unix epoch.
    pub created_ms: i64,
    /// ms since the Unix epoch.
    pub updated_ms: i64,
    /// What else is known.
    pub tags: BTreeMap<String, String>,
    /// Names that point to it.
    pub aliases: Vec<String>,
}

impl Version {
    /// Where its files are in the artifact tree.
    #[must_use]
    pub fn folder(&self) -> String {
        folder(&self.model, self.number)
    }

    /// How the audit and messages name it.
    #[must_use]
    pub fn subject(&self) -> String {
        subject(&self.model, self.number)
    }
}

/// Where the files of a version are in the artifact tree.
#[must_use]
pub fn folder(model: &str, number: i64) -> String {
    format!("{}/{model}/{number}", crate::artifacts::SEALED)
}

/// How the audit and messages name a version.
#[must_use]
pub fn subject(model: &str, number: i64) -> String {
    format!("{model}/{number}")
}

/// What a version is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewVersion {
    /// The model's name; it must be there.
    pub model: String,
    /// Where its files come from, as the caller said it.
    pub source: String,
    /// The folder of the artifact tree that is.
    pub folder: String,
    /// The run that made it.
    pub run_id: Option<String>,
    /// The logged model it is.
    pub logged_id: Option<String>,
    /// For people.
    pub description: String,
    /// What else is known.
    pub tags: BTreeMap<String, String>,
}

/// Which models or versions to find.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// All of these hold.
    pub conditions: Vec<Condition>,
    /// In this order.
    pub order: Vec<Order>,
    /// So many are passed over.
    pub offset: u64,
    /// At most so many.
    pub limit: u64,
}

/// A second person's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// To these bytes.
    pub digest: String,
    /// ms since the Unix epoch.
    pub at_ms: i64,
}
