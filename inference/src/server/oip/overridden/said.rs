//! Triton's model configuration as JSON, as far as this server honours it. Unknown fields are refused by name.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::scheduled::{Sequences, Steps};

/// A configuration that was sent along.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Config {
    pub(super) name: String,
    pub(super) platform: String,
    pub(super) backend: String,
    pub(super) default_model_filename: String,
    pub(super) max_batch_size: Whole,
    pub(super) input: Vec<Tensor>,
    pub(super) output: Vec<Tensor>,
    pub(super) version_policy: Option<VersionPolicy>,
    pub(super) instance_group: Vec<Group>,
    pub(super) dynamic_batching: Option<Batching>,
    pub(super) sequence_batching: Option<Sequences>,
    pub(super) ensemble_scheduling: Option<Steps>,
    pub(super) response_cache: Option<Cache>,
    /// What this server says of a model in them; it is passed over.
    pub(super) parameters: Told,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(dead_code, reason = "read to be passed over")]
pub(super) struct Told {
    pub(super) family: Value,
    pub(super) task: Value,
    pub(super) version: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) data_type: String,
    pub(super) dims: Vec<Whole>,
    #[allow(dead_code, reason = "read to be passed over")]
    pub(super) label_filename: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum VersionPolicy {
    Latest(Latest),
    All {},
    Specific(Specific),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Latest {
    pub(super) num_versions: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Specific {
    pub(super) versions: Vec<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Group {
    #[allow(dead_code, reason = "read to be passed over")]
    pub(super) name: String,
    pub(super) count: Whole,
    pub(super) kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Batching {
    pub(super) preferred_batch_size: Vec<Whole>,
    pub(super) max_queue_delay_microseconds: Whole,
    pub(super) priority_levels: Whole,
    pub(super) default_priority_level: Whole,
    pub(super) default_queue_policy: Option<Queue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Queue {
    pub(super) timeout_action: Option<Action>,
    pub(super) default_timeout_microseconds: Whole,
    pub(super) allow_timeout_override: bool,
    pub(super) max_queue_size: Whole,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Action {
    Reject,
    Delay,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) enable: bool,
}

/// A whole number, which the JSON of protocol buffers may write as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Whole(pub(super) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        number.map(Self).ok_or_else(|| D::Error::custom(format!("expected a whole number, not {value}")))
    }
}

/// Takes out what says nothing, at any depth.
pub(super) fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !silent(value));
        }
        Value::Array(entries) => entries.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(super) fn silent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.as_str(), "" | "0" | "FORMAT_NONE"),
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.values().all(silent),
    }
}
