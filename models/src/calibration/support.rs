//! Where a model has seen cases, and how far from them it should no longer answer.
//!
//! The distance of a case is Mahalanobis' (1936) over the values that are there: how many usual spreads they lie from
//! the middle, together, given how inputs go with each other. A low weight beside a wide waist is far although each
//! alone is not. A value less never makes a case stranger. Held-out cases set the threshold (split conformal): of cases
//! like them at most the stated share lies beyond it. What lies beyond is unlike anything the model was measured on, so
//! no figure of its card speaks of it.

use serde::{Deserialize, Serialize};

use super::conformal_quantile;

/// Share of ordinary cases that may be turned away.
pub const TURNED_AWAY: f64 = 0.005;
/// Least value whose logarithm is taken, as in the networks.
const LOG_FLOOR: f64 = 1e-3;
/// Share of every correlation that is not believed, so that none is ever 1.
const SHRINKAGE: f64 = 0.05;
/// Least square of what an input adds to those before it.
const PIVOT_MIN: f64 = 1e-6;

/// Values that the training cases had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// Inputs that are numbers; those of yes and no are not looked at.
    pub features: Vec<Seen>,
    /// How they go together: for each the correlations with those before it; none of them do when it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub correlations: Vec<Vec<f64>>,
    /// Largest distance of a case that is answered.
    pub threshold: f64,
    /// Held-out cases behind the threshold.
    pub n: u64,
}

/// One input over the training cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Name of the input.
    pub name: String,
    /// Whether centre and spread are those of its logarithm.
    #[serde(default)]
    pub log: bool,
    /// Mean.
    pub center: f64,
    /// Standard deviation.
    pub spread: f64,
}

impl Seen {
    /// The input from its training values; `None` when they do not differ.
    #[must_use]
    pub fn of(name: &str, log: bool, values: &[f64]) -> Option<Self> {
        let seen = Self { name: name.to_owned(), log, center: 0.0, spread: 1.0 };
        let count = values.len() as f64;
        let center = values.iter().map(|value| seen.standard(*value)).sum::<f64>() / count;
        let square = values.iter().map(|value| (seen.standard(*value) - center).powi(2)).sum::<f64>() / count;
        (square > 1e-12).then(|| Self { center, spread: square.sqrt(), ..seen })
    }

    fn standard(&self, value: f64) -> f64 {
        let value = if self.log { value.max(LOG_FLOOR).ln() } else { value };
        (value - self.center) / self.spread
    }
}

impl Support {
    /// The threshold from held-out cases, one function of the name for each; `None` when they are too few for it.
    pub fn fit<F: Fn(&str) -> Option<f64>>(
        features: Vec<Seen>,
        held: impl Iterator<Item = F>,
    ) -> Option<Self> {
        Self { features, correlations: Vec::new(), threshold: 0.0, n: 0 }.bounded(held)
    }

    /// The same, with how the inputs go together in the training cases.
    pub fn fit_correlated<F: Fn(&str) -> Option<f64>>(
        features: Vec<Seen>,
        train: impl Iterator<Item = F>,
        held: impl Iterator<Item = F>,
    ) -> Option<Self> {
        let correlations = correlations(&features, train);
        Self { features, correlations, threshold: 0.0, n: 0 }.bounded(held)
    }

    fn bounded<F: Fn(&str) -> Option<f64>>(mut self, held: impl Iterator<Item = F>) -> Option<Self> {
        let distances: Vec<f64> = held.map(|case| self.distance(&case)).collect();
        self.n = distances.len() as u64;
        self.threshold = conformal_quantile(distances, 1.0 - TURNED_AWAY)?;
        (self.threshold > 0.0).then_some(self)
    }

    /// How far the case is from those the model has seen; 0 when none of its values is looked at.
    pub fn distance(&self, value: &impl Fn(&str) -> Option<f64>) -> f64 {
        self.far(&self.standardised(value))
    }

    /// Whether the case is beyond the threshold: then the inputs without which it would not be, never none.
    pub fn beyond(&self, value: &impl Fn(&str) -> Option<f64>) -> Option<Vec<String>> {
        let mut kept = self.standardised(value);
        let mut named = Vec::new();
        while self.far(&kept) > self.threshold {
            let (feature, _) = kept.remove(self.strangest(&kept)?);
            named.push(self.features[feature].name.clone());
        }
        (!named.is_empty()).then_some(named)
    }

