//! `ModelStreamInfer`: requests of one stream run side by side and are answered in their order.
//!
//! A request that fails is answered in band and the stream goes on. One that finds its model overloaded waits for a
//! place instead, as long as its answer is worth something: meanwhile no more is read, so it is the client that
//! is slowed down. So many requests of a stream are under way at
//! once and no more are read; a stream on which nothing comes ends after a while, and at a shutdown when what it
//! has asked is answered.

use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use proto::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
    infer_parameter::ParameterChoice,
};
use tonic::Status;

use super::{Oip, infer, parameters::Parameter};
use crate::{InferError, Terms};

/// Asks for a mark on the last answer to a request.
const WANT_FINAL: &str = "triton_enable_empty_final_response";
/// The mark.
const FINAL: &str = "triton_final_response";
/// How often a silent stream looks whether the server is to stop.
const STEP: Duration = Duration::from_millis(250);

/// The answers to `requests`, all on `terms`.
pub(super) fn answers(
    oip: Oip,
    requests: impl Stream<Item = Result<ModelInferRequest, Status>> + Send + Unpin + 'static,
    terms: Terms,
) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> + Send {
    let window = oip.handle().limits().stream_window_max.max(1);
    let idle = oip.handle().limits().stream_idle();
    let waiting = stream::unfold((oip.clone(), requests), move |(oip, mut requests)| async move {
        let request = next(&oip, &mut requests, idle).await?;
        Some((request, (oip, requests)))
    });
    let answers = waiting.map(move |request| {
        let (oip, terms) = (oip.clone(), terms.clone());
        async move { Ok(answer(&oip, request?, terms).await) }
    });
    answers.buffered(window)
}

/// The next request; none at the end, after a long silence or when the server is to stop.
async fn next(
    oip: &Oip,
    requests: &mut (impl Stream<Item = Result<ModelInferRequest, Status>> + Unpin),
    idle: Duration,
) -> Option<Result<ModelInferRequest, Status>> {
    let since = Instant::now();
    while oip.handle().accepting() {
        match tokio::time::timeout(STEP, requests.next()).await {
            Ok(next) => return next,
            Err(_) if since.elapsed() >= idle => {
                let text = format!("no request came on the stream for {} s", idle.as_secs());
                return Some(Err(Status::deadline_exceeded(text)));
            }
            Err(_) => {}
        }
    }
    None
}

/// Runs `request`, again and again while its model is overloaded and its time is not over.
async fn patiently(
    oip: &Oip,
    request: ModelInferRequest,
    terms: Terms,
) -> Result<ModelInferResponse, InferError> {
    let patience = oip.handle().limits().deadline_max();
    let timeout = request.parameters.get("timeout").and_then(|given| Parameter::of_message(given).whole());
    let timeout = timeout.filter(|micros| *micros > 0).map_or(patience, Duration::from_micros);
    let own = Instant::now() + timeout.min(patience);
    let until = terms.deadline.map_or(own, |deadline| deadline.min(own));
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match infer::noted("ModelStreamInfer", oip, request.clone(), terms.clone()).await {
            Err(
                InferError::Overloaded { model: _, retry_after_ms }
                | InferError::TenantBusy { tenant: _, limit: _, retry_after_ms }
                | InferError::TenantFast { tenant: _, per_s: _, retry_after_ms },
            ) if Duration::from_millis(retry_after_ms) < left => {
                tokio::time::sleep(Duration::from_millis(retry_after_ms)).await;
            }
            result => return result,
        }
    }
}

async fn answer(oip: &Oip, request: ModelInferRequest, terms: Terms) -> ModelStreamInferResponse {
    let marked = request.parameters.get(WANT_FINAL).is_some_and(|parameter| {
        matches!(parameter.parameter_choice, Some(ParameterChoice::BoolParam(true)))
    });
    // An answer without outputs tells whose failure it is.
    let empty = ModelInferResponse {
        model_name: request.model_name.clone(),
        model_version: request.model_version.clone(),
        id: request.id.clone(),
        ..ModelInferResponse::default()
    };
    let (mut response, error_message) = match patiently(oip, request, terms).await {
        Ok(response) => (response, String::new()),
        Err(error) => (empty, error.to_string()),
    };
    if marked {
        // Every model here answers a request once, so each answer is the last one.
        let mark = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
        response.parameters.insert(FINAL.to_owned(), mark);
    }
    ModelStreamInferResponse { error_message, infer_response: Some(response) }
}
