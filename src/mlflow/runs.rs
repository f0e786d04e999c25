//! Runs: beginning, logging, finding, ending.

use std::collections::BTreeMap;

use registry::{
    logged::LoggedMetric,
    runs::{Filter, Metric, NewRun, Run, RunStatus},
};
use serde_json::{Value, json};

use super::{Answer, Call, Route, args::Args, experiments, fault::Fault, route, write};

pub(super) const ROUTES: &[Route] = &[
    route!(POST "/mlflow/runs/create" => create),
    route!(GET "/mlflow/runs/get" => get),
    route!(POST "/mlflow/runs/update" => update),
    route!(POST "/mlflow/runs/delete" => delete),
    route!(POST "/mlflow/runs/restore" => restore),
    route!(POST "/mlflow/runs/search" => find),
    route!(POST "/mlflow/runs/log-parameter" => log_param),
    route!(POST "/mlflow/runs/log-metric" => log_metric),
    route!(POST "/mlflow/runs/log-batch" => log_batch),
    route!(POST "/mlflow/runs/set-tag" => set_tag),
    route!(POST "/mlflow/runs/delete-tag" => delete_tag),
    route!(POST "/mlflow/runs/log-inputs" => log_inputs),
    route!(POST "/mlflow/runs/log-model" => log_model),
    route!(POST "/mlflow/runs/outputs" => log_outputs),
    route!(GET "/mlflow/metrics/get-history" => history),
];

const NAME_TAG: &str = "mlflow.runName";
/// Tag with the models that a client of MLflow 2 logged.
const MODELS_TAG: &str = "mlflow.log-model.history";

/// The run that the call names; a prefix of an id is no id here.
pub(super) async fn named(call: &Call) -> Result<Run, Fault> {
    let id = call.args.either("run_id", "run_uuid")?;
    by_id(call, id).await
}

/// The run of that id.
pub(super) async fn by_id(call: &Call, id: &str) -> Result<Run, Fault> {
    let missing = || Fault::missing(format!("Run with id={id} not found"));
    if id.len() != 32 {
        return Err(missing());
    }
    call.registry.runs().get(id).await.map_err(|error| {
        let is_unknown = matches!(error, registry::runs::RunError::Unknown { .. });
        if is_unknown { missing() } else { error.into() }
    })
}

/// The same, unless it was deleted, for calls that write.
async fn writable(call: &Call) -> Result<Run, Fault> {
    let run = named(call).await?;
    if run.deleted {
        return Err(Fault::invalid(format!("The run {} must be in the 'active' state", run.id)));
    }
    Ok(run)
}

async fn whole(call: &Call, run: &Run) -> Answer {
    let runs = call.registry.runs();
    let mut last = Vec::with_capacity(run.metrics.len());
    for key in run.metrics.keys() {
        let history = runs.history(&run.id, key).await?;
        last.extend(history.into_iter().max_by_key(|metric| (metric.step, metric.at_ms)));
    }
    Ok(write::run(run, &last, &runs.outputs(&run.id).await?))
}

async fn create(call: Call) -> Answer {
    let mut tags = call.args.pairs("tags")?;
    let experiment = call.registry.runs().experiment(call.args.experiment("experiment_id")?).await?;
    if experiment.deleted {
        let text = format!("The experiment {} must be in the 'active' state", experiment.id);
        return Err(Fault::invalid(text));
    }
    let given = call.args.text("run_name")?.map(str::to_owned).or_else(|| tags.get(NAME_TAG).cloned());
    let name = given.unwrap_or_else(|| format!("run-{}", call.now_ms));
    tags.insert(NAME_TAG.into(), name.clone());
    let new = NewRun {
        experiment: experiment.id,
        name,
        params: BTreeMap::new(),
        tags,
        started_ms: call.args.int("start_time")?.unwrap_or(call.now_ms),
        watched: false,
        user: call.args.text("user_id")?.unwrap_or(&call.caller.name).to_owned(),
    };
    let id = call.registry.runs().start(&new).await?;
    Ok(json!({"run": whole(&call, &by_id(&call, &id).await?).await?}))
}

