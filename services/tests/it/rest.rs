//! The unary calls as JSON over HTTP, against the same service.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{Harness, packets};

async fn call(harness: &Harness, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request");
    let response = harness.module.rest().oneshot(request).await.expect("an answer");
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

#[tokio::test]
async fn a_session_is_started_ended_and_read_as_json() {
    let mut harness = Harness::quick().await;
    let start =
        json!({"userId": "user-1", "cartridgeCode": "01:01", "subject": {"ageYears": 40, "sex": "SEX_MALE"}});
    let (status, started) = call(&harness, Method::POST, "/v1/measurement/sessions", &start).await;
    assert_eq!((status, &started["channels"]), (StatusCode::OK, &json!(88)));
    let id = started["sessionId"].as_str().expect("an identifier").to_owned();
    harness.stream(&id, &packets("01:01", 5)).await;
    let path = format!("/v1/measurement/sessions/{id}/end");
    let (status, ended) = call(&harness, Method::POST, &path, &Value::Null).await;
    assert_eq!(
        (status, &ended["measurement"]["status"]),
        (StatusCode::OK, &json!("MEASUREMENT_STATUS_COMPLETED"))
    );
    let (_, read) =
        call(&harness, Method::GET, &format!("/v1/measurement/measurements/{id}"), &Value::Null).await;
    assert_eq!(read["measurement"], ended["measurement"]);
    let path = "/v1/measurement/measurements?userId=user-1&pageSize=10&biomarkerCode=glucose";
    let (status, page) = call(&harness, Method::GET, path, &Value::Null).await;
    assert_eq!((status, &page["measurements"][0]), (StatusCode::OK, &ended["measurement"]));
}

#[tokio::test]
async fn errors_have_a_status_and_a_message() {
    let harness = Harness::quick().await;
    let sessions = "/v1/measurement/sessions";
    for (method, path, body, expected, message) in [
        (Method::POST, sessions, json!({"userId": "u", "cartridgeCode": "xx"}), 400, "cartridge_code"),
        (Method::POST, sessions, json!({"userId": 7}), 400, "invalid type"),
        (Method::POST, sessions, json!({"subject": {"sex": "SEX_OTHER"}}), 400, "SEX_OTHER"),
        (Method::GET, "/v1/measurement/measurements/7", Value::Null, 400, "id: "),
        (Method::GET, "/v1/measurement/measurements?pageSize=x&userId=u", Value::Null, 400, ""),
        (
            Method::GET,
            "/v1/measurement/measurements/01890a5d-ac96-774b-bcce-b302099a8057",
            Value::Null,
            404,
            "not found",
        ),
    ] {
        let (status, answer) = call(&harness, method, path, &body).await;
        let told = answer["error"].as_str().expect("a message");
        assert_eq!(status.as_u16(), expected, "{path} {told}");
        assert!(told.contains(message), "{told}");
    }
}
