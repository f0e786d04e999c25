//! How one service reaches another: a generated client over this type calls a server in the same process, without a
//! socket, or a channel to another machine. The caller cannot tell which.

use std::convert::Infallible;

use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::Channel;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// Something that answers gRPC requests; cheap to clone, and what generated clients are made over.
pub type GrpcService = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, TransportError>;

/// A request that never reached its server.
#[derive(Debug, thiserror::Error)]
#[error("the request did not reach its server")]
pub struct TransportError(#[source] tonic::transport::Error);

/// Reaches a generated server (`…ServiceServer::new(…)`) in this process.
pub fn in_process<S>(server: S) -> GrpcService
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(server.map_err(|never| match never {}))
}

/// Reaches a server over the network.
#[must_use]
pub fn remote(channel: Channel) -> GrpcService {
    BoxCloneSyncService::new(channel.map_err(TransportError))
}

/// The same server, told with every request who asks: `header` is what stands in `authorization`.
#[must_use]
pub fn bearing(server: GrpcService, header: http::HeaderValue) -> GrpcService {
    BoxCloneSyncService::new(server.map_request(move |mut request: http::Request<Body>| {
        request.headers_mut().insert(http::header::AUTHORIZATION, header.clone());
        request
    }))
}
