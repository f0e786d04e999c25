//! The best few of many, in memory that does not grow with the many.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A row and how near it is.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Index of the row in its matrix.
    pub row: usize,
    /// Higher is nearer.
    pub score: f32,
}

impl Ord for Found {
    /// By score; of equals the earlier row is the greater, so that ties have one answer.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Found {}

/// Keeps the `k` greatest of what it is offered.
#[derive(Debug)]
pub struct Top {
    k: usize,
    /// The least on top, where it is compared with and thrown out.
    kept: BinaryHeap<Reverse<Found>>,
}

impl Top {
    /// Room for `k`.
    pub fn new(k: usize) -> Self {
        Self { k, kept: BinaryHeap::new() }
    }

    /// Takes `found` if it belongs to the best so far.
    pub fn offer(&mut self, found: Found) {
        if self.kept.len() < self.k {
            self.kept.push(Reverse(found));
        } else if let Some(mut least) = self.kept.peek_mut()
            && least.0 < found
        {
            *least = Reverse(found);
        }
    }

    /// The kept ones, nearest first.
    pub fn into_sorted(self) -> Vec<Found> {
        self.kept.into_sorted_vec().into_iter().map(|Reverse(found)| found).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_kept_are_the_first_of_a_full_sort(
            // Few distinct scores, so that most are tied.
            scores in prop::collection::vec(-3i8..3, 0..200), k in 0usize..20, seed in any::<u64>()
        ) {
            let mut all: Vec<Found> =
                scores.iter().enumerate().map(|(row, score)| Found { row, score: f32::from(*score) }).collect();
            let mut top = Top::new(k);
            let mut shuffled = all.clone();
            shuffled.sort_by_key(|found| (found.row as u64).wrapping_mul(seed | 1));
            shuffled.into_iter().for_each(|found| top.offer(found));
            all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
            all.truncate(k);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
