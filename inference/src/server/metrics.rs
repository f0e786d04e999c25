//! What operators read over HTTP: `/metrics`, `/healthz` and `/readyz`.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    Handle, ModelState, ModelStatus,
    monitor::{self, Form},
};

/// The routes of this file.
pub fn rest(handle: Handle) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .with_state(handle)
}

async fn metrics(headers: HeaderMap) -> Response {
    let Some(handle) = monitor::install() else {
        return (StatusCode::NOT_FOUND, "another recorder collects the metrics of this process")
            .into_response();
    };
    let form = Form::asked(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
    ([(header::CONTENT_TYPE, form.content_type())], form.render(handle.render())).into_response()
}

/// 200 when requests are taken. The body lists every model, so that one which cannot serve
/// shows its reason even while the others do.
async fn ready(State(handle): State<Handle>) -> Response {
    let readiness = handle.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let models: Vec<Value> = readiness.models.iter().map(model).collect();
    let body = json!({ "ready": readiness.ready, "reason": readiness.reason, "models": models });
    (status, Json(body)).into_response()
}

fn model(status: &ModelStatus) -> Value {
    let (state, reason) = match &status.state {
        ModelState::Ready => ("ready", None),
        ModelState::Unavailable { reason } => ("unavailable", Some(reason)),
    };
    json!({
        "name": status.name,
        "version": status.version,
        "live": status.live,
        "state": state,
        "reason": reason,
    })
}
