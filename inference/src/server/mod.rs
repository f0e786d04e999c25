//! The wire: everything that speaks gRPC or HTTP. Handlers translate and call the handle.

pub mod ai;
mod caller;
mod encoding;
pub mod foods;
mod front;
pub mod guard;
pub mod health;
mod inplace;
pub mod knowledge;
pub mod metrics;
pub mod oip;
mod oversize;
pub mod reflection;
mod requests;
mod stored;
mod terms;
pub mod tls;
mod transport;
pub mod vectors;

use axum::Router;
use tonic::service::Routes;

use self::oip::Oip;
use crate::Handle;
pub use front::Http;
pub use requests::REQUESTS;
pub use transport::{Port, serve_grpc, serve_http};

/// Services whose state the health service tells; all of them are up when inference is.
const SERVICES: [&str; 6] = [
    "inference.GRPCInferenceService",
    "manpasik.v1.AiInferenceService",
    "manpasik.v1.MeasurementService",
    "manpasik.v1.FoodService",
    "manpasik.v1.KnowledgeService",
    "manpasik.v1.VectorService",
];

/// What every gRPC port carries beside the Open Inference Protocol: health and reflection. Further
/// services are added by the composition root.
pub fn grpc_routes(handle: &Handle) -> Routes {
    let routes = Routes::new(health::grpc(handle.clone(), &SERVICES));
    match reflection::services() {
        Ok((v1, v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        Err(error) => {
            tracing::error!(%error, "no reflection: the descriptors cannot be read");
            routes
        }
    }
}

/// What every HTTP port carries: the Open Inference Protocol, metrics, health and readiness.
pub fn http_routes(oip: impl Into<Oip>) -> Router {
    let oip = oip.into();
    let metrics = metrics::rest(oip.handle().clone());
    oip::rest(oip).merge(metrics)
}
