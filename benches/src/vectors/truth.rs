//! The true neighbours of some questions, found exactly while the vectors pass by.

use std::collections::HashSet;

use embeddings::Metric;
use embeddings::kernel::{Found, Matrix, Rows, Scan, Top, top_k};

use super::data::DIMENSION;

/// Neighbours that are compared.
pub(super) const K: usize = 10;

/// The best so far for each question, among all and among those of one group.
pub(super) struct Truth {
    queries: Vec<Vec<f32>>,
    all: Vec<Top>,
    grouped: Vec<Top>,
}

/// The true neighbours of each question.
pub(super) struct Neighbours {
    /// Among all vectors.
    pub(super) all: Vec<HashSet<u64>>,
    /// Among those of group 0.
    pub(super) grouped: Vec<HashSet<u64>>,
}

/// Groups, of which a filter selects one: a selectivity of 2 %.
pub(super) const GROUPS: u64 = 50;

impl Truth {
    pub(super) fn new(queries: &[Vec<f32>]) -> Self {
        let tops = || queries.iter().map(|_| Top::new(K)).collect();
        Self { queries: queries.to_vec(), all: tops(), grouped: tops() }
    }

    /// Looks at vectors `first..`, one after another in `vectors`.
    pub(super) fn see(&mut self, first: u64, vectors: &[f32]) {
        let queries: Vec<&[f32]> = self.queries.iter().map(Vec::as_slice).collect();
        let keep = |row: usize| (first + row as u64).is_multiple_of(GROUPS);
        let matrix = Matrix::f32(DIMENSION, vectors);
        let scan = Scan { matrix, metric: Metric::Cosine, rows: Rows::All, k: K, threads: 2 };
        let grouped = Scan { rows: Rows::Where(&keep), ..scan };
        for (tops, scan) in [(&mut self.all, scan), (&mut self.grouped, grouped)] {
            for (top, found) in tops.iter_mut().zip(top_k(&scan, &queries)) {
                let found = found.into_iter().map(|found| Found { row: first as usize + found.row, ..found });
                found.for_each(|found| top.offer(found));
            }
        }
    }

    pub(super) fn neighbours(self) -> Neighbours {
        let sets = |tops: Vec<Top>| {
            let rows = |top: Top| top.into_sorted().into_iter().map(|found| found.row as u64).collect();
            tops.into_iter().map(rows).collect()
        };
        Neighbours { all: sets(self.all), grouped: sets(self.grouped) }
    }
}

/// Share of the true neighbours that were found.
pub(super) fn recall(truth: &[HashSet<u64>], found: &[Vec<u64>]) -> f64 {
    let pairs = || truth.iter().zip(found);
    let hits: usize =
        pairs().map(|(truth, found)| found.iter().filter(|row| truth.contains(row)).count()).sum();
    let wanted: usize = pairs().map(|(truth, _)| truth.len()).sum();
    hits as f64 / wanted.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::data::{Kind, Set};
    use super::*;

    #[test]
    fn neighbours_do_not_depend_on_the_pieces_in_which_vectors_come() {
        let set = Set::new(Kind::Isotropic);
        let queries = set.queries(3);
        let (mut whole, mut pieces) = (Truth::new(&queries), Truth::new(&queries));
        whole.see(0, &set.vectors(0..700));
        for first in [0, 100, 200, 300, 400, 500, 600] {
            pieces.see(first, &set.vectors(first..first + 100));
        }
        let (whole, pieces) = (whole.neighbours(), pieces.neighbours());
        assert_eq!(whole.all, pieces.all);
        assert_eq!(whole.grouped, pieces.grouped);
        assert!(whole.grouped.iter().flatten().all(|row| row.is_multiple_of(GROUPS)));
    }

    #[test]
    fn recall_counts_what_was_found_of_what_was_wanted() {
        let truth = [HashSet::from([1, 2]), HashSet::from([3, 4])];
        assert_eq!(recall(&truth, &[vec![1, 9], vec![4, 3]]), 0.75);
    }
}
