//! Messages as JSON: the keys of the protocol, in the order in which its servers write them.

use std::collections::{BTreeMap, HashMap};

use proto::inference::{
    DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelInput, ModelInstanceGroup,
    ModelMetadataResponse, ModelOutput, ModelStatistics, StatisticDuration,
    model_config::SchedulingChoice,
    model_ensembling::Step,
    model_metadata_response::TensorMetadata,
    model_sequence_batching::{State, StrategyChoice},
    model_version_policy::PolicyChoice,
    repository_index_response::ModelIndex,
    system_shared_memory_status_response::RegionStatus,
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use crate::server::oip::{log::LogValue, trace::Settings};

#[derive(Serialize)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) extensions: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Metadata<'a> {
    name: &'a str,
    versions: &'a [String],
    platform: &'a str,
    inputs: Vec<TensorJson<'a>>,
    outputs: Vec<TensorJson<'a>>,
    properties: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct TensorJson<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [i64],
}

impl<'a> From<&'a ModelMetadataResponse> for Metadata<'a> {
    fn from(metadata: &'a ModelMetadataResponse) -> Self {
        let tensor = |TensorMetadata { name, datatype, shape }: &'a TensorMetadata| TensorJson {
            name,
            datatype,
            shape,
        };
        Self {
            name: &metadata.name,
            versions: &metadata.versions,
            platform: &metadata.platform,
            inputs: metadata.inputs.iter().map(tensor).collect(),
            outputs: metadata.outputs.iter().map(tensor).collect(),
            properties: sorted(&metadata.properties).map(|(key, value)| (key, value.as_str())).collect(),
        }
    }
}

fn sorted<T>(map: &HashMap<String, T>) -> impl Iterator<Item = (&str, &T)> {
    map.iter().map(|(key, value)| (key.as_str(), value))
}

#[derive(Serialize)]
pub(super) struct Index<'a> {
    name: &'a str,
    version: &'a str,
    state: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

impl<'a> From<&'a ModelIndex> for Index<'a> {
    fn from(ModelIndex { name, version, state, reason }: &'a ModelIndex) -> Self {
        Self { name, version, state, reason }
    }
}

#[derive(Serialize)]
pub(super) struct Region<'a> {
    name: &'a str,
    key: &'a str,
    offset: u64,
    byte_size: u64,
}

impl<'a> From<&'a RegionStatus> for Region<'a> {
    fn from(RegionStatus { name, key, offset, byte_size }: &'a RegionStatus) -> Self {
        Self { name, key, offset: *offset, byte_size: *byte_size }
    }
}

/// Trace settings: a list for the level, one text for every other.
pub(super) struct Trace(pub(super) Settings);

impl Serialize for Trace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, values) in &self.0 {
            match values.as_slice() {
                [value] if *name != "trace_level" => map.serialize_entry(name, value)?,
                values => map.serialize_entry(name, values)?,
            }
        }
        map.end()
    }
}

/// Log settings.
pub(super) struct Log(pub(super) Vec<(&'static str, LogValue)>);

impl Serialize for Log {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                LogValue::Bool(on) => map.serialize_entry(name, on)?,
                LogValue::Number(number) => map.serialize_entry(name, number)?,
                LogValue::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
pub(super) struct Statistics<'a> {
    model_stats: Vec<ModelJson<'a>>,
}

impl<'a> From<&'a [ModelStatistics]> for Statistics<'a> {
    fn from(statistics: &'a [ModelStatistics]) -> Self {
        Self { model_stats: statistics.iter().map(ModelJson::from).collect() }
    }
}

#[derive(Serialize)]
struct ModelJson<'a> {
    name: &'a str,
    version: &'a str,
    last_inference: u64,
    inference_count: u64,
    execution_count: u64,
    inference_stats: InferJson,
    response_stats: Empty,
    batch_stats: Vec<BatchJson>,
    memory_usage: [u8; 0],
}

/// `{}`
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct InferJson {
    success: DurationJson,
    fail: DurationJson,
    queue: DurationJson,
    compute_input: DurationJson,
    compute_infer: DurationJson,
    compute_output: DurationJson,
    cache_hit: DurationJson,
    cache_miss: DurationJson,
}

