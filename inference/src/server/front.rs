//! The ports: the Open Inference Protocol goes straight to its service, over HTTP its inference does, and everything else
//! goes to the router.
//!
//! A router boxes and clones for every request. Beside a model of a few microseconds that is a good part
//! of the answer, so what carries such models is reached without it.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{BoxError, Router};
use bytes::Bytes;
use hyper::{
    Method,
    body::{Body, Incoming},
    header,
    http::{Request, Response},
    service::Service,
};
use hyper_util::service::TowerToHyperService;
use proto::inference::grpc_inference_service_server::{GrpcInferenceServiceServer, SERVICE_NAME};
use tonic::{body::Body as GrpcBody, codegen::BoxFuture, service::Routes};
use tower::ServiceExt;

use super::{
    guard::{Answering, Guard, answering},
    oip::{self, Oip, OipService},
    oversize,
};

/// See the module. A clone serves one connection.
#[derive(Clone)]
pub(super) struct Front {
    oip: GrpcInferenceServiceServer<OipService>,
    others: Router,
    guard: Option<Arc<dyn Guard>>,
}

impl Front {
    /// The Open Inference Protocol, and `others`; behind `guard`, where there is one.
    pub(super) fn new(oip: Oip, others: Routes, guard: Option<Arc<dyn Guard>>) -> Self {
        Self { oip: oip::grpc(oip), others: others.prepare().into_axum_router(), guard }
    }

    fn answer(&self, request: Request<Incoming>) -> BoxFuture<Response<GrpcBody>, Infallible> {
        if is_oip(request.uri().path()) {
            return tower::Service::call(&mut self.oip.clone(), request);
        }
        let answer = self.others.clone().oneshot(request.map(axum::body::Body::new));
        Box::pin(async { answer.await.map(|response| response.map(GrpcBody::new)) })
    }

    fn guarded(
        &self,
        guard: Arc<dyn Guard>,
        request: Request<Incoming>,
    ) -> BoxFuture<Response<GrpcBody>, Infallible> {
        let front = self.clone();
        Box::pin(async move {
            match guard.admit(request.uri().path(), request.headers()).await {
                Ok(Some(caller)) => {
                    let response = answering(Arc::clone(&caller), front.answer(request)).await?;
                    Ok(response.map(|body| GrpcBody::new(Answering::new(caller, body))))
                }
                Ok(None) => front.answer(request).await,
                Err(refused) => Ok(refused.into_http()),
            }
        })
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<GrpcBody>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let field = oversize::field(request.uri().path());
        let inner = match &self.guard {
            None => self.answer(request),
            Some(guard) => self.guarded(Arc::clone(guard), request),
        };
        Answer { inner, field }
    }
}

/// The answer to one request; a refusal of the library is put into our words.
pub(super) struct Answer {
    inner: BoxFuture<Response<GrpcBody>, Infallible>,
    field: &'static str,
}

impl Future for Answer {
    type Output = Result<Response<GrpcBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let field = self.field;
        self.inner.as_mut().poll(context).map_ok(|response| oversize::translated(response, field))
    }
}

/// What an HTTP port answers with. A clone serves one connection.
#[derive(Clone)]
pub struct Http {
    routes: TowerToHyperService<Router>,
    /// Where inference goes past the router.
    oip: Option<Oip>,
}

impl From<Router> for Http {
    fn from(routes: Router) -> Self {
        Self { routes: TowerToHyperService::new(routes), oip: None }
    }
}

impl Http {
    /// `routes`, of which those of inference do just what `oip` does: nobody is stopped at them.
    pub fn open(routes: Router, oip: Oip) -> Self {
        Self { oip: Some(oip), ..Self::from(routes) }
    }
}

impl<B> Service<Request<B>> for Http
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<axum::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        match self.oip.as_ref().filter(|_| is_inference(&request)) {
            Some(oip) => {
                let oip = oip.clone();
                Box::pin(async move { Ok(oip::direct(oip, request.map(axum::body::Body::new)).await) })
            }
            None => Box::pin(self.routes.call(request)),
        }
    }
}

/// Whether `request` needs nothing of the router: its path is plain, and it does not ask for a compressed answer.
fn is_inference<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST
        && !request.headers().contains_key(header::ACCEPT_ENCODING)
        && oip::target(request.uri().path()).is_some()
}

/// Whether `path` is `/<service>/<method>` of the Open Inference Protocol.
fn is_oip(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME));
    service.is_some_and(|method| method.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_methods_of_the_protocol_take_the_short_way() {
        assert!(is_oip("/inference.GRPCInferenceService/ModelInfer"));
        assert!(is_oip("/inference.GRPCInferenceService/NoSuchMethod"));
        assert!(!is_oip("/inference.GRPCInferenceServiceX/ModelInfer"));
        assert!(!is_oip("/manpasik.v1.AiInferenceService/ListModels"));
        assert!(!is_oip("inference.GRPCInferenceService/ModelInfer"));
    }

    #[test]
    fn only_plain_inference_goes_past_the_router() {
        let of = |method: Method, path: &str| {
            Request::builder().method(method).uri(path).body(()).expect("a request")
        };
        assert!(is_inference(&of(Method::POST, "/v2/models/m/infer")));
        assert!(is_inference(&of(Method::POST, "/v2/models/m/versions/1/infer?x=1")));
        assert!(!is_inference(&of(Method::GET, "/v2/models/m/infer")));
        for path in
            ["/v2/models/a%20b/infer", "/v2/models/m/ready", "/v2/models//infer", "/v2/models/m/n/infer"]
        {
            assert!(!is_inference(&of(Method::POST, path)), "{path}");
        }
        let mut compressed = of(Method::POST, "/v2/models/m/infer");
        compressed.headers_mut().insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("gzip"));
        assert!(!is_inference(&compressed));
    }
}
