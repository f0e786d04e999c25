//! What the server says of its models: metadata, states and statistics.

use models::TensorSpec;
use proto::inference::{
    InferBatchStatistics, InferStatistics, ModelMetadataResponse, ModelStatistics, StatisticDuration,
    model_metadata_response::TensorMetadata, repository_index_response::ModelIndex,
};

use crate::{
    Handle, InferError, ModelState, ModelStatus, Served,
    monitor::{BatchStatistics, Spent, Statistics},
    server::guard,
};

/// Every known version with its state, of the models that the caller's token is for.
pub(super) fn index(handle: &Handle, ready_only: bool) -> Vec<ModelIndex> {
    let entry = |status: ModelStatus| {
        let (state, reason) = match status.state {
            ModelState::Ready => ("READY", String::new()),
            ModelState::Unavailable { reason } => ("UNAVAILABLE", reason),
        };
        ModelIndex { name: status.name, version: status.version, state: state.to_owned(), reason }
    };
    let models = handle.models().into_iter().filter(|status| guard::lists(&status.name));
    models.filter(|status| !ready_only || status.state == ModelState::Ready).map(entry).collect()
}

/// Versions, engine and signature of a model.
pub(super) fn metadata(
    handle: &Handle,
    name: &str,
    version: Option<&str>,
) -> Result<ModelMetadataResponse, InferError> {
    let served = handle.model(name, version)?;
    let describe = |spec: &TensorSpec| TensorMetadata {
        name: spec.name.clone(),
        datatype: spec.dtype.oip().to_owned(),
        shape: spec.dims.clone(),
    };
    let versions = match version {
        Some(version) => vec![version.to_owned()],
        None => handle.versions(name),
    };
    let signature = served.signature();
    let properties = [("family", served.family()), ("task", served.task()), ("version", served.version())];
    Ok(ModelMetadataResponse {
        name: served.name().to_owned(),
        versions,
        platform: served.platform().to_owned(),
        inputs: signature.inputs.iter().map(describe).collect(),
        outputs: signature.outputs.iter().map(describe).collect(),
        properties: properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    })
}

/// Statistics of one version, of every version of a model, or, with an empty name, of every model.
pub(super) fn statistics(
    handle: &Handle,
    name: &str,
    version: Option<&str>,
) -> Result<Vec<ModelStatistics>, InferError> {
    let mut served = match (name, version) {
        ("", _) => handle.loaded(None),
        (name, Some(version)) => vec![handle.model(name, Some(version))?],
        (name, None) => {
            let loaded = handle.loaded(Some(name));
            guard::check(name)?;
            // Says why, when there is none.
            if loaded.is_empty() { vec![handle.model(name, None)?] } else { loaded }
        }
    };
    served.retain(|served| guard::lists(served.name()));
    Ok(served.iter().map(|served| tell(served)).collect())
}

fn tell(served: &Served) -> ModelStatistics {
    let Statistics {
        last_inference_ms,
        rows,
        batches,
        success,
        fail,
        queue,
        input,
        infer,
        output,
        cache_hit,
        cache_miss,
        by_rows,
    } = served.statistics();
    let inference = InferStatistics {
        success: duration(success),
        fail: duration(fail),
        queue: duration(queue),
        compute_input: duration(input),
        compute_infer: duration(infer),
        compute_output: duration(output),
        cache_hit: duration(cache_hit),
        cache_miss: duration(cache_miss),
    };
    let batch = |BatchStatistics { rows, input, infer, output }: BatchStatistics| InferBatchStatistics {
        batch_size: rows,
        compute_input: duration(input),
        compute_infer: duration(infer),
        compute_output: duration(output),
    };
    ModelStatistics {
        name: served.name().to_owned(),
        version: served.version().to_owned(),
        last_inference: last_inference_ms,
        inference_count: rows,
        execution_count: batches,
        inference_stats: Some(inference),
        batch_stats: by_rows.into_iter().map(batch).collect(),
        memory_usage: Vec::new(),
        response_stats: Default::default(),
    }
}

fn duration(Spent { count, ns }: Spent) -> Option<StatisticDuration> {
    Some(StatisticDuration { count, ns })
}
