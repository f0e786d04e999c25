//! Gradient-boosted trees for values: the method that a network on histories has to be compared with.

use super::Plan;
use super::tree::{Binned, Growth, Tree};

/// Boosted trees with squared loss.
#[derive(Debug, Clone)]
pub struct BoostedValues {
    /// The value where nothing is known.
    start: f64,
    trees: Vec<Tree>,
}

impl BoostedValues {
    /// Fits one value for each row.
    #[must_use]
    pub fn fit(rows: &[Vec<f64>], values: &[f64]) -> Self {
        let binned = Binned::new(rows);
        let start = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mut scores = vec![start; values.len()];
        let Plan { steps, rate, leaves_max, rows_min, ridge, .. } = Plan::default();
        let columns: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).collect();
        let mut trees = Vec::with_capacity(steps);
        for _ in 0..steps {
            let slopes: Vec<(f64, f64)> =
                scores.iter().zip(values).map(|(score, value)| (score - value, 1.0)).collect();
            let columns = columns.clone();
            let growth = Growth { binned: &binned, slopes: &slopes, columns, leaves_max, rows_min, ridge };
            trees.push(growth.grow(rate, &mut scores));
        }
        Self { start, trees }
    }

    /// The value of one row.
    #[must_use]
    pub fn predict(&self, row: &[f64]) -> f64 {
        self.start + self.trees.iter().map(|tree| tree.value(row)).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_follow_what_no_line_does() {
        let rows: Vec<Vec<f64>> =
            (0..900).map(|i| vec![f64::from(i % 30) - 15.0, f64::from(i / 30) - 15.0]).collect();
        let values: Vec<f64> =
            rows.iter().map(|row| row[0].abs() + if row[1] > 0.0 { 5.0 } else { 0.0 }).collect();
        let model = BoostedValues::fit(&rows, &values);
        let error = rows.iter().zip(&values).map(|(row, value)| (model.predict(row) - value).abs());
        assert!(error.sum::<f64>() / 900.0 < 0.5);
    }

    #[test]
    fn without_rows_nothing_is_said() {
        assert_eq!(BoostedValues::fit(&[], &[]).predict(&[1.0]), 0.0);
    }
}
