//! What operators and orchestrators see: metrics, liveness, readiness, health, reflection.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use futures::StreamExt;
use inference::{Handle, Limits, Server, server};
use serde_json::Value;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::ServiceExt;

use crate::support::{doubler, rows};

fn start() -> (Server, Handle) {
    let candidate = doubler("1", 2.0, Duration::ZERO, 8, &Arc::default());
    let server = Server::serve(Limits::default(), Vec::new(), vec![candidate], Vec::new());
    let handle = server.handle();
    (server, handle)
}

async fn get(router: Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).expect("request");
    let response = router.oneshot(request).await.expect("infallible");
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
    (status, String::from_utf8(body.into()).expect("text"))
}

#[tokio::test]
async fn metrics_count_answers_and_refusals() {
    let (_server, handle) = start();
    let router = server::http_routes(&handle);
    handle.infer(inference::Request::new("double", rows(1.0, 3))).await.expect("answer");
    handle.infer(inference::Request::new("double", rows(1.0, 99))).await.expect_err("too many rows");
    let (status, text) = get(router, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for name in ["queue", "compute", "request"] {
        let line = format!(
            "manpasik_inference_{name}_seconds_bucket{{model=\"double\",version=\"1\",le=\"0.00001\"}}"
        );
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    for outcome in ["ok", "invalid_argument"] {
        assert!(text.contains(&format!("outcome=\"{outcome}\"}} ")), "{outcome} is not in\n{text}");
    }
}

#[tokio::test]
async fn readiness_lists_models_and_follows_a_drain() {
    let (server, handle) = start();
    let router = server::http_routes(&handle);
    assert_eq!(get(router.clone(), "/healthz").await, (StatusCode::OK, "ok".into()));
    let (status, body) = get(router.clone(), "/readyz").await;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &body["models"][0]["state"]), (StatusCode::OK, &Value::from("ready")));
    assert!(server.drain().await);
    let (status, body) = get(router.clone(), "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("shutting down"), "{body}");
    assert_eq!(get(router, "/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn grpc_health_tells_checks_and_changes() {
    let (server, handle) = start();
    let mut client = HealthClient::new(server::health::grpc(handle, &["inference.GRPCInferenceService"]));
    let ask = |service: &str| HealthCheckRequest { service: service.into() };
    for service in ["", "inference.GRPCInferenceService"] {
        let answer = client.check(ask(service)).await.expect("answer").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    assert_eq!(client.check(ask("nope")).await.expect_err("unknown").code(), Code::NotFound);
    let mut changes = client.watch(ask("")).await.expect("stream").into_inner();
    assert_eq!(changes.next().await.expect("first").expect("status").status(), ServingStatus::Serving);
    server.drain().await;
    assert_eq!(changes.next().await.expect("change").expect("status").status(), ServingStatus::NotServing);
    let mut unknown = client.watch(ask("nope")).await.expect("stream").into_inner();
    assert_eq!(unknown.next().await.expect("first").expect("status").status(), ServingStatus::ServiceUnknown);
}
