//! Where a model has seen cases, and how far from them it should no longer answer.
//!
//! The distance of a case is the root mean square of its standardised values, those that are there. Held-out cases set
//! the threshold (split conformal): of cases like them at most the stated share lies beyond it. What lies beyond is
//! unlike anything the model was measured on, so no figure of its card speaks of it.

use serde::{Deserialize, Serialize};

use super::conformal_quantile;

/// Share of ordinary cases that may be turned away.
pub const TURNED_AWAY: f64 = 0.005;
/// Least value whose logarithm is taken, as in the networks.
const LOG_FLOOR: f64 = 1e-3;

/// Values that the training cases had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// Numeric inputs; those of yes and no are not looked at.
    pub features: Vec<Seen>,
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
        let mut support = Self { features, threshold: 0.0, n: 0 };
        let distances: Vec<f64> = held.map(|case| support.distance(&case)).collect();
        support.n = distances.len() as u64;
        support.threshold = conformal_quantile(distances, 1.0 - TURNED_AWAY)?;
        (support.threshold > 0.0).then_some(support)
    }

    /// How far the case is from those the model has seen; 0 when none of its values is looked at.
    pub fn distance(&self, value: &impl Fn(&str) -> Option<f64>) -> f64 {
        let known = self.features.iter().filter_map(|seen| Some(seen.standard(value(&seen.name)?).powi(2)));
        let (sum, count) = known.fold((0.0, 0.0), |(sum, count), square| (sum + square, count + 1.0));
        if count > 0.0 { (sum / count).sqrt() } else { 0.0 }
    }

    /// Whether the case is beyond the threshold: then the inputs that put it there, the farthest first, never none.
    pub fn beyond(&self, value: &impl Fn(&str) -> Option<f64>) -> Option<Vec<String>> {
        if self.distance(value) <= self.threshold {
            return None;
        }
        let far = |seen: &Seen| Some((seen.standard(value(&seen.name)?).abs(), seen.name.clone()));
        let mut far: Vec<(f64, String)> = self.features.iter().filter_map(far).collect();
        far.sort_by(|a, b| b.0.total_cmp(&a.0));
        let named = far.iter().take_while(|(distance, _)| *distance > self.threshold).count().max(1);
        Some(far.into_iter().take(named).map(|(_, name)| name).collect())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let sane = |seen: &Seen| seen.center.is_finite() && seen.spread.is_finite() && seen.spread > 0.0;
        if !(self.features.iter().all(sane) && self.threshold.is_finite() && self.threshold > 0.0) {
            return Err("support needs finite centres, and spreads and a threshold above 0".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Sum of twelve even draws less six: nearly normal.
    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    }

    fn cases(seed: u64, n: usize) -> Vec<[f64; 2]> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| [50.0 + 10.0 * normal(&mut rng), normal(&mut rng).exp()]).collect()
    }

    fn reader(case: [Option<f64>; 2]) -> impl Fn(&str) -> Option<f64> {
        move |name| if name == "age" { case[0] } else { case[1] }
    }

    fn support(seed: u64) -> Support {
        let train = cases(seed, 1000);
        let column = |at: usize| train.iter().map(|case| case[at]).collect::<Vec<_>>();
        let features = [Seen::of("age", false, &column(0)), Seen::of("tsh", true, &column(1))];
        let held = cases(seed + 1, 2000).into_iter().map(|case| reader(case.map(Some)));
        Support::fit(features.into_iter().flatten().collect(), held).expect("enough cases")
    }

    #[test]
    fn what_is_far_is_named_and_what_is_absent_is_not() {
        let support = support(1);
        assert_eq!(support.beyond(&reader([Some(50.0), Some(1.0)])), None);
        assert_eq!(support.beyond(&reader([Some(52.0), Some(1e6)])), Some(vec!["tsh".into()]));
        assert_eq!(support.beyond(&reader([Some(52.0), None])), None);
        assert_eq!(support.distance(&reader([None, None])), 0.0);
    }

    #[test]
    fn a_constant_input_and_too_few_cases_give_nothing() {
        assert_eq!(Seen::of("age", false, &[50.0; 9]), None);
        let few = cases(3, 20).into_iter().map(|case| reader(case.map(Some)));
        assert_eq!(Support::fit(Vec::new(), few), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn few_ordinary_cases_are_turned_away(seed in 0u64..1000) {
            let support = support(seed);
            let fresh = cases(seed + 7, 4000);
            let away = fresh.iter().filter(|case| support.beyond(&reader(case.map(Some))).is_some()).count();
            prop_assert!((away as f64) < 4000.0 * (TURNED_AWAY + 0.012), "{away} of 4000");
        }

        #[test]
        fn farther_is_never_nearer(seed in 0u64..20, (age, more) in (60.0_f64..200.0, 0.0_f64..100.0)) {
            let support = support(seed);
            let at = |age: f64| support.distance(&reader([Some(age), Some(1.0)]));
            prop_assert!(at(age + more) >= at(age) - 1e-12);
        }
    }
}
