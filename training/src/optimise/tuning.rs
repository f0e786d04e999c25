//! Other settings than a recipe's own, drawn from a small space for a search.
//!
//! The space is one of factors, so it means the same for every recipe: learning rate and weight decay over decades,
//! width and number of members by steps. Settings follow a Halton sequence that a seed shifts: trial `n` depends on the
//! seed and `n` alone, so a search can be taken up again, and each new trial falls where the space is emptiest.

use models::bundle::{BodyConfig, NetworkConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Plan;

/// Factors on the settings of a recipe; 1 leaves a setting as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// On the peak learning rate.
    pub learning_rate: f64,
    /// On the weight decay.
    pub weight_decay: f64,
    /// On the width of each hidden layer.
    pub width: f64,
    /// On the number of members, rounded to at least one.
    pub members: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { learning_rate: 1.0, weight_decay: 1.0, width: 1.0, members: 1.0 }
    }
}

/// One prime for each dimension of the space.
const BASES: [u64; 4] = [2, 3, 5, 7];
const LEARNING_RATE_MOST: f64 = 4.0;
const WEIGHT_DECAY_MOST: f64 = 10.0;
const WIDTHS: [f64; 4] = [0.5, 1.0, 1.5, 2.0];
const MEMBERS: [f64; 3] = [0.5, 1.0, 2.0];

impl Tuning {
    /// The settings of trial `number` of the search with `seed`; trial 0 is the recipe as it stands.
    #[must_use]
    pub fn of_trial(seed: u64, number: u64) -> Self {
        if number == 0 {
            return Self::default();
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shifts: [f64; 4] = std::array::from_fn(|_| rng.random());
        let at = |dimension: usize| (halton(number, BASES[dimension]) + shifts[dimension]).fract();
        let over = |share: f64, most: f64| most.powf(2.0 * share - 1.0);
        let step = |share: f64, of: &[f64]| of[((share * of.len() as f64) as usize).min(of.len() - 1)];
        Self {
            learning_rate: over(at(0), LEARNING_RATE_MOST),
            weight_decay: over(at(1), WEIGHT_DECAY_MOST),
            width: step(at(2), &WIDTHS),
            members: step(at(3), &MEMBERS),
        }
    }

    /// `plan` with these settings.
    #[must_use]
    pub fn plan(&self, plan: Plan) -> Plan {
        Plan {
            learning_rate: plan.learning_rate * self.learning_rate,
            weight_decay: plan.weight_decay * self.weight_decay,
            ..plan
        }
    }

    /// `network` with these settings.
    #[must_use]
    pub fn network(&self, mut network: NetworkConfig) -> NetworkConfig {
        let body: Option<&mut BodyConfig> = match &mut network {
            NetworkConfig::Classifier(config) => Some(&mut config.body),
            NetworkConfig::Regressor(config) => Some(&mut config.body),
            NetworkConfig::Autoencoder(config) => Some(&mut config.body),
            NetworkConfig::Forecaster(config) => Some(&mut config.body),
            NetworkConfig::Risk(config) => Some(&mut config.body),
            NetworkConfig::Encoder(_) => None,
        };
        if let Some(body) = body {
            let scaled = |count: usize, factor: f64| ((count as f64 * factor).round() as usize).max(1);
            body.hidden.iter_mut().for_each(|width| *width = scaled(*width, self.width));
            body.members = scaled(body.members, self.members);
        }
        network
    }
}

/// The digits of `number` in `base`, mirrored behind the point.
fn halton(mut number: u64, base: u64) -> f64 {
    let (mut value, mut digit) = (0.0, 1.0);
    while number > 0 {
        digit /= base as f64;
        value += (number % base) as f64 * digit;
        number /= base;
    }
    value
}

#[cfg(test)]
mod tests {
    use models::bundle::{NetworkConfig, RiskConfig};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mirrored_digits_are_known() {
        assert_eq!([1, 2, 3, 4].map(|n| halton(n, 2)), [0.5, 0.25, 0.75, 0.125]);
        assert!((halton(5, 3) - (2.0 / 3.0 + 1.0 / 9.0)).abs() < 1e-12);
    }

    #[test]
    fn the_first_trial_is_the_recipe_and_a_seed_decides_the_others() {
        assert_eq!(Tuning::of_trial(7, 0), Tuning::default());
        assert_eq!(Tuning::of_trial(7, 3), Tuning::of_trial(7, 3));
        assert_ne!(Tuning::of_trial(7, 3), Tuning::of_trial(8, 3));
        assert_eq!(Tuning::default().plan(Plan::default()), Plan::default());
    }

    #[test]
    fn a_network_becomes_wider_and_keeps_a_member() {
        let network = |hidden: &[usize], members| {
            let body = BodyConfig { members, ..BodyConfig::new(hidden) };
            NetworkConfig::Risk(RiskConfig { inputs: 3, masked: false, rising: Vec::new(), body })
        };
        let tuning = Tuning { width: 1.5, members: 0.5, ..Tuning::default() };
        assert_eq!(tuning.network(network(&[24, 5], 8)), network(&[36, 8], 4));
        assert_eq!(Tuning { members: 0.5, ..Tuning::default() }.network(network(&[4], 1)), network(&[4], 1));
    }

    proptest! {
        #[test]
        fn trials_stay_within_the_space_and_fill_it(seed in any::<u64>()) {
            let trials: Vec<Tuning> = (1..=64).map(|number| Tuning::of_trial(seed, number)).collect();
            for trial in &trials {
                prop_assert!((0.25..=4.0).contains(&trial.learning_rate), "{trial:?}");
                prop_assert!((0.1..=10.0).contains(&trial.weight_decay), "{trial:?}");
            }
            // A quarter of the decades of the learning rate holds about a quarter of the trials.
            let low = trials.iter().filter(|trial| trial.learning_rate < 0.5).count();
            prop_assert!((12..=20).contains(&low), "{low} of 64");
            for width in WIDTHS {
                prop_assert!(trials.iter().any(|trial| trial.width == width));
            }
        }
    }
}