#[derive(Serialize)]
struct BatchJson {
    batch_size: u64,
    compute_input: DurationJson,
    compute_infer: DurationJson,
    compute_output: DurationJson,
}

#[derive(Serialize)]
struct DurationJson {
    count: u64,
    ns: u64,
}

impl From<Option<StatisticDuration>> for DurationJson {
    fn from(duration: Option<StatisticDuration>) -> Self {
        let StatisticDuration { count, ns } = duration.unwrap_or_default();
        Self { count, ns }
    }
}

impl<'a> From<&'a ModelStatistics> for ModelJson<'a> {
    fn from(model: &'a ModelStatistics) -> Self {
        Self {
            name: &model.name,
            version: &model.version,
            last_inference: model.last_inference,
            inference_count: model.inference_count,
            execution_count: model.execution_count,
            inference_stats: model.inference_stats.unwrap_or_default().into(),
            response_stats: Empty {},
            batch_stats: model.batch_stats.iter().copied().map(BatchJson::from).collect(),
            memory_usage: [],
        }
    }
}

impl From<InferStatistics> for InferJson {
    fn from(statistics: InferStatistics) -> Self {
        Self {
            success: statistics.success.into(),
            fail: statistics.fail.into(),
            queue: statistics.queue.into(),
            compute_input: statistics.compute_input.into(),
            compute_infer: statistics.compute_infer.into(),
            compute_output: statistics.compute_output.into(),
            cache_hit: statistics.cache_hit.into(),
            cache_miss: statistics.cache_miss.into(),
        }
    }
}

impl From<InferBatchStatistics> for BatchJson {
    fn from(batch: InferBatchStatistics) -> Self {
        Self {
            batch_size: batch.batch_size,
            compute_input: batch.compute_input.into(),
            compute_infer: batch.compute_infer.into(),
            compute_output: batch.compute_output.into(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Config<'a> {
    name: &'a str,
    platform: &'a str,
    backend: &'a str,
    runtime: &'a str,
    version_policy: Value,
    max_batch_size: i32,
    input: Vec<InputJson<'a>>,
    output: Vec<OutputJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dynamic_batching: Option<BatchingJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_batching: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ensemble_scheduling: Option<Value>,
    instance_group: Vec<GroupJson<'a>>,
    default_model_filename: &'a str,
    parameters: BTreeMap<&'a str, Value>,
    model_transaction_policy: Value,
    response_cache: Value,
}

#[derive(Serialize)]
struct InputJson<'a> {
    name: &'a str,
    data_type: &'static str,
    format: &'static str,
    dims: &'a [i64],
    is_shape_tensor: bool,
    allow_ragged_batch: bool,
    optional: bool,
}

#[derive(Serialize)]
struct OutputJson<'a> {
    name: &'a str,
    data_type: &'static str,
    dims: &'a [i64],
    label_filename: &'a str,
    is_shape_tensor: bool,
}

#[derive(Serialize)]
struct BatchingJson<'a> {
    preferred_batch_size: &'a [i32],
    max_queue_delay_microseconds: u64,
    preserve_ordering: bool,
    priority_levels: u64,
    default_priority_level: u64,
    priority_queue_policy: Empty,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    name: &'a str,
    kind: &'static str,
    count: i32,
    gpus: &'a [i32],
    profile: &'a [String],
}

