//! Synthetic vectors: made a piece at a time from a seed, so that a million need no room.
//!
//! Two kinds, because an index lives on structure. *Clustered* vectors stand around 500 centres, as
//! those of real things do, and are easy. *Near-isotropic* ones fill a subspace of 48 dimensions
//! evenly, so that everything is about equally far from everything: the hardest that such data get.

use std::ops::Range;

use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;

/// Numbers in a vector: the second largest fingerprint.
pub const DIMENSION: usize = 896;
/// Centres of the clustered vectors.
const CENTRES: usize = 500;
/// How far a member is from its centre, in lengths of the centre.
const SPREAD: f32 = 0.5;
/// Dimensions that the near-isotropic vectors fill.
const SUBSPACE: usize = 48;

/// The two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Around 500 centres.
    Clustered,
    /// Even within 48 of the dimensions.
    Isotropic,
}

/// A source of vectors of one kind; the same vectors every time.
pub struct Set {
    kind: Kind,
    /// Centres, or an axis for each dimension of the subspace: rows of [`DIMENSION`].
    frame: Vec<f32>,
}

impl Kind {
    /// What it is called in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clustered => "clustered",
            Self::Isotropic => "near-isotropic",
        }
    }
}

impl Set {
    /// The set of one kind.
    pub fn new(kind: Kind) -> Self {
        let rows = match kind {
            Kind::Clustered => CENTRES,
            Kind::Isotropic => SUBSPACE,
        };
        Self { kind, frame: normal(&mut StdRng::seed_from_u64(1), rows * DIMENSION) }
    }

    /// Vectors `range` of the set, one after another, each of length one.
    pub fn vectors(&self, range: Range<u64>) -> Vec<f32> {
        let mut vectors = vec![0.0; (range.end - range.start) as usize * DIMENSION];
        for (number, vector) in range.zip(vectors.chunks_exact_mut(DIMENSION)) {
            self.write(number, vector);
        }
        vectors
    }

    /// `count` questions: further members of the set that are not among the vectors.
    pub fn queries(&self, count: usize) -> Vec<Vec<f32>> {
        const BEYOND: u64 = 1 << 40;
        self.vectors(BEYOND..BEYOND + count as u64).chunks(DIMENSION).map(<[f32]>::to_vec).collect()
    }

    fn write(&self, number: u64, vector: &mut [f32]) {
        let mut random = StdRng::seed_from_u64(number ^ 0x5eed);
        match self.kind {
            Kind::Clustered => {
                let centre = random.random_range(0..CENTRES);
                let centre = &self.frame[centre * DIMENSION..][..DIMENSION];
                for (value, centre) in vector.iter_mut().zip(centre) {
                    *value = centre + SPREAD * random.sample::<f32, _>(StandardNormal);
                }
            }
            Kind::Isotropic => {
                for axis in self.frame.chunks_exact(DIMENSION) {
                    let along: f32 = random.sample(StandardNormal);
                    for (value, axis) in vector.iter_mut().zip(axis) {
                        *value = along.mul_add(*axis, *value);
                    }
                }
            }
        }
        embeddings::kernel::normalise(vector);
    }
}

fn normal(random: &mut StdRng, count: usize) -> Vec<f32> {
    random.sample_iter(StandardNormal).take(count).collect()
}

#[cfg(test)]
mod tests {
    use embeddings::kernel::dot;

    use super::*;

    #[test]
    fn vectors_are_the_same_every_time_and_of_length_one() {
        for kind in [Kind::Clustered, Kind::Isotropic] {
            let (whole, part) = (Set::new(kind).vectors(0..10), Set::new(kind).vectors(4..6));
            assert_eq!(whole[4 * DIMENSION..6 * DIMENSION], part);
            for vector in whole.chunks(DIMENSION) {
                assert!((dot(vector, vector) - 1.0).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn only_clustered_vectors_have_near_neighbours() {
        let nearest = |kind| {
            let set = Set::new(kind);
            let (vectors, query) = (set.vectors(0..5_000), &set.queries(1)[0]);
            vectors.chunks(DIMENSION).map(|vector| dot(vector, query)).fold(-1.0f32, f32::max)
        };
        assert!(nearest(Kind::Clustered) > 0.7);
        assert!(nearest(Kind::Isotropic) < 0.7);
    }
}
