//! Files up and down. Bodies are streams: what is held in memory does not grow with the file.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query},
    http::{HeaderMap, HeaderValue, Request, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use registry::{Principal, Registry, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{fault::Fault, now_ms, principal, write};

/// The routes of the artifact tree, and the listing of a run's own.
pub(super) fn router(root: &str, registry: Arc<Registry>) -> Router {
    let tree = get(down).put(up).delete(remove);
    Router::new()
        .route(&format!("{root}/mlflow-artifacts/artifacts"), get(list))
        .route(&format!("{root}/mlflow-artifacts/artifacts/{{*path}}"), tree)
        .route(&format!("{root}/mlflow-artifacts/mpu/{{*path}}"), any(in_parts))
        .route(&format!("{root}/mlflow/artifacts/list"), get(of_run))
        .layer(DefaultBodyLimit::disable())
        .layer(Extension(registry))
}

/// Where a listing begins.
#[derive(Debug, Default, Deserialize)]
struct Place {
    #[serde(default)]
    path: String,
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    run_uuid: String,
}

/// What a folder holds, with names from `root` on.
pub(super) async fn files(registry: &Registry, folder: &str, root: &str) -> Result<Vec<Value>, Fault> {
    let skip = if root.is_empty() { 0 } else { root.len() + 1 };
    let entries = registry.artifacts().list(folder).await?;
    let file = |entry: registry::artifacts::Entry| {
        let path = entry.path.get(skip..).unwrap_or(&entry.path).to_owned();
        match entry.size {
            Some(size) => json!({"path": path, "is_dir": false, "file_size": size}),
            None => json!({"path": path, "is_dir": true}),
        }
    };
    // A file is no folder: its own path has nothing below the root.
    Ok(entries.into_iter().filter(|entry| entry.path.len() >= skip).map(file).collect())
}

async fn list(
    Extension(registry): Extension<Arc<Registry>>,
    Query(place): Query<Place>,
) -> Result<Json<Value>, Fault> {
    let folder = place.path.trim_matches('/');
    Ok(Json(json!({"files": files(&registry, folder, folder).await?})))
}

async fn of_run(
    Extension(registry): Extension<Arc<Registry>>,
    Query(place): Query<Place>,
) -> Result<Json<Value>, Fault> {
    let id = if place.run_id.is_empty() { &place.run_uuid } else { &place.run_id };
    let run = registry.runs().get(id).await?;
    let root = write::run_folder(&run);
    let below = place.path.trim_matches('/');
    let folder = if below.is_empty() { root.clone() } else { format!("{root}/{below}") };
    let files = files(&registry, &folder, &root).await?;
    Ok(Json(json!({"root_uri": write::uri(&root), "files": files})))
}

async fn up(
    Extension(registry): Extension<Arc<Registry>>,
    caller: Option<Extension<Principal>>,
    Path(path): Path<String>,
    request: Request<Body>,
) -> Result<Json<Value>, Fault> {
    may_write(caller)?;
    let expected = request.headers().get(header::CONTENT_LENGTH);
    let expected = expected.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = request.into_body().into_data_stream();
    registry.artifacts().put(&path, body, expected, now_ms()).await?;
    Ok(Json(json!({})))
}

async fn down(
    Extension(registry): Extension<Arc<Registry>>,
    Path(path): Path<String>,
) -> Result<Response, Fault> {
    let (file, bytes) = registry.artifacts().get(&path).await?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.size));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // The name is the client's own: it knows what it asked for, and a header would need escaping.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok((headers, Body::from_stream(bytes)).into_response())
}

async fn remove(
    Extension(registry): Extension<Arc<Registry>>,
    caller: Option<Extension<Principal>>,
    Path(path): Path<String>,
) -> Result<Json<Value>, Fault> {
    may_write(caller)?;
    registry.artifacts().delete(&path).await?;
    Ok(Json(json!({})))
}

async fn in_parts() -> Fault {
    Fault::unknown(
        "uploads in parts are not answered: files of any size are streamed in one PUT \
         (unset MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD)",
    )
}

fn may_write(caller: Option<Extension<Principal>>) -> Result<(), Fault> {
    let caller = principal(caller);
    if caller.is_any(&[Role::DataScientist, Role::Admin]) {
        return Ok(());
    }
    let text =
        format!("{} may not write artifacts: that takes the role data_scientist or admin", caller.name);
    Err(registry::RegistryError::Forbidden(text).into())
}
