//! Figures of predicted numbers: errors, explained variance, limits of agreement, coverage of intervals.

/// Root of the mean squared error.
#[must_use]
pub fn rmse(predicted: &[f64], truth: &[f64]) -> f64 {
    mean(predicted.iter().zip(truth).map(|(p, t)| (p - t).powi(2))).sqrt()
}

/// Mean absolute error.
#[must_use]
pub fn mae(predicted: &[f64], truth: &[f64]) -> f64 {
    mean(predicted.iter().zip(truth).map(|(p, t)| (p - t).abs()))
}

/// Mean absolute relative difference, in per cent of the truth; truths of zero are left out.
#[must_use]
pub fn mard(predicted: &[f64], truth: &[f64]) -> f64 {
    let pairs = predicted.iter().zip(truth).filter(|(_, t)| **t != 0.0);
    100.0 * mean(pairs.map(|(p, t)| ((p - t) / t).abs()))
}

/// Share of the variance of `truth` that the prediction explains; negative when it is worse than the mean.
#[must_use]
pub fn r_squared(predicted: &[f64], truth: &[f64]) -> f64 {
    let centre = mean(truth.iter().copied());
    let total = mean(truth.iter().map(|t| (t - centre).powi(2)));
    if total == 0.0 {
        0.0
    } else {
        1.0 - mean(predicted.iter().zip(truth).map(|(p, t)| (p - t).powi(2))) / total
    }
}

/// Bland-Altman agreement of two ways to measure: mean difference and where 95 % of differences lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Mean of prediction minus truth.
    pub bias: f64,
    /// Bias minus 1.96 standard deviations.
    pub low: f64,
    /// Bias plus 1.96 standard deviations.
    pub high: f64,
}

/// Bland-Altman agreement of predictions with the truth, in their unit.
#[must_use]
pub fn agreement(predicted: &[f64], truth: &[f64]) -> Agreement {
    let bias = mean(predicted.iter().zip(truth).map(|(p, t)| p - t));
    let squares = predicted.iter().zip(truth).map(|(p, t)| (p - t - bias).powi(2)).sum::<f64>();
    let spread = 1.96 * (squares / (truth.len().max(2) - 1) as f64).sqrt();
    Agreement { bias, low: bias - spread, high: bias + spread }
}

/// Share of truths inside their interval, both ends included.
#[must_use]
pub fn coverage(low: &[f64], high: &[f64], truth: &[f64]) -> f64 {
    mean(truth.iter().zip(low.iter().zip(high)).map(|(t, (l, h))| f64::from(u8::from(l <= t && t <= h))))
}

/// Arithmetic mean; 0 of nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREDICTED: [f64; 4] = [110.0, 90.0, 205.0, 50.0];
    const TRUTH: [f64; 4] = [100.0, 100.0, 200.0, 50.0];

    #[test]
    fn errors_match_the_hand_count() {
        assert!((rmse(&PREDICTED, &TRUTH) - 56.25_f64.sqrt()).abs() < 1e-12);
        assert!((mae(&PREDICTED, &TRUTH) - 6.25).abs() < 1e-12);
        assert!((mard(&PREDICTED, &TRUTH) - 100.0 * (0.1 + 0.1 + 0.025) / 4.0).abs() < 1e-12);
        assert!(
            (mard(&[1.0, 2.0], &[0.0, 1.0]) - 100.0).abs() < 1e-12,
            "a truth of zero has no relative error"
        );
    }

    #[test]
    fn explained_variance_is_one_for_the_truth_and_zero_for_its_mean() {
        assert_eq!(r_squared(&TRUTH, &TRUTH), 1.0);
        assert!(r_squared(&[112.5; 4], &TRUTH).abs() < 1e-12);
        assert!(r_squared(&[0.0; 4], &TRUTH) < 0.0);
        assert_eq!(r_squared(&[1.0], &[1.0]), 0.0, "one value has no variance");
    }

    #[test]
    fn agreement_is_bias_and_1_96_standard_deviations() {
        let found = agreement(&[1.0, 3.0], &[0.0, 0.0]);
        assert!((found.bias - 2.0).abs() < 1e-12);
        assert!((found.high - (2.0 + 1.96 * 2.0_f64.sqrt())).abs() < 1e-12);
        assert!((found.low - (2.0 - 1.96 * 2.0_f64.sqrt())).abs() < 1e-12);
    }

    #[test]
    fn coverage_counts_both_ends() {
        assert_eq!(coverage(&[0.0, 0.0, 0.0], &[1.0, 1.0, 1.0], &[0.0, 1.0, 1.1]), 2.0 / 3.0);
    }
}
