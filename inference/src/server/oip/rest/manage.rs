//! The repository and shared memory over REST.

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{answer, object, path, written};
use crate::{
    InferError,
    server::oip::{
        Oip, describe, memory,
        overridden::{FILE, Given},
        repository,
    },
};

/// Repository, model or region of a path.
#[derive(Debug, Default, Deserialize)]
struct Target {
    #[serde(default)]
    model: String,
    #[serde(default)]
    region: String,
}

type Targeted = Result<Path<Target>, PathRejection>;

pub(super) fn routes() -> Router<Oip> {
    let repository = |prefix: &str| {
        Router::new()
            .route(&format!("{prefix}/index"), get(index).post(index))
            .route(&format!("{prefix}/models/{{model}}/load"), post(load))
            .route(&format!("{prefix}/models/{{model}}/unload"), post(unload))
    };
    let region = "/systemsharedmemory/region/{region}";
    let cuda = "/cudasharedmemory/region/{region}";
    Router::new()
        .merge(repository("/repository"))
        .merge(repository("/repository/{repository}"))
        .route("/systemsharedmemory/status", get(regions))
        .route("/systemsharedmemory/unregister", post(unregister))
        .route(&format!("{region}/status"), get(regions))
        .route(&format!("{region}/register"), post(register))
        .route(&format!("{region}/unregister"), post(unregister))
        .route("/cudasharedmemory/status", get(async || Json(json!([]))))
        .route("/cudasharedmemory/unregister", post(async || Json(json!({}))))
        .route(&format!("{cuda}/status"), get(async || memory::no_cuda()))
        .route(&format!("{cuda}/register"), post(async || memory::no_cuda()))
        .route(&format!("{cuda}/unregister"), post(async || Json(json!({}))))
}

/// The body may be empty, as some clients send it; only `{"ready": true}` changes the answer.
async fn index(State(oip): State<Oip>, headers: HeaderMap, body: Body) -> Result<Response, InferError> {
    let asked = object(&oip, &headers, body).await?;
    let ready_only = asked.get("ready").and_then(Value::as_bool).unwrap_or(false);
    let models = describe::index(oip.handle(), ready_only);
    Ok(answer(&models.iter().map(written::Index::from).collect::<Vec<_>>()))
}

async fn load(
    State(oip): State<Oip>,
    target: Targeted,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InferError> {
    let Target { model, region: _ } = path(target)?;
    let asked = object(&oip, &headers, body).await?;
    let parameters = asked.get("parameters").and_then(Value::as_object);
    let given = |(name, value): (&String, &Value)| (name.clone(), given(name, value));
    repository::load(&oip, &model, parameters.into_iter().flatten().map(given)).await?;
    Ok(Json(json!({ "name": model, "load": true })).into_response())
}

/// JSON has no bytes: what is a file is written in base64.
fn given(name: &str, value: &Value) -> Given {
    match (value.as_str(), name.starts_with(FILE)) {
        (Some(text), false) => Given::Text(text.to_owned()),
        (Some(text), true) => match BASE64_STANDARD.decode(text) {
            Ok(file) => Given::File(file.into()),
            Err(_) => Given::Other,
        },
        (None, _) => Given::Other,
    }
}

async fn unload(
    State(oip): State<Oip>,
    target: Targeted,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InferError> {
    let Target { model, region: _ } = path(target)?;
    object(&oip, &headers, body).await?;
    repository::unload(&oip, &model)?;
    Ok(Json(json!({ "name": model, "unload": true })).into_response())
}

async fn regions(State(oip): State<Oip>, target: Targeted) -> Result<Response, InferError> {
    let Target { model: _, region } = path(target)?;
    let regions = memory::status(oip.regions(), &region)?;
    Ok(answer(&regions.iter().map(written::Region::from).collect::<Vec<_>>()))
}

async fn register(
    State(oip): State<Oip>,
    target: Targeted,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InferError> {
    let Target { model: _, region } = path(target)?;
    let asked = object(&oip, &headers, body).await?;
    let key = asked.get("key").and_then(Value::as_str);
    let key = key.ok_or_else(|| InferError::input("key", "must be the name of a shared memory object"))?;
    let byte_size = whole(&asked, "byte_size")?.unwrap_or(0);
    let offset = whole(&asked, "offset")?.unwrap_or(0);
    memory::register(oip.regions(), &region, key, offset, byte_size)?;
    Ok(Json(json!({})).into_response())
}

fn whole(asked: &Map<String, Value>, name: &str) -> Result<Option<u64>, InferError> {
    let read = |value: &Value| {
        value.as_u64().ok_or_else(|| InferError::input(name, "must be a whole number, not negative"))
    };
    asked.get(name).map(read).transpose()
}

async fn unregister(
    State(oip): State<Oip>,
    target: Targeted,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InferError> {
    let Target { model: _, region } = path(target)?;
    object(&oip, &headers, body).await?;
    memory::unregister(oip.regions(), &region);
    Ok(Json(json!({})).into_response())
}
