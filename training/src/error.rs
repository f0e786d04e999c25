//! The one error of this crate: what failed, what was expected, what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why data could not be fetched or read, or a model not be made from it.
#[derive(Debug, Error)]
pub enum TrainingError {
    /// The lock file does not say what a lock file must say.
    #[error("the data lock is not valid: {reason}")]
    Lock {
        /// Which rule is broken.
        reason: String,
    },
    /// A source id that the lock does not list.
    #[error("unknown data source `{id}`; known are: {known}")]
    UnknownSource {
        /// The id asked for.
        id: String,
        /// All ids of the lock.
        known: String,
    },
    /// A package client is not installed.
    #[error(
        "`{client}` is needed to fetch `{file}` and was not found; {fix}, or put the file into {folder} yourself"
    )]
    ClientMissing {
        /// Command looked for.
        client: String,
        /// File it was to fetch.
        file: String,
        /// How to install the client.
        fix: String,
        /// Where a file brought by hand is accepted.
        folder: PathBuf,
    },
    /// The package client ended with an error, for example because there is no network.
    #[error(
        "`{client}` could not fetch `{file}` ({status}); check the network and the client's own configuration, \
         or put the file into {folder} yourself; it said: {said}"
    )]
    ClientFailed {
        /// Command run.
        client: String,
        /// File it was to fetch.
        file: String,
        /// Exit status or the limit it ran past.
        status: String,
        /// The last lines it printed.
        said: String,
        /// Where a file brought by hand is accepted.
        folder: PathBuf,
    },
    /// The bytes on disk are not the pinned ones.
    #[error(
        "{path} has SHA-256 {found}, the lock pins {expected}; remove the file and fetch again, and if it \
         differs again do not use it: the package was changed after it was pinned"
    )]
    HashMismatch {
        /// File checked.
        path: PathBuf,
        /// Hash of the lock, lower-case hexadecimal.
        expected: String,
        /// Hash of the file, lower-case hexadecimal.
        found: String,
    },
    /// A file operation failed.
    #[error("cannot {doing} {path}")]
    Io {
        /// The operation, as a verb.
        doing: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A member is missing from its archive, too large, or has an unsafe name.
    #[error("cannot read `{member}` from {archive}: {reason}")]
    Member {
        /// Archive file.
        archive: PathBuf,
        /// Member name.
        member: String,
        /// What is wrong.
        reason: String,
    },
    /// A pickle holds something outside the allow list or is damaged.
    #[error("pickle refused at byte {offset}: {reason}")]
    Pickle {
        /// Offset of the instruction.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A data set does not have the documented shape.
    #[error("data set `{dataset}`{}: {reason}", at_line(*.line))]
    Dataset {
        /// Data set or table name.
        dataset: String,
        /// One-based line (header is line 1), where one is known.
        line: Option<u64>,
        /// What was expected and what was found.
        reason: String,
    },
    /// Weights that do not make the network.
    #[error("weights do not fit the network: {reason}")]
    Weights {
        /// Tensor, expected and found shape.
        reason: String,
    },
}

fn at_line(line: Option<u64>) -> String {
    line.map(|n| format!(", line {n}")).unwrap_or_default()
}

impl TrainingError {
    /// An [`TrainingError::Io`] for `map_err`.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// The same, naming the file that a data set was read from.
    pub(crate) fn of_member(mut self, member: &str) -> Self {
        if let Self::Dataset { dataset, .. } = &mut self {
            *dataset = format!("{dataset}` of `{member}");
        }
        self
    }

    /// A [`TrainingError::Dataset`] about one row of a frame, here counted from 0.
    pub(crate) fn row(dataset: impl Into<String>, row: usize, reason: impl std::fmt::Display) -> Self {
        Self::dataset(dataset, format!("row {}: {reason}", row + 1))
    }

    /// A [`TrainingError::Dataset`] about the whole table.
    pub(crate) fn dataset(dataset: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Dataset { dataset: dataset.into(), line: None, reason: reason.into() }
    }
}
