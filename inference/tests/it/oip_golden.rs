//! Bodies of the REST face beside those that the reference server gave to the same requests, byte for byte
//! where ours are to be equal. The model is the one it had: `ident`, sixteen numbers in and out.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use inference::{
    Candidate, Limits, ModelSource, Repository, Server,
    server::{
        self,
        oip::{Oip, OipOptions},
    },
};
use models::{Batch, DType, Model, ModelError, Signature};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::spec;

struct Ident;

impl Model for Ident {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        std::thread::sleep(Duration::from_millis(1));
        Ok(batch)
    }
}

fn ident() -> Candidate {
    let signature = Signature {
        inputs: vec![spec("IN", DType::F32, &[-1, 16])],
        outputs: vec![spec("OUT", DType::F32, &[-1, 16])],
    };
    let load = || Ok(Box::new(Ident) as Box<dyn Model>);
    let source = ModelSource::new("ident", "1", signature, 64, Box::new(load));
    Candidate { source: ModelSource { platform: "python".into(), ..source }, live: true }
}

struct Shelf;

impl Repository for Shelf {
    fn find(&self, model: &str) -> Result<Vec<Candidate>, String> {
        Ok(if model == "ident" { vec![ident()] } else { Vec::new() })
    }
}

struct Reference {
    _server: Server,
    router: Router,
}

impl Reference {
    fn start() -> Self {
        let server = Server::serve(Limits::default(), Vec::new(), vec![ident()], Vec::new());
        let options = OipOptions { repository: Some(std::sync::Arc::new(Shelf)), ..OipOptions::default() };
        let router = server::http_routes(Oip::new(server.handle(), options));
        Self { _server: server, router }
    }

    async fn ask(&self, method: &Method, path: &str, body: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned()));
        let answer = self.router.clone().oneshot(request.expect("request")).await.expect("infallible");
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.expect("body");
        (status, String::from_utf8(body.into()).expect("text"))
    }
}

const SIXTEEN: &str = r#"{"inputs":[{"name":"IN","shape":[1,16],"datatype":"FP32","data":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}]}"#;

const INT32: &str = r#"{"inputs":[{"name":"IN","shape":[1,16],"datatype":"INT32","data":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}]}"#;

