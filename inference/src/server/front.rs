//! The gRPC port: the Open Inference Protocol goes straight to its service, everything else to the router.
//!
//! A router boxes and clones for every request. Beside a model of a few microseconds that is a good part
//! of the answer, so the one service that carries such models is reached without it.

use std::{convert::Infallible, pin::Pin};

use axum::Router;
use hyper::{
    body::Incoming,
    http::{Request, Response},
    service::Service,
};
use proto::inference::grpc_inference_service_server::{GrpcInferenceServiceServer, SERVICE_NAME};
use tonic::{body::Body, service::Routes};
use tower::ServiceExt;

use super::{
    oip::{self, OipService},
    oversize,
};
use crate::Handle;

/// See the module. A clone serves one connection.
#[derive(Clone)]
pub(super) struct Front {
    oip: GrpcInferenceServiceServer<OipService>,
    others: Router,
}

impl Front {
    /// The Open Inference Protocol over `handle`, and `others`.
    pub(super) fn new(handle: Handle, others: Routes) -> Self {
        Self { oip: oip::grpc(handle), others: others.prepare().into_axum_router() }
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let field = oversize::field(path);
        if is_oip(path) {
            let answer = tower::Service::call(&mut self.oip.clone(), request);
            Box::pin(async move { answer.await.map(|response| oversize::translated(response, field)) })
        } else {
            let answer = self.others.clone().oneshot(request.map(axum::body::Body::new));
            Box::pin(async move {
                answer.await.map(|response| oversize::translated(response.map(Body::new), field))
            })
        }
    }
}

/// Whether `path` is `/<service>/<method>` of the Open Inference Protocol.
fn is_oip(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME));
    service.is_some_and(|method| method.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::is_oip;

    #[test]
    fn only_methods_of_the_protocol_take_the_short_way() {
        assert!(is_oip("/inference.GRPCInferenceService/ModelInfer"));
        assert!(is_oip("/inference.GRPCInferenceService/NoSuchMethod"));
        assert!(!is_oip("/inference.GRPCInferenceServiceX/ModelInfer"));
        assert!(!is_oip("/manpasik.v1.AiInferenceService/ListModels"));
        assert!(!is_oip("inference.GRPCInferenceService/ModelInfer"));
    }
}
