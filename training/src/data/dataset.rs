//! Rows with their origin: what a trainer gets, and what a model card is written from.

use super::lock::Source;

/// A row that belongs to someone. Rows of one subject never part in a [`super::Split`].
pub trait Record {
    /// Stable id of the person (or of the record, where the source does not tell people apart).
    fn subject(&self) -> String;

    /// A small number whose share should be alike in every part, for example the class; one per subject.
    fn stratum(&self) -> u32;
}

/// Sex as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
}

/// Where data comes from: enough to fetch the same bytes again and to cite their makers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Id in the lock.
    pub source: String,
    /// Package that carries it.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// SHA-256 of the package file, lower-case hexadecimal.
    pub sha256: String,
    /// Licence of the package.
    pub license_package: String,
    /// Licence of the data.
    pub license_data: String,
    /// Who made the data.
    pub citation: String,
}

impl Provenance {
    pub(super) fn of(source: &Source) -> Self {
        Self {
            source: source.id.clone(),
            package: source.package.clone(),
            version: source.version.clone(),
            sha256: source.sha256.clone(),
            license_package: source.license_package.clone(),
            license_data: source.license_data.clone(),
            citation: source.citation.clone(),
        }
    }
}

/// Rows or values left out, with the reason, so that a card can say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Why, as a short clause.
    pub reason: &'static str,
    /// How many.
    pub count: usize,
}

/// Typed rows and their origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset<R> {
    /// Short name, also the salt of its split.
    pub name: &'static str,
    /// The rows, in the order of the source.
    pub rows: Vec<R>,
    /// The sources read.
    pub provenance: Vec<Provenance>,
    /// What was left out; counts of zero are kept, they show that the check ran.
    pub dropped: Vec<Dropped>,
}

impl<R> Dataset<R> {
    /// Keeps the rows that `keep` accepts and notes how many went.
    pub(super) fn retain(&mut self, reason: &'static str, keep: impl FnMut(&R) -> bool) {
        let before = self.rows.len();
        self.rows.retain(keep);
        self.dropped.push(Dropped { reason, count: before - self.rows.len() });
    }
}
