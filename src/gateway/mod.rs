//! REST for every typed service: canonical protocol-buffer JSON in and out, one line a route.
//!
//! The gateway is a client of the services like any other: a body becomes the request message,
//! the answer or the status becomes JSON. So gRPC and REST cannot drift apart, and neither
//! inference nor the services know of JSON.

mod answer;
mod image;
mod near;
mod openapi;
mod routes;
mod vectors;

use std::time::Duration;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::Method,
    response::{IntoResponse, Response},
};
use proto::manpasik::v1::{
    ai_inference_service_client::AiInferenceServiceClient, food_service_client::FoodServiceClient,
    knowledge_service_client::KnowledgeServiceClient, measurement_service_client::MeasurementServiceClient,
    vector_service_client::VectorServiceClient,
};
use serde_json::{Map, Value};
use services::kernel::GrpcService;
use tonic::Status;
use tower_http::timeout::RequestBodyTimeoutLayer;

pub(crate) use self::answer::{Body, Failure, read};

/// Largest body: a photo of 10 MB and its JSON around it as base64.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Longest silence while a body arrives.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Clients of the services behind the gateway.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) ai: AiInferenceServiceClient<GrpcService>,
    pub(crate) knowledge: KnowledgeServiceClient<GrpcService>,
    pub(crate) food: FoodServiceClient<GrpcService>,
    /// Absent when the service is not mounted in this process.
    pub(crate) measurement: Option<MeasurementServiceClient<GrpcService>>,
    pub(crate) vectors: VectorServiceClient<GrpcService>,
}

/// Service and method of the RPC behind a route, if there is one.
pub(crate) fn rpc(path: &str, method: &Method) -> Option<(&'static str, &'static str)> {
    let fits =
        |route: &routes::Route| route.path == path && method.as_str().eq_ignore_ascii_case(route.method);
    routes::all().into_iter().find(fits)?.rpc.rsplit_once('.')
}

/// A refusal in the words of the gateway.
pub(crate) fn refusal(status: Status) -> Response {
    Failure(status).into_response()
}

/// Every route, and their description at `/openapi.json` beside that of `others`: paths and schemas.
pub(crate) fn router(clients: Clients, others: (Map<String, Value>, Map<String, Value>)) -> Router {
    let described = openapi::with(openapi::document(&routes::all()), others);
    let mut router = routes::ai(clients.ai)
        .merge(near::knowledge(clients.knowledge))
        .merge(near::foods(clients.food))
        .merge(vectors::routes(clients.vectors));
    if let Some(measurement) = clients.measurement {
        router = router.merge(routes::measurement(measurement));
    }
    router
        .route("/openapi.json", axum::routing::get(move || std::future::ready(axum::Json(described.clone()))))
        .fallback(answer::nowhere)
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
}
