//! Simple one-class methods: distance to the centre of the normal rows, and to their nearest neighbours.

use super::Scaling;
use super::algebra::{Factor, Square};

/// Squared Mahalanobis distance to the normal rows.
pub struct Mahalanobis {
    scaling: Scaling,
    factor: Factor,
}

impl Mahalanobis {
    /// Learns centre and covariance of `normals` (gaps are NaN).
    #[must_use]
    pub fn fit(normals: &[Vec<f64>]) -> Self {
        let scaling = Scaling::fit(normals);
        let mut covariance = Square::zeros(normals.first().map_or(0, Vec::len));
        for row in normals {
            covariance.add_outer(&scaling.apply(row), 1.0 / normals.len() as f64);
        }
        covariance.add_diagonal(1e-6);
        Self { scaling, factor: covariance.factor() }
    }

    /// Distance of one row; larger is stranger.
    #[must_use]
    pub fn score(&self, row: &[f64]) -> f64 {
        self.factor.forward(&self.scaling.apply(row)).iter().map(|v| v * v).sum()
    }
}

/// Mean distance to the nearest normal rows.
pub struct Neighbours {
    scaling: Scaling,
    normals: Vec<Vec<f64>>,
    count: usize,
}

impl Neighbours {
    /// Keeps `normals` (gaps are NaN); `count` is how many neighbours are averaged.
    #[must_use]
    pub fn fit(normals: &[Vec<f64>], count: usize) -> Self {
        let scaling = Scaling::fit(normals);
        let normals = normals.iter().map(|row| scaling.apply(row)).collect();
        Self { scaling, normals, count: count.max(1) }
    }

    /// Mean distance of one row; larger is stranger.
    #[must_use]
    pub fn score(&self, row: &[f64]) -> f64 {
        let row = self.scaling.apply(row);
        let square = |other: &Vec<f64>| row.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let mut nearest: Vec<f64> = self.normals.iter().map(square).collect();
        let count = self.count.min(nearest.len());
        if count == 0 {
            return 0.0;
        }
        nearest.select_nth_unstable_by(count - 1, f64::total_cmp);
        nearest[..count].iter().map(|d| d.sqrt()).sum::<f64>() / count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points along a line with a little width.
    fn normals() -> Vec<Vec<f64>> {
        (0..200).map(|i| f64::from(i) / 20.0).map(|x| vec![x, x + 0.1 * (x * 37.0).sin()]).collect()
    }

    #[test]
    fn a_broken_relation_is_stranger_than_a_large_value() {
        let (broken, large) = ([8.0, 2.0], [10.5, 10.5]);
        let mahalanobis = Mahalanobis::fit(&normals());
        assert!(mahalanobis.score(&broken) > 10.0 * mahalanobis.score(&large));
        let neighbours = Neighbours::fit(&normals(), 5);
        assert!(neighbours.score(&broken) > 3.0 * neighbours.score(&large));
    }

    #[test]
    fn distance_to_itself_is_nothing() {
        let neighbours = Neighbours::fit(&normals(), 1);
        assert!(neighbours.score(&normals()[7]) < 1e-12);
        assert_eq!(Neighbours::fit(&[], 3).score(&[]), 0.0);
    }
}
