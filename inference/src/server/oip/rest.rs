//! The REST face. Success is exactly 200 and every failure has the body `{"error": …}`, which
//! is what clients look at; health bodies also carry the booleans that KServe clients read.

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use proto::inference::model_metadata_response::TensorMetadata;
use serde::Deserialize;
use serde_json::{Value, json};
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};

use super::{
    EXTENSIONS, SERVER,
    body::{self, Answer, Asked},
    decode::{self, Subject},
    grpc, outputs,
};
use crate::{Handle, InferError, ModelState, Served, server::encoding};

const HEADER_BYTES: HeaderName = HeaderName::from_static("inference-header-content-length");
/// Bodies above this are read on a thread that may block.
const BLOCKING_BYTES: usize = 256 << 10;

/// Model and version of a path.
#[derive(Debug, Deserialize)]
struct Target {
    model: String,
    version: Option<String>,
}

type Targeted = Result<Path<Target>, PathRejection>;

/// Routes below `/v2`. Requests may be compressed with gzip or deflate; answers are, when
/// the caller accepts it.
pub fn rest(handle: Handle) -> Router {
    let model = |prefix: &str| {
        Router::new()
            .route(prefix, get(metadata))
            .route(&format!("{prefix}/ready"), get(model_ready))
            .route(&format!("{prefix}/infer"), post(infer))
    };
    let routes = Router::new()
        .route("/", get(server_metadata))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/models", get(models))
        .route("/repository/index", get(index).post(index))
        .route("/repository/{repository}/index", get(index).post(index))
        .merge(model("/models/{model}"))
        .merge(model("/models/{model}/versions/{version}"))
        .fallback(async || failure(StatusCode::NOT_FOUND, "Not Found"))
        .method_not_allowed_fallback(async || failure(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
        .with_state(handle)
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(0)));
    Router::new().nest("/v2", routes)
}

fn failure(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}

async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(handle): State<Handle>) -> Response {
    let readiness = handle.readiness();
    let body = json!({ "ready": readiness.ready, "live": true });
    match readiness.reason {
        None => Json(body).into_response(),
        Some(reason) => {
            let body = json!({ "ready": false, "live": true, "error": reason });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn server_metadata() -> Json<Value> {
    Json(json!({ "name": SERVER, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS }))
}

async fn models(State(handle): State<Handle>) -> Json<Value> {
    let live = handle.models().into_iter().filter(|status| status.live).map(|status| status.name);
    Json(json!({ "models": live.collect::<Vec<_>>() }))
}

/// The body may be empty, as some clients send it; only `{"ready": true}` changes the answer.
async fn index(State(handle): State<Handle>, body: Bytes) -> Json<Value> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let ready_only = body.get("ready").and_then(Value::as_bool).unwrap_or(false);
    let entry = |model: proto::inference::repository_index_response::ModelIndex| {
        let mut entry = json!({ "name": model.name, "version": model.version, "state": model.state });
        if !model.reason.is_empty() {
            entry["reason"] = model.reason.into();
        }
        entry
    };
    Json(grpc::index(&handle, ready_only).into_iter().map(entry).collect())
}

async fn metadata(State(handle): State<Handle>, target: Targeted) -> Result<Json<Value>, InferError> {
    let Target { model, version } = target_of(target)?;
    let metadata = grpc::metadata(&handle, &model, version.as_deref())?;
    let tensors = |tensors: Vec<TensorMetadata>| {
        let tensor = |tensor: TensorMetadata| json!({ "name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape });
        tensors.into_iter().map(tensor).collect::<Value>()
    };
    Ok(Json(json!({
        "name": metadata.name,
        "versions": metadata.versions,
        "platform": metadata.platform,
        "inputs": tensors(metadata.inputs),
        "outputs": tensors(metadata.outputs),
        "properties": metadata.properties,
    })))
}

/// 200 when ready. A model that is known and cannot serve is 503, as KServe has it; an unknown
/// one 400, as Triton has it.
async fn model_ready(State(handle): State<Handle>, target: Targeted) -> Result<Response, InferError> {
    let Target { model, version } = target_of(target)?;
    let state = handle.model(&model, version.as_deref()).map(|served| served.state());
    let (status, error) = match state {
        Ok(ModelState::Ready) => return Ok(Json(json!({ "name": model, "ready": true })).into_response()),
        Ok(ModelState::Unavailable { reason }) | Err(InferError::Unavailable { name: _, reason }) => {
            (StatusCode::SERVICE_UNAVAILABLE, reason)
        }
        Err(_) => (StatusCode::BAD_REQUEST, "Model version not ready".to_owned()),
    };
    Ok((status, Json(json!({ "name": model, "ready": false, "error": error }))).into_response())
}

fn target_of(target: Targeted) -> Result<Target, InferError> {
    target.map(|Path(target)| target).map_err(|rejection| InferError::Malformed(rejection.body_text()))
}

async fn infer(
    State(handle): State<Handle>,
    target: Targeted,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InferError> {
    let Target { model, version } = target_of(target)?;
    let served = handle.model(&model, version.as_deref())?;
    let header_bytes = header_bytes(&headers)?;
    let body = encoding::read(&headers, body, handle.limits()).await?;
    let (mut asked, tensors, places) = if body.len() > BLOCKING_BYTES {
        let (target, served) = (model.clone(), served.clone());
        let read = move || understand(&target, &served, &body, header_bytes);
        tokio::task::spawn_blocking(read).await.map_err(|_| InferError::Failed { model: model.clone() })??
    } else {
        understand(&model, &served, &body, header_bytes)?
    };
    let treatment = std::mem::take(&mut asked.treatment);
    let response = handle.infer_on(&served, tensors, treatment.priority, treatment.deadline).await?;
    let Answer { body, header_bytes } = body::write(&asked, served.signature(), &places, &response)?;
    Ok(answer(body, header_bytes))
}

type Understood = (Asked, Vec<models::Tensor>, Vec<usize>);

/// From bytes to checked tensors and the outputs that are wanted.
fn understand(
    model: &str,
    served: &Served,
    bytes: &Bytes,
    header_bytes: Option<usize>,
) -> Result<Understood, InferError> {
    let signature = served.signature();
    let mut asked = body::read(bytes, header_bytes, signature)?;
    let inputs = std::mem::take(&mut asked.inputs);
    let subject = Subject { model, id: &asked.id };
    let places =
        outputs::places(subject, signature, asked.outputs.iter().map(|output| output.name.as_str()))?;
    let tensors = decode::tensors(subject, signature, inputs)?;
    Ok((asked, tensors, places))
}

fn header_bytes(headers: &HeaderMap) -> Result<Option<usize>, InferError> {
    let Some(value) = headers.get(HEADER_BYTES) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let reason = "must be the number of JSON bytes before the binary data";
    number.map(Some).ok_or_else(|| InferError::input("Inference-Header-Content-Length", reason))
}

fn answer(body: Vec<u8>, header_bytes: Option<usize>) -> Response {
    let kind = if header_bytes.is_some() { "application/octet-stream" } else { "application/json" };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(bytes) = header_bytes {
        headers.insert(HEADER_BYTES, HeaderValue::from(bytes));
    }
    response
}
