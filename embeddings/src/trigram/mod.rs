//! Search by letters: how alike two texts are written, whatever they mean.
//!
//! A text is folded (case, accents), cut into words, and each word into all runs of three letters, with two blanks
//! before it and one behind, so that beginnings weigh more than ends. Syllable blocks of Hangul are taken apart into
//! the letters they are made of: words of two blocks are the rule in Korean, and two blocks alone would make too few
//! runs to compare. It needs no model and no network, so it stands in where an encoder is missing or does not know the
//! language, and it finds misspelt names better than one.

mod index;
mod letters;

use std::collections::BTreeSet;

pub use index::{Found, Index};
pub use letters::squeezed;

/// The runs of three letters of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trigrams(BTreeSet<[char; 3]>);

impl Trigrams {
    /// Those of `text`; none when it has no letter and no digit.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut found = BTreeSet::new();
        for word in letters::words(text) {
            let padded: Vec<char> = [' ', ' '].into_iter().chain(word).chain([' ']).collect();
            found.extend(padded.windows(3).filter_map(|run| <[char; 3]>::try_from(run).ok()));
        }
        Self(found)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Twice the runs that both have over the runs of both (Dice): 1 for texts of the same words, 0 when nothing is
    /// shared or one is empty.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> f32 {
        let both = self.0.intersection(&other.0).count();
        let all = self.0.len() + other.0.len();
        if all == 0 { 0.0 } else { (2 * both) as f32 / all as f32 }
    }

    fn iter(&self) -> impl Iterator<Item = [char; 3]> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn similarity(a: &str, b: &str) -> f32 {
        Trigrams::of(a).similarity(&Trigrams::of(b))
    }

    #[test]
    fn misspelt_names_are_near_and_others_are_not() {
        assert!(similarity("glycerine", "glycerin") > 0.8);
        assert!(similarity("sodium lauryl sulfat", "Sodium Lauryl Sulfate") > 0.9);
        assert!(similarity("glycerin", "titanium dioxide") < 0.1);
        assert_eq!(similarity("", "glycerin"), 0.0);
        assert_eq!(similarity("?!", "…"), 0.0);
    }

    #[test]
    fn case_accents_order_and_punctuation_do_not_matter() {
        assert_eq!(similarity("Crème BRÛLÉE", "creme brulee"), 1.0);
        assert_eq!(similarity("cre\u{300}me", "crème"), 1.0);
        assert_eq!(similarity("acid, citric", "Citric Acid"), 1.0);
    }

    #[test]
    fn korean_words_are_compared_by_their_letters() {
        // Two spellings of one word, composed and decomposed.
        assert_eq!(similarity("혈당", "\u{1112}\u{1167}\u{11AF}\u{1103}\u{1161}\u{11BC}"), 1.0);
        assert!(similarity("혈당", "혈당이") > 0.7, "a particle behind the word");
        assert!(similarity("혈당", "혈압") > similarity("혈당", "수면"));
        assert!(similarity("혈당", "수면") < 0.1);
    }

    proptest! {
        #[test]
        fn it_is_symmetric_bounded_and_1_with_itself(a in "\\PC{0,40}", b in "\\PC{0,40}") {
            let (left, right) = (Trigrams::of(&a), Trigrams::of(&b));
            prop_assert_eq!(left.similarity(&right), right.similarity(&left));
            prop_assert!((0.0..=1.0).contains(&left.similarity(&right)));
            prop_assert!(left.is_empty() || left.similarity(&left) == 1.0);
        }

        #[test]
        fn a_longer_text_keeps_the_runs_of_its_words(a in "[가-힣a-z ]{0,20}", b in "[가-힣a-z ]{0,20}") {
            let together = Trigrams::of(&format!("{a} {b}"));
            prop_assert!(Trigrams::of(&a).iter().all(|run| together.0.contains(&run)));
        }
    }
}
