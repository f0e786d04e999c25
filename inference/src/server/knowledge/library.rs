//! The committed passages and ingredients, read once at start.

use embeddings::{
    matching::{Entry, Names},
    trigram::Index,
};

const PASSAGES: &str = include_str!("../../../../assets/knowledge/passages.tsv");
const INGREDIENTS: &str = include_str!("../../../../assets/ingredients/inci.tsv");

/// What a public guideline says, in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) id: &'static str,
    pub(super) text: &'static str,
    /// Korean words it is about.
    korean: &'static str,
    pub(super) title: &'static str,
    pub(super) organisation: &'static str,
    pub(super) year: u32,
    pub(super) reference: &'static str,
    pub(super) loinc: Vec<&'static str>,
}

/// Passages with their letters.
pub(super) struct Library {
    pub(super) passages: Vec<Passage>,
    pub(super) letters: Index,
}

/// What the table says of an ingredient beside its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ingredient {
    pub(super) name: &'static str,
    pub(super) function: &'static str,
    pub(super) eu_annexes: Vec<&'static str>,
}

/// Ingredients with their names.
pub(super) struct Ingredients {
    pub(super) entries: Vec<Ingredient>,
    pub(super) names: Names,
}

impl Library {
    /// Reads the passages; what does not parse is reported and left out, and a test keeps that from happening.
    pub(super) fn read() -> Self {
        let passages: Vec<Passage> = rows(PASSAGES).filter_map(|cells| passage(&cells)).collect();
        // Korean words go along, so that a question in Korean meets something it shares letters with.
        let letters = Index::new(passages.iter().map(|passage| {
            format!("{} {} {} {}", passage.text, passage.korean, passage.title, passage.organisation)
        }));
        Self { passages, letters }
    }
}

impl Ingredients {
    pub(super) fn read() -> Self {
        let (mut entries, mut names) = (Vec::new(), Vec::new());
        for cells in rows(INGREDIENTS) {
            let &[name, synonyms, function, annexes] = cells.as_slice() else {
                tracing::error!(?cells, "a line of the table of ingredients has not four cells");
                continue;
            };
            let list =
                |text: &'static str, at: char| text.split(at).map(str::trim).filter(|part| !part.is_empty());
            names.push(Entry {
                name: name.into(),
                synonyms: list(synonyms, '|').map(str::to_owned).collect(),
            });
            let eu_annexes = list(annexes, ',').filter(|annex| *annex != "-").collect();
            entries.push(Ingredient { name, function, eu_annexes });
        }
        match Names::new(&names) {
            Ok(names) => Self { entries, names },
            Err(error) => {
                tracing::error!(%error, "the table of ingredients cannot be used: every name is unknown");
                Self { entries: Vec::new(), names: Names::default() }
            }
        }
    }
}

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split('\t').collect())
}

fn passage(cells: &[&'static str]) -> Option<Passage> {
    let &[id, text, korean, title, organisation, year, reference, loinc] = cells else {
        tracing::error!(?cells, "a passage has not eight cells");
        return None;
    };
    let loinc = loinc.split(',').filter(|code| !code.is_empty()).collect();
    let year = year.parse().ok()?;
    Some(Passage { id, text, korean, title, organisation, year, reference, loinc })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clinical::Biomarker;
    use embeddings::{PointId, matching::Outcome};

    use super::*;

    #[test]
    fn every_passage_is_short_named_once_and_has_its_source() {
        let library = Library::read();
        assert_eq!(library.passages.len(), rows(PASSAGES).count());
        assert!(library.passages.len() >= 40);
        let mut ids = BTreeSet::new();
        for passage in &library.passages {
            assert!(ids.insert(passage.id) && PointId::parse(passage.id).is_ok(), "{}", passage.id);
            assert!((40..400).contains(&passage.text.len()), "{}", passage.id);
            assert!(passage.text.is_ascii(), "{} is for an encoder of English", passage.id);
            assert!(
                !passage.title.is_empty() && !passage.organisation.is_empty() && !passage.korean.is_empty()
            );
            assert!((1990..2030).contains(&passage.year), "{}", passage.id);
            let known = ["doi:10.", "ISBN ", "https://"];
            assert!(known.iter().any(|start| passage.reference.starts_with(start)), "{}", passage.reference);
            for code in &passage.loinc {
                assert!(Biomarker::from_loinc(code).is_some(), "{}: {code}", passage.id);
            }
        }
    }

    #[test]
    fn every_ingredient_is_readable_and_found_by_each_of_its_names() {
        let table = Ingredients::read();
        assert_eq!(table.entries.len(), rows(INGREDIENTS).count());
        assert!(table.entries.len() >= 150);
        for spelling in table.names.spellings() {
            let outcome = table.names.find(&spelling.text, &[], 1.0);
            assert!(
                matches!(outcome, Outcome::Found(found) if found.entry == spelling.entry),
                "{}",
                spelling.text
            );
        }
        for ingredient in &table.entries {
            assert!(!ingredient.function.is_empty(), "{}", ingredient.name);
            for annex in &ingredient.eu_annexes {
                assert!(["II", "III", "IV", "V", "VI"].contains(annex), "{}: {annex}", ingredient.name);
            }
        }
    }

    #[test]
    fn names_that_are_easily_confused_stay_apart() {
        let table = Ingredients::read();
        for name in
            ["Pentylparaben", "Vitamin K", "Sodium Myreth Sulfate", "Polysorbate 40", "CI 77499", "Glyceryl"]
        {
            assert!(matches!(table.names.find(name, &[], 1.0), Outcome::Unknown(_)), "{name}");
        }
    }
}
