//! Figures of predicted classes and probabilities: F1, accuracy, Brier score, calibration error.

/// Mean over classes of F1; a class that neither occurs nor is predicted counts 0.
#[must_use]
pub fn macro_f1(predicted: &[usize], truth: &[usize], classes: usize) -> f64 {
    let f1 = |class: usize| {
        let count = |keep: fn(bool, bool) -> bool| {
            predicted.iter().zip(truth).filter(|(p, t)| keep(**p == class, **t == class)).count() as f64
        };
        let (hit, claimed, real) = (count(|p, t| p && t), count(|p, _| p), count(|_, t| t));
        if claimed + real == 0.0 { 0.0 } else { 2.0 * hit / (claimed + real) }
    };
    (0..classes).map(f1).sum::<f64>() / classes.max(1) as f64
}

/// Share of cases whose predicted class is the true one.
#[must_use]
pub fn accuracy(predicted: &[usize], truth: &[usize]) -> f64 {
    let hits = predicted.iter().zip(truth).filter(|(p, t)| p == t).count();
    hits as f64 / truth.len().max(1) as f64
}

/// Mean squared difference of a probability and what happened.
#[must_use]
pub fn brier(probability: &[f64], positive: &[bool]) -> f64 {
    let squares = probability.iter().zip(positive).map(|(p, y)| (p - f64::from(u8::from(*y))).powi(2));
    squares.sum::<f64>() / positive.len().max(1) as f64
}

/// Expected calibration error: over ten equal-width bins of the top probability, the mean gap between
/// confidence and accuracy, weighted by the cases in the bin.
#[must_use]
pub fn calibration_error(probabilities: &[f64], truth: &[usize], classes: usize) -> f64 {
    const BINS: usize = 10;
    let mut bins = [(0.0_f64, 0.0_f64); BINS];
    for (row, truth) in probabilities.chunks_exact(classes).zip(truth) {
        let top = arg_max(row);
        let bin = ((row[top] * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += row[top];
        bins[bin].1 += f64::from(u8::from(top == *truth));
    }
    let gap: f64 = bins.iter().map(|(confidence, hits)| (confidence - hits).abs()).sum();
    gap / truth.len().max(1) as f64
}

/// Index of the largest value, the first among equals; 0 for an empty row.
#[must_use]
pub fn arg_max(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macro_f1_matches_the_hand_count() {
        // Class 0: hit 1, claimed 2, real 1 -> 2/3. Class 1: hit 1, claimed 1, real 2 -> 2/3. Class 2: 1.
        let f1 = macro_f1(&[0, 0, 1, 2], &[0, 1, 1, 2], 3);
        assert!((f1 - (2.0 / 3.0 + 2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-12);
        assert_eq!(macro_f1(&[0], &[0], 2), 0.5, "an absent class is worth nothing");
        assert_eq!(accuracy(&[0, 0, 1, 2], &[0, 1, 1, 2]), 0.75);
    }

    #[test]
    fn brier_is_the_mean_squared_gap() {
        assert!((brier(&[0.8, 0.3], &[true, false]) - (0.04 + 0.09) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn calibration_error_is_the_gap_of_confidence_and_accuracy() {
        // Both cases fall in the bin of .9: confidence .9, accuracy .5.
        let error = calibration_error(&[0.9, 0.1, 0.9, 0.1], &[0, 1], 2);
        assert!((error - 0.4).abs() < 1e-12, "{error}");
        assert!(calibration_error(&[1.0, 0.0], &[0], 2).abs() < 1e-12);
    }

    #[test]
    fn ties_go_to_the_first() {
        assert_eq!(arg_max(&[0.2, 0.4, 0.4]), 1);
        assert_eq!(arg_max(&[]), 0);
    }
}
