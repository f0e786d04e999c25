//! The REST of MLflow, so that its own clients log runs, upload models and move aliases here unchanged.
//!
//! A face and nothing more: a call's query, path and JSON body become one set of arguments, a function of the registry
//! is called, and what it says is written in MLflow's shapes. Fields this server does not know are ignored, as
//! MLflow's own server does. Paths and shapes are those of MLflow 3 (`mlflow/protos/service.proto`,
//! `model_registry.proto`); clients of MLflow 2 use a part of them.

mod args;
mod artifacts;
mod experiments;
mod fault;
mod identity;
mod logged;
mod models;
mod runs;
mod source;
mod versions;
mod write;

use std::{pin::Pin, sync::Arc};

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawPathParams, RawQuery},
    response::{IntoResponse, Response},
    routing::{MethodFilter, get, on},
};
use registry::{Act, Principal, Registry};
use serde_json::Value;
use tower_http::timeout::RequestBodyTimeoutLayer;

pub(crate) use self::identity::{NOBODY, holder, token};
use self::{args::Args, fault::Fault};
use crate::app::recorder::now_ms;

/// Largest JSON body; clients send at most a thousand metrics at a time.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Longest silence while a body arrives.
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// Where MLflow's clients look.
const ROOT: &str = "/api/2.0";

/// A call to be answered.
pub(crate) struct Call {
    registry: Registry,
    caller: Principal,
    args: Args,
    now_ms: i64,
}

impl Call {
    /// The caller acts, now, for the reason it gives.
    fn act(&self) -> Act<'_> {
        Act { by: &self.caller, at_ms: self.now_ms, why: "" }
    }
}

/// What a call gives: JSON, or why not.
type Answer = Result<Value, Fault>;
type Running = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// One route: method, path below the root, and the function that answers.
pub(crate) struct Route {
    method: MethodFilter,
    path: &'static str,
    run: fn(Call) -> Running,
}

/// A route of an async function.
macro_rules! route {
    ($method:ident $path:literal => $function:path) => {
        $crate::mlflow::Route {
            method: axum::routing::MethodFilter::$method,
            path: $path,
            run: |call| Box::pin($function(call)),
        }
    };
}
use route;

/// Every route of MLflow that this server answers.
pub(crate) fn router(registry: &Registry) -> Router {
    let shared = Arc::new(registry.clone());
    let mut router = Router::new();
    let all = [experiments::ROUTES, runs::ROUTES, logged::ROUTES, models::ROUTES, versions::ROUTES];
    for route in all.into_iter().flatten() {
        let (registry, run) = (Arc::clone(&shared), route.run);
        let handler = move |caller: Option<Extension<Principal>>, path, query, body| {
            answer(Arc::clone(&registry), run, caller, path, query, body)
        };
        router = router.route(&format!("{ROOT}{}", route.path), on(route.method, handler));
    }
    router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .merge(artifacts::router(ROOT, Arc::clone(&shared)))
        .layer(axum::middleware::from_fn_with_state(shared, identity::identify))
        .route("/health", get(|| std::future::ready("OK")))
        .route("/version", get(|| std::future::ready(env!("CARGO_PKG_VERSION"))))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
}

async fn answer(
    registry: Arc<Registry>,
    run: fn(Call) -> Running,
    caller: Option<Extension<Principal>>,
    path: RawPathParams,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let args = match Args::read(query.as_deref().unwrap_or_default(), &path, &body) {
        Ok(args) => args,
        Err(fault) => return fault.into_response(),
    };
    let call =
        Call { registry: Registry::clone(&registry), caller: principal(caller), args, now_ms: now_ms() };
    match run(call).await {
        Ok(value) => axum::Json(value).into_response(),
        Err(fault) => fault.into_response(),
    }
}

/// Who calls: whom the token named, or whoever sits here.
pub(crate) fn principal(caller: Option<Extension<Principal>>) -> Principal {
    caller.map_or_else(Principal::local, |Extension(principal)| principal)
}
