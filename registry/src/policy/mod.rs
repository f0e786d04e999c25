//! `policy.toml` of a registered model: what the gates ask of its versions, and how a version is released and taken back.
//!
//! A person edits it, so unknown keys are refused; what is not written has the value of [`Policy::default`].

mod judge;

use serde::{Deserialize, Serialize};

pub use self::judge::{Next, Seen};
use crate::error::RegistryError;

/// The whole of `policy.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// What the gates ask.
    pub gates: GateBounds,
    /// Which changes need no new approval of the authorities.
    pub changes: Changes,
    /// How a version is tried unseen.
    pub shadow: Shadow,
    /// How callers are moved to it.
    pub canary: Canary,
    /// When it is taken back.
    pub rollback: Rollback,
    /// When its inputs or outputs count as drifted.
    pub drift: DriftBounds,
}

/// What the gates ask of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateBounds {
    /// Whether a version without its maker's signature passes; absent: while the server trusts no key to check one with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsigned: Option<bool>,
    /// Largest deviation from its golden outputs that a version may claim for itself.
    pub golden_tolerance_max: f64,
    /// Time of a run beside the live version's.
    pub latency_ratio_max: f64,
    /// Runs shorter than this are fast enough whatever the ratio, µs.
    pub latency_us_free: f64,
    /// Memory beside the live version's.
    pub memory_ratio_max: f64,
    /// Less memory than this is little enough whatever the ratio, bytes.
    pub memory_bytes_free: u64,
    /// Bytes of all its files.
    pub bytes_max: u64,
    /// Its files.
    pub files_max: usize,
    /// Processor time of its examination, seconds; twice that on the clock.
    pub cpu_seconds_max: u64,
    /// Memory of its examination, address space in bytes: libraries and weights, twice while a bundle is written and loaded.
    pub memory_bytes_max: u64,
    /// How much worse a figure on the frozen set may be than the live version's: a share in its own unit, an error in a
    /// physical unit as a part of the live version's.
    pub loss_max: f64,
    /// The same for each subgroup.
    pub subgroup_loss_max: f64,
    /// Rows without which a subgroup says nothing.
    pub subgroup_rows_min: usize,
}

impl Default for GateBounds {
    fn default() -> Self {
        Self {
            unsigned: None,
            golden_tolerance_max: 1e-2,
            latency_ratio_max: 2.0,
            latency_us_free: 1_000.0,
            memory_ratio_max: 2.0,
            memory_bytes_free: 64 << 20,
            bytes_max: 8 << 30,
            files_max: 1_000,
            cpu_seconds_max: 480,
            memory_bytes_max: 24 << 30,
            loss_max: 0.02,
            subgroup_loss_max: 0.05,
            subgroup_rows_min: 100,
        }
    }
}

/// A class of change, as a predetermined change control plan tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// There is no version to compare it with.
    First,
    /// The same weights.
    None,
    /// The same architecture, inputs and outputs, trained anew on data that grew within bounds.
    Retrained,
    /// The same architecture on data of another size.
    Data,
    /// Another network, engine or number format.
    Architecture,
    /// Other inputs, outputs or labels.
    Interface,
    /// Another question, or for other people.
    IntendedUse,
}

impl Change {
    /// The word in policies and reports.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::None => "none",
            Self::Retrained => "retrained",
            Self::Data => "data",
            Self::Architecture => "architecture",
            Self::Interface => "interface",
            Self::IntendedUse => "intended_use",
        }
    }
}

/// Which changes were agreed on beforehand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Changes {
    /// Classes that were; any other needs a resubmission.
    pub pre_approved: Vec<Change>,
    /// Share by which the rows trained on may have grown in the class `retrained`.
    pub data_growth_max: f64,
}

impl Default for Changes {
    fn default() -> Self {
        Self { pre_approved: vec![Change::None, Change::Retrained], data_growth_max: 0.2 }
    }
}

/// How a version is tried unseen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shadow {
    /// Percent of the requests that are mirrored.
    pub share: u8,
    /// Seconds after which it becomes canary, if it held its bounds.
    pub time_s: f64,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { share: 100, time_s: 600.0 }
    }
}

/// How callers are moved to a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// Percent of the callers, step by step. After the last one the version is live.
    pub steps: Vec<u8>,
    /// Seconds of each step.
    pub step_s: f64,
    /// Percent of its answers that are compared with what the live version would have said.
    pub compared: u8,
}

impl Default for Canary {
    fn default() -> Self {
        Self { steps: vec![5, 25, 50, 100], step_s: 600.0, compared: 100 }
    }
}

/// When a version in shadow or canary is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rollback {
    /// Answers without which figures say nothing, and a step does not end.
    pub answers_min: u64,
    /// Seconds of the latest answers that are judged beside those of the whole step.
    pub window_s: f64,
    /// Share of the requests that it fails and the live version answers.
    pub error_rate_max: f64,
    /// Its 95th percentile of the time of a run beside the live version's.
    pub latency_ratio_max: f64,
    /// A percentile below this is short enough whatever the ratio, µs.
    pub latency_us_free: u64,
    /// Share of its answers that agree with the live version's.
    pub agreement_min: f64,
    /// Two numbers agree that differ by no more than this part of the live one, or of 1 where that is less.
    pub tolerance: f64,
    /// Whether an alarm of drift takes it back.
    pub on_drift: bool,
}

