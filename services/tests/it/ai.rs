//! An inference server that answers by simple arithmetic, and can be told to fail in every way a real one can.

use std::sync::{Arc, Mutex};

use proto::manpasik::v1::ai_inference_service_server::{AiInferenceService, AiInferenceServiceServer};
use proto::manpasik::v1::analyze_measurement_request::Source;
use proto::manpasik::v1::stream_analysis_request::Message as Asked;
use proto::manpasik::v1::stream_analysis_response::Message as Answered;
use proto::manpasik::v1::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The version every answer names.
pub(crate) const VERSION: &str = "MPS-TEST-v1.0.0-FP32";

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Sound,
    /// Refuses every call for now.
    Down,
    /// Refuses every call for ever.
    Refuses,
    /// Takes packets and answers none.
    Silent,
    /// Answers without naming a model version or a unit.
    Nameless,
    /// Answers the packets in the wrong order.
    Disordered,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct TestAi {
    mood: Arc<Mutex<Mood>>,
    pub(crate) asked: Arc<Mutex<Vec<AnalyzeMeasurementRequest>>>,
}

impl TestAi {
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().expect("not poisoned") = mood;
    }

    pub(crate) fn server(&self) -> AiInferenceServiceServer<Self> {
        AiInferenceServiceServer::new(self.clone())
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().expect("not poisoned")
    }

    fn admit(&self) -> Result<Mood, Status> {
        match self.mood() {
            Mood::Down => Err(Status::unavailable("the test server is down")),
            Mood::Refuses => Err(Status::invalid_argument("no model for this cartridge")),
            mood @ (Mood::Sound | Mood::Silent | Mood::Nameless | Mood::Disordered) => Ok(mood),
        }
    }
}

fn model(mood: Mood) -> ModelReference {
    let version = if mood == Mood::Nameless { String::new() } else { VERSION.to_owned() };
    ModelReference { name: "test".to_owned(), version, ..Default::default() }
}

/// The mean stands for the concentration; what matters here is that it travels unchanged.
pub(crate) fn predicted(channels: &[f32]) -> f64 {
    channels.iter().map(|&value| f64::from(value)).sum::<f64>() / channels.len() as f64
}

#[tonic::async_trait]
impl AiInferenceService for TestAi {
    type StreamAnalysisStream = ReceiverStream<Result<StreamAnalysisResponse, Status>>;
    type StreamSeriesStream = ReceiverStream<Result<StreamSeriesResponse, Status>>;

    async fn analyze_measurement(
        &self,
        request: Request<AnalyzeMeasurementRequest>,
    ) -> Result<Response<AnalyzeMeasurementResponse>, Status> {
        let mood = self.admit()?;
        if mood == Mood::Silent {
            return std::future::pending().await;
        }
        let request = request.into_inner();
        self.asked.lock().expect("not poisoned").push(request.clone());
        let Some(Source::Channels(channels)) = request.source else {
            return Err(Status::internal("no channels"));
        };
        let quantity = Quantity {
            value: predicted(&channels.values),
            unit: "mg/dL".to_owned(),
            loinc: "2345-7".to_owned(),
            name: if channels.cartridge_code == "01:01" { "glucose" } else { "uric_acid" }.to_owned(),
        };
        let interval = Interval { low: quantity.value - 1.0, high: quantity.value + 1.0, coverage: 0.9 };
        let result = BiomarkerResult {
            quantity: Some(quantity),
            interval: Some(interval),
            model: Some(model(mood)),
            ..Default::default()
        };
        let disclaimer = "for tests".to_owned();
        Ok(Response::new(AnalyzeMeasurementResponse {
            biomarkers: vec![result],
            disclaimer,
            ..Default::default()
        }))
    }

    async fn stream_analysis(
        &self,
        request: Request<Streaming<StreamAnalysisRequest>>,
    ) -> Result<Response<Self::StreamAnalysisStream>, Status> {
        let mood = self.admit()?;
        let mut packets = request.into_inner();
        let (out, answers) = mpsc::channel(16);
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = packets.message().await {
                let message = match request.message {
                    _ if server.mood() == Mood::Silent => continue,
                    Some(Asked::Start(_)) => {
                        let (model, threshold) = (Some(model(mood)), 0.99);
                        let started = StreamStarted { model, threshold, coverage: 0.9, ..Default::default() };
                        Answered::Started(started)
                    }
                    Some(Asked::Packet(packet)) if server.mood() == Mood::Down => {
                        let lost = format!("lost at packet {}", packet.sequence);
                        let _ = out.send(Err(Status::unavailable(lost))).await;
                        return;
                    }
                    Some(Asked::Packet(StreamPacket { sequence, channels })) => {
                        let sequence = if mood == Mood::Disordered { sequence + 1 } else { sequence };
                        let score = predicted(&channels) as f32;
                        Answered::Analysis(PacketAnalysis { sequence, score, ..Default::default() })
                    }
                    None => continue,
                };
                if out.send(Ok(StreamAnalysisResponse { message: Some(message) })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn stream_series(
        &self,
        _: Request<Streaming<StreamSeriesRequest>>,
    ) -> Result<Response<Self::StreamSeriesStream>, Status> {
        Err(Status::unimplemented("not used"))
    }

    async fn get_health_score(
        &self,
        _: Request<GetHealthScoreRequest>,
    ) -> Result<Response<GetHealthScoreResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn predict_trend(
        &self,
        _: Request<PredictTrendRequest>,
    ) -> Result<Response<PredictTrendResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn get_model_info(
        &self,
        _: Request<GetModelInfoRequest>,
    ) -> Result<Response<GetModelInfoResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn list_models(
        &self,
        _: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn estimate_food_calories(
        &self,
        _: Request<EstimateFoodCaloriesRequest>,
    ) -> Result<Response<EstimateFoodCaloriesResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}
