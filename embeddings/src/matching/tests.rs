//! The cascade over a small table with the pairs that must not be confused.

use proptest::prelude::*;

use super::*;

fn entry(name: &str, synonyms: &[&str]) -> Entry {
    Entry { name: name.into(), synonyms: synonyms.iter().map(|name| (*name).to_owned()).collect() }
}

fn entries() -> Vec<Entry> {
    vec![
        entry("Methylparaben", &["E218"]),
        entry("Ethylparaben", &["E214"]),
        entry("Tocopherol", &["Vitamin E"]),
        entry("Retinol", &["Vitamin A"]),
        entry("Polysorbate 20", &[]),
        entry("Polysorbate 80", &[]),
        entry("Sodium Lauryl Sulfate", &["SLS"]),
    ]
}

fn names() -> Names {
    Names::new(&entries()).expect("a table")
}

fn found(name: &str) -> Option<(usize, Method)> {
    match names().find(name, &[], 1.0) {
        Outcome::Found(found) => Some((found.entry, found.method)),
        Outcome::Unknown(_) => None,
    }
}

#[test]
fn case_blanks_and_punctuation_do_not_matter() {
    for (name, entry) in [("METHYL-PARABEN", 0), ("e 218", 0), ("vitamin  e", 2), ("polysorbate20", 4)] {
        assert_eq!(found(name), Some((entry, Method::Exact)), "{name}");
    }
}

#[test]
fn another_spelling_is_found_by_its_letters() {
    assert_eq!(found("Sulfate, Sodium Lauryl"), Some((6, Method::Trigram)));
    assert_eq!(found("Sodium Lauryl Sulfates"), Some((6, Method::Trigram)));
}

#[test]
fn what_could_be_something_else_is_unknown() {
    for name in [
        "Propylparaben",
        "Vitamin C",
        "Polysorbate 60",
        "Polysorbate",
        "Sodium Laureth Sulfate",
        "zzz",
        "",
        "…",
    ] {
        assert_eq!(found(name), None, "{name}");
    }
    let Outcome::Unknown(suggestions) = names().find("Propylparaben", &[], 1.0) else { panic!("unknown") };
    assert!(suggestions.iter().any(|suggestion| suggestion.entry == 1), "{suggestions:?}");
    assert!(suggestions.len() <= SUGGESTIONS);
}

#[test]
fn meaning_comes_last_and_only_when_it_is_clear() {
    let near = |spelling, similarity| Near { spelling, similarity };
    let ask = |near: &[Near]| names().find("tocopherols from sunflower", near, 0.9);
    let Outcome::Found(found) = ask(&[near(4, 0.95), near(6, 0.3)]) else { panic!("found") };
    assert_eq!((found.entry, found.method), (2, Method::Vector));
    assert!(matches!(ask(&[near(4, 0.89)]), Outcome::Unknown(_)), "not near enough");
    assert!(matches!(ask(&[near(4, 0.95), near(6, 0.95)]), Outcome::Unknown(_)), "as near to another");
    assert!(matches!(ask(&[near(4, f32::NAN), near(99, 1.0)]), Outcome::Unknown(_)), "nonsense");
    let series = names().find("polysorbate sixty 60", &[near(8, 0.99)], 0.9);
    assert!(matches!(series, Outcome::Unknown(_)), "another number is another substance");
}

#[test]
fn a_table_that_contradicts_itself_is_refused() {
    let error = Names::new(&[entry("A b", &[]), entry("c", &["a-B"])]).expect_err("ambiguous");
    assert!(error.to_string().contains("names both"), "{error}");
    let error = Names::new(&[entry("…", &[])]).expect_err("blank");
    assert!(error.to_string().contains("no letter"), "{error}");
    assert!(Names::new(&[entry("Water", &["water"])]).is_ok(), "the same entry twice is no contradiction");
}

#[test]
fn thresholds_lie_at_the_two_most_alike_different_entries() {
    let names = names();
    assert!((0.75..0.9).contains(&names.spelling_min()), "the parabens: {}", names.spelling_min());
    let mut vectors = vec![vec![1.0, 0.0]; names.spellings().len()];
    assert_eq!(names.similarity_min(&vectors), 1.0);
    vectors.truncate(3);
    assert_eq!(names.similarity_min(&vectors), 1.0, "a missing vector lets nothing pass");
}

proptest! {
    #[test]
    fn every_name_of_the_table_finds_its_own_entry(at in 0usize..12, upper: bool) {
        let names = names();
        let spelling = &names.spellings()[at % names.spellings().len()];
        let text = if upper { spelling.text.to_uppercase() } else { spelling.text.replace(' ', "-") };
        let outcome = names.find(&text, &[], 1.0);
        prop_assert_eq!(outcome, Outcome::Found(Match { entry: spelling.entry, method: Method::Exact, score: 1.0 }));
    }

    #[test]
    fn no_text_is_found_below_the_threshold(name in "\\PC{0,40}") {
        let names = names();
        if let Outcome::Found(found) = names.find(&name, &[], 1.0) {
            prop_assert!(found.method == Method::Exact || found.score > names.spelling_min());
        }
    }
}
