//! The committed lock: which package file holds which data, and the hash that proves it.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::TrainingError;

/// Where a package lives, hence which client fetches it and how its file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ecosystem {
    /// A built Python package: a zip.
    PypiWheel,
    /// A Python source package: a tar.gz.
    PypiSdist,
    /// A node package: a tgz.
    Npm,
    /// A Debian package: an `ar` of tar.xz.
    Debian,
}

/// One pinned package file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Our name of the source.
    pub id: String,
    /// Client and container.
    pub ecosystem: Ecosystem,
    /// Package name as its registry knows it.
    pub package: String,
    /// Exact version.
    pub version: String,
    /// File name the client writes.
    pub file: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Licence of the package.
    pub license_package: String,
    /// Licence of the data or weights inside.
    pub license_data: String,
    /// Who made the data.
    pub citation: String,
    /// Members that we read; `*` stands for one path segment.
    pub members: Vec<String>,
}

/// All pinned sources.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The sources, ids unique.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

impl Lock {
    /// The lock committed with this crate.
    ///
    /// # Errors
    /// [`TrainingError::Lock`] if the committed file is broken (a test keeps it from being so).
    pub fn embedded() -> Result<Self, TrainingError> {
        Self::parse(include_str!("../../data.lock.toml"))
    }

    /// Reads and checks a lock.
    ///
    /// # Errors
    /// [`TrainingError::Lock`] for bad TOML, a double id, a file name with a folder in it, or a hash that
    /// is not 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, TrainingError> {
        let lock: Self = toml::from_str(text).map_err(|e| TrainingError::Lock { reason: e.to_string() })?;
        let mut seen = BTreeSet::new();
        for source in &lock.sources {
            if let Some(reason) = fault_of(source, seen.insert(source.id.as_str())) {
                return Err(TrainingError::Lock { reason });
            }
        }
        Ok(lock)
    }

    /// The source named `id`.
    ///
    /// # Errors
    /// [`TrainingError::UnknownSource`] listing the known ids.
    pub fn source(&self, id: &str) -> Result<&Source, TrainingError> {
        self.sources.iter().find(|s| s.id == id).ok_or_else(|| TrainingError::UnknownSource {
            id: id.to_owned(),
            known: self.sources.iter().map(|s| s.id.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

fn fault_of(source: &Source, is_new: bool) -> Option<String> {
    let id = &source.id;
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if !is_new {
        return Some(format!("source `{id}` is listed twice"));
    }
    if source.file.is_empty() || source.file.starts_with('.') || source.file.contains(['/', '\\']) {
        return Some(format!("source `{id}`: `{}` is not a plain file name", source.file));
    }
    if source.sha256.len() != 64 || !source.sha256.bytes().all(hex) {
        return Some(format!("source `{id}`: sha256 must be 64 lower-case hexadecimal digits"));
    }
    // Names and versions end up on a command line: nothing that a client could take for an option.
    let plain = |s: &str| {
        !s.is_empty()
            && !s.starts_with('-')
            && s.chars().all(|c| c.is_ascii_alphanumeric() || "@/._-+".contains(c))
    };
    (!plain(&source.package) || !plain(&source.version))
        .then(|| format!("source `{id}`: package or version has a character that no package has"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, file: &str, sha: &str, package: &str) -> String {
        format!(
            "[[source]]\nid='{id}'\necosystem='pypi-wheel'\npackage='{package}'\nversion='1'\nfile='{file}'\n\
             bytes=1\nsha256='{sha}'\nlicense_package=''\nlicense_data=''\ncitation=''\nmembers=[]\n"
        )
    }

    #[test]
    fn the_committed_lock_is_valid_and_complete() {
        let lock = Lock::embedded().expect("committed lock");
        assert!(lock.source("thyroid").is_ok());
        for source in &lock.sources {
            assert!(!source.members.is_empty(), "{} reads nothing", source.id);
            assert!(!source.license_data.is_empty() && !source.citation.is_empty(), "{}", source.id);
            assert!(source.bytes > 0, "{}", source.id);
        }
    }

    #[test]
    fn an_unknown_source_names_the_known_ones() {
        let error = Lock::embedded().and_then(|l| l.source("nope").cloned()).expect_err("not listed");
        assert!(error.to_string().contains("thyroid"), "{error}");
    }

    #[test]
    fn broken_entries_are_refused() {
        let sha = "0".repeat(64);
        let good = entry("a", "a.whl", &sha, "a");
        assert!(Lock::parse(&good).is_ok());
        let cases = [
            (format!("{good}{good}"), "twice"),
            (entry("a", "../a.whl", &sha, "a"), "plain file name"),
            (entry("a", "a.whl", "ABC", "a"), "hexadecimal"),
            (entry("a", "a.whl", &sha, "--index-url"), "character"),
            (entry("a", "a.whl", &sha, "a b"), "character"),
            (format!("{good}surprise = 1\n"), "surprise"),
        ];
        for (text, word) in cases {
            let error = Lock::parse(&text).expect_err(word).to_string();
            assert!(error.contains(word), "{error} lacks {word}");
        }
    }
}
