//! The REST face of the unary calls: the same messages as protocol-buffer JSON, the same errors as HTTP statuses.
//! Streams of packets stay with gRPC.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use proto::manpasik::v1::measurement_service_server::MeasurementService;
use proto::manpasik::v1::{
    EndSessionRequest, GetMeasurementHistoryRequest, GetMeasurementRequest, StartSessionRequest,
};
use serde::Serialize;
use tonic::{Code, Request, Status};

use super::grpc::MeasurementGrpc;

/// `POST sessions`, `POST sessions/{id}/end`, `GET measurements/{id}` and `GET measurements?userId=…`.
pub(super) fn router(service: MeasurementGrpc) -> Router {
    Router::new()
        .route("/v1/measurement/sessions", post(start))
        .route("/v1/measurement/sessions/{id}/end", post(end))
        .route("/v1/measurement/measurements/{id}", get(measurement))
        .route("/v1/measurement/measurements", get(history))
        .with_state(service)
}

async fn start(
    State(service): State<MeasurementGrpc>,
    request: Result<Json<StartSessionRequest>, JsonRejection>,
) -> Response {
    match request {
        Ok(Json(request)) => answer(service.start_session(Request::new(request)).await),
        Err(refused) => error(&Status::invalid_argument(refused.body_text())),
    }
}

async fn end(State(service): State<MeasurementGrpc>, Path(session_id): Path<String>) -> Response {
    answer(service.end_session(Request::new(EndSessionRequest { session_id })).await)
}

async fn measurement(State(service): State<MeasurementGrpc>, Path(id): Path<String>) -> Response {
    answer(service.get_measurement(Request::new(GetMeasurementRequest { id })).await)
}

/// The query string holds strings only; the message's own reader turns them into numbers.
async fn history(
    State(service): State<MeasurementGrpc>,
    query: Result<Query<GetMeasurementHistoryRequest>, axum::extract::rejection::QueryRejection>,
) -> Response {
    match query {
        Ok(Query(request)) => answer(service.get_measurement_history(Request::new(request)).await),
        Err(refused) => error(&Status::invalid_argument(refused.body_text())),
    }
}

fn answer<T: Serialize>(result: Result<tonic::Response<T>, Status>) -> Response {
    match result {
        Ok(response) => Json(response.into_inner()).into_response(),
        Err(status) => error(&status),
    }
}

/// What an error looks like as JSON.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

fn error(status: &Status) -> Response {
    (http_status(status.code()), Json(ErrorBody { error: status.message() })).into_response()
}

const fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}
