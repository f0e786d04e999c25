//! A table of names with their synonyms, and what can be asked of it without an encoder.

use std::collections::HashMap;

use super::{Match, Method, ranked, threshold};
use crate::trigram::{Trigrams, squeezed};

/// One thing and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Other names.
    pub synonyms: Vec<String>,
}

/// One way to write an entry's name.
#[derive(Debug, Clone)]
pub struct Spelling {
    /// The name.
    pub text: String,
    /// Place of its entry.
    pub entry: usize,
    pub(super) trigrams: Trigrams,
}

/// Why a table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A name has no letters.
    #[error("entry {entry} has the name `{name}`, which has no letter and no digit")]
    Blank {
        /// Place of the entry.
        entry: usize,
        /// The name.
        name: String,
    },
    /// Two entries share a name, so it would stand for either.
    #[error("`{name}` names both `{first}` and `{second}`; a name must stand for one entry")]
    Ambiguous {
        /// The name.
        name: String,
        /// One entry.
        first: String,
        /// The other.
        second: String,
    },
}

/// Names and synonyms of a table.
#[derive(Debug, Clone, Default)]
pub struct Names {
    spellings: Vec<Spelling>,
    exact: HashMap<String, usize>,
    spelling_min: f32,
}

impl Names {
    /// Reads a table; entries keep their places.
    ///
    /// # Errors
    /// A blank name, or one that two entries share.
    pub fn new(entries: &[Entry]) -> Result<Self, TableError> {
        let (mut spellings, mut exact) = (Vec::new(), HashMap::new());
        for (entry, Entry { name, synonyms }) in entries.iter().enumerate() {
            for text in std::iter::once(name).chain(synonyms) {
                let key = squeezed(text);
                if key.is_empty() {
                    return Err(TableError::Blank { entry, name: text.clone() });
                }
                let other = exact.insert(key, entry).filter(|other| *other != entry);
                if let Some(other) = other {
                    let (first, second) = (entries[other].name.clone(), name.clone());
                    return Err(TableError::Ambiguous { name: text.clone(), first, second });
                }
                spellings.push(Spelling { text: text.clone(), entry, trigrams: Trigrams::of(text) });
            }
        }
        let spelling_min = threshold::spelling(&spellings);
        Ok(Self { spellings, exact, spelling_min })
    }

    /// Every name and synonym, in the order of the entries.
    #[must_use]
    pub fn spellings(&self) -> &[Spelling] {
        &self.spellings
    }

    /// The likeness of letters beyond which a name is taken for a spelling: a little more than that of the two most
    /// alike names of different entries.
    #[must_use]
    pub fn spelling_min(&self) -> f32 {
        self.spelling_min
    }

    /// The same for meaning: `vectors` are those of [`Names::spellings`], of length 1 and in the same order.
    #[must_use]
    pub fn similarity_min(&self, vectors: &[Vec<f32>]) -> f32 {
        threshold::meaning(&self.spellings, vectors)
    }

    pub(super) fn exact(&self, name: &str) -> Option<Match> {
        let entry = *self.exact.get(&squeezed(name))?;
        Some(Match { entry, method: Method::Exact, score: 1.0 })
    }

    /// Entries by how alike they are written, best first.
    pub(super) fn spelt(&self, name: &str) -> Vec<Match> {
        let (asked, own) = (Trigrams::of(name), threshold::identifiers(name));
        let alike = |spelling: &Spelling| {
            let score = spelling.trigrams.similarity(&asked);
            let same = score > 0.0 && threshold::identifiers(&spelling.text) == own;
            same.then_some(Match { entry: spelling.entry, method: Method::Trigram, score })
        };
        ranked(self.spellings.iter().filter_map(alike).collect())
    }
}
