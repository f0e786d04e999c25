//! A distribution as a grid of evenly spaced quantiles: small enough for a file, exact enough for ranks.

use serde::{Deserialize, Serialize};

/// Quantiles at the levels 0, 1/(m-1), …, 1, ascending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grid(Vec<f64>);

impl Grid {
    /// Quantiles of `sample` at `points` levels (at least 2), linear between neighbours; NaN are left out. `None` for
    /// an empty sample.
    #[must_use]
    pub fn of(mut sample: Vec<f64>, points: usize) -> Option<Self> {
        sample.retain(|value| value.is_finite());
        sample.sort_by(f64::total_cmp);
        if sample.is_empty() || points < 2 {
            return None;
        }
        let exact = Self(sample);
        Some(Self((0..points).map(|i| exact.quantile(i as f64 / (points - 1) as f64)).collect()))
    }

    /// Share of the distribution below `value`, 0 to 1.
    #[must_use]
    pub fn rank(&self, value: f64) -> f64 {
        let points = &self.0;
        let above = points.partition_point(|point| *point < value);
        if above == 0 {
            return 0.0;
        }
        if above == points.len() {
            return 1.0;
        }
        let (low, high) = (points[above - 1], points[above]);
        let part = if high > low { (value - low) / (high - low) } else { 0.0 };
        ((above - 1) as f64 + part) / (points.len() - 1) as f64
    }

    /// Value at `level` in 0 to 1.
    #[must_use]
    pub fn quantile(&self, level: f64) -> f64 {
        let last = self.0.len() - 1;
        let position = level.clamp(0.0, 1.0) * last as f64;
        let low = position.floor() as usize;
        let high = (low + 1).min(last);
        self.0[low] + (self.0[high] - self.0[low]) * (position - low as f64)
    }

    /// Why the grid is no distribution, if it is none.
    pub(super) fn check(&self, what: &str) -> Result<(), String> {
        if self.0.len() < 2 || !self.0.iter().all(|value| value.is_finite()) || !self.0.is_sorted() {
            return Err(format!("{what} must be at least 2 finite ascending numbers"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranks_and_quantiles_of_a_ramp() {
        let grid = Grid::of((0..=1000).map(f64::from).collect(), 101).expect("not empty");
        assert!((grid.rank(250.0) - 0.25).abs() < 1e-9);
        assert!((grid.quantile(0.9) - 900.0).abs() < 1e-9);
        assert_eq!((grid.rank(-1.0), grid.rank(1e9)), (0.0, 1.0));
        assert_eq!(Grid::of(vec![f64::NAN], 5), None);
    }

    #[test]
    fn broken_grids_are_named() {
        assert!(Grid(vec![2.0, 1.0]).check("errors").is_err_and(|text| text.starts_with("errors")));
        assert!(Grid(vec![1.0]).check("errors").is_err());
        assert!(Grid(vec![1.0, f64::INFINITY]).check("errors").is_err());
        assert!(Grid(vec![1.0, 1.0]).check("errors").is_ok());
    }

    proptest! {
        #[test]
        fn rank_never_decreases(
            sample in prop::collection::vec(-10.0f64..10.0, 2..100), a in -12.0f64..12.0, b in -12.0f64..12.0,
        ) {
            let grid = Grid::of(sample, 21).expect("not empty");
            prop_assert!(grid.rank(a.min(b)) <= grid.rank(a.max(b)));
        }
    }
}
