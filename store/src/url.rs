//! Where a database is: the text of the configuration, read into one of the kinds we can open.

use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// Location of a database.
///
/// `sqlite:PATH` is a file, created when absent; `sqlite::memory:` is private to the process and gone when closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// A SQLite file.
    SqliteFile(PathBuf),
    /// A SQLite database in memory.
    SqliteMemory,
}

impl Url {
    /// A SQLite file at `path`.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::SqliteFile(path.to_path_buf())
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`StoreError::Url`] for anything but the two forms above.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let refuse = |reason| StoreError::Url { scheme: scheme(text).to_owned(), reason };
        match text.split_once(':') {
            Some(("sqlite", ":memory:")) => Ok(Self::SqliteMemory),
            Some(("sqlite", rest)) => match rest.strip_prefix("//").unwrap_or(rest) {
                "" => Err(refuse("the path is empty: expected sqlite:PATH")),
                path => Ok(Self::SqliteFile(PathBuf::from(path))),
            },
            Some(("postgres" | "postgresql", _)) => {
                Err(refuse("this build has no PostgreSQL driver: use sqlite:PATH"))
            }
            Some(_) | None => Err(refuse("expected sqlite:PATH or sqlite::memory:")),
        }
    }
}

/// The part that may be repeated in an error: the rest can hold a password.
fn scheme(text: &str) -> &str {
    text.split_once(':').map_or("(none)", |(scheme, _)| scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sqlite_forms_are_read() {
        assert_eq!(Url::parse("sqlite::memory:").ok(), Some(Url::SqliteMemory));
        for text in ["sqlite:/data/m.db", "sqlite:///data/m.db"] {
            assert_eq!(Url::parse(text).ok(), Some(Url::file(Path::new("/data/m.db"))), "{text}");
        }
        assert_eq!(Url::parse("sqlite:m.db").ok(), Some(Url::file(Path::new("m.db"))));
    }

    #[test]
    fn others_are_refused_without_repeating_a_password() {
        for text in ["", "m.db", "sqlite:", "mysql://h/d", "postgres://user:secret@host/d"] {
            let error = Url::parse(text).expect_err(text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let error = Url::parse("postgres://h/d").expect_err("no driver").to_string();
        assert!(error.contains("PostgreSQL driver"), "{error}");
    }
}
