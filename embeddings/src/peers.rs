//! The index library alone, for benchmarks: the same graph over the same kernel, without what a store
//! adds to it. What a search here is faster by is the price of rows, tenants, filters and a log.

use std::thread;

use usearch::{Index, IndexOptions, MetricKind, ScalarKind, VectorType};

use crate::{EmbeddingError, kernel};

/// Neighbours of a node; the store's own setting.
const CONNECTIVITY: usize = 16;
/// Candidates looked at when a vector is added; the store's own setting.
const EXPANSION_ADD: usize = 128;

/// A usearch index over f32 vectors of length one, compared by cosine.
pub struct UsearchAlone {
    index: Index,
}

impl UsearchAlone {
    /// Adds the vectors, `dimension` numbers each one after another, from `threads` threads; the key
    /// of a vector is its place.
    ///
    /// # Errors
    /// What the library answers.
    pub fn build(dimension: usize, vectors: &[f32], threads: usize) -> Result<Self, EmbeddingError> {
        let options = IndexOptions {
            dimensions: dimension,
            metric: MetricKind::IP,
            quantization: ScalarKind::F32,
            connectivity: CONNECTIVITY,
            expansion_add: EXPANSION_ADD,
            ..IndexOptions::default()
        };
        let mut index = Index::new(&options).map_err(fault)?;
        f32::change_metric(&mut index, Box::new(move |a, b| distance(dimension, a, b))).map_err(fault)?;
        let count = vectors.len() / dimension;
        index.reserve_capacity_and_threads(count, threads).map_err(fault)?;
        let share = count.div_ceil(threads).max(1);
        thread::scope(|scope| {
            let parts = vectors.chunks(share * dimension).enumerate();
            let adding: Vec<_> = parts
                .map(|(part, vectors)| {
                    let index = &index;
                    scope.spawn(move || {
                        let keys = (part * share) as u64..;
                        keys.zip(vectors.chunks(dimension))
                            .try_for_each(|(key, vector)| index.add(key, vector))
                            .map_err(fault)
                    })
                })
                .collect();
            adding.into_iter().try_for_each(|part| part.join().expect("adding does not panic"))
        })?;
        Ok(Self { index })
    }

    /// The keys of the `k` nearest that are found while keeping `expansion` candidates.
    ///
    /// # Errors
    /// What the library answers.
    pub fn search(&self, query: &[f32], k: usize, expansion: usize) -> Result<Vec<u64>, EmbeddingError> {
        self.index.change_expansion_search(expansion);
        Ok(self.index.search(query, k).map_err(fault)?.keys)
    }
}

fn fault(error: impl std::fmt::Display) -> EmbeddingError {
    EmbeddingError::Corrupt { what: "the index alone".to_owned(), reason: error.to_string() }
}

fn distance(dimension: usize, a: *const f32, b: *const f32) -> f32 {
    #[allow(unsafe_code, reason = "the library hands out vectors as pointers")]
    // SAFETY: each pointer is to a vector of the index's dimension that the library, or the caller of
    // its search, holds during the call; f32 vectors are aligned there as they were given.
    let (a, b) =
        unsafe { (std::slice::from_raw_parts(a, dimension), std::slice::from_raw_parts(b, dimension)) };
    1.0 - kernel::dot(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_is_its_own_nearest() {
        let mut vectors: Vec<f32> = (0..500 * 8).map(|at| ((at * 37 + at / 8) % 101) as f32 - 50.0).collect();
        vectors.chunks_mut(8).for_each(|vector| {
            kernel::normalise(vector);
        });
        let peer = UsearchAlone::build(8, &vectors, 2).expect("an index");
        for (key, vector) in (0u64..).zip(vectors.chunks(8)).step_by(50) {
            let found = peer.search(vector, 3, 64).expect("an answer");
            let nearest = found.iter().map(|key| kernel::dot(vector, &vectors[*key as usize * 8..][..8]));
            assert!(nearest.fold(-1.0f32, f32::max) > 0.9999, "vector {key}: {found:?}");
        }
    }
}
