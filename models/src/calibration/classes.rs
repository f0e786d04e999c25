//! Uncertainty of a classifier: which classes cannot be ruled out, and how often an answer this sure was right.

use serde::{Deserialize, Serialize};

use super::{COHORT_CASES_MIN, Cohort, Cohorts, Interval, conformal_quantile, wilson};

/// Fewest cases in one reliability bin; fewer say little.
const BIN_CASES_MIN: usize = 30;
/// Most reliability bins.
const BINS_MAX: usize = 10;

/// Figures of a classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// Per class, in output order: a class belongs to the prediction set while 1 minus its probability is at most
    /// this. Measured among the cases of that class alone (Mondrian conformal), so that a rare disease is covered as
    /// well as health; 1 when the class had too few cases to rule it out.
    pub thresholds: Vec<f64>,
    /// How often the winning class was right, by its probability; ascending.
    pub bins: Vec<ReliabilityBin>,
}

/// Cases whose winning probability lay between this bin's start and the next one's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReliabilityBin {
    /// Lowest winning probability in the bin.
    pub start: f64,
    /// Cases.
    pub n: u64,
    /// Cases in which the winning class was right.
    pub right: u64,
}

/// One held-out case.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassCase {
    /// Probabilities in output order.
    pub probabilities: Vec<f64>,
    /// Index of the true class.
    pub truth: usize,
}

impl Classes {
    /// Indices of the classes that cannot be ruled out, in output order; the winning class always belongs.
    #[must_use]
    pub fn prediction_set(&self, probabilities: &[f64]) -> Vec<usize> {
        self.prediction_set_by(&self.thresholds, probabilities)
    }

    /// The same by the thresholds of the person's cohort.
    #[must_use]
    pub fn prediction_set_by(&self, thresholds: &[f64], probabilities: &[f64]) -> Vec<usize> {
        let winner = winner(probabilities);
        let kept = |&(class, p): &(usize, &f64)| {
            class == winner || thresholds.get(class).is_none_or(|threshold| 1.0 - *p <= *threshold)
        };
        probabilities.iter().enumerate().filter(kept).map(|(class, _)| class).collect()
    }

    /// How often an answer with this winning probability was right among the held-out cases: Wilson's interval of
    /// its bin, stretched to hold the stated probability itself.
    #[must_use]
    pub fn interval(&self, probability: f64, coverage: f64) -> Interval {
        bin_interval(&self.bins, probability, coverage)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.thresholds.len() < 2 || !self.thresholds.iter().all(|t| (0.0..=1.0).contains(t)) {
            return Err("thresholds must be at least 2 numbers between 0 and 1".into());
        }
        check_bins(&self.bins)
    }
}

/// Index of the highest value; the first of equals, 0 of none.
pub(crate) fn winner(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, index| if values[index] > values[best] { index } else { best })
}

pub(super) fn bin_interval(bins: &[ReliabilityBin], probability: f64, coverage: f64) -> Interval {
    let index = bins.partition_point(|bin| bin.start <= probability).saturating_sub(1);
    let (low, high) =
        bins.get(index).map_or((0.0, 1.0), |bin| wilson(bin.right as f64, bin.n as f64, coverage));
    Interval { low, high, coverage }.including(probability)
}

pub(super) fn check_bins(bins: &[ReliabilityBin]) -> Result<(), String> {
    let sane = |bin: &ReliabilityBin| bin.start.is_finite() && bin.n > 0 && bin.right <= bin.n;
    if !bins.iter().all(sane) || !bins.is_sorted_by(|a, b| a.start <= b.start) {
        return Err("bins must ascend, each with n > 0 and right <= n".into());
    }
    Ok(())
}

/// Measures a classifier of `classes` classes on held-out cases. The prediction set of a new exchangeable case holds
/// the true class with probability at least `coverage`, within each class.
#[must_use]
pub fn fit_classes(cases: &[ClassCase], classes: usize, coverage: f64) -> Classes {
    let threshold = |class| threshold(cases.iter(), class, coverage).unwrap_or(1.0);
    let thresholds = (0..classes).map(threshold).collect();
    let sure = cases.iter().map(|case| {
        let best = winner(&case.probabilities);
        (case.probabilities[best], best == case.truth)
    });
    Classes { thresholds, bins: fit_bins(sure.collect()) }
}

/// What 1 minus the probability of `class` is at most among its own cases, up to the coverage.
fn threshold<'a>(cases: impl Iterator<Item = &'a ClassCase>, class: usize, coverage: f64) -> Option<f64> {
    let scores = cases.filter(|case| case.truth == class).map(|case| 1.0 - case.probabilities[class]);
    conformal_quantile(scores.collect(), coverage).map(|threshold| threshold.clamp(0.0, 1.0))
}

/// Thresholds of each cohort's own classes; a class with fewer than [`COHORT_CASES_MIN`] cases in a cohort keeps that of
/// all, and a cohort in which every class does is left out.
#[must_use]
pub fn class_cohorts(
    cases: &[(Option<Cohort>, ClassCase)],
    pooled: &Classes,
    coverage: f64,
) -> Option<Cohorts> {
    Cohorts::fit(cases, |own| {
        let enough = |class: usize| own.iter().filter(|case| case.truth == class).count() >= COHORT_CASES_MIN;
        let of = |(class, all): (usize, &f64)| {
            let fitted = enough(class).then(|| threshold(own.iter().copied(), class, coverage));
            fitted.flatten().unwrap_or(*all)
        };
        let any = (0..pooled.thresholds.len()).any(enough);
        any.then(|| pooled.thresholds.iter().enumerate().map(of).collect())
    })
}