/// Method, path, body of the request, status and body of the answer.
const EQUAL: &[(&str, &str, &str, u16, &str)] = &[
    ("GET", "/v2/models/nope", "", 404, r#"{"error":"Request for unknown model: 'nope' is not found"}"#),
    ("POST", "/v2/repository/index", "{}", 200, r#"[{"name":"ident","version":"1","state":"READY"}]"#),
    (
        "POST",
        "/v2/repository/index",
        r#"{"ready":true}"#,
        200,
        r#"[{"name":"ident","version":"1","state":"READY"}]"#,
    ),
    (
        "POST",
        "/v2/models/ident/infer",
        INT32,
        400,
        r#"{"error":"[request id: <id_unknown>] inference input 'IN' data-type is 'INT32', but model 'ident' expects 'FP32'"}"#,
    ),
    (
        "POST",
        "/v2/models/ident/infer",
        r#"{"inputs":[]}"#,
        400,
        r#"{"error":"[request id: <id_unknown>] expected 1 inputs but got 0 inputs for model 'ident'. Got input(s) [], but missing required input(s) ['IN']. Please provide all required input(s)."}"#,
    ),
    (
        "POST",
        "/v2/models/nope/infer",
        r#"{"inputs":[]}"#,
        404,
        r#"{"error":"Request for unknown model: 'nope' is not found"}"#,
    ),
    (
        "POST",
        "/v2/models/ident/versions/9/infer",
        SIXTEEN,
        404,
        r#"{"error":"Request for unknown model: 'ident' version 9 is not found"}"#,
    ),
    ("GET", "/v2/models/ident/infer", "", 405, r#"{"error":"Method Not Allowed"}"#),
    ("GET", "/v2/nope", "", 404, r#"{"error":"Not Found"}"#),
    (
        "GET",
        "/v2/trace/setting",
        "",
        200,
        r#"{"trace_level":["OFF"],"trace_rate":"1000","trace_count":"-1","log_frequency":"0","trace_file":"","trace_mode":"triton"}"#,
    ),
    (
        "GET",
        "/v2/models/ident/trace/setting",
        "",
        200,
        r#"{"trace_level":["OFF"],"trace_rate":"1000","trace_count":"-1","log_frequency":"0","trace_file":"","trace_mode":"triton"}"#,
    ),
    (
        "GET",
        "/v2/logging",
        "",
        200,
        r#"{"log_file":"","log_info":true,"log_warning":true,"log_error":true,"log_verbose_level":0,"log_format":"default"}"#,
    ),
    ("GET", "/v2/systemsharedmemory/status", "", 200, "[]"),
    ("GET", "/v2/cudasharedmemory/status", "", 200, "[]"),
    (
        "POST",
        "/v2/repository/models/nope/load",
        "",
        500,
        r#"{"error":"failed to load 'nope', failed to poll from model repository"}"#,
    ),
];

#[tokio::test]
async fn bodies_that_are_to_be_equal_are_equal() {
    let server = Reference::start();
    for (method, path, body, status, want) in EQUAL {
        let method: Method = method.parse().expect("a method");
        let (got, answer) = server.ask(&method, path, body).await;
        assert_eq!((got.as_u16(), &*answer), (*status, *want), "{method} {path}");
    }
}

/// Where we say more: the reference's body is the beginning of ours, up to its closing brace.
#[tokio::test]
async fn bodies_that_say_more_begin_alike() {
    let server = Reference::start();
    let (status, metadata) = server.ask(&Method::GET, "/v2/models/ident", "").await;
    let want = r#"{"name":"ident","versions":["1"],"platform":"python","inputs":[{"name":"IN","datatype":"FP32","shape":[-1,16]}],"outputs":[{"name":"OUT","datatype":"FP32","shape":[-1,16]}]"#;
    assert_eq!(
        (status, metadata.strip_prefix(want).is_some_and(|rest| rest.starts_with(r#","properties":{"#))),
        (StatusCode::OK, true),
        "{metadata}"
    );
    let (status, ready) = server.ask(&Method::GET, "/v2/models/nope/ready", "").await;
    assert_eq!(
        (status, ready.starts_with(r#"{"error":"Model version not ready""#)),
        (StatusCode::BAD_REQUEST, true),
        "{ready}"
    );
    let fifteen = SIXTEEN.replace("[1,16]", "[1,15]").replace(",16]", "]");
    let (status, shape) = server.ask(&Method::POST, "/v2/models/ident/infer", &fifteen).await;
    let want = r#"{"error":"[request id: <id_unknown>] unexpected shape for input 'IN' for model 'ident'. Expected [-1,16], got [1,15]"#;
    assert_eq!((status, shape.starts_with(want)), (StatusCode::BAD_REQUEST, true), "{shape}");
}

/// A caller's mistake is 400 with us, also where the reference calls it its own.
#[tokio::test]
async fn mistakes_of_a_caller_are_400() {
    let server = Reference::start();
    let short = r#"{"inputs":[{"name":"BAD","shape":[1,16],"datatype":"FP32","data":[1]}]}"#;
    for (body, part) in [
        ("garbage", "failed to parse the request JSON buffer: "),
        (short, "Unable to parse 'data': Shape does not match true shape of 'data' field"),
    ] {
        let (status, answer) = server.ask(&Method::POST, "/v2/models/ident/infer", body).await;
        assert_eq!((status, answer.contains(part)), (StatusCode::BAD_REQUEST, true), "{answer}");
    }
    for path in
        ["/v2/repository/index", "/v2/trace/setting", "/v2/logging", "/v2/repository/models/ident/load"]
    {
        let (status, answer) = server.ask(&Method::POST, path, "garbage").await;
        assert!(status == StatusCode::BAD_REQUEST && answer.contains("failed to parse"), "{path}: {answer}");
    }
}

/// `text` with every number of two digits or more, and every sum of nanoseconds, taken out.
fn without_times(text: &str) -> String {
    let mut value: Value = serde_json::from_str(text).expect("JSON");
    fn blank(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    if matches!(key.as_str(), "ns" | "last_inference") {
                        *value = json!(0);
                    } else {
                        blank(value);
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(blank),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    blank(&mut value);
    value.to_string()
}

#[tokio::test]
async fn statistics_are_equal_but_for_the_times() {
    let server = Reference::start();
    let (status, _) = server.ask(&Method::POST, "/v2/models/ident/infer", SIXTEEN).await;
    assert_eq!(status, StatusCode::OK);
    let golden = r#"{"model_stats":[{"name":"ident","version":"1","last_inference":1795227212779,"inference_count":1,"execution_count":1,"inference_stats":{"success":{"count":1,"ns":171552459},"fail":{"count":0,"ns":0},"queue":{"count":1,"ns":138209},"compute_input":{"count":1,"ns":153047},"compute_infer":{"count":1,"ns":171126102},"compute_output":{"count":1,"ns":129753},"cache_hit":{"count":0,"ns":0},"cache_miss":{"count":0,"ns":0}},"response_stats":{},"batch_stats":[{"batch_size":1,"compute_input":{"count":1,"ns":153047},"compute_infer":{"count":1,"ns":171126102},"compute_output":{"count":1,"ns":129753}}],"memory_usage":[]}]}"#;
    for path in ["/v2/models/ident/stats", "/v2/models/stats", "/v2/models/ident/versions/1/stats"] {
        let (_, ours) = server.ask(&Method::GET, path, "").await;
        assert_eq!(without_times(&ours), without_times(golden), "{path}");
        // The keys stand in the same order.
        let keys = |text: &str| text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(keys(&ours), keys(golden));
        let stats: Value = serde_json::from_str(&ours).expect("JSON");
        let infer = &stats["model_stats"][0]["inference_stats"];
        assert!(infer["compute_infer"]["ns"].as_u64() >= Some(1_000_000), "it slept a millisecond: {infer}");
        assert!(infer["success"]["ns"].as_u64() >= infer["compute_infer"]["ns"].as_u64());
    }
}

#[tokio::test]
async fn the_configuration_says_what_clients_look_for() {
    let server = Reference::start();
    let (status, config) = server.ask(&Method::GET, "/v2/models/ident/config", "").await;
    assert_eq!(status, StatusCode::OK);
    let ours: Value = serde_json::from_str(&config).expect("JSON");
    let golden = json!({
        "name": "ident",
        "version_policy": { "latest": { "num_versions": 1 } },
        "max_batch_size": 64,
        "input": [{ "name": "IN", "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": [16], "is_shape_tensor": false, "allow_ragged_batch": false, "optional": false }],
        "output": [{ "name": "OUT", "data_type": "TYPE_FP32", "dims": [16], "label_filename": "", "is_shape_tensor": false }],
    });
    for (key, want) in golden.as_object().expect("an object") {
        assert_eq!(&ours[key], want, "{key}");
    }
    assert_eq!(ours["instance_group"][0]["kind"], "KIND_CPU");
    assert_eq!(ours["dynamic_batching"]["max_queue_delay_microseconds"], 0);
    assert_eq!(ours["model_transaction_policy"]["decoupled"], false);
    assert!(config.starts_with(r#"{"name":"ident","platform":"#), "{config}");
}

#[tokio::test]
async fn a_model_goes_and_comes_back() {
    let server = Reference::start();
    let (status, answer) = server.ask(&Method::POST, "/v2/repository/models/ident/unload", "").await;
    assert_eq!((status, &*answer), (StatusCode::OK, r#"{"name":"ident","unload":true}"#));
    let (_, index) = server.ask(&Method::POST, "/v2/repository/index", "{}").await;
    assert_eq!(index, r#"[{"name":"ident","version":"1","state":"UNAVAILABLE","reason":"unloaded"}]"#);
    assert_eq!(server.ask(&Method::POST, "/v2/repository/index", r#"{"ready":true}"#).await.1, "[]");
    let (status, answer) = server.ask(&Method::POST, "/v2/models/ident/infer", SIXTEEN).await;
    assert_eq!(
        (status, &*answer),
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"model 'ident' is unavailable: unloaded"}"#)
    );
    let (status, answer) = server.ask(&Method::POST, "/v2/repository/models/ident/load", "{}").await;
    assert_eq!((status, &*answer), (StatusCode::OK, r#"{"load":true,"name":"ident"}"#));
    assert_eq!(server.ask(&Method::POST, "/v2/models/ident/infer", SIXTEEN).await.0, StatusCode::OK);
    let unknown = server.ask(&Method::POST, "/v2/repository/models/nope/unload", "").await;
    assert_eq!(unknown.0, StatusCode::OK, "who unloads what is not there has what they want");
    for parameter in ["config", "file:1/model.onnx"] {
        let body = json!({ "parameters": { parameter: "e30=" } }).to_string();
        let (status, answer) = server.ask(&Method::POST, "/v2/repository/models/ident/load", &body).await;
        assert!(status == StatusCode::NOT_IMPLEMENTED && answer.contains(parameter), "{answer}");
    }
}
