//! Uncertainty of a forecast: how much the model's own quantiles must be widened, and how far simple methods miss.

use serde::{Deserialize, Serialize};

use super::{Interval, conformal_quantile};

/// Figures of a forecaster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// Level of the model's quantile that starts the interval, for example 0.05.
    pub low: f64,
    /// Level of the model's quantile that ends the interval, for example 0.95.
    pub high: f64,
    /// One entry per horizon of the model, nearest first.
    pub horizons: Vec<HorizonWidth>,
}

/// Widths at one horizon, unit of the series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HorizonWidth {
    /// How far ahead.
    pub seconds: u64,
    /// Added to both ends of the model's quantile interval; may be negative when the model is too careful
    /// (conformalised quantile regression, Romano et al. 2019).
    pub widen: f64,
    /// Half-width around the last value, when it is the forecast.
    pub persistence_half_width: f64,
    /// Half-width around the line through the last values, when that is the forecast.
    pub linear_half_width: f64,
}

/// One held-out forecast at one horizon, unit of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HorizonCase {
    /// The model's low quantile.
    pub low: f64,
    /// The model's high quantile.
    pub high: f64,
    /// Last value before the forecast.
    pub last: f64,
    /// The line through the last values, continued.
    pub linear: f64,
    /// What came.
    pub truth: f64,
}

/// Least half-width of a model's interval, as a share of the half-width that the last value alone needs. Ours: a
/// network that is sure of itself on a history unlike any it was trained on must not sound certain.
const HALF_WIDTH_SHARE_MIN: f64 = 0.25;

impl HorizonWidth {
    /// The interval of the model's quantiles, never narrower than a share of what the last value alone needs.
    #[must_use]
    pub fn interval(&self, low: f64, high: f64, coverage: f64) -> Interval {
        let (middle, least) = (f64::midpoint(low, high), HALF_WIDTH_SHARE_MIN * self.persistence_half_width);
        let (low, high) = ((low - self.widen).min(middle - least), (high + self.widen).max(middle + least));
        Interval { low, high, coverage }
    }
}

impl Forecast {
    pub(super) fn check(&self) -> Result<(), String> {
        if !(0.0 < self.low && self.low < self.high && self.high < 1.0) {
            return Err("low and high must be levels with 0 < low < high < 1".into());
        }
        let sane = |h: &HorizonWidth| {
            h.widen.is_finite() && h.persistence_half_width >= 0.0 && h.linear_half_width >= 0.0
        };
        if self.horizons.is_empty() || !self.horizons.iter().all(sane) {
            return Err("horizons must not be empty and every width must be a number".into());
        }
        if self.horizons.is_sorted_by(|a, b| a.seconds < b.seconds) {
            Ok(())
        } else {
            Err("horizons must ascend".into())
        }
    }
}

/// Measures a forecaster. `levels` are the quantile levels that the cases' `low` and `high` come from; `horizons` has
/// the seconds and the held-out cases of each. `None` when a horizon has too few cases for the coverage.
#[must_use]
pub fn fit_forecast(
    levels: (f64, f64),
    horizons: &[(u64, Vec<HorizonCase>)],
    coverage: f64,
) -> Option<Forecast> {
    let width = |(seconds, cases): &(u64, Vec<HorizonCase>)| {
        let quantile =
            |score: fn(&HorizonCase) -> f64| conformal_quantile(cases.iter().map(score).collect(), coverage);
        Some(HorizonWidth {
            seconds: *seconds,
            widen: quantile(|case| (case.low - case.truth).max(case.truth - case.high))?,
            persistence_half_width: quantile(|case| (case.truth - case.last).abs())?,
            linear_half_width: quantile(|case| (case.truth - case.linear).abs())?,
        })
    };
    let horizons = horizons.iter().map(width).collect::<Option<Vec<_>>>()?;
    Some(Forecast { low: levels.0, high: levels.1, horizons })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A model whose interval is `width` to each side although the truth moves by up to 20.
    fn cases(seed: u64, n: usize, width: f64) -> Vec<HorizonCase> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut case = || {
            let last = rng.random_range(70.0..200.0);
            let truth = last + rng.random_range(-20.0..20.0);
            HorizonCase { low: last - width, high: last + width, last, linear: last + 5.0, truth }
        };
        (0..n).map(|_| case()).collect()
    }

    #[test]
    fn a_timid_model_is_narrowed_and_a_bold_one_widened() {
        let widen = |width| {
            let fitted = fit_forecast((0.05, 0.95), &[(1800, cases(1, 500, width))], 0.9);
            fitted.expect("enough").horizons[0].widen
        };
        assert!(widen(5.0) > 10.0 && widen(40.0) < -15.0);
        assert!(fit_forecast((0.05, 0.95), &[(1800, cases(1, 5, 5.0))], 0.9).is_none());
    }

    #[test]
    fn an_interval_never_turns_inside_out_nor_shrinks_to_a_point() {
        let width =
            HorizonWidth { seconds: 1800, widen: -50.0, persistence_half_width: 8.0, linear_half_width: 8.0 };
        let interval = width.interval(90.0, 110.0, 0.9);
        assert_eq!((interval.low, interval.high), (98.0, 102.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn new_cases_are_covered_whatever_the_model(seed in 0u64..1000, width in 1.0f64..40.0) {
            let fitted = fit_forecast((0.05, 0.95), &[(1800, cases(seed, 1000, width))], 0.9).expect("enough");
            let horizon = fitted.horizons[0];
            let fresh = cases(seed + 5000, 1000, width);
            let held = fresh.iter().filter(|case| {
                let interval = horizon.interval(case.low, case.high, 0.9);
                (interval.low..=interval.high).contains(&case.truth)
            }).count();
            prop_assert!((0.86..0.94).contains(&(held as f64 / 1000.0)));
        }
    }
}
