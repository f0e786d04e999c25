//! Which of many texts shares the telling letters of a question.

use std::collections::HashMap;

use super::Trigrams;

/// Texts by the runs of letters they hold.
#[derive(Debug, Clone, Default)]
pub struct Index {
    holders: HashMap<[char; 3], Vec<usize>>,
    texts: usize,
}

/// A text that shares something with the question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Its place in the order the texts were given in.
    pub text: usize,
    /// How much of the question it holds, 0 to 1; rare runs count more than common ones.
    pub score: f32,
}

impl Index {
    /// An index over `texts`.
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut index = Self::default();
        for text in texts {
            for run in Trigrams::of(text.as_ref()).iter() {
                index.holders.entry(run).or_default().push(index.texts);
            }
            index.texts += 1;
        }
        index
    }

    /// The at most `k` texts that hold most of the question, best first, earlier ones first among equals. A run
    /// that every text holds says nothing, one that no text holds counts against all.
    #[must_use]
    pub fn search(&self, question: &str, k: usize) -> Vec<Found> {
        let mut held = vec![0.0f32; self.texts];
        let mut all = 0.0;
        for run in Trigrams::of(question).iter() {
            let holders = self.holders.get(&run).map_or(&[][..], Vec::as_slice);
            let weight = self.weight(holders.len());
            all += weight;
            holders.iter().for_each(|text| held[*text] += weight);
        }
        let score = |(text, held): (usize, f32)| Found { text, score: (held / all).min(1.0) };
        let mut found: Vec<Found> =
            held.into_iter().enumerate().filter(|(_, held)| *held > 0.0).map(score).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.text.cmp(&b.text)));
        found.truncate(k);
        found
    }

    /// How telling a run is that so many texts hold (inverse document frequency).
    fn weight(&self, holders: usize) -> f32 {
        ((self.texts + 1) as f32 / (holders + 1) as f32).ln()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXTS: [&str; 4] = [
        "Blood pressure below 120 over 80 is normal in adults.",
        "Adults should sleep seven hours or more each night.",
        "Fasting glucose from 100 to 125 mg/dL is prediabetes.",
        "성인의 정상 혈압은 120/80 미만입니다.",
    ];

    #[test]
    fn the_text_with_the_telling_words_comes_first() {
        let index = Index::new(TEXTS);
        for (question, want) in [
            ("how long should I sleep", 1),
            ("glucose", 2),
            ("blod presure", 0),
            ("혈압", 3),
            ("정상 혈압은?", 3),
        ] {
            let found = index.search(question, 2);
            assert_eq!(found.first().map(|found| found.text), Some(want), "{question}: {found:?}");
        }
        assert!(index.search("xylophone quartz", 5).iter().all(|found| found.score < 0.3));
        assert!(index.search("", 5).is_empty() && index.search("…", 5).is_empty());
        assert!(Index::default().search("glucose", 3).is_empty());
    }

    proptest! {
        #[test]
        fn scores_fall_from_at_most_1_and_no_text_comes_twice(
            texts in prop::collection::vec("\\PC{0,30}", 0..8), question in "\\PC{0,30}", k in 0usize..10,
        ) {
            let found = Index::new(&texts).search(&question, k);
            prop_assert!(found.len() <= k.min(texts.len()));
            prop_assert!(found.iter().all(|found| found.score > 0.0 && found.score <= 1.0));
            prop_assert!(found.is_sorted_by(|a, b| a.score >= b.score));
            let mut places: Vec<usize> = found.iter().map(|found| found.text).collect();
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), found.len());
        }

        #[test]
        fn a_text_finds_itself(texts in prop::collection::vec("[a-z가-힣]{3,12}", 2..8), at in any::<prop::sample::Index>()) {
            let wanted = at.get(&texts);
            let found = Index::new(&texts).search(wanted, texts.len());
            // Where every text is the same nothing tells them apart.
            prop_assume!(texts.iter().any(|text| text != wanted));
            let own = found.iter().find(|found| &texts[found.text] == wanted);
            prop_assert_eq!(own.map(|own| own.score), found.first().map(|first| first.score));
        }
    }
}