impl Default for Rollback {
    fn default() -> Self {
        Self {
            answers_min: 50,
            window_s: 15.0,
            error_rate_max: 0.01,
            latency_ratio_max: 2.0,
            latency_us_free: 2_000,
            agreement_min: 0.8,
            tolerance: 0.1,
            on_drift: true,
        }
    }
}

/// When inputs or outputs count as drifted; what is absent is as the server's configuration says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftBounds {
    /// Cases of a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Largest population stability index that is no alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stability_index_max: Option<f64>,
    /// Largest Kolmogorov-Smirnov distance that is no alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_max: Option<f64>,
}

impl DriftBounds {
    /// Fewest cases of a window: with fewer, chance alone moves every figure beyond any bound.
    pub const ROWS_MIN: u64 = 50;

    fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.rows.is_some_and(|rows| rows < Self::ROWS_MIN) {
            return Some(("drift.rows", "must be 50 or more: fewer cases say nothing"));
        }
        let is_bound = |bound: Option<f64>| bound.is_none_or(|bound| bound.is_finite() && bound > 0.0);
        let is_sound = is_bound(self.stability_index_max) && is_bound(self.distance_max);
        (!is_sound).then_some(("drift", "has bounds that are numbers above 0"))
    }
}

impl Policy {
    /// Reads `policy.toml`; an empty one is the default.
    ///
    /// # Errors
    /// A text that is none, an unknown key, or a value out of its range, each named.
    pub fn read(text: &str) -> Result<Self, RegistryError> {
        let policy: Self =
            toml::from_str(text).map_err(|error| RegistryError::invalid("policy", error.to_string()))?;
        policy.check()?;
        Ok(policy)
    }

    /// Every key with the value in force, as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), RegistryError> {
        let fault =
            |field: &str, reason: &str| Err(RegistryError::invalid(format!("policy.{field}"), reason));
        let steps = &self.canary.steps;
        if steps.is_empty() || steps.iter().any(|share| !(1..=100).contains(share)) {
            return fault("canary.steps", "must be percentages from 1 to 100");
        }
        if steps.windows(2).any(|pair| pair[0] >= pair[1]) {
            return fault("canary.steps", "must rise: who has seen the new version stays with it");
        }
        if self.shadow.share > 100 || self.canary.compared > 100 {
            return fault("shadow.share", "and canary.compared are percentages up to 100");
        }
        let share = |value: f64| (0.0..=1.0).contains(&value);
        if !share(self.rollback.error_rate_max) || !share(self.rollback.agreement_min) {
            return fault("rollback.error_rate_max", "and rollback.agreement_min are shares from 0 to 1");
        }
        let times = [self.canary.step_s, self.shadow.time_s, self.rollback.window_s];
        if times.iter().any(|seconds| !(0.0..=1e7).contains(seconds)) {
            return fault("canary.step_s", ", shadow.time_s and rollback.window_s are seconds, not negative");
        }
        let (gates, rollback) = (&self.gates, &self.rollback);
        let bounds = [
            gates.golden_tolerance_max,
            gates.latency_ratio_max,
            gates.latency_us_free,
            gates.memory_ratio_max,
            gates.loss_max,
            gates.subgroup_loss_max,
            self.changes.data_growth_max,
            rollback.latency_ratio_max,
            rollback.tolerance,
        ];
        if bounds.iter().any(|bound| !(bound.is_finite() && *bound >= 0.0)) {
            return fault("gates", ", changes and rollback have bounds that are numbers, not negative");
        }
        match self.drift.fault() {
            Some((field, reason)) => fault(field, reason),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_is_the_default_and_the_default_is_read_back() {
        let policy = Policy::read("").expect("readable");
        assert_eq!(policy, Policy::default());
        assert_eq!(Policy::read(&policy.to_toml()).expect("readable"), policy);
    }

    #[test]
    fn what_is_not_written_keeps_its_default() {
        let policy = Policy::read("[canary]\nsteps = [10, 100]\n").expect("readable");
        assert_eq!(policy.canary.steps, [10, 100]);
        assert_eq!(policy.canary.step_s, Canary::default().step_s);
        assert_eq!(policy.rollback, Rollback::default());
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (text, named) in [
            ("[canary]\nstep = 5", "step"),
            ("[canary]\nsteps = []", "canary.steps"),
            ("[canary]\nsteps = [25, 5]", "must rise"),
            ("[canary]\nsteps = [0]", "canary.steps"),
            ("[rollback]\nerror_rate_max = 1.5", "error_rate_max"),
            ("[rollback]\ntolerance = nan", "bounds"),
            ("[canary]\nstep_s = -1.0", "step_s"),
            ("[changes]\npre_approved = ['everything']", "everything"),
            ("[drift]\nrows = 10", "drift.rows"),
            ("[drift]\ndistance_max = 0.0", "above 0"),
        ] {
            let refused = Policy::read(text).map_err(|error| error.to_string());
            assert!(refused.as_ref().is_err_and(|reason| reason.contains(named)), "{text}: {refused:?}");
        }
    }
}
