//! A traced request answered again, by whatever models serve here now.

use prost::Message;
use tonic::Status;

use super::{
    AiService, named,
    trace::{Answers, Part},
    wire,
};

/// An answer, whole and by model.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The encoded message, without an identifier.
    pub answer: Vec<u8>,
    /// What each model said.
    pub parts: Vec<Part>,
}

impl AiService {
    /// Answers an encoded request of `rpc` as the service would.
    ///
    /// # Errors
    /// A method that is not traced, bytes that are no request, or what the service says to it.
    pub async fn replay(&self, rpc: &str, request: &[u8]) -> Result<Replayed, Status> {
        named::about(named::kept(request), self.again(rpc, request)).await.0
    }

    async fn again(&self, rpc: &str, request: &[u8]) -> Result<Replayed, Status> {
        match rpc {
            "AnalyzeMeasurement" => Ok(replayed(&self.0.analyze(read(request)?).await?)),
            "GetHealthScore" => Ok(replayed(&self.0.health_score(read(request)?).await?)),
            "PredictTrend" => Ok(replayed(&self.0.trend(read(request)?).await?)),
            "EstimateFoodCalories" => Ok(replayed(&self.0.food(read(request)?).await?)),
            _ => Err(unknown(rpc)),
        }
    }
}

/// An encoded answer of `rpc`, read again.
///
/// # Errors
/// A method that is not traced, or bytes that are no answer.
pub fn told(rpc: &str, answer: &[u8]) -> Result<Replayed, Status> {
    match rpc {
        "AnalyzeMeasurement" => Ok(replayed(&read::<wire::AnalyzeMeasurementResponse>(answer)?)),
        "GetHealthScore" => Ok(replayed(&read::<wire::GetHealthScoreResponse>(answer)?)),
        "PredictTrend" => Ok(replayed(&read::<wire::PredictTrendResponse>(answer)?)),
        "EstimateFoodCalories" => Ok(replayed(&read::<wire::EstimateFoodCaloriesResponse>(answer)?)),
        _ => Err(unknown(rpc)),
    }
}

fn replayed<A: Answers>(answer: &A) -> Replayed {
    Replayed { answer: answer.encode_to_vec(), parts: answer.parts() }
}

fn read<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::data_loss(format!("the payload cannot be read: {error}")))
}

fn unknown(rpc: &str) -> Status {
    Status::unimplemented(format!("answers of `{rpc}` are not traced"))
}