async fn get(call: Call) -> Answer {
    Ok(json!({"run": whole(&call, &named(&call).await?).await?}))
}

async fn update(call: Call) -> Answer {
    let run = writable(&call).await?;
    let runs = call.registry.runs();
    if let Some(name) = call.args.text("run_name")? {
        runs.rename(&run.id, name).await?;
        runs.set_tags(&run.id, &BTreeMap::from([(NAME_TAG.into(), name.into())])).await?;
    }
    match call.args.text("status")? {
        None => {}
        Some("RUNNING" | "SCHEDULED") => runs.resume(&run.id, call.now_ms).await?,
        Some(word) => {
            let status = RunStatus::read(word).ok_or_else(|| {
                Fault::invalid(format!(
                    "`status`: `{word}` is none of RUNNING, SCHEDULED, FINISHED, FAILED, KILLED"
                ))
            })?;
            runs.end(&run.id, status, call.args.int("end_time")?.unwrap_or(call.now_ms)).await?;
        }
    }
    Ok(json!({"run_info": write::run_info(&by_id(&call, &run.id).await?)}))
}

async fn delete(call: Call) -> Answer {
    let run = named(&call).await?;
    call.registry.runs().set_deleted(&run.id, true).await?;
    Ok(json!({}))
}

async fn restore(call: Call) -> Answer {
    let run = named(&call).await?;
    call.registry.runs().set_deleted(&run.id, false).await?;
    Ok(json!({}))
}

async fn find(call: Call) -> Answer {
    let (filter, page) = experiments::filter(&call.args, "run_view_type")?;
    let read = |id: &String| id.parse().map_err(|_| Fault::invalid("`experiment_ids` must be whole numbers"));
    let experiments = call.args.texts("experiment_ids")?.iter().map(read).collect::<Result<_, _>>()?;
    let filter = Filter { experiments, ..filter };
    let mut found = call.registry.runs().list(&filter).await?;
    let next = page.cut(&mut found);
    let mut runs = Vec::with_capacity(found.len());
    for run in &found {
        runs.push(whole(&call, run).await?);
    }
    Ok(json!({"runs": runs, "next_page_token": next}))
}

async fn log_param(call: Call) -> Answer {
    let run = writable(&call).await?;
    let (key, value) = (call.args.needed("key")?, call.args.text("value")?.unwrap_or_default());
    call.registry.runs().log_params(&run.id, &BTreeMap::from([(key.into(), value.into())])).await?;
    Ok(json!({}))
}

fn metric(args: &Args, now_ms: i64) -> Result<Metric, Fault> {
    Ok(Metric {
        key: args.needed("key")?.to_owned(),
        value: args.number("value")?,
        step: args.int("step")?.unwrap_or(0),
        at_ms: args.int("timestamp")?.unwrap_or(now_ms),
    })
}

/// A figure measured on a logged model is that model's too.
async fn of_model(call: &Call, run: &Run, args: &Args, metric: &Metric) -> Result<(), Fault> {
    let Some(model) = args.text("model_id")? else { return Ok(()) };
    let Metric { key, value, step, at_ms } = metric.clone();
    let metric = LoggedMetric { key, value, step, at_ms, run_id: run.id.clone() };
    Ok(call.registry.logged_metrics(model, &[metric]).await?)
}

/// Writes figures. Clients send what a run has measured again once it has a model, to note it on that too: what the
/// run knows already is not written a second time.
async fn log_metrics(call: &Call, run: &Run, given: &[Args]) -> Result<(), Fault> {
    let runs = call.registry.runs();
    let mut new = Vec::with_capacity(given.len());
    for args in given {
        let metric = metric(args, call.now_ms)?;
        of_model(call, run, args, &metric).await?;
        let same = |old: &Metric| {
            (old.step, old.at_ms, old.value.to_bits()) == (metric.step, metric.at_ms, metric.value.to_bits())
        };
        let is_known =
            args.text("model_id")?.is_some() && runs.history(&run.id, &metric.key).await?.iter().any(same);
        if !is_known {
            new.push(metric);
        }
    }
    Ok(runs.log_metrics(&run.id, &new).await?)
}

