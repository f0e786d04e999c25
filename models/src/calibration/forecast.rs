//! Uncertainty of a forecast: how far the model's own quantiles must be stretched, and how far simple methods miss.
//!
//! People differ: the same stretch is too much for a calm series and too little for a lively one. So it is measured
//! apart for histories of each of [`BANDS`] kinds, from the calmest to the liveliest (Mondrian conformal prediction,
//! Vovk et al. 2005, over conformalised quantile regression, Romano et al. 2019).

use serde::{Deserialize, Serialize};

use super::{Cohort, Cohorts, Interval, conformal_quantile};

/// Kinds of history that are calibrated apart.
pub const BANDS: usize = 5;

/// Figures of a forecaster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// Level of the model's quantile that starts the interval, for example 0.1.
    pub low: f64,
    /// Level of the model's quantile that ends the interval, for example 0.9.
    pub high: f64,
    /// Standard deviations of a history at which one kind ends and the next begins, rising, unit of the series.
    pub spreads: [f64; BANDS - 1],
    /// One entry per horizon of the model, nearest first.
    pub horizons: Vec<HorizonWidth>,
}

/// Widths at one horizon, unit of the series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HorizonWidth {
    /// How far ahead.
    pub seconds: u64,
    /// By which the distance of the model's quantiles from its median is multiplied, for each kind of history; below
    /// 1 when the model is too careful.
    pub stretch: [f64; BANDS],
    /// Half-width around the last value, when it is the forecast.
    pub persistence_half_width: f64,
    /// Half-width around the line through the last values, when that is the forecast.
    pub linear_half_width: f64,
}

/// The model's three quantiles at one horizon, unit of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    /// Low quantile.
    pub low: f64,
    /// Median.
    pub median: f64,
    /// High quantile.
    pub high: f64,
}

/// One held-out forecast at one horizon, unit of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HorizonCase {
    /// What the model says.
    pub quantiles: Quantiles,
    /// Standard deviation of the history, see [`spread`].
    pub spread: f64,
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
/// Least distance from the median that is stretched, as the same share: a distance of nothing cannot be.
const SIDE_SHARE_MIN: f64 = 0.05;

impl HorizonWidth {
    /// The interval around the model's median for a history of the kind `band`, never narrower than a share of what
    /// the last value alone needs.
    #[must_use]
    pub fn interval(&self, quantiles: Quantiles, band: usize, coverage: f64) -> Interval {
        let least = HALF_WIDTH_SHARE_MIN * self.persistence_half_width;
        let stretch = self.stretch[band.min(BANDS - 1)];
        let (below, above) = sides(quantiles, self.persistence_half_width);
        let low = quantiles.median - (stretch * below).max(least);
        Interval { low, high: quantiles.median + (stretch * above).max(least), coverage }
    }
}

impl HorizonWidth {
    /// The same for a cohort whose stretch is `factor` times that of all; without one, for anyone.
    #[must_use]
    pub fn scaled(&self, factor: Option<f64>) -> Self {
        let factor = factor.unwrap_or(1.0);
        Self { stretch: self.stretch.map(|stretch| stretch * factor), ..*self }
    }
}

/// Distances of the outer quantiles from the median.
fn sides(Quantiles { low, median, high }: Quantiles, persistence_half_width: f64) -> (f64, f64) {
    let least = SIDE_SHARE_MIN * persistence_half_width;
    ((median - low).max(least), (high - median).max(least))
}

