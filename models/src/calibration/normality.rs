//! What is usual: the distribution of reconstruction errors among held-out normal cases.

use serde::{Deserialize, Serialize};

use super::{Grid, Interval, wilson};

/// Points of the error grid: half a per cent apart, as fine as the usual threshold.
const GRID_POINTS: usize = 401;
/// Share of normal cases inside the limits of one feature.
const FEATURE_SHARE: f64 = 0.99;

/// Figures of an anomaly detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normality {
    /// Errors of held-out normal cases.
    pub errors: Grid,
    /// Score above which a case counts as anomalous, 0 to 1.
    pub threshold: f64,
    /// Share of normal cases expected above the threshold.
    pub false_alarm_rate: f64,
    /// Usual values and residuals per feature, in input order.
    pub features: Vec<FeatureNormal>,
}

/// What normal cases have in one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureNormal {
    /// Name of the input column.
    pub name: String,
    /// Lowest usual value, unit of the column.
    pub low: f64,
    /// Highest usual value, unit of the column.
    pub high: f64,
    /// Lowest usual residual, standardised.
    pub residual_low: f64,
    /// Highest usual residual, standardised.
    pub residual_high: f64,
}

impl Normality {
    /// Rank of `error` among normal cases, 0 to 1; an error that is not a number ranks last.
    #[must_use]
    pub fn score(&self, error: f64) -> f64 {
        if error.is_finite() { self.errors.rank(error) } else { 1.0 }
    }

    /// Whether a score counts as anomalous.
    #[must_use]
    pub fn anomalous(&self, score: f64) -> bool {
        score > self.threshold
    }

    /// How well `n` normal cases pin the rank down: Wilson's interval of the share below it.
    #[must_use]
    pub fn interval(&self, score: f64, n: u64, coverage: f64) -> Interval {
        let (low, high) = wilson(score * n as f64, n as f64, coverage);
        Interval { low, high, coverage }.including(score)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.errors.check("errors")?;
        if !(0.0..=1.0).contains(&self.threshold) || !(0.0..=1.0).contains(&self.false_alarm_rate) {
            return Err("threshold and false_alarm_rate must lie between 0 and 1".into());
        }
        let sane = |f: &FeatureNormal| {
            f.low <= f.high && f.residual_low <= f.residual_high && (f.high - f.low).is_finite()
        };
        match self.features.iter().find(|feature| !sane(feature)) {
            Some(feature) => Err(format!("limits of feature `{}` must be finite and ascend", feature.name)),
            None => Ok(()),
        }
    }
}

/// Measures an anomaly detector on held-out normal cases.
///
/// `errors` has one entry per case; `features` one entry per input column: name, values present (unit of the column)
/// and their residuals. `false_alarm_rate` is the share of normal cases that may be called anomalous. `None` without
/// cases.
#[must_use]
pub fn fit_normality(
    errors: Vec<f64>,
    features: Vec<(String, Vec<f64>, Vec<f64>)>,
    false_alarm_rate: f64,
) -> Option<Normality> {
    let usual = |(name, values, residuals): (String, Vec<f64>, Vec<f64>)| {
        let tail = (1.0 - FEATURE_SHARE) / 2.0;
        let values = Grid::of(values, GRID_POINTS)?;
        let residuals = Grid::of(residuals, GRID_POINTS)?;
        Some(FeatureNormal {
            name,
            low: values.quantile(tail),
            high: values.quantile(1.0 - tail),
            residual_low: residuals.quantile(tail),
            residual_high: residuals.quantile(1.0 - tail),
        })
    };
    Some(Normality {
        errors: Grid::of(errors, GRID_POINTS)?,
        threshold: 1.0 - false_alarm_rate,
        false_alarm_rate,
        features: features.into_iter().filter_map(usual).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn errors(seed: u64, n: usize) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(0.0f64..1.0).powi(2)).collect()
    }

    fn fitted(seed: u64) -> Normality {
        let column: Vec<f64> = (0..100).map(f64::from).collect();
        let residuals = column.iter().map(|v| v / 50.0 - 1.0).collect();
        fit_normality(errors(seed, 2000), vec![("tsh".into(), column, residuals)], 0.05).expect("cases")
    }

    #[test]
    fn scores_rank_errors_and_broken_errors_rank_last() {
        let normality = fitted(1);
        assert!((normality.score(0.25) - 0.5).abs() < 0.05);
        assert_eq!(normality.score(f64::NAN), 1.0);
        assert!(normality.anomalous(normality.score(9.0)));
        let interval = normality.interval(0.5, 2000, 0.9);
        assert!(interval.low > 0.47 && interval.high < 0.53);
    }

    #[test]
    fn feature_limits_hold_nearly_all_normal_values() {
        let limits = &fitted(1).features[0];
        assert!(limits.low < 1.0 && limits.high > 98.0);
        assert!(limits.residual_low < -0.97 && limits.residual_high > 0.96);
    }

    /// Both the threshold and the alarms are counted over 2,000 cases: the rate has a standard deviation of .007.
    #[test]
    fn false_alarms_come_at_the_stated_rate() {
        let rate = |seed: u64| {
            let (normality, fresh) = (fitted(seed), errors(seed + 5000, 2000));
            fresh.iter().filter(|e| normality.anomalous(normality.score(**e))).count() as f64 / 2000.0
        };
        let rates: Vec<f64> = (0..100).map(rate).collect();
        assert!(rates.iter().all(|rate| (0.015..0.085).contains(rate)), "{rates:?}");
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        assert!((mean - 0.05).abs() < 0.003, "{mean}");
    }
}
