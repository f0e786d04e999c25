//! What the registry tells, in MLflow's shapes.

use std::collections::BTreeMap;

use registry::{
    logged::{Logged, LoggedMetric},
    runs::{Experiment, Metric, Run},
    versions::{Model, Version},
};
use serde_json::{Value, json};

/// Tag that shows a version's state, which MLflow has no field for.
const STATE_TAG: &str = "manpasik.state";
/// Tag that shows why it stands there.
const REASON_TAG: &str = "manpasik.reason";
/// Tag of a run with a data set it was given, followed by the set's digest; shown as an input instead.
pub(super) const INPUT_TAG: &str = "manpasik.input.";

/// Tags, params: a list of key and value.
pub(super) fn pairs(pairs: &BTreeMap<String, String>) -> Vec<Value> {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

/// A number as proto JSON has it: what is none in words.
fn number(value: f64) -> Value {
    if value.is_nan() {
        json!("NaN")
    } else if value == f64::INFINITY {
        json!("Infinity")
    } else if value == f64::NEG_INFINITY {
        json!("-Infinity")
    } else {
        json!(value)
    }
}

const fn lifecycle(deleted: bool) -> &'static str {
    if deleted { "deleted" } else { "active" }
}

/// Where the artifacts of a run are.
pub(super) fn run_folder(run: &Run) -> String {
    format!("{}/{}/artifacts", run.experiment, run.id)
}

/// An address that clients turn into one of this server.
pub(super) fn uri(folder: &str) -> String {
    format!("mlflow-artifacts:/{folder}")
}

pub(super) fn experiment(experiment: &Experiment) -> Value {
    json!({
        "experiment_id": experiment.id.to_string(),
        "name": experiment.name,
        "artifact_location": uri(&experiment.id.to_string()),
        "lifecycle_stage": lifecycle(experiment.deleted),
        "creation_time": experiment.created_ms,
        "last_update_time": experiment.updated_ms,
        "tags": pairs(&experiment.tags),
    })
}

pub(super) fn run_info(run: &Run) -> Value {
    let mut info = json!({
        "run_id": run.id,
        "run_uuid": run.id,
        "run_name": run.name,
        "experiment_id": run.experiment.to_string(),
        "user_id": run.user,
        "status": run.status.code(),
        "start_time": run.started_ms,
        "artifact_uri": uri(&run_folder(run)),
        "lifecycle_stage": lifecycle(run.deleted),
    });
    if let Some(end) = run.ended_ms {
        info["end_time"] = end.into();
    }
    info
}

pub(super) fn metric(metric: &Metric) -> Value {
    json!({"key": metric.key, "value": number(metric.value), "timestamp": metric.at_ms, "step": metric.step})
}

pub(super) fn run(run: &Run, last: &[Metric], outputs: &[(String, i64)]) -> Value {
    let (inputs, mut tags): (BTreeMap<_, _>, BTreeMap<_, _>) =
        run.tags.clone().into_iter().partition(|(key, _)| key.starts_with(INPUT_TAG));
    tags.entry("mlflow.runName".into()).or_insert_with(|| run.name.clone());
    let inputs: Vec<Value> = inputs.values().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let outputs: Vec<Value> =
        outputs.iter().map(|(id, step)| json!({"model_id": id, "step": step})).collect();
    json!({
        "info": run_info(run),
        "data": {
            "metrics": last.iter().map(metric).collect::<Vec<_>>(),
            "params": pairs(&run.params),
            "tags": pairs(&tags),
        },
        "inputs": {"dataset_inputs": inputs, "model_inputs": []},
        "outputs": {"model_outputs": outputs},
    })
}

fn logged_metric(metric: &LoggedMetric, model: &str) -> Value {
    json!({
        "key": metric.key, "value": number(metric.value), "timestamp": metric.at_ms, "step": metric.step,
        "run_id": metric.run_id, "model_id": model,
    })
}

pub(super) fn logged(logged: &Logged) -> Value {
    let metrics: Vec<Value> = logged.metrics.iter().map(|metric| logged_metric(metric, &logged.id)).collect();
    json!({"model": {
        "info": {
            "model_id": logged.id,
            "experiment_id": logged.experiment.to_string(),
            "name": logged.name,
            "creation_timestamp_ms": logged.created_ms,
            "last_updated_timestamp_ms": logged.updated_ms,
            "artifact_uri": uri(&logged.folder()),
            "status": logged.status.code(),
            "source_run_id": logged.run_id.clone().unwrap_or_default(),
            "model_type": logged.model_type,
            "tags": pairs(&logged.tags),
        },
        "data": {"params": pairs(&logged.params), "metrics": metrics},
    }})
}

pub(super) fn version(version: &Version) -> Value {
    let mut tags = version.tags.clone();
    tags.insert(STATE_TAG.into(), version.state.code().into());
    if !version.reason.is_empty() {
        tags.insert(REASON_TAG.into(), version.reason.clone());
    }
    json!({
        "name": version.model,
        "version": version.number.to_string(),
        "creation_timestamp": version.created_ms,
        "last_updated_timestamp": version.updated_ms,
        "user_id": version.user,
        "current_stage": version.state.stage(),
        "description": version.description,
        "source": version.source,
        "run_id": version.run_id.clone().unwrap_or_default(),
        "run_link": "",
        "status": "READY",
        "status_message": version.reason,
        "model_id": version.logged_id.clone().unwrap_or_default(),
        "tags": pairs(&tags),
        "aliases": version.aliases,
    })
}

pub(super) fn model(model: &Model, latest: &[Version]) -> Value {
    let alias = |(alias, number): (&String, &i64)| json!({"alias": alias, "version": number.to_string()});
    json!({
        "name": model.name,
        "creation_timestamp": model.created_ms,
        "last_updated_timestamp": model.updated_ms,
        "user_id": model.user,
        "description": model.description,
        "latest_versions": latest.iter().map(version).collect::<Vec<_>>(),
        "tags": pairs(&model.tags),
        "aliases": model.aliases.iter().map(alias).collect::<Vec<_>>(),
    })
}