    /// The place of the value without which the others are nearest.
    fn strangest(&self, values: &[(usize, f64)]) -> Option<usize> {
        let without = |at: usize| {
            let rest: Vec<(usize, f64)> =
                values.iter().take(at).chain(values.iter().skip(at + 1)).copied().collect();
            self.far(&rest)
        };
        // Each is tried once; where nothing goes together it is the largest.
        let nearness = |at: usize| match self.correlations.is_empty() {
            true => -values.get(at).map_or(0.0, |(_, value)| value.abs()),
            false => without(at),
        };
        let tried: Vec<f64> = (0..values.len()).map(nearness).collect();
        (0..tried.len()).min_by(|a, b| tried[*a].total_cmp(&tried[*b]))
    }

    /// The inputs that are there, by place, each in spreads from its middle.
    fn standardised(&self, value: &impl Fn(&str) -> Option<f64>) -> Vec<(usize, f64)> {
        let known = |(at, seen): (usize, &Seen)| Some((at, seen.standard(value(&seen.name)?)));
        self.features.iter().enumerate().filter_map(known).collect()
    }

    /// Mahalanobis' distance, by Cholesky's decomposition of the correlations of what is there.
    fn far(&self, values: &[(usize, f64)]) -> f64 {
        if self.correlations.is_empty() {
            return values.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
        }
        let mut lower: Vec<Vec<f64>> = Vec::with_capacity(values.len());
        let mut whitened: Vec<f64> = Vec::with_capacity(values.len());
        for (place, (feature, value)) in values.iter().enumerate() {
            let mut row: Vec<f64> = Vec::with_capacity(place);
            for (before, (other, _)) in lower.iter().zip(values) {
                let shared: f64 = row.iter().zip(before).map(|(a, b)| a * b).sum();
                let pivot = before.last().copied().unwrap_or(1.0);
                row.push((self.correlation(*feature, *other) - shared) / pivot);
            }
            let own = (1.0 - row.iter().map(|part| part * part).sum::<f64>()).max(PIVOT_MIN).sqrt();
            let explained: f64 = row.iter().zip(&whitened).map(|(a, b)| a * b).sum();
            whitened.push((value - explained) / own);
            row.push(own);
            lower.push(row);
        }
        whitened.iter().map(|part| part * part).sum::<f64>().sqrt()
    }

    fn correlation(&self, later: usize, earlier: usize) -> f64 {
        self.correlations.get(later).and_then(|row| row.get(earlier)).copied().unwrap_or(0.0)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let sane = |seen: &Seen| seen.center.is_finite() && seen.spread.is_finite() && seen.spread > 0.0;
        if !(self.features.iter().all(sane) && self.threshold.is_finite() && self.threshold > 0.0) {
            return Err("support needs finite centres, and spreads and a threshold above 0".into());
        }
        let triangle = self.correlations.iter().enumerate().all(|(at, row)| row.len() == at);
        let within = self.correlations.iter().flatten().all(|value| (-1.0..=1.0).contains(value));
        let whole = triangle && within && self.correlations.len() == self.features.len();
        if !(whole || self.correlations.is_empty()) {
            return Err("correlations of the support must be a triangle of numbers from -1 to 1".into());
        }
        Ok(())
    }
}

