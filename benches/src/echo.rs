//! The yardstick: a bare tonic server of the same protocol that answers `ModelInfer` with
//! the head of its first input and does nothing else.

use std::net::SocketAddr;

use anyhow::Context;
use proto::inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, RepositoryIndexRequest, RepositoryIndexResponse, ServerLiveRequest,
    ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
    model_infer_response::InferOutputTensor,
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, async_trait, transport::server::TcpIncoming};

/// Values in an answer: as many as the tiny model under test gives.
const OUTPUTS: usize = 30;

struct Echo;

/// Serves the echo on a free loopback port until the process ends; `ready` is told the address.
pub async fn serve(ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot bind a loopback port")?;
    ready(listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(GrpcInferenceServiceServer::new(Echo))
        .serve_with_incoming(incoming)
        .await
        .context("the echo server stopped")
}

#[async_trait]
impl GrpcInferenceService for Echo {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: true }))
    }

    async fn model_ready(
        &self,
        _: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        Ok(Response::new(ModelReadyResponse { ready: true }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse { name: "echo".into(), ..Default::default() }))
    }

    async fn model_metadata(
        &self,
        _: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        Err(Status::not_found("the echo has no model"))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let request = request.into_inner();
        let input = request.raw_input_contents.into_iter().next().unwrap_or_default();
        let head = input.slice(..input.len().min(OUTPUTS * 4));
        let output = InferOutputTensor {
            name: "output".into(),
            datatype: "FP32".into(),
            shape: vec![1, (head.len() / 4) as i64],
            ..Default::default()
        };
        Ok(Response::new(ModelInferResponse {
            model_name: request.model_name,
            model_version: request.model_version,
            id: request.id,
            outputs: vec![output],
            raw_output_contents: vec![head],
            ..Default::default()
        }))
    }

    async fn repository_index(
        &self,
        _: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        Ok(Response::new(RepositoryIndexResponse::default()))
    }
}
