//! The AiInference service: typed questions to the model families over gRPC.
//!
//! A handler turns the message into a question ([`read`]), the family into tensors, the handle runs them, the family
//! reads the answer and [`write`] turns it into a message. Every answer names its model version, interval,
//! explanation and safety verdict; what could not be answered is a warning, or an error when nothing could.

mod analyze;
mod asking;
mod family;
mod food;
mod health_score;
mod judge;
mod list;
mod named;
mod read;
pub mod replay;
mod sensor;
mod series;
mod stream;
mod text;
pub mod trace;
mod trend;
mod write;

use std::sync::{Arc, OnceLock};

use proto::manpasik::v1::{self as wire, ai_inference_service_server::AiInferenceService};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use self::trace::{Asks, Place, Trace};
use super::{caller, foods::Dishes};
use crate::{Handle, MeasurementSource};
pub(in crate::server) use read::invalid;
pub(in crate::server) use write::warning;

/// What every answer says about itself.
pub(in crate::server) const DISCLAIMER: &str =
    "Reference information, not a diagnosis. Ask a doctor before acting on it.";

/// The service. Clones share everything.
#[derive(Clone)]
pub struct AiService(Arc<Inner>);

struct Inner {
    handle: Handle,
    families: family::Families,
    measurements: OnceLock<Arc<dyn MeasurementSource>>,
    dishes: OnceLock<Dishes>,
    trace: OnceLock<Trace>,
    /// Photos being decoded.
    decoders: Arc<Semaphore>,
    /// Photos anywhere between arrival and answer.
    places: Semaphore,
    /// Series that are watched.
    watched: Arc<Semaphore>,
    /// Analysis streams, and those that broke off.
    streams: Arc<stream::Streams>,
}

impl AiService {
    /// The service over the models that `handle` reaches.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        let families = family::Families::default();
        let decoders = Arc::new(Semaphore::new(handle.limits().photo_decoders_max));
        let places = Semaphore::new(handle.limits().photos_max);
        let watched = Arc::new(Semaphore::new(handle.limits().series_watched_max));
        let (measurements, dishes, trace) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let streams = Arc::default();
        Self(Arc::new(Inner {
            handle,
            families,
            measurements,
            dishes,
            trace,
            decoders,
            places,
            watched,
            streams,
        }))
    }

    /// Tells where measurement ids resolve; the first call counts. Without one, ids are refused.
    pub fn set_measurements(&self, source: Arc<dyn MeasurementSource>) {
        let _ = self.0.measurements.set(source);
    }

    /// Tells where answers are traced; the first call counts. Without one, answers have no identifier.
    pub fn set_trace(&self, trace: Trace) {
        let _ = self.0.trace.set(trace);
    }

    /// Tells where enrolled dishes are; the first call counts.
    pub(in crate::server) fn set_dishes(&self, dishes: Dishes) {
        let _ = self.0.dishes.set(dishes);
    }

    /// Where enrolled dishes are.
    pub(in crate::server) fn dishes(&self) -> Result<&Dishes, Status> {
        self.0.dishes()
    }
}

impl Inner {
    fn place<Q: Asks>(&self, rpc: &'static str, request: &Q) -> Option<Place<'_, Q>> {
        self.trace.get()?.place(rpc, request)
    }

    fn dishes(&self) -> Result<&Dishes, Status> {
        self.dishes
            .get()
            .ok_or_else(|| Status::unavailable("no vector store is connected, so no dish is known"))
    }
}

#[tonic::async_trait]
impl AiInferenceService for AiService {
    type StreamAnalysisStream = stream::Answers;
    type StreamSeriesStream = series::Answers;

    async fn analyze_measurement(
        &self,
        request: Request<wire::AnalyzeMeasurementRequest>,
    ) -> Result<Response<wire::AnalyzeMeasurementResponse>, Status> {
        self.ask("AnalyzeMeasurement", request, |inner, q| async move { inner.analyze(q).await }).await
    }

    async fn get_health_score(
        &self,
        request: Request<wire::GetHealthScoreRequest>,
    ) -> Result<Response<wire::GetHealthScoreResponse>, Status> {
        self.ask("GetHealthScore", request, |inner, q| async move { inner.health_score(q).await }).await
    }

    async fn predict_trend(
        &self,
        request: Request<wire::PredictTrendRequest>,
    ) -> Result<Response<wire::PredictTrendResponse>, Status> {
        self.ask("PredictTrend", request, |inner, q| async move { inner.trend(q).await }).await
    }

    async fn get_model_info(
        &self,
        request: Request<wire::GetModelInfoRequest>,
    ) -> Result<Response<wire::GetModelInfoResponse>, Status> {
        self.0.model_info(&request.into_inner()).map(Response::new)
    }

    async fn list_models(
        &self,
        request: Request<wire::ListModelsRequest>,
    ) -> Result<Response<wire::ListModelsResponse>, Status> {
        self.0.list(&request.into_inner()).map(Response::new)
    }

    async fn stream_analysis(
        &self,
        request: Request<Streaming<wire::StreamAnalysisRequest>>,
    ) -> Result<Response<Self::StreamAnalysisStream>, Status> {
        let caller = caller::of_metadata(request.metadata());
        Ok(Response::new(stream::answers(Arc::clone(&self.0), request.into_inner(), caller)))
    }

    async fn stream_series(
        &self,
        request: Request<Streaming<wire::StreamSeriesRequest>>,
    ) -> Result<Response<Self::StreamSeriesStream>, Status> {
        let place = self.0.watched.clone().try_acquire_owned();
        let place =
            place.map_err(|_| Status::resource_exhausted("too many series are watched; try again later"))?;
        Ok(Response::new(series::answers(place, request.into_inner())))
    }

    async fn estimate_food_calories(
        &self,
        request: Request<wire::EstimateFoodCaloriesRequest>,
    ) -> Result<Response<wire::EstimateFoodCaloriesResponse>, Status> {
        self.ask("EstimateFoodCalories", request, |inner, q| async move { inner.food(q).await }).await
    }
}
