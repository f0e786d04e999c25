//! What a model is worth beside the simple methods of its field, by a protocol that anyone can rerun.

use serde::Serialize;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
    /// No further than the second from the first.
    Around(f64, f64),
}

impl Target {
    /// Whether `value` is what it should be.
    #[must_use]
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Around(middle, reach) => (value - middle).abs() <= reach,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::Around(middle, reach) => write!(f, "{middle} ± {reach}"),
        }
    }
}

/// One figure of the protocol with its interval, the best simple method on the same rows, and the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Benchmark {
    /// Task and figure, for example `thyroid/macro_auroc`.
    pub key: String,
    /// The figure.
    pub value: f64,
    /// Lower end of the 95 % bootstrap interval.
    pub low: Option<f64>,
    /// Upper end of the 95 % bootstrap interval.
    pub high: Option<f64>,
    /// The same figure of the best simple method, fitted in the same run.
    pub baseline: Option<f64>,
    /// Which method that is.
    pub baseline_name: Option<String>,
    /// 95 % interval of the figure less the baseline's, both on the same resampled rows.
    pub gain: Option<(f64, f64)>,
    /// What the figure should be.
    pub target: Target,
    /// Whether it is.
    pub met: bool,
    /// Rows behind the figure.
    pub rows: usize,
    /// How it was measured, in a clause.
    pub protocol: String,
}

impl Benchmark {
    /// A figure over `rows` without interval or baseline.
    #[must_use]
    pub fn new(key: impl Into<String>, value: f64, target: Target, rows: usize, protocol: &str) -> Self {
        Self {
            key: key.into(),
            value,
            low: None,
            high: None,
            baseline: None,
            baseline_name: None,
            gain: None,
            target,
            met: target.is_met(value),
            rows,
            protocol: protocol.to_owned(),
        }
    }

    /// With its interval, where there is one.
    #[must_use]
    pub fn between(mut self, interval: Option<(f64, f64)>) -> Self {
        (self.low, self.high) = interval.unzip();
        self
    }

    /// With the figure of a simple method and the interval of the gain over it, where it has them.
    #[must_use]
    pub fn against(mut self, name: &str, value: Option<f64>, gain: Option<(f64, f64)>) -> Self {
        self.baseline_name = value.is_some().then(|| name.to_owned());
        self.baseline = value;
        self.gain = gain;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_edge_and_not_beyond() {
        assert!(Target::AtLeast(0.8).is_met(0.8) && !Target::AtLeast(0.8).is_met(0.799));
        assert!(Target::AtMost(14.5).is_met(14.5) && !Target::AtMost(14.5).is_met(14.51));
        assert!(Target::Around(0.8, 0.02).is_met(0.79) && !Target::Around(0.8, 0.02).is_met(0.83));
        assert!(!Target::AtLeast(0.8).is_met(f64::NAN));
    }
}
