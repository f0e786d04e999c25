//! Where a database is: the text of the configuration, read into one of the kinds we can open.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::error::StoreError;

/// Location of a database.
///
/// `sqlite:PATH` is a file, created when absent; `sqlite::memory:` is private to the process and gone when closed;
/// `postgres://user:password@host/database` is a PostgreSQL server, where each module has a schema of its own.
#[derive(Clone, PartialEq, Eq)]
pub enum Url {
    /// A SQLite file.
    SqliteFile(PathBuf),
    /// A SQLite database in memory.
    SqliteMemory,
    /// A database of a PostgreSQL server.
    Postgres {
        /// As given; may hold a password.
        url: String,
        /// Where the tables of the module are; created when absent.
        schema: String,
    },
}

impl fmt::Debug for Url {
    /// Without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SqliteFile(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::SqliteMemory => formatter.write_str("sqlite::memory:"),
            Self::Postgres { url, schema } => {
                let place = url.rsplit_once('@').map_or("...", |(_, place)| place);
                write!(formatter, "postgres://...@{place} (schema {schema})")
            }
        }
    }
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
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Self::Postgres { url: text.to_owned(), schema: "public".to_owned() })
            }
            Some(_) | None => {
                Err(refuse("expected sqlite:PATH, sqlite::memory: or postgres://user:password@host/database"))
            }
        }
    }

    /// The same place with the tables in `schema`; a SQLite file holds one module anyway.
    #[must_use]
    pub fn in_schema(self, schema: &str) -> Self {
        match self {
            Self::Postgres { url, schema: _ } => Self::Postgres { url, schema: schema.to_owned() },
            other @ (Self::SqliteFile(_) | Self::SqliteMemory) => other,
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
        for text in ["", "m.db", "sqlite:", "mysql://user:secret@h/d", "postgres:secret"] {
            let error = Url::parse(text).expect_err(text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_server_has_a_schema_for_each_module_and_keeps_its_password_to_itself() {
        let url = Url::parse("postgres://user:secret@host/d").expect("a server").in_schema("registry");
        let text = format!("{url:?}");
        assert!(text.contains("host/d") && text.contains("registry") && !text.contains("secret"), "{text}");
    }
}
