//! Uncertainty of the food model: when to say "unsure", how sure a named food is, and how much portions differ.

use serde::{Deserialize, Serialize};

use super::classes::{bin_interval, check_bins, fit_bins};
use super::{Interval, ReliabilityBin};

/// Relative half-width of a portion that nobody weighed. Ours: photographs hold between 0.7 and 1.5 times the usual
/// serving in everyday life, and no data set here can tell better.
pub const PORTION_UNCERTAINTY: f64 = 0.4;

/// Figures of the food model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Food {
    /// Highest confidence at which the answer is "unsure".
    pub unsure_below: f64,
    /// How often the winning food was right, by its confidence; ascending.
    pub bins: Vec<ReliabilityBin>,
    /// Relative half-width of a default portion.
    pub portion_uncertainty: f64,
}

impl Food {
    /// How often an answer with this confidence was right, stretched to hold the confidence itself.
    #[must_use]
    pub fn interval(&self, confidence: f64, coverage: f64) -> Interval {
        bin_interval(&self.bins, confidence, coverage)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.unsure_below) || !(0.0..1.0).contains(&self.portion_uncertainty) {
            return Err("unsure_below and portion_uncertainty must lie between 0 and 1".into());
        }
        check_bins(&self.bins)
    }
}

/// Measures the food model on photos it was not chosen on: pairs of (confidence of the best food, was right), and
/// the confidence in `strangers`, photos of what is none of the foods. The threshold is the lowest at which the foods
/// still named are right at least `right_min` of the time (1 when none is) and at most `named_max` of the strangers
/// are named.
#[must_use]
pub fn fit_food(photos: &[(f64, bool)], strangers: &[f64], right_min: f64, named_max: f64) -> Food {
    let mut surest_first = photos.to_vec();
    surest_first.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut right = 0usize;
    let mut unsure_below = 1.0;
    for (index, photo) in surest_first.iter().enumerate() {
        right += usize::from(photo.1);
        if right as f64 / (index + 1) as f64 >= right_min {
            unsure_below = photo.0;
        }
    }
    let mut strangers = strangers.to_vec();
    strangers.sort_by(|a, b| b.total_cmp(a));
    // The surest stranger that must not be named; what is named lies above it.
    let named = (strangers.len() as f64 * named_max.clamp(0.0, 1.0)).floor() as usize;
    let stranger = strangers.get(named).map_or(0.0, |confidence| confidence.next_up().min(1.0));
    Food {
        unsure_below: stranger.max(unsure_below),
        bins: fit_bins(surest_first),
        portion_uncertainty: PORTION_UNCERTAINTY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_keeps_what_is_right_often_enough() {
        let photos = [(0.9, true), (0.8, true), (0.7, true), (0.6, true), (0.3, false), (0.2, false)];
        assert!((fit_food(&photos, &[], 0.9, 0.2).unsure_below - 0.6).abs() < 1e-12);
        assert!((fit_food(&[(0.9, false)], &[], 0.9, 0.2).unsure_below - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_threshold_leaves_most_strangers_unnamed() {
        let strangers: Vec<f64> = (0..100).map(|i| f64::from(i) / 100.0).collect();
        let named = |max: f64| {
            let food = fit_food(&[(0.1, true)], &strangers, 0.9, max);
            strangers.iter().filter(|confidence| **confidence >= food.unsure_below).count()
        };
        assert_eq!((named(0.2), named(0.0), named(1.0)), (20, 0, 90));
    }

    #[test]
    fn confidence_intervals_are_wide_for_few_photos() {
        let photos: Vec<_> = (0..50).map(|i| (f64::from(i) / 50.0, i > 20)).collect();
        let food = fit_food(&photos, &[], 0.9, 0.2);
        let interval = food.interval(0.9, 0.9);
        assert!(interval.high - interval.low > 0.1 && interval.low <= 0.9 && interval.high >= 0.9);
        assert!(food.check().is_ok());
        assert!(Food { unsure_below: 1.5, ..food }.check().is_err());
    }
}
