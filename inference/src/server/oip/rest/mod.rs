//! The REST face. Success is exactly 200 and every failure has the body `{"error": …}`, which
//! is what clients look at; health bodies also carry the booleans that KServe clients read.

mod infer;
mod manage;
mod settings;
mod written;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};

pub(in crate::server) use self::infer::{direct, target};
use super::{Oip, SERVER, config, describe};
use crate::{
    InferError, ModelState,
    server::{encoding, guard},
};

/// Model and version of a path.
#[derive(Debug, Deserialize)]
struct Target {
    model: String,
    version: Option<String>,
}

type Targeted = Result<Path<Target>, PathRejection>;

/// Routes below `/v2`. Requests may be compressed with gzip or deflate; answers are, when
/// the caller accepts it.
pub fn rest(oip: impl Into<Oip>) -> Router {
    let model = |prefix: &str| {
        Router::new()
            .route(prefix, get(metadata))
            .route(&format!("{prefix}/ready"), get(model_ready))
            .route(&format!("{prefix}/config"), get(model_config))
            .route(&format!("{prefix}/stats"), get(statistics))
            .route(&format!("{prefix}/infer"), post(infer::infer))
    };
    let routes = Router::new()
        .route("/", get(server_metadata))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/models", get(models))
        .route("/models/stats", get(all_statistics))
        .merge(model("/models/{model}"))
        .merge(model("/models/{model}/versions/{version}"))
        .merge(manage::routes())
        .merge(settings::routes())
        .fallback(async || failure(StatusCode::NOT_FOUND, "Not Found"))
        .method_not_allowed_fallback(async || failure(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
        .with_state(oip.into())
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(0)));
    Router::new().nest("/v2", routes)
}

fn failure(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}

/// A JSON answer whose keys stand in the order of its fields.
fn answer(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            let kind = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, kind)], Body::from(body)).into_response()
        }
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// The object a body holds; clients that have nothing to say send nothing.
async fn object(oip: &Oip, headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, InferError> {
    let body = encoding::read(headers, body, oip.handle().limits()).await?;
    if body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&body)
        .map_err(|error| InferError::Malformed(format!("failed to parse the request JSON buffer: {error}")))
}

/// What a path holds, or why it cannot be read.
fn path<T>(target: Result<Path<T>, PathRejection>) -> Result<T, InferError> {
    target.map(|Path(target)| target).map_err(|rejection| InferError::Malformed(rejection.body_text()))
}

async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(oip): State<Oip>) -> Response {
    let readiness = oip.handle().readiness();
    let body = json!({ "ready": readiness.ready, "live": true });
    match readiness.reason {
        None => Json(body).into_response(),
        Some(reason) => {
            let body = json!({ "ready": false, "live": true, "error": reason });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn server_metadata(State(oip): State<Oip>) -> Response {
    answer(&written::Server {
        name: SERVER,
        version: env!("CARGO_PKG_VERSION"),
        extensions: oip.extensions(),
    })
}

async fn models(State(oip): State<Oip>) -> Json<Value> {
    let live = oip.handle().models().into_iter().filter(|status| status.live && guard::lists(&status.name));
    let live = live.map(|status| status.name);
    Json(json!({ "models": live.collect::<Vec<_>>() }))
}

async fn metadata(State(oip): State<Oip>, target: Targeted) -> Result<Response, InferError> {
    let Target { model, version } = path(target)?;
    let metadata = describe::metadata(oip.handle(), &model, version.as_deref())?;
    Ok(answer(&written::Metadata::from(&metadata)))
}

async fn model_config(State(oip): State<Oip>, target: Targeted) -> Result<Response, InferError> {
    let Target { model, version } = path(target)?;
    let config = config::config(oip.handle(), &model, version.as_deref())?;
    Ok(answer(&written::Config::from(&config)))
}

async fn statistics(State(oip): State<Oip>, target: Targeted) -> Result<Response, InferError> {
    let Target { model, version } = path(target)?;
    let statistics = describe::statistics(oip.handle(), &model, version.as_deref())?;
    Ok(answer(&written::Statistics::from(statistics.as_slice())))
}

async fn all_statistics(State(oip): State<Oip>) -> Result<Response, InferError> {
    let statistics = describe::statistics(oip.handle(), "", None)?;
    Ok(answer(&written::Statistics::from(statistics.as_slice())))
}

/// 200 when ready. A model that is known and cannot serve is 503, as KServe has it; an unknown
/// one 400, as Triton has it.
async fn model_ready(State(oip): State<Oip>, target: Targeted) -> Result<Response, InferError> {
    let Target { model, version } = path(target)?;
    let state = oip.handle().model(&model, version.as_deref()).map(|served| served.state());
    let (status, error) = match state {
        Ok(ModelState::Ready) => return Ok(Json(json!({ "name": model, "ready": true })).into_response()),
        Ok(ModelState::Unavailable { reason }) | Err(InferError::Unavailable { name: _, reason }) => {
            (StatusCode::SERVICE_UNAVAILABLE, reason)
        }
        Err(_) => (StatusCode::BAD_REQUEST, "Model version not ready".to_owned()),
    };
    Ok((status, Json(json!({ "name": model, "ready": false, "error": error }))).into_response())
}
