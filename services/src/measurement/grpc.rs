//! The gRPC face: each call reads its request, asks the core and writes its answer.

use std::sync::Arc;

use proto::manpasik::v1::measurement_service_server::MeasurementService;
use proto::manpasik::v1::{
    EndSessionRequest, EndSessionResponse, FindSimilarSessionsRequest, FindSimilarSessionsResponse,
    GetMeasurementHistoryRequest, GetMeasurementHistoryResponse, GetMeasurementRequest,
    GetMeasurementResponse, StartSessionRequest, StartSessionResponse, StreamMeasurementRequest,
};
use tonic::{Request, Response, Status, Streaming};

use super::calls::Core;
use super::stream::Answers;
use super::{convert, rules, similar, stream};

/// The gRPC face of the measurement service.
#[derive(Clone)]
pub struct MeasurementGrpc {
    core: Arc<Core>,
}

impl MeasurementGrpc {
    pub(super) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[tonic::async_trait]
impl MeasurementService for MeasurementGrpc {
    type StreamMeasurementStream = Answers;

    async fn start_session(
        &self,
        request: Request<StartSessionRequest>,
    ) -> Result<Response<StartSessionResponse>, Status> {
        let new = convert::new_session(request.into_inner(), &self.core.limits)?;
        let session = self.core.start(new).await?;
        Ok(Response::new(convert::started(&session, &self.core.limits)))
    }

    async fn stream_measurement(
        &self,
        request: Request<Streaming<StreamMeasurementRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Ok(Response::new(stream::open(Arc::clone(&self.core), request.into_inner())))
    }

    async fn end_session(
        &self,
        request: Request<EndSessionRequest>,
    ) -> Result<Response<EndSessionResponse>, Status> {
        let id = rules::session_id("session_id", &request.into_inner().session_id)?;
        let measurement = self.core.end(id).await?;
        Ok(Response::new(convert::ended(measurement)?))
    }

    async fn get_measurement(
        &self,
        request: Request<GetMeasurementRequest>,
    ) -> Result<Response<GetMeasurementResponse>, Status> {
        let id = rules::session_id("id", &request.into_inner().id)?;
        let measurement = Some(convert::measurement(self.core.finished(id).await?)?);
        let fingerprint = convert::wire_fingerprint(self.core.store.fingerprint(id).await?).into();
        Ok(Response::new(GetMeasurementResponse { measurement, fingerprint }))
    }

    async fn get_measurement_history(
        &self,
        request: Request<GetMeasurementHistoryRequest>,
    ) -> Result<Response<GetMeasurementHistoryResponse>, Status> {
        let query = convert::history_query(request.into_inner(), &self.core.limits)?;
        let page = self.core.history(&query).await?;
        Ok(Response::new(convert::history(page)?))
    }

    async fn find_similar_sessions(
        &self,
        request: Request<FindSimilarSessionsRequest>,
    ) -> Result<Response<FindSimilarSessionsResponse>, Status> {
        let query = similar::query(request.into_inner(), &self.core.limits)?;
        let found = self.core.similar(query).await?;
        Ok(Response::new(similar::answer(found)))
    }
}
