//! The split: train, calibration and test by subject, the same on every machine.
//!
//! Subjects of a stratum are put in the order of SHA-256(salt, subject) and cut by rank, so parts have
//! their share even in a set of 24 people, no subject is in two parts, and neither row order nor a random
//! generator has a say. The price: adding subjects may move others, which pinned data never does.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::dataset::{Dataset, Record};

/// Shares of the first two parts; the test part is the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fractions {
    /// Share to fit on, in [0, 1].
    pub train: f64,
    /// Share to calibrate and stop on, in [0, 1].
    pub calibration: f64,
}

impl Default for Fractions {
    fn default() -> Self {
        Self { train: 0.6, calibration: 0.2 }
    }
}

/// Row indices of each part, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows to choose, stop and calibrate on.
    pub calibration: Vec<usize>,
    /// Rows to report on, once.
    pub test: Vec<usize>,
}

impl<R: Record> Dataset<R> {
    /// The split of this data set, salted with its name.
    #[must_use]
    pub fn split(&self, fractions: Fractions) -> Split {
        split(self.name, &self.rows, fractions)
    }
}

/// Splits `rows` by subject within strata; a subject's stratum is that of its first row.
#[must_use]
pub(super) fn split<R: Record>(salt: &str, rows: &[R], fractions: Fractions) -> Split {
    let mut rows_of: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        rows_of.entry(row.subject()).or_default().push(index);
    }
    let mut strata: BTreeMap<u32, BTreeSet<Keyed<'_>>> = BTreeMap::new();
    for (subject, indices) in &rows_of {
        let stratum = rows[indices[0]].stratum();
        strata.entry(stratum).or_default().insert((key_of(salt, subject), indices));
    }
    let mut out = Split::default();
    for subjects in strata.values() {
        let first = cut(subjects.len(), fractions.train);
        let second = cut(subjects.len(), fractions.train + fractions.calibration);
        for (rank, (_, indices)) in subjects.iter().enumerate() {
            let part = if rank < first {
                &mut out.train
            } else if rank < second {
                &mut out.calibration
            } else {
                &mut out.test
            };
            part.extend_from_slice(indices);
        }
    }
    for part in [&mut out.train, &mut out.calibration, &mut out.test] {
        part.sort_unstable();
    }
    out
}

/// A subject's place in the order, and its rows.
type Keyed<'a> = ([u8; 32], &'a [usize]);

fn cut(count: usize, share: f64) -> usize {
    ((count as f64 * share.clamp(0.0, 1.0)).round() as usize).min(count)
}

fn key_of(salt: &str, subject: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(salt.as_bytes());
    hasher.update([0]);
    hasher.update(subject.as_bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Row(u16, u32);

    impl Record for Row {
        fn subject(&self) -> String {
            self.0.to_string()
        }
        fn stratum(&self) -> u32 {
            self.1
        }
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_part_and_no_subject_in_two(subjects in prop::collection::vec(0u16..40, 0..200)) {
            let rows: Vec<Row> = subjects.iter().map(|&s| Row(s, u32::from(s % 3))).collect();
            let split = split("t", &rows, Fractions::default());
            let mut all: Vec<usize> = [&split.train[..], &split.calibration, &split.test].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..rows.len()).collect::<Vec<_>>());
            let people = |part: &[usize]| part.iter().map(|&i| rows[i].0).collect::<BTreeSet<_>>();
            let (a, b, c) = (people(&split.train), people(&split.calibration), people(&split.test));
            prop_assert!(a.is_disjoint(&b) && a.is_disjoint(&c) && b.is_disjoint(&c));
        }

        #[test]
        fn row_order_does_not_matter(mut subjects in prop::collection::vec(0u16..40, 1..100)) {
            let parts = |s: &[u16]| {
                let rows: Vec<Row> = s.iter().map(|&s| Row(s, 0)).collect();
                let split = split("t", &rows, Fractions::default());
                split.test.iter().map(|&i| rows[i].0).collect::<BTreeSet<_>>()
            };
            let before = parts(&subjects);
            subjects.reverse();
            prop_assert_eq!(before, parts(&subjects));
        }
    }

    #[test]
    fn a_small_set_keeps_its_shares_in_every_stratum() {
        let rows: Vec<Row> = (0..20).map(|i| Row(i, u32::from(i % 2))).collect();
        let split = split("cgm", &rows, Fractions::default());
        assert_eq!((split.train.len(), split.calibration.len(), split.test.len()), (12, 4, 4));
        let odd = split.test.iter().filter(|&&i| rows[i].1 == 1).count();
        assert_eq!(odd, 2);
    }

    #[test]
    fn another_salt_gives_another_split() {
        let rows: Vec<Row> = (0..100).map(|i| Row(i, 0)).collect();
        let (a, b) = (split("a", &rows, Fractions::default()), split("b", &rows, Fractions::default()));
        assert_ne!(a, b);
    }
}
