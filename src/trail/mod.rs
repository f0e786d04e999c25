//! What is known of answers afterwards, as JSON and over HTTP: predictions with their outcomes, figures of versions,
//! drift. The command line shows the same.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use registry::{
    Act, Principal, Registry, RegistryError,
    predictions::{Accuracies, Accuracy, DriftWindow, Prediction},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::Status;

use crate::{app::recorder::now_ms, gateway, mlflow};

/// Most rows of an answer.
pub(crate) const ROWS_MAX: u64 = 1_000;
/// Windows of drift looked at: the last of every version and cohort is among them.
pub(crate) const WINDOWS_MAX: u64 = 200;

/// Every route.
pub(crate) fn router(registry: &Registry) -> Router {
    Router::new()
        .route("/v1/predictions", get(list))
        .route("/v1/predictions/{id}", get(show))
        .route("/v1/predictions/{id}/outcome", post(label))
        .route("/v1/models/{name}/accuracy", get(accuracy))
        .route("/v1/models/{name}/drift", get(drift))
        .with_state(Arc::new(registry.clone()))
}

/// A prediction as JSON.
pub(crate) fn prediction(of: &Prediction) -> Value {
    let Prediction {
        id,
        part,
        rpc,
        model,
        version,
        input_sha256,
        output,
        interval,
        probability,
        classes,
        cohort,
        tenant,
        at_ms,
        outcome,
    } = of;
    json!({
        "id": id, "part": part, "rpc": rpc, "model": model, "version": version, "input_sha256": input_sha256,
        "output": output, "interval": interval.map(|(low, high)| [low, high]), "probability": probability, "prediction_set": classes,
        "cohort": cohort, "tenant": tenant, "at_ms": at_ms, "outcome": outcome,
    })
}

/// Figures of versions as JSON.
pub(crate) fn figures(of: &Accuracies) -> Value {
    let row = |((version, cohort), figures): (&(String, String), &Accuracy)| {
        json!({
            "version": version, "cohort": cohort_name(cohort), "labelled": figures.labelled,
            "accuracy": figures.accuracy(), "calibration_error": figures.calibration_error(), "coverage": figures.coverage(), "mean_error": figures.mean_error(),
        })
    };
    of.iter().map(row).collect()
}

/// The last window of every version and cohort, of windows with the newest first.
pub(crate) fn last_windows(windows: Vec<DriftWindow>) -> Vec<DriftWindow> {
    let mut last: Vec<DriftWindow> = Vec::new();
    for window in windows {
        if !last.iter().any(|known| known.version == window.version && known.cohort == window.cohort) {
            last.push(window);
        }
    }
    last
}

/// A window of drift as JSON.
pub(crate) fn window(of: &DriftWindow) -> Value {
    let DriftWindow { model, version, cohort, rows, figures, closed_ms } = of;
    let figures: Value = serde_json::from_str(figures).unwrap_or_default();
    json!({
        "model": model, "version": version, "cohort": cohort_name(cohort), "rows": rows, "closed_ms": closed_ms,
        "features": figures,
    })
}

/// The empty cohort is everybody.
pub(crate) fn cohort_name(cohort: &str) -> &str {
    if cohort.is_empty() { "all" } else { cohort }
}

#[derive(Debug, Deserialize)]
struct Listing {
    model: Option<String>,
    limit: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    outcome: String,
    model: Option<String>,
    #[serde(default)]
    why: String,
}

async fn list(State(registry): State<Arc<Registry>>, Query(asked): Query<Listing>) -> Response {
    let limit = asked.limit.unwrap_or(50).min(ROWS_MAX);
    let found = registry.predictions(asked.model.as_deref(), limit).await;
    answer(found.map(|rows| json!({ "predictions": rows.iter().map(prediction).collect::<Vec<_>>() })))
}

async fn show(State(registry): State<Arc<Registry>>, Path(id): Path<String>) -> Response {
    let parts = registry.prediction(&id).await;
    answer(parts.map(|parts| json!({ "predictions": parts.iter().map(prediction).collect::<Vec<_>>() })))
}

async fn label(
    State(registry): State<Arc<Registry>>,
    caller: Option<Extension<Principal>>,
    Path(id): Path<String>,
    body: Result<Json<Label>, JsonRejection>,
) -> Response {
    let Label { outcome, model, why } = match body {
        Ok(Json(label)) => label,
        Err(refused) => {
            return gateway::refusal(Status::invalid_argument(format!("body: {}", refused.body_text())));
        }
    };
    let caller = mlflow::principal(caller);
    let act = Act { by: &caller, at_ms: now_ms(), why: &why };
    answer(
        registry.prediction_label(act, &id, model.as_deref(), &outcome).await.map(|found| prediction(&found)),
    )
}

async fn accuracy(State(registry): State<Arc<Registry>>, Path(name): Path<String>) -> Response {
    answer(registry.accuracy(&name).await.map(|found| json!({ "model": name, "figures": figures(&found) })))
}

async fn drift(State(registry): State<Arc<Registry>>, Path(name): Path<String>) -> Response {
    let windows = registry.drift(&name, WINDOWS_MAX).await.map(last_windows);
    answer(
        windows.map(
            |windows| json!({ "model": name, "windows": windows.iter().map(window).collect::<Vec<_>>() }),
        ),
    )
}

fn answer(found: Result<Value, RegistryError>) -> Response {
    match found {
        Ok(value) => Json(value).into_response(),
        Err(error) => gateway::refusal(status(&error)),
    }
}

/// How a refusal of the registry is told.
pub(crate) fn status(error: &RegistryError) -> Status {
    let text = error.to_string();
    match error {
        RegistryError::NotFound(_) => Status::not_found(text),
        RegistryError::Exists(_) => Status::already_exists(text),
        RegistryError::Invalid { .. } | RegistryError::Filter(_) | RegistryError::Upload(_) => {
            Status::invalid_argument(text)
        }
        RegistryError::Forbidden(_) => Status::permission_denied(text),
        RegistryError::Conflict(_) => Status::failed_precondition(text),
        RegistryError::Store(cause) if cause.is_transient() => {
            Status::unavailable("the registry's database is busy: try again")
        }
        RegistryError::Store(_) | RegistryError::Artifacts(_) => {
            tracing::error!(%error, cause = ?error, "the registry failed");
            Status::internal("the registry failed; the server's log says why")
        }
    }
}