async fn log_metric(call: Call) -> Answer {
    let run = writable(&call).await?;
    log_metrics(&call, &run, std::slice::from_ref(&call.args)).await?;
    Ok(json!({}))
}

async fn log_batch(call: Call) -> Answer {
    let run = writable(&call).await?;
    let (params, tags) = (call.args.pairs("params")?, call.args.pairs("tags")?);
    let runs = call.registry.runs();
    runs.log_params(&run.id, &params).await?;
    runs.set_tags(&run.id, &tags).await?;
    log_metrics(&call, &run, &call.args.list("metrics")?).await?;
    Ok(json!({}))
}

async fn set_tag(call: Call) -> Answer {
    let run = writable(&call).await?;
    let (key, value) = (call.args.needed("key")?, call.args.text("value")?.unwrap_or_default());
    if key == NAME_TAG {
        call.registry.runs().rename(&run.id, value).await?;
    }
    call.registry.runs().set_tags(&run.id, &BTreeMap::from([(key.into(), value.into())])).await?;
    Ok(json!({}))
}

async fn delete_tag(call: Call) -> Answer {
    let run = writable(&call).await?;
    let key = call.args.needed("key")?;
    if call.registry.runs().delete_tag(&run.id, key).await? {
        return Ok(json!({}));
    }
    Err(Fault::missing(format!("No tag with name: {key} in run with id {}", run.id)))
}

/// Data sets are kept as they came, by their digest.
async fn log_inputs(call: Call) -> Answer {
    let run = writable(&call).await?;
    let mut tags = BTreeMap::new();
    for input in call.args.raw("datasets").and_then(Value::as_array).into_iter().flatten() {
        let set = &input["dataset"];
        let (Some(name), Some(digest)) = (set["name"].as_str(), set["digest"].as_str()) else {
            return Err(Fault::invalid("`datasets`: each needs a `dataset` with `name` and `digest`"));
        };
        tags.insert(format!("{}{name}.{digest}", write::INPUT_TAG), input.to_string());
    }
    call.registry.runs().set_tags(&run.id, &tags).await?;
    Ok(json!({}))
}

/// Clients of MLflow 2 tell of a model so; its files are the run's.
async fn log_model(call: Call) -> Answer {
    let run = writable(&call).await?;
    let model = call.args.needed("model_json")?;
    let model: Value = serde_json::from_str(model)
        .map_err(|error| Fault::invalid(format!("`model_json` is not JSON: {error}")))?;
    let old = run.tags.get(MODELS_TAG).and_then(|text| serde_json::from_str(text).ok());
    let mut models: Vec<Value> = old.unwrap_or_default();
    models.push(model);
    let tags = BTreeMap::from([(MODELS_TAG.into(), Value::Array(models).to_string())]);
    call.registry.runs().set_tags(&run.id, &tags).await?;
    Ok(json!({}))
}

async fn log_outputs(call: Call) -> Answer {
    let run = writable(&call).await?;
    let read = |model: &Args| Ok((model.needed("model_id")?.to_owned(), model.int("step")?.unwrap_or(0)));
    let models: Vec<(String, i64)> =
        call.args.list("models")?.iter().map(read).collect::<Result<_, Fault>>()?;
    call.registry.runs().add_outputs(&run.id, &models).await?;
    Ok(json!({}))
}

async fn history(call: Call) -> Answer {
    let run = named(&call).await?;
    let page = call.args.page(25_000, 25_000)?;
    let all = call.registry.runs().history(&run.id, call.args.needed("metric_key")?).await?;
    let skip = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let mut part: Vec<Metric> = all.into_iter().skip(skip).collect();
    let next = page.cut(&mut part);
    let metrics: Vec<Value> = part.iter().map(write::metric).collect();
    Ok(json!({"metrics": metrics, "next_page_token": next}))
}
