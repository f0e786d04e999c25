//! How a model is served, in the words of Triton's model configuration.

use models::{
    DType, Signature, TensorSpec,
    bundle::{BatchingConfig, QueueConfig, SequenceConfig, TimeoutAction},
    engine::Device,
};
use proto::inference::{
    DataType, ModelConfig, ModelDynamicBatching, ModelEnsembling, ModelInput, ModelInstanceGroup,
    ModelOutput, ModelParameter, ModelQueuePolicy, ModelResponseCache, ModelSequenceBatching,
    ModelTransactionPolicy, ModelVersionPolicy,
    model_config::SchedulingChoice,
    model_ensembling,
    model_instance_group::Kind,
    model_queue_policy,
    model_sequence_batching::{State, StrategyChoice, StrategyOldest},
    model_version_policy::{Latest, PolicyChoice},
};

use crate::{Ensemble, EnsembleStep, Handle, InferError, Priority, Served};

/// The configuration of the version that answers.
pub(super) fn config(handle: &Handle, name: &str, version: Option<&str>) -> Result<ModelConfig, InferError> {
    let served = handle.model(name, version)?;
    Ok(tell(&served))
}

fn tell(served: &Served) -> ModelConfig {
    let signature = served.signature();
    let config = served.bundle().map(|bundle| bundle.config());
    let labelled = config.is_some_and(|config| !config.labels.is_empty());
    let weights = config.map_or("", |config| config.engine.weights_file());
    let output = |(place, spec): (usize, &TensorSpec)| ModelOutput {
        name: spec.name.clone(),
        data_type: data_type(spec.dtype).into(),
        dims: inner(spec),
        // The file of the bundle that names the classes of the first output.
        label_filename: if place == 0 && labelled { models::bundle::CONFIG_FILE } else { "" }.to_owned(),
        is_shape_tensor: false,
    };
    let (kind, gpus) = match served.device() {
        Device::Cpu => (Kind::Cpu, Vec::new()),
        Device::Cuda(number) => (Kind::Gpu, vec![i32::from(number)]),
    };
    let parameters = [("family", served.family()), ("task", served.task()), ("version", served.version())];
    let parameter = |value: &str| ModelParameter { string_value: value.to_owned() };
    ModelConfig {
        name: served.name().to_owned(),
        platform: served.platform().to_owned(),
        version_policy: Some(ModelVersionPolicy {
            policy_choice: Some(PolicyChoice::Latest(Latest { num_versions: 1 })),
        }),
        max_batch_size: i32::try_from(served.rows_max()).unwrap_or(i32::MAX),
        input: signature.inputs.iter().map(|spec| input(spec, served.batching())).collect(),
        output: signature.outputs.iter().enumerate().map(output).collect(),
        instance_group: vec![ModelInstanceGroup {
            name: served.name().to_owned(),
            count: i32::try_from(served.instances()).unwrap_or(i32::MAX),
            kind: kind.into(),
            gpus,
            profile: Vec::new(),
        }],
        default_model_filename: weights.to_owned(),
        parameters: parameters.map(|(key, value)| (key.to_owned(), parameter(value))).into(),
        backend: served.platform().to_owned(),
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
        scheduling_choice: Some(scheduling(served)),
        response_cache: Some(ModelResponseCache { enable: served.batching().cache_bytes_max > 0 }),
        ..ModelConfig::default()
    }
}

fn scheduling(served: &Served) -> SchedulingChoice {
    if let Some(ensemble) = served.steps() {
        return SchedulingChoice::EnsembleScheduling(steps(ensemble));
    }
    match served.sequence() {
        Some(sequence) => {
            let told = sequences(served.batching(), sequence, served.inner_signature());
            SchedulingChoice::SequenceBatching(told)
        }
        None => SchedulingChoice::DynamicBatching(batching(served.batching())),
    }
}

fn steps(ensemble: &Ensemble) -> ModelEnsembling {
    let step = |step: &EnsembleStep| model_ensembling::Step {
        model_name: step.model.clone(),
        // A version that is no number, which few clients of this server ask for, is told as the live one.
        model_version: step.version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(-1),
        input_map: step.inputs.clone().into_iter().collect(),
        output_map: step.outputs.clone().into_iter().collect(),
    };
    ModelEnsembling { step: ensemble.steps.iter().map(step).collect() }
}

