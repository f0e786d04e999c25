//! `[scheduling.NAME]`: what the operator says of one model's instances and waiting, over what its bundle says.

use inference::ModelSource;
use models::{
    bundle::{BatchingConfig, TimeoutAction},
    engine::Device,
};
use serde::{Deserialize, Serialize};

/// What is left out stays as the bundle has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Scheduling {
    /// Instances that run side by side.
    pub(crate) instances: Option<usize>,
    /// Where they compute: `cpu`, or `cuda:0` for the first graphics card.
    pub(crate) device: Option<String>,
    /// Microseconds that a free instance waits for more rows.
    pub(crate) linger_us: Option<u64>,
    /// Rows that the model runs best, rising.
    pub(crate) preferred_rows: Option<Vec<usize>>,
    /// Bytes of answers that are kept.
    pub(crate) cache_bytes_max: Option<usize>,
    /// Requests that wait at most.
    pub(crate) queue_depth_max: Option<usize>,
    /// Microseconds that a request waits at most.
    pub(crate) timeout_us: Option<u64>,
    /// What becomes of one that has waited longer: `reject` or `delay`.
    pub(crate) timeout_action: Option<TimeoutAction>,
    /// Whether a request may name a shorter time.
    pub(crate) timeout_override: Option<bool>,
}

impl Scheduling {
    /// `source` with what is said here.
    pub(crate) fn apply(&self, source: ModelSource) -> ModelSource {
        let instances = self.instances.unwrap_or(source.instances);
        let batching = self.over(source.batching.clone());
        ModelSource { instances, batching, device: self.device(), ..source }
    }

    /// Where its model computes. What is no device was refused when the configuration was read.
    pub(crate) fn device(&self) -> Device {
        self.device.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Adds what is wrong under `[scheduling.name]`.
    pub(crate) fn check(&self, name: &str, faults: &mut Vec<String>) {
        if self.instances == Some(0) {
            faults.push(format!("scheduling.{name}.instances: must be at least 1"));
        }
        if let Some(Err(reason)) = self.device.as_deref().map(str::parse::<Device>) {
            faults.push(format!("scheduling.{name}.device: {reason}"));
        }
        if let Err(reason) = self.over(BatchingConfig::new(ROWS_MAX)).check() {
            faults.push(format!("scheduling.{name}: {reason}"));
        }
    }

    fn over(&self, hints: BatchingConfig) -> BatchingConfig {
        let Self {
            instances: _,
            device: _,
            linger_us,
            preferred_rows,
            cache_bytes_max,
            queue_depth_max,
            timeout_us,
            timeout_action,
            timeout_override,
        } = self.clone();
        let BatchingConfig { mut queue, .. } = hints;
        queue.depth_max = queue_depth_max.unwrap_or(queue.depth_max);
        queue.timeout_us = timeout_us.unwrap_or(queue.timeout_us);
        queue.timeout_action = timeout_action.unwrap_or(queue.timeout_action);
        queue.timeout_override = timeout_override.unwrap_or(queue.timeout_override);
        BatchingConfig {
            linger_us: linger_us.unwrap_or(hints.linger_us),
            preferred_rows: preferred_rows.unwrap_or(hints.preferred_rows),
            cache_bytes_max: cache_bytes_max.unwrap_or(hints.cache_bytes_max),
            queue,
            ..hints
        }
    }
}

/// The most rows that any bundle may ask for; a preferred number above those of its model is never reached.
const ROWS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_holds_and_the_rest_stays() {
        let said: Scheduling = toml::from_str("timeout_us = 9\ntimeout_action = \"delay\"\n").expect("valid");
        let hints = BatchingConfig { linger_us: 7, ..BatchingConfig::new(16) };
        let got = said.over(hints.clone());
        assert_eq!((got.rows_max, got.linger_us, got.queue.timeout_us), (16, 7, 9));
        assert_eq!(got.queue.timeout_action, TimeoutAction::Delay);
        assert_eq!(Scheduling::default().over(hints.clone()), hints);
    }

    #[test]
    fn faults_name_the_model() {
        let mut faults = Vec::new();
        let (instances, linger_us, device) = (Some(0), Some(u64::MAX), Some("gpu".to_owned()));
        let said = Scheduling { instances, linger_us, device, ..Scheduling::default() };
        said.check("food", &mut faults);
        assert!(faults.iter().all(|fault| fault.starts_with("scheduling.food")), "{faults:?}");
        assert_eq!(faults.len(), 3);
    }
}
