//! Which path is which RPC.

use axum::{
    Router,
    body::Bytes,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use proto::manpasik::v1::{
    AnalyzeMeasurementRequest, EndSessionRequest, FindSimilarSessionsRequest, GetHealthScoreRequest,
    GetMeasurementHistoryRequest, GetMeasurementRequest, GetModelInfoRequest, ListModelsRequest,
    PredictTrendRequest, StartSessionRequest, StreamAnalysisRequest, StreamMeasurementRequest,
    StreamSeriesRequest, ai_inference_service_client::AiInferenceServiceClient,
    measurement_service_client::MeasurementServiceClient,
};
use serde::{Serialize, de::DeserializeOwned};
use services::kernel::GrpcService;
use tonic::{Status, Streaming, metadata::MetadataValue};

use super::{
    answer::{Body, Failure, json, read},
    image, near,
};

type Ai = AiInferenceServiceClient<GrpcService>;
type Measurement = MeasurementServiceClient<GrpcService>;
/// The one variable part of a path.
type Named = Result<Path<String>, PathRejection>;
/// A query string holds text only; the message's own reader turns it into numbers.
type HistoryQuery = Result<Query<GetMeasurementHistoryRequest>, QueryRejection>;

/// Query of the history.
const HISTORY_QUERY: [&str; 4] = ["userId", "pageSize", "pageToken", "biomarkerCode"];

/// A route as it is described to clients.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Full name of the RPC.
    pub(super) rpc: &'static str,
    /// One JSON message a line in both directions.
    pub(super) lines: bool,
    /// Names that may stand in the query string.
    pub(super) query: &'static [&'static str],
}

/// Names that may stand in the query string of an RPC.
fn query(rpc: &str) -> &'static [&'static str] {
    match rpc {
        rpc if rpc.ends_with("History") => &HISTORY_QUERY,
        rpc if rpc.ends_with(".ListFoods") || rpc.ends_with(".DeleteFood") => &["userId"],
        _ => &[],
    }
}

/// Every route of every service.
pub(super) fn all() -> Vec<Route> {
    const AI: [(&str, &str, &str); 8] = [
        ("post", "/v1/ai/analyze-measurement", "manpasik.v1.AiInferenceService.AnalyzeMeasurement"),
        ("post", "/v1/ai/health-score", "manpasik.v1.AiInferenceService.GetHealthScore"),
        ("post", "/v1/ai/trend", "manpasik.v1.AiInferenceService.PredictTrend"),
        ("get", "/v1/ai/models/{name}", "manpasik.v1.AiInferenceService.GetModelInfo"),
        ("get", "/v1/ai/models", "manpasik.v1.AiInferenceService.ListModels"),
        ("post", "/v1/ai/stream-analysis", "manpasik.v1.AiInferenceService.StreamAnalysis"),
        ("post", "/v1/ai/stream-series", "manpasik.v1.AiInferenceService.StreamSeries"),
        ("post", "/v1/ai/food-calories", "manpasik.v1.AiInferenceService.EstimateFoodCalories"),
    ];
    const MEASUREMENT: [(&str, &str, &str); 6] = [
        ("post", "/v1/measurement/sessions", "manpasik.v1.MeasurementService.StartSession"),
        ("post", "/v1/measurement/packets", "manpasik.v1.MeasurementService.StreamMeasurement"),
        ("post", "/v1/measurement/sessions/{id}/end", "manpasik.v1.MeasurementService.EndSession"),
        ("get", "/v1/measurement/measurements/{id}", "manpasik.v1.MeasurementService.GetMeasurement"),
        ("get", "/v1/measurement/measurements", "manpasik.v1.MeasurementService.GetMeasurementHistory"),
        ("post", "/v1/measurement/similar-sessions", "manpasik.v1.MeasurementService.FindSimilarSessions"),
    ];
    let route = |(method, path, rpc): (&'static str, &'static str, &'static str)| Route {
        method,
        path,
        rpc,
        lines: rpc.contains(".Stream"),
        query: query(rpc),
    };
    AI.into_iter().chain(MEASUREMENT).chain(near::ROUTES).chain(super::vectors::ROUTES).map(route).collect()
}

/// Routes of typed inference.
pub(super) fn ai(client: Ai) -> Router {
    Router::new()
        .route(
            "/v1/ai/analyze-measurement",
            post(|State(mut client): State<Ai>, headers: HeaderMap, Body(body): Body| async move {
                call(&body, async |request: AnalyzeMeasurementRequest| {
                    client.analyze_measurement(of_caller(&headers, request)).await
                })
                .await
            }),
        )
        .route(
            "/v1/ai/health-score",
            post(|State(mut client): State<Ai>, headers: HeaderMap, Body(body): Body| async move {
                call(&body, async |request: GetHealthScoreRequest| {
                    client.get_health_score(of_caller(&headers, request)).await
                })
                .await
            }),
        )
        .route(
            "/v1/ai/trend",
            post(|State(mut client): State<Ai>, headers: HeaderMap, Body(body): Body| async move {
                call(&body, async |request: PredictTrendRequest| {
                    client.predict_trend(of_caller(&headers, request)).await
                })
                .await
            }),
        )
        .route(
            "/v1/ai/models",
            get(|State(mut client): State<Ai>| async move {
                json(client.list_models(ListModelsRequest::default()).await)
            }),
        )
        .route(
            "/v1/ai/models/{name}",
            get(|State(mut client): State<Ai>, path: Named| async move {
                match named(path) {
                    Ok(name) => {
                        json(client.get_model_info(GetModelInfoRequest { name, ..Default::default() }).await)
                    }
                    Err(failure) => failure.into_response(),
                }
            }),
        )
        .route(
            "/v1/ai/stream-analysis",
            post(|State(mut client): State<Ai>, headers: HeaderMap, Body(body): Body| async move {
                match read_lines::<StreamAnalysisRequest>(&body) {
                    Ok(requests) => {
                        let requests = of_caller(&headers, tokio_stream::iter(requests));
                        lines(client.stream_analysis(requests).await)
                    }
                    Err(failure) => failure.into_response(),
                }
            }),
        )
        .route(
            "/v1/ai/stream-series",
            post(|State(mut client): State<Ai>, Body(body): Body| async move {
                match read_lines::<StreamSeriesRequest>(&body) {
                    Ok(requests) => lines(client.stream_series(tokio_stream::iter(requests)).await),
                    Err(failure) => failure.into_response(),
                }
            }),
        )
        .route("/v1/ai/food-calories", post(image::estimate))
        .with_state(client)
}