/// Bins of equal count over (probability, was right).
pub(super) fn fit_bins(mut cases: Vec<(f64, bool)>) -> Vec<ReliabilityBin> {
    cases.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bins = (cases.len() / BIN_CASES_MIN).clamp(1, BINS_MAX);
    let size = cases.len().div_ceil(bins).max(1);
    cases
        .chunks(size)
        .map(|chunk| ReliabilityBin {
            start: chunk[0].0,
            n: chunk.len() as u64,
            right: chunk.iter().filter(|(_, right)| *right).count() as u64,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Cases whose truth is drawn from the stated probabilities, so the model is perfectly calibrated.
    fn honest_cases(seed: u64, n: usize) -> Vec<ClassCase> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut case = || {
            let raw: [f64; 3] = std::array::from_fn(|_| rng.random_range(0.05f64..1.0).powi(3));
            let sum: f64 = raw.iter().sum();
            let probabilities = raw.map(|p| p / sum).to_vec();
            let draw = rng.random::<f64>();
            let truth =
                if draw < probabilities[0] { 0 } else { 1 + usize::from(draw >= 1.0 - probabilities[2]) };
            ClassCase { probabilities, truth }
        };
        (0..n).map(|_| case()).collect()
    }

    #[test]
    fn a_class_without_cases_is_never_ruled_out() {
        let cases = vec![ClassCase { probabilities: vec![0.9, 0.1, 0.0], truth: 0 }; 50];
        let fitted = fit_classes(&cases, 3, 0.9);
        assert_eq!(fitted.thresholds[1..], [1.0, 1.0]);
        assert_eq!(fitted.prediction_set(&[0.99, 0.01, 0.0]), [0, 1, 2]);
        assert_eq!(fitted.bins.len(), 1);
    }

    #[test]
    fn the_interval_holds_the_probability_and_narrows_with_cases() {
        let few = fit_classes(&honest_cases(1, 60), 3, 0.9).interval(0.8, 0.9);
        let many = fit_classes(&honest_cases(1, 6000), 3, 0.9).interval(0.8, 0.9);
        assert!(few.low <= 0.8 && 0.8 <= few.high);
        assert!(many.high - many.low < few.high - few.low);
        let blind = Classes { thresholds: vec![1.0, 1.0], bins: Vec::new() }.interval(0.4, 0.9);
        assert_eq!((blind.low, blind.high), (0.0, 1.0));
    }

    #[test]
    fn a_cohort_that_is_harder_to_tell_has_wider_sets_and_a_rare_class_keeps_those_of_all() {
        let easy = Cohort::of(Some(30.0), Some(true));
        let hard = Cohort::of(Some(70.0), Some(true));
        let of = |cohort: Option<Cohort>, p: f64, truth: usize| {
            (cohort, ClassCase { probabilities: vec![1.0 - p, p], truth })
        };
        let spread = |i: usize, reach: f64| reach * i as f64 / 100.0;
        let mut cases: Vec<_> = (0..100).map(|i| of(easy, spread(i, 0.1), 0)).collect();
        cases.extend((0..100).map(|i| of(hard, spread(i, 0.8), 0)));
        cases.extend((0..40).map(|i| of(hard, 0.3 + spread(i, 0.5), 1)));
        let all: Vec<ClassCase> = cases.iter().map(|(_, case)| case.clone()).collect();
        let pooled = fit_classes(&all, 2, 0.9);
        let cohorts = class_cohorts(&cases, &pooled, 0.9).expect("two cohorts");
        let (calm, rough) = (cohorts.of(easy).expect("own"), cohorts.of(hard).expect("own"));
        assert!(calm[0] < pooled.thresholds[0] && pooled.thresholds[0] < rough[0], "{calm:?} {rough:?}");
        assert_eq!(rough[1], pooled.thresholds[1], "40 cases are too few for a class of its own");
        assert_eq!(pooled.prediction_set_by(calm, &[0.4, 0.6]), [1]);
        assert_eq!(pooled.prediction_set_by(rough, &[0.4, 0.6]), [0, 1]);
        assert_eq!(cohorts.of(Cohort::of(Some(50.0), Some(false))), None, "nobody was seen");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Coverage on new exchangeable data, with the slack that 1,500 test cases need.
        #[test]
        fn sets_cover_each_class(seed in 0u64..1000) {
            let fitted = fit_classes(&honest_cases(seed, 1500), 3, 0.9);
            let fresh = honest_cases(seed + 5000, 1500);
            for class in 0..3 {
                let of_class: Vec<_> = fresh.iter().filter(|case| case.truth == class).collect();
                let held = of_class.iter()
                    .filter(|case| fitted.prediction_set(&case.probabilities).contains(&class)).count();
                prop_assert!(held as f64 / of_class.len() as f64 > 0.9 - 0.07);
            }
        }
    }
}