impl<'a> From<&'a ModelConfig> for Config<'a> {
    fn from(config: &'a ModelConfig) -> Self {
        let policy = config.version_policy.as_ref().and_then(|policy| policy.policy_choice.as_ref());
        let transactions = config.model_transaction_policy.unwrap_or_default();
        Self {
            name: &config.name,
            platform: &config.platform,
            backend: &config.backend,
            runtime: &config.runtime,
            version_policy: match policy {
                Some(PolicyChoice::Latest(latest)) => {
                    json!({ "latest": { "num_versions": latest.num_versions } })
                }
                Some(PolicyChoice::Specific(these)) => json!({ "specific": { "versions": these.versions } }),
                Some(PolicyChoice::All(_)) | None => json!({ "all": {} }),
            },
            max_batch_size: config.max_batch_size,
            input: config.input.iter().map(input).collect(),
            output: config.output.iter().map(output).collect(),
            dynamic_batching: config.scheduling_choice.as_ref().and_then(batching),
            sequence_batching: config.scheduling_choice.as_ref().and_then(sequences),
            ensemble_scheduling: config.scheduling_choice.as_ref().and_then(steps),
            instance_group: config.instance_group.iter().map(group).collect(),
            default_model_filename: &config.default_model_filename,
            parameters: sorted(&config.parameters)
                .map(|(key, value)| (key, json!({ "string_value": value.string_value })))
                .collect(),
            model_transaction_policy: json!({ "decoupled": transactions.decoupled }),
            response_cache: json!({ "enable": config.response_cache.is_some_and(|cache| cache.enable) }),
        }
    }
}

fn data_type(number: i32) -> &'static str {
    DataType::try_from(number).unwrap_or(DataType::TypeInvalid).as_str_name()
}

fn input(input: &ModelInput) -> InputJson<'_> {
    InputJson {
        name: &input.name,
        data_type: data_type(input.data_type),
        format: input.format().as_str_name(),
        dims: &input.dims,
        is_shape_tensor: input.is_shape_tensor,
        allow_ragged_batch: input.allow_ragged_batch,
        optional: input.optional,
    }
}

fn output(output: &ModelOutput) -> OutputJson<'_> {
    OutputJson {
        name: &output.name,
        data_type: data_type(output.data_type),
        dims: &output.dims,
        label_filename: &output.label_filename,
        is_shape_tensor: output.is_shape_tensor,
    }
}

fn batching(choice: &SchedulingChoice) -> Option<BatchingJson<'_>> {
    let SchedulingChoice::DynamicBatching(batching) = choice else { return None };
    Some(BatchingJson {
        preferred_batch_size: &batching.preferred_batch_size,
        max_queue_delay_microseconds: batching.max_queue_delay_microseconds,
        preserve_ordering: batching.preserve_ordering,
        priority_levels: batching.priority_levels,
        default_priority_level: batching.default_priority_level,
        priority_queue_policy: Empty {},
    })
}

fn sequences(choice: &SchedulingChoice) -> Option<Value> {
    let SchedulingChoice::SequenceBatching(sequences) = choice else { return None };
    let state = |state: &State| {
        json!({
            "input_name": state.input_name, "output_name": state.output_name,
            "data_type": data_type(state.data_type), "dims": state.dims, "initial_state": [],
        })
    };
    let StrategyChoice::Oldest(oldest) = sequences.strategy_choice.as_ref()?;
    Some(json!({
        "oldest": {
            "max_candidate_sequences": oldest.max_candidate_sequences,
            "preferred_batch_size": oldest.preferred_batch_size,
            "max_queue_delay_microseconds": oldest.max_queue_delay_microseconds,
            "preserve_ordering": oldest.preserve_ordering,
        },
        "max_sequence_idle_microseconds": sequences.max_sequence_idle_microseconds,
        "control_input": [],
        "state": sequences.state.iter().map(state).collect::<Vec<_>>(),
    }))
}

fn steps(choice: &SchedulingChoice) -> Option<Value> {
    let SchedulingChoice::EnsembleScheduling(ensemble) = choice else { return None };
    let step = |step: &Step| {
        json!({
            "model_name": step.model_name, "model_version": step.model_version,
            "input_map": sorted(&step.input_map).collect::<BTreeMap<_, _>>(),
            "output_map": sorted(&step.output_map).collect::<BTreeMap<_, _>>(),
        })
    };
    Some(json!({ "step": ensemble.step.iter().map(step).collect::<Vec<_>>() }))
}

fn group(group: &ModelInstanceGroup) -> GroupJson<'_> {
    GroupJson {
        name: &group.name,
        kind: group.kind().as_str_name(),
        count: group.count,
        gpus: &group.gpus,
        profile: &group.profile,
    }
}
