//! Simple methods, fitted on the same training rows in the same run, that a network has to be compared with.
//!
//! They work on complete rows in double precision; [`Scaling`] fills gaps with the median and standardises.

mod algebra;
mod cox;
mod linear;
mod outlier;
mod profile;

pub use crate::boosting::{Boosted, BoostedValues};
pub use cox::Cox;
pub use linear::{Logistic, Ridge};
pub use outlier::{LocalOutlierFactor, Mahalanobis, Neighbours};
pub use profile::{Side, covering_mean, matrix_profile};

/// Median, mean and standard deviation of each column of the training rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    median: Vec<f64>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scaling {
    /// Learns from rows whose gaps are NaN.
    #[must_use]
    pub fn fit(rows: &[Vec<f64>]) -> Self {
        let columns = rows.first().map_or(0, Vec::len);
        let mut scaling = Self { median: vec![], mean: vec![], deviation: vec![] };
        for column in 0..columns {
            let mut known: Vec<f64> = rows.iter().map(|row| row[column]).filter(|v| v.is_finite()).collect();
            known.sort_by(f64::total_cmp);
            let median = known.get(known.len() / 2).copied().unwrap_or(0.0);
            let filled = || rows.iter().map(|row| if row[column].is_finite() { row[column] } else { median });
            let mean = filled().sum::<f64>() / rows.len().max(1) as f64;
            let variance = filled().map(|v| (v - mean).powi(2)).sum::<f64>() / rows.len().max(1) as f64;
            scaling.median.push(median);
            scaling.mean.push(mean);
            scaling.deviation.push(if variance > 1e-12 { variance.sqrt() } else { 1.0 });
        }
        scaling
    }

    /// One row filled and standardised.
    #[must_use]
    pub fn apply(&self, row: &[f64]) -> Vec<f64> {
        let fill = |(i, v): (usize, &f64)| {
            let value = if v.is_finite() { *v } else { self.median[i] };
            (value - self.mean[i]) / self.deviation[i]
        };
        row.iter().enumerate().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_take_the_median_and_columns_are_standardised() {
        let rows = vec![vec![1.0, 5.0], vec![3.0, f64::NAN], vec![5.0, 5.0]];
        let scaling = Scaling::fit(&rows);
        let scaled = scaling.apply(&[f64::NAN, 5.0]);
        assert!(scaled[0].abs() < 1e-12, "the median here is the mean: {scaled:?}");
        assert!(scaled[1].abs() < 1e-12, "a constant column says nothing");
        let spread = (8.0_f64 / 3.0).sqrt();
        assert!((scaling.apply(&[5.0, 5.0])[0] - 2.0 / spread).abs() < 1e-12);
    }
}