/// Routes of measurement sessions.
pub(super) fn measurement(client: Measurement) -> Router {
    Router::new()
        .route(
            "/v1/measurement/sessions",
            post(|State(mut client): State<Measurement>, Body(body): Body| async move {
                call(&body, async |request: StartSessionRequest| client.start_session(request).await).await
            }),
        )
        .route(
            "/v1/measurement/packets",
            post(|State(mut client): State<Measurement>, Body(body): Body| async move {
                match read_lines::<StreamMeasurementRequest>(&body) {
                    Ok(requests) => lines(client.stream_measurement(tokio_stream::iter(requests)).await),
                    Err(failure) => failure.into_response(),
                }
            }),
        )
        .route(
            "/v1/measurement/sessions/{id}/end",
            post(|State(mut client): State<Measurement>, path: Named| async move {
                match named(path) {
                    Ok(session_id) => json(client.end_session(EndSessionRequest { session_id }).await),
                    Err(failure) => failure.into_response(),
                }
            }),
        )
        .route(
            "/v1/measurement/measurements/{id}",
            get(|State(mut client): State<Measurement>, path: Named| async move {
                match named(path) {
                    Ok(id) => json(client.get_measurement(GetMeasurementRequest { id }).await),
                    Err(failure) => failure.into_response(),
                }
            }),
        )
        .route(
            "/v1/measurement/measurements",
            get(|State(mut client): State<Measurement>, query: HistoryQuery| async move {
                match query {
                    Ok(Query(request)) => json(client.get_measurement_history(request).await),
                    Err(refused) => Failure(Status::invalid_argument(refused.body_text())).into_response(),
                }
            }),
        )
        .route(
            "/v1/measurement/similar-sessions",
            post(|State(mut client): State<Measurement>, Body(body): Body| async move {
                call(&body, async |request: FindSimilarSessionsRequest| {
                    client.find_similar_sessions(request).await
                })
                .await
            }),
        )
        .with_state(client)
}

/// Headers that go along: who sees a new version of a model first, for whom it is answered, and whose trace it is in.
const PASSED: [&str; 4] = ["x-user-id", "x-cartridge-type", "x-tenant-id", "traceparent"];

/// A request with the caller that the headers name.
fn of_caller<T>(headers: &HeaderMap, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    for name in PASSED {
        let value = headers.get(name).and_then(|value| MetadataValue::try_from(value.as_bytes()).ok());
        if let Some(value) = value {
            request.metadata_mut().insert(name, value);
        }
    }
    request
}

/// Reads the body, asks the service, writes the answer.
pub(super) async fn call<Q: DeserializeOwned, A: Serialize>(
    body: &Bytes,
    ask: impl AsyncFnOnce(Q) -> Result<tonic::Response<A>, Status>,
) -> Response {
    match read(body) {
        Ok(request) => json(ask(request).await),
        Err(failure) => failure.into_response(),
    }
}

/// One message a line; empty lines are passed over.
fn read_lines<T: DeserializeOwned>(body: &Bytes) -> Result<Vec<T>, Failure> {
    let lines = (1..).zip(body.split(|byte| *byte == b'\n'));
    let message = |(number, line): (usize, &[u8])| {
        // Each line is a text of its own, so the reader's own "line 1" would mislead.
        serde_json::from_slice(line).map_err(|error| {
            Failure(Status::invalid_argument(format!("body: line {number} of the body: {error}")))
        })
    };
    lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(message).collect()
}

/// The part of the path that names something.
fn named(path: Named) -> Result<String, Failure> {
    path.map(|Path(name)| name)
        .map_err(|refused| Failure(Status::invalid_argument(format!("path: {}", refused.body_text()))))
}

/// A stream of answers as one JSON message a line; a failure under way is the last line.
fn lines<T: Serialize + Send + 'static>(answer: Result<tonic::Response<Streaming<T>>, Status>) -> Response {
    use tokio_stream::StreamExt as _;
    let stream = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Failure(status).into_response(),
    };
    let lines = stream.map(|message| {
        let line = match message {
            Ok(message) => serde_json::to_vec(&message),
            Err(status) => serde_json::to_vec(&serde_json::json!({ "error": status.message() })),
        };
        line.map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        })
    });
    let head = [(axum::http::header::CONTENT_TYPE, "application/x-ndjson")];
    (head, axum::body::Body::from_stream(lines)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_and_the_first_bad_one_is_refused() {
        let body = Bytes::from_static(b"{\"packet\":{\"sequence\":\"1\"}}\n\n{\"start\":{}}\n");
        assert_eq!(read_lines::<StreamAnalysisRequest>(&body).map(|found| found.len()).ok(), Some(2));
        assert!(read_lines::<StreamAnalysisRequest>(&Bytes::from_static(b"{}\nnonsense")).is_err());
    }
}