/// Correlations of the standardised inputs over cases in which some are absent. An absent value counts as the middle,
/// which pulls towards none and keeps what is left a matrix of correlations.
fn correlations<F: Fn(&str) -> Option<f64>>(
    features: &[Seen],
    cases: impl Iterator<Item = F>,
) -> Vec<Vec<f64>> {
    let mut sums: Vec<Vec<f64>> = (0..features.len()).map(|at| vec![0.0; at]).collect();
    let mut count = 0.0_f64;
    for case in cases {
        let value = |seen: &Seen| case(&seen.name).map_or(0.0, |value| seen.standard(value));
        let values: Vec<f64> = features.iter().map(value).collect();
        for (at, row) in sums.iter_mut().enumerate() {
            row.iter_mut().zip(&values).for_each(|(sum, other)| *sum += values[at] * other);
        }
        count += 1.0;
    }
    let scale = (1.0 - SHRINKAGE) / count.max(1.0);
    sums.iter_mut().flatten().for_each(|sum| *sum = (*sum * scale).clamp(-1.0, 1.0));
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    type Case = [Option<f64>; 3];
    const NAMES: [&str; 3] = ["waist", "weight", "tsh"];

    /// Sum of twelve even draws less six: nearly normal.
    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    }

    /// Waist and weight go together; the hormone spreads over decades.
    fn cases(seed: u64, n: usize) -> Vec<Case> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut case = || {
            let size = normal(&mut rng);
            let part = |rng: &mut ChaCha8Rng| size + 0.3 * normal(rng);
            let (waist, weight) = (part(&mut rng), part(&mut rng));
            [90.0 + 10.0 * waist, 70.0 + 12.0 * weight, normal(&mut rng).exp()].map(Some)
        };
        (0..n).map(|_| case()).collect()
    }

    fn reader(case: Case) -> impl Fn(&str) -> Option<f64> {
        move |name| NAMES.iter().zip(case).find(|(known, _)| **known == name).and_then(|(_, value)| value)
    }

    fn support(seed: u64) -> Support {
        let train = cases(seed, 1000);
        let column = |at: usize| train.iter().filter_map(|case| case[at]).collect::<Vec<_>>();
        let seen = |at: usize| Seen::of(NAMES[at], at == 2, &column(at));
        let held = cases(seed + 1, 2000).into_iter().map(reader);
        let train = train.clone().into_iter().map(reader);
        Support::fit_correlated((0..3).filter_map(seen).collect(), train, held).expect("enough cases")
    }

    fn at(waist: f64, weight: f64, tsh: f64) -> impl Fn(&str) -> Option<f64> {
        reader([Some(waist), Some(weight), Some(tsh)])
    }

    #[test]
    fn what_is_far_is_named_and_what_is_absent_is_not() {
        let support = support(1);
        assert_eq!(support.beyond(&at(92.0, 71.0, 1.0)), None);
        assert_eq!(support.beyond(&at(92.0, 71.0, 1e6)), Some(vec!["tsh".into()]));
        assert_eq!(support.beyond(&reader([Some(92.0), None, None])), None);
        assert_eq!(support.distance(&reader([None; 3])), 0.0);
    }

    #[test]
    fn what_does_not_go_together_is_far_although_each_alone_is_not() {
        let support = support(1);
        assert_eq!(support.beyond(&at(112.0, 96.0, 1.0)), None, "large, of a piece");
        let named = support.beyond(&at(112.0, 46.0, 1.0)).expect("a wide waist on a light body");
        assert!(named == ["waist"] || named == ["weight"], "one of them has to go: {named:?}");
        for alone in [[Some(112.0), None, None], [None, Some(46.0), None]] {
            assert_eq!(support.beyond(&reader(alone)), None);
        }
    }

    #[test]
    fn a_constant_input_and_too_few_cases_give_nothing() {
        assert_eq!(Seen::of("age", false, &[50.0; 9]), None);
        let few = cases(3, 20).into_iter().map(reader);
        assert_eq!(Support::fit(Vec::new(), few), None);
    }

    #[test]
    fn senseless_correlations_are_refused() {
        let mut support = support(2);
        assert_eq!(support.check(), Ok(()));
        support.correlations[2][0] = f64::NAN;
        assert!(support.check().is_err());
        support.correlations = vec![vec![0.5]; 3];
        assert!(support.check().is_err(), "no triangle");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn few_ordinary_cases_are_turned_away(seed in 0u64..1000) {
            let support = support(seed);
            let fresh = cases(seed + 7, 4000);
            let away = fresh.iter().filter(|case| support.beyond(&reader(**case)).is_some()).count();
            prop_assert!((away as f64) < 4000.0 * (TURNED_AWAY + 0.012), "{away} of 4000");
        }

        #[test]
        fn a_value_less_is_never_stranger(
            seed in 0u64..20, case in (40.0f64..180.0, 20.0f64..200.0, 1e-3f64..1e4), absent in 0usize..3,
        ) {
            let support = support(seed);
            let (waist, weight, tsh) = case;
            let whole = [Some(waist), Some(weight), Some(tsh)];
            let mut less = whole;
            less[absent] = None;
            prop_assert!(support.distance(&reader(less)) <= support.distance(&reader(whole)) + 1e-9);
        }
    }
}
