//! Simple one-class methods: distance to the centre of the normal rows, to their nearest neighbours, and density
//! beside that of the neighbours.

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

/// Local outlier factor (Breunig and others, 2000): how much sparser it is around a row than around its neighbours.
pub struct LocalOutlierFactor {
    scaling: Scaling,
    normals: Vec<Vec<f64>>,
    count: usize,
    /// Distance of each normal row to its furthest neighbour.
    reach: Vec<f64>,
    /// Local density of each normal row.
    density: Vec<f64>,
}

impl LocalOutlierFactor {
    /// Keeps `normals` (gaps are NaN) and measures how dense it is around each among its `count` neighbours.
    #[must_use]
    pub fn fit(normals: &[Vec<f64>], count: usize) -> Self {
        let scaling = Scaling::fit(normals);
        let normals: Vec<Vec<f64>> = normals.iter().map(|row| scaling.apply(row)).collect();
        let count = count.clamp(1, normals.len().saturating_sub(1).max(1));
        let around: Vec<Vec<(f64, usize)>> =
            (0..normals.len()).map(|own| nearest(&normals, &normals[own], count, Some(own))).collect();
        let reach = around.iter().map(|near| near.iter().map(|(d, _)| *d).fold(0.0, f64::max)).collect();
        let mut fitted = Self { scaling, normals, count, reach, density: Vec::new() };
        fitted.density = around.iter().map(|near| fitted.density_of(near)).collect();
        fitted
    }

    /// The factor of one row, about 1 where it is as dense as among its neighbours; larger is stranger.
    #[must_use]
    pub fn score(&self, row: &[f64]) -> f64 {
        let near = nearest(&self.normals, &self.scaling.apply(row), self.count, None);
        if near.is_empty() {
            return 0.0;
        }
        let theirs = near.iter().map(|(_, at)| self.density[*at]).sum::<f64>() / near.len() as f64;
        theirs / self.density_of(&near)
    }

    /// The inverse of the mean distance, which is no less than a neighbour's own reach. Repeated rows lie at no
    /// distance; the bound keeps their density finite.
    fn density_of(&self, near: &[(f64, usize)]) -> f64 {
        let mean = near.iter().map(|(d, at)| d.max(self.reach[*at])).sum::<f64>() / near.len().max(1) as f64;
        1.0 / (mean + 1e-10)
    }
}

/// Distances and places of the `count` rows nearest to `row`, the row at `own` left out.
fn nearest(rows: &[Vec<f64>], row: &[f64], count: usize, own: Option<usize>) -> Vec<(f64, usize)> {
    let distance = |other: &[f64]| row.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let others = rows.iter().enumerate().filter(|(at, _)| own != Some(*at));
    let mut near: Vec<(f64, usize)> = others.map(|(at, other)| (distance(other), at)).collect();
    if count < near.len() {
        near.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0));
        near.truncate(count);
    }
    near.iter().map(|(square, at)| (square.sqrt(), *at)).collect()
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

    #[test]
    fn what_lies_beside_a_dense_group_is_strange_where_it_is_ordinary_beside_a_sparse_one() {
        let group = |scale: f64, at: f64| {
            (0..100).map(move |i| vec![at + scale * f64::from(i % 10), scale * f64::from(i / 10)])
        };
        let rows: Vec<Vec<f64>> = group(0.01, 0.0).chain(group(1.0, 20.0)).collect();
        let factor = LocalOutlierFactor::fit(&rows, 8);
        let (dense, sparse) = (factor.score(&[0.5, 0.05]), factor.score(&[19.5, 4.5]));
        assert!(dense > 5.0 * sparse, "{dense} {sparse}");
        assert!((factor.score(&[24.0, 5.0]) - 1.0).abs() < 0.2);
        assert_eq!(LocalOutlierFactor::fit(&[], 3).score(&[]), 0.0);
    }
}
