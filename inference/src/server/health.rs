//! `grpc.health.v1`: what orchestrators ask. The answer is computed from readiness, so there
//! is no second state to keep in step.

use std::{pin::Pin, time::Duration};

use futures::{Stream, stream};
use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

use crate::Handle;

/// How often a watcher's answer is computed anew.
const WATCH_STEP: Duration = Duration::from_millis(500);

/// The service; see [`grpc`].
#[derive(Debug)]
pub struct HealthService {
    handle: Handle,
    services: Vec<String>,
}

/// The health service. It knows the empty name, which is the whole server, and `services`,
/// the full names of the services mounted beside it; all share one state.
pub fn grpc(handle: Handle, services: &[&str]) -> HealthServer<HealthService> {
    let services = services.iter().map(|name| (*name).to_owned()).collect();
    HealthServer::new(HealthService { handle, services })
}

impl HealthService {
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.iter().any(|known| known == service)
    }
}

fn status(handle: &Handle) -> HealthCheckResponse {
    let ready = handle.readiness().ready;
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

#[async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.into_inner().service {
            service if self.knows(&service) => Ok(Response::new(status(&self.handle))),
            service => Err(Status::not_found(format!("service '{service}' is not known"))),
        }
    }

    /// Tells every change of state. An unknown service is told as such, as the protocol asks.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.knows(&request.into_inner().service);
        let handle = self.handle.clone();
        let changes = stream::unfold(None, move |last: Option<i32>| {
            let handle = handle.clone();
            async move {
                loop {
                    let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
                    let now = if known { status(&handle) } else { unknown };
                    if last != Some(now.status) {
                        return Some((Ok(now), Some(now.status)));
                    }
                    tokio::time::sleep(WATCH_STEP).await;
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