fn sequences(
    batching: &BatchingConfig,
    config: &SequenceConfig,
    signature: &Signature,
) -> ModelSequenceBatching {
    let state = config.states.iter().filter_map(|state| {
        let spec = signature.inputs.iter().find(|spec| spec.name == state.input)?;
        Some(State {
            input_name: state.input.clone(),
            output_name: state.output.clone(),
            data_type: data_type(spec.dtype).into(),
            dims: inner(spec),
        })
    });
    let whole = |rows: &usize| i32::try_from(*rows).unwrap_or(i32::MAX);
    ModelSequenceBatching {
        max_sequence_idle_microseconds: config.idle_ms_max * 1_000,
        state: state.collect(),
        strategy_choice: Some(StrategyChoice::Oldest(StrategyOldest {
            max_candidate_sequences: whole(&batching.rows_max),
            preferred_batch_size: batching.preferred_rows.iter().map(whole).collect(),
            max_queue_delay_microseconds: batching.linger_us,
            preserve_ordering: false,
        })),
    }
}

/// Levels of `priority`: the most urgent is 1, and what says nothing is of the level between.
pub(super) const PRIORITY_LEVELS: u64 = Priority::ALL.len() as u64;
pub(super) const PRIORITY_DEFAULT: u64 = 2;

fn batching(config: &BatchingConfig) -> ModelDynamicBatching {
    let whole = |rows: &usize| i32::try_from(*rows).unwrap_or(i32::MAX);
    let BatchingConfig { linger_us, preferred_rows, queue, .. } = config;
    ModelDynamicBatching {
        preferred_batch_size: preferred_rows.iter().map(whole).collect(),
        max_queue_delay_microseconds: *linger_us,
        priority_levels: PRIORITY_LEVELS,
        default_priority_level: PRIORITY_DEFAULT,
        default_queue_policy: Some(policy(queue)),
        ..ModelDynamicBatching::default()
    }
}

fn policy(queue: &QueueConfig) -> ModelQueuePolicy {
    use model_queue_policy::TimeoutAction as Action;
    let QueueConfig { depth_max, timeout_us, timeout_action, timeout_override } = queue;
    let action = match timeout_action {
        TimeoutAction::Reject => Action::Reject,
        TimeoutAction::Delay => Action::Delay,
    };
    ModelQueuePolicy {
        timeout_action: action.into(),
        default_timeout_microseconds: *timeout_us,
        allow_timeout_override: *timeout_override,
        max_queue_size: u32::try_from(*depth_max).unwrap_or(u32::MAX),
    }
}

fn input(spec: &TensorSpec, batching: &BatchingConfig) -> ModelInput {
    ModelInput {
        optional: batching.lengths.as_ref().is_some_and(|lengths| lengths.mask == spec.name),
        name: spec.name.clone(),
        data_type: data_type(spec.dtype).into(),
        dims: inner(spec),
        ..ModelInput::default()
    }
}

/// Dimensions without the rows, which `max_batch_size` speaks of.
fn inner(spec: &TensorSpec) -> Vec<i64> {
    spec.dims.iter().skip(1).copied().collect()
}

pub(super) fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::Bool => DataType::TypeBool,
        DType::U8 => DataType::TypeUint8,
        DType::U16 => DataType::TypeUint16,
        DType::U32 => DataType::TypeUint32,
        DType::U64 => DataType::TypeUint64,
        DType::I8 => DataType::TypeInt8,
        DType::I16 => DataType::TypeInt16,
        DType::I32 => DataType::TypeInt32,
        DType::I64 => DataType::TypeInt64,
        DType::F16 => DataType::TypeFp16,
        DType::Bf16 => DataType::TypeBf16,
        DType::F32 => DataType::TypeFp32,
        DType::F64 => DataType::TypeFp64,
        DType::Bytes => DataType::TypeString,
    }
}
