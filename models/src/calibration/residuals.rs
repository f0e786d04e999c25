//! Uncertainty of a regressor: how far its values were from the truth.

use serde::{Deserialize, Serialize};

use super::{Interval, conformal_quantile};

/// Whether errors grow with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Errors in the unit of the value.
    Absolute,
    /// Errors as a share of the predicted value.
    Relative,
}

/// Figures of one output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputResidual {
    /// Name of the output, for example a biomarker code.
    pub output: String,
    /// What the half-width is measured in.
    pub scale: Scale,
    /// Half-width of the interval.
    pub half_width: f64,
}

impl OutputResidual {
    /// Interval around a predicted value.
    #[must_use]
    pub fn interval(&self, value: f64, coverage: f64) -> Interval {
        let half = match self.scale {
            Scale::Absolute => self.half_width,
            Scale::Relative => self.half_width * value.abs(),
        };
        Interval { low: value - half, high: value + half, coverage }
    }
}

/// Figures of a regressor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residuals {
    /// One entry per output, in output order.
    pub outputs: Vec<OutputResidual>,
    /// Mean input, used in place of an occluded one; empty when the model marks missing inputs itself.
    #[serde(default)]
    pub baseline: Vec<f64>,
}

impl Residuals {
    /// The figures of output `name`.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&OutputResidual> {
        self.outputs.iter().find(|output| output.output == name)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let wrong =
            self.outputs.iter().find(|output| !output.half_width.is_finite() || output.half_width < 0.0);
        if let Some(output) = wrong {
            return Err(format!("half_width of `{}` must be a number of at least 0", output.output));
        }
        if self.baseline.iter().all(|value| value.is_finite()) {
            Ok(())
        } else {
            Err("baseline must be finite".into())
        }
    }
}

/// Measures one output on held-out pairs of (predicted, true). `None` when there are too few for the coverage.
#[must_use]
pub fn fit_residual(
    output: &str,
    pairs: &[(f64, f64)],
    scale: Scale,
    coverage: f64,
) -> Option<OutputResidual> {
    let error = |&(predicted, truth): &(f64, f64)| match scale {
        Scale::Absolute => (truth - predicted).abs(),
        Scale::Relative => (truth - predicted).abs() / predicted.abs().max(f64::MIN_POSITIVE),
    };
    let half_width = conformal_quantile(pairs.iter().map(error).collect(), coverage)?;
    Some(OutputResidual { output: output.into(), scale, half_width })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn pairs(seed: u64, n: usize) -> Vec<(f64, f64)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut pair = || {
            let truth = rng.random_range(50.0..300.0);
            (truth * rng.random_range(0.9..1.15), truth)
        };
        (0..n).map(|_| pair()).collect()
    }

    #[test]
    fn relative_widths_grow_with_the_value() {
        let fitted = fit_residual("glucose", &pairs(3, 200), Scale::Relative, 0.9).expect("enough");
        let (low, high) = (fitted.interval(100.0, 0.9), fitted.interval(200.0, 0.9));
        assert!(((high.high - high.low) / (low.high - low.low) - 2.0).abs() < 1e-9);
        assert!(fit_residual("glucose", &pairs(3, 5), Scale::Relative, 0.9).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn intervals_cover_new_cases(seed in 0u64..1000, relative: bool) {
            let scale = if relative { Scale::Relative } else { Scale::Absolute };
            let fitted = fit_residual("x", &pairs(seed, 1000), scale, 0.9).expect("enough");
            let fresh = pairs(seed + 5000, 1000);
            let held = fresh.iter().filter(|(predicted, truth)| {
                let interval = fitted.interval(*predicted, 0.9);
                (interval.low..=interval.high).contains(truth)
            }).count();
            prop_assert!((0.86..0.94).contains(&(held as f64 / 1000.0)));
        }
    }
}