/// Standard deviation of a history, by which its kind is told; 0 without values.
#[must_use]
pub fn spread(history: &[f64]) -> f64 {
    let count = history.len().max(1) as f64;
    let mean = history.iter().sum::<f64>() / count;
    (history.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}

impl Forecast {
    /// The kind of a history with this standard deviation, from 0 for the calmest.
    #[must_use]
    pub fn band(&self, spread: f64) -> usize {
        self.spreads.partition_point(|end| *end < spread)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if !(0.0 < self.low && self.low < self.high && self.high < 1.0) {
            return Err("low and high must be levels with 0 < low < high < 1".into());
        }
        if !(self.spreads.iter().all(|end| end.is_finite()) && self.spreads.is_sorted()) {
            return Err("spreads must be numbers and rise".into());
        }
        let sane = |h: &HorizonWidth| {
            h.stretch.iter().all(|stretch| stretch.is_finite() && *stretch > 0.0)
                && h.persistence_half_width >= 0.0
                && h.linear_half_width >= 0.0
        };
        if self.horizons.is_empty() || !self.horizons.iter().all(sane) {
            return Err(
                "horizons must not be empty, every width must be a number and every stretch above 0".into()
            );
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
    let mut seen: Vec<f64> = horizons.iter().flat_map(|(_, cases)| cases.iter().map(|c| c.spread)).collect();
    seen.sort_by(f64::total_cmp);
    let end = |at: usize| seen.get(seen.len() * (at + 1) / BANDS).copied().unwrap_or(0.0);
    let spreads: [f64; BANDS - 1] = std::array::from_fn(end);
    let mut fitted = Forecast { low: levels.0, high: levels.1, spreads, horizons: Vec::new() };
    for (seconds, cases) in horizons {
        let quantile =
            |score: fn(&HorizonCase) -> f64| conformal_quantile(cases.iter().map(score).collect(), coverage);
        let persistence_half_width = quantile(|case| (case.truth - case.last).abs())?;
        let linear_half_width = quantile(|case| (case.truth - case.linear).abs())?;
        let scored = |case: &HorizonCase| (fitted.band(case.spread), miss(case, persistence_half_width));
        let stretch = stretches(&cases.iter().map(scored).collect::<Vec<_>>(), coverage)?;
        let seconds = *seconds;
        fitted.horizons.push(HorizonWidth { seconds, stretch, persistence_half_width, linear_half_width });
    }
    Some(fitted)
}

/// How many times the distance of its quantile from the median the truth lies away.
fn miss(case: &HorizonCase, persistence_half_width: f64) -> f64 {
    let (below, above) = sides(case.quantiles, persistence_half_width);
    let off = case.truth - case.quantiles.median;
    if off < 0.0 { -off / below.max(f64::MIN_POSITIVE) } else { off / above.max(f64::MIN_POSITIVE) }
}

/// By how much each cohort's stretch is more or less than that of all, at every horizon. `people` says whose the cases
/// are, which come in the same order at every horizon.
#[must_use]
pub fn forecast_cohorts(
    fitted: &Forecast,
    horizons: &[(u64, Vec<HorizonCase>)],
    people: &[Option<Cohort>],
    coverage: f64,
) -> Option<Cohorts> {
    let places: Vec<(Option<Cohort>, usize)> = people.iter().copied().zip(0..).collect();
    Cohorts::fit(&places, |own| {
        let factor = |(width, (_, cases)): (&HorizonWidth, &(u64, Vec<HorizonCase>))| {
            let excess = |place: &&usize| {
                let case = cases.get(**place)?;
                Some(miss(case, width.persistence_half_width) / width.stretch[fitted.band(case.spread)])
            };
            conformal_quantile(own.iter().filter_map(excess).collect(), coverage)
        };
        fitted.horizons.iter().zip(horizons).map(factor).collect()
    })
}

/// The stretch of each kind; a kind with too few cases has that of all.
fn stretches(scored: &[(usize, f64)], coverage: f64) -> Option<[f64; BANDS]> {
    let all = conformal_quantile(scored.iter().map(|(_, miss)| *miss).collect(), coverage)?;
    let of = |band: usize| {
        let own = scored.iter().filter(|(at, _)| *at == band).map(|(_, miss)| *miss).collect();
        conformal_quantile(own, coverage).unwrap_or(all).clamp(f64::MIN_POSITIVE, f64::MAX)
    };
    Some(std::array::from_fn(of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A model whose interval is `width` to each side although the truth moves by up to 20, or by a fifth of it after
    /// a calm history.
    fn cases(seed: u64, n: usize, width: f64) -> Vec<HorizonCase> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut case = || {
            let last: f64 = rng.random_range(70.0..200.0);
            let spread = rng.random_range(0.0..10.0);
            let reach = if spread < 4.0 { 4.0 } else { 20.0 };
            let truth = last + rng.random_range(-reach..reach);
            let quantiles = Quantiles { low: last - width, median: last, high: last + width };
            HorizonCase { quantiles, spread, last, linear: last + 5.0, truth }
        };
        (0..n).map(|_| case()).collect()
    }

    #[test]
    fn a_timid_model_is_narrowed_and_a_bold_one_stretched() {
        let stretch = |width| {
            let fitted = fit_forecast((0.05, 0.95), &[(1800, cases(1, 500, width))], 0.9);
            fitted.expect("enough").horizons[0].stretch[BANDS - 1]
        };
        assert!(stretch(5.0) > 3.0 && stretch(40.0) < 0.6);
        assert!(fit_forecast((0.05, 0.95), &[(1800, cases(1, 5, 5.0))], 0.9).is_none());
    }

    #[test]
    fn a_cohort_with_other_noise_has_another_interval_and_an_unknown_one_that_of_all() {
        let (calm, rough) = (Cohort::of(Some(30.0), Some(true)), Cohort::of(Some(70.0), Some(true)));
        let mut cases = cases(3, 600, 20.0);
        let people: Vec<Option<Cohort>> = (0..600).map(|at| if at % 2 == 0 { calm } else { rough }).collect();
        for case in cases.iter_mut().step_by(2) {
            case.truth = case.last + 0.2 * (case.truth - case.last);
        }
        let horizons = [(1800, cases)];
        let fitted = fit_forecast((0.05, 0.95), &horizons, 0.8).expect("enough");
        let cohorts = forecast_cohorts(&fitted, &horizons, &people, 0.8).expect("two cohorts");
        let width = |cohort: Option<Cohort>| {
            let factor = cohorts.of(cohort).map(|factors| factors[0]);
            let said = Quantiles { low: 60.0, median: 100.0, high: 140.0 };
            let interval = fitted.horizons[0].scaled(factor).interval(said, BANDS - 1, 0.8);
            interval.high - interval.low
        };
        let all = width(Cohort::of(Some(50.0), Some(false)));
        assert!(width(calm) < all && all < width(rough), "{} {all} {}", width(calm), width(rough));
        assert_eq!(width(None), all);
    }

    #[test]
    fn an_interval_never_shrinks_to_a_point_and_always_holds_the_median() {
        let width = HorizonWidth {
            seconds: 1800,
            stretch: [1e-9; BANDS],
            persistence_half_width: 8.0,
            linear_half_width: 8.0,
        };
        let interval = width.interval(Quantiles { low: 90.0, median: 100.0, high: 110.0 }, 0, 0.9);
        assert_eq!((interval.low, interval.high), (98.0, 102.0));
    }

    #[test]
    fn the_spread_of_a_history_is_its_standard_deviation() {
        assert_eq!(spread(&[]), 0.0);
        assert_eq!(spread(&[100.0; 7]), 0.0);
        assert!((spread(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]) - 2.0).abs() < 1e-12);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn new_cases_are_covered_whatever_the_model_calm_and_lively_apart(
            seed in 0u64..1000, width in 1.0f64..40.0,
        ) {
            let fitted = fit_forecast((0.05, 0.95), &[(1800, cases(seed, 4000, width))], 0.8).expect("enough");
            let fresh = cases(seed + 5000, 4000, width);
            for calm in [true, false] {
                let part: Vec<_> = fresh.iter().filter(|case| (case.spread < 4.0) == calm).collect();
                let held = part.iter().filter(|case| {
                    let band = fitted.band(case.spread);
                    let interval = fitted.horizons[0].interval(case.quantiles, band, 0.8);
                    (interval.low..=interval.high).contains(&case.truth)
                }).count();
                let share = held as f64 / part.len() as f64;
                // A quarter of what the last value needs can be more than a calm series needs.
                prop_assert!(share > 0.74 && (calm || share < 0.86), "{} {}", calm, share);
            }
        }
    }
}
