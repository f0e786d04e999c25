//! The yardstick: a bare tonic server, with the library's own defaults throughout, that answers `ModelInfer`
//! with the head of its first input and does nothing else.

use std::{
    convert::Infallible,
    net::SocketAddr,
    task::{Context as Task, Poll},
};

use anyhow::Context;
use proto::inference::{
    ModelInferRequest, ModelInferResponse, grpc_inference_service_server::SERVICE_NAME,
    model_infer_response::InferOutputTensor,
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::server::TcpIncoming,
};
use tonic_prost::ProstCodec;

/// Values in an answer: as many as the tiny model under test gives.
const OUTPUTS: usize = 30;

/// Serves the echo on a free loopback port until the process ends; `ready` is told the address.
pub async fn serve(ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot bind a loopback port")?;
    ready(listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(Echo)
        .serve_with_incoming(incoming)
        .await
        .context("the echo server stopped")
}

/// The service, without the generated code around it: that brings a codec of our own.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(Echo, request).await) })
    }
}

impl UnaryService<ModelInferRequest> for Echo {
    type Response = ModelInferResponse;
    type Future = BoxFuture<Response<ModelInferResponse>, Status>;

    fn call(&mut self, request: Request<ModelInferRequest>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(echo(request.into_inner()))) })
    }
}

fn echo(request: ModelInferRequest) -> ModelInferResponse {
    let input = request.raw_input_contents.into_iter().next().unwrap_or_default();
    let head = input.slice(..input.len().min(OUTPUTS * 4));
    let output = InferOutputTensor {
        name: "output".into(),
        datatype: "FP32".into(),
        shape: vec![1, (head.len() / 4) as i64],
        ..Default::default()
    };
    ModelInferResponse {
        model_name: request.model_name,
        model_version: request.model_version,
        id: request.id,
        outputs: vec![output],
        raw_output_contents: vec![head],
        ..Default::default()
    }
}
