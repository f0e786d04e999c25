//! The Open Inference Protocol over REST: JSON, the binary extension, compression and the
//! exact bodies that clients look at.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
    response::Response,
};
use bytes::Bytes;
use flate2::{Compression, read::ZlibDecoder, write::GzEncoder};
use hyper::service::Service;
use inference::{
    Limits, ModelState, ModelStatus, Server,
    server::{self, Http, oip::Oip},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{doubler, echo};

pub(crate) const LENGTH: &str = "inference-header-content-length";

/// The face as a port serves it; that of `oip_golden` is the router alone.
pub(crate) struct Rest {
    _server: Server,
    router: Router,
    http: Http,
}

type Headers<'a> = &'a [(&'a str, &'a str)];

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
        Self { status, headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().expect("an error text").to_owned()
    }
}

impl Rest {
    pub(crate) fn start(limits: Limits) -> Self {
        let candidates = vec![doubler("1", 2.0, Duration::ZERO, 8, &Arc::default()), echo()];
        let missing = ModelStatus {
            name: "food".into(),
            version: "1".into(),
            family: String::new(),
            task: String::new(),
            platform: "onnx".into(),
            live: false,
            state: ModelState::Unavailable { reason: "libonnxruntime.so is missing".into() },
        };
        let server = Server::serve(limits, Vec::new(), candidates, vec![missing]);
        let oip = Oip::from(server.handle());
        let router = server::http_routes(oip.clone());
        Self { _server: server, http: Http::open(router.clone(), oip), router }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("request");
        Answer::of(self.http.call(request).await.expect("infallible")).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub(crate) async fn infer(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.send(Method::POST, "/v2/models/double/infer", headers, body).await
    }
}

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn double(data: &Value) -> Value {
    json!({ "id": "7", "inputs": [{ "name": "x", "shape": [1, 2], "datatype": "FP32", "data": data }] })
}

#[tokio::test]
async fn past_the_router_the_answers_are_the_same() {
    let rest = Rest::start(Limits::default());
    let good = double(&json!([1.0, 2.0])).to_string();
    let row = bytes(&[1.0, 2.0]);
    let cases = [
        ("/v2/models/double/infer", &[] as Headers, good.as_bytes()),
        ("/v2/models/double/versions/1/infer", &[], good.as_bytes()),
        ("/v2/models/double/versions/9/infer", &[], good.as_bytes()),
        ("/v2/models/nope/infer", &[], good.as_bytes()),
        ("/v2/models/food/infer", &[], good.as_bytes()),
        ("/v2/models/double/infer", &[], &b"garbage"[..]),
        ("/v2/models/double/infer", &[(LENGTH, "0")], row.as_slice()),
        ("/v2/models/double/infer", &[(LENGTH, "many")], row.as_slice()),
        ("/v2/models/double/infer", &[("content-encoding", "br")], good.as_bytes()),
    ];
    for (path, headers, body) in cases {
        let short = rest.send(Method::POST, path, headers, body.to_vec()).await;
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_vec())).expect("request");
        let routed = Answer::of(rest.router.clone().oneshot(request).await.expect("infallible")).await;
        assert_eq!((short.status, &short.body), (routed.status, &routed.body), "{path} {headers:?}");
        for name in ["content-type", "vary", LENGTH] {
            assert_eq!(short.headers.get(name), routed.headers.get(name), "{path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn json_in_json_out() {
    let rest = Rest::start(Limits::default());
    for data in [json!([1, 2.5]), json!([[1.0, 2.5]])] {
        let answer = rest.infer(&[], double(&data).to_string()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers["content-type"], "application/json");
        let want = json!({
            "model_name": "double", "model_version": "1", "id": "7",
            "outputs": [{ "name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 5.0] }],
        });
        assert_eq!(answer.json(), want);
    }
}

#[tokio::test]
async fn bytes_go_both_ways() {
    let rest = Rest::start(Limits::default());
    let head = json!({
        "parameters": { "binary_data_output": true },
        "inputs": [{ "name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": { "binary_data_size": 8 } }],
    })
    .to_string();
    let body = [head.as_bytes(), &bytes(&[1.0, 2.5])].concat();
    let answer = rest.infer(&[(LENGTH, &head.len().to_string())], body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let length: usize = answer.headers[LENGTH].to_str().expect("ascii").parse().expect("number");
    let json: Value = serde_json::from_slice(&answer.body[..length]).expect("JSON");
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 8);
    assert_eq!(answer.body[length..], bytes(&[2.0, 5.0]));
}

#[tokio::test]
async fn a_json_request_may_ask_for_bytes_and_the_other_way_round() {
    let rest = Rest::start(Limits::default());
    let mut request = double(&json!([1, 2.5]));
    request["outputs"] = json!([{ "name": "y", "parameters": { "binary_data": true } }]);
    let answer = rest.infer(&[], request.to_string()).await;
    assert!(answer.body.ends_with(&bytes(&[2.0, 5.0])));
    assert!(answer.headers.contains_key(LENGTH));
    let raw = rest.infer(&[(LENGTH, "0")], bytes(&[1.0, 2.0, 3.0, 4.0])).await;
    assert_eq!(raw.status, StatusCode::OK);
    assert!(raw.body.ends_with(&bytes(&[2.0, 4.0, 6.0, 8.0])));
}

#[tokio::test]
async fn other_datatypes_are_read_and_written() {
    let rest = Rest::start(Limits::default());
    let kinds =
        ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64"];
    let mut data: Vec<(&str, Value)> = kinds.into_iter().map(|kind| (kind, json!([1, 0]))).collect();
    data.push(("BYTES", json!(["a", "é"])));
    let plain = |(name, data): &(&str, Value)| json!({ "name": name, "datatype": name, "shape": [1, 2], "data": data });
    let half = |name: &str| json!({ "name": name, "datatype": name, "shape": [1, 2], "parameters": { "binary_data_size": 4 } });
    let inputs: Vec<Value> = data.iter().map(plain).chain(["FP16", "BF16"].map(half)).collect();
    let asked: Vec<Value> = data.iter().map(|(name, _)| json!({ "name": name })).collect();
    let head = json!({ "inputs": inputs, "outputs": asked }).to_string();
    let body = [head.as_bytes(), &[0; 8]].concat();
    let headers = [(LENGTH, &*head.len().to_string())];
    let answer = rest.send(Method::POST, "/v2/models/echo/infer", &headers, body.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let outputs = answer.json()["outputs"].clone();
    for (index, (name, want)) in data.iter().enumerate() {
        let want = match *name {
            "BOOL" => json!([true, false]),
            "FP32" | "FP64" => json!([1.0, 0.0]),
            _ => want.clone(),
        };
        assert_eq!((&outputs[index]["name"], &outputs[index]["data"]), (&json!(name), &want));
    }
    let all = json!({ "inputs": inputs }).to_string();
    let body = [all.as_bytes(), &[0; 8]].concat();
    let answer =
        rest.send(Method::POST, "/v2/models/echo/infer", &[(LENGTH, &all.len().to_string())], body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.error().contains("ask for binary data"));
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let rest = Rest::start(Limits::default());
    let with = |edit: fn(&mut Value)| {
        let mut request = double(&json!([1.0, 2.0]));
        edit(&mut request);
        request.to_string()
    };
    let cases = [
        ("garbage".to_owned(), "failed to parse the request JSON buffer"),
        ("{\"inputs\": 7}".to_owned(), "failed to parse the request JSON buffer"),
        (
            with(|r| r["inputs"] = json!([])),
            "[request id: 7] expected 1 inputs but got 0 inputs for model 'double'",
        ),
        (
            with(|r| r["inputs"][0]["shape"] = json!([1, 3])),
            "x: Unable to parse 'data': Shape does not match",
        ),
        (with(|r| r["inputs"][0]["shape"] = json!([2])), "unexpected shape for input 'x' for model 'double'"),
        (
            with(|r| r["inputs"][0]["shape"] = json!([-1, -2])),
            "x: shape must have sizes that are not negative",
        ),
        (
            with(|r| r["inputs"][0]["datatype"] = json!("INT32")),
            "data-type is 'INT32', but model 'double' expects 'FP32'",
        ),
        (with(|r| r["inputs"][0]["data"] = json!([1e300, 1])), "x: element 0 is NaN or infinite"),
        (with(|r| r["inputs"][0]["data"] = json!(["a", "b"])), "x: data must be numbers, got strings"),
        (
            with(|r| r["outputs"] = json!([{ "name": "z" }])),
            "unexpected inference output 'z' for model 'double'",
        ),
        (with(|r| r["inputs"][0]["parameters"] = json!({ "binary_data_size": 8 })), "x: has both data and"),
        (with(|r| r["parameters"] = json!({ "timeout": -1 })), "timeout: parameter must be a whole number"),
    ];
    for (body, text) in cases {
        let answer = rest.infer(&[], body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{text}");
        assert!(answer.error().contains(text), "{} should contain {text}", answer.error());
    }
    for (length, body) in [("99", "{}"), ("x", "{}"), ("-1", "{}"), ("13", "{\"inputs\":[]}extra")] {
        let answer = rest.infer(&[(LENGTH, length)], body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{length}: {}", answer.error());
    }
}

#[tokio::test]
async fn paths_and_methods_answer_as_clients_expect() {
    let rest = Rest::start(Limits::default());
    let unknown = rest.get("/v2/models/nope").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.json(), json!({ "error": "Request for unknown model: 'nope' is not found" }));
    let version = rest.send(Method::POST, "/v2/models/double/versions/9/infer", &[], "{}").await;
    assert_eq!(version.status, StatusCode::NOT_FOUND);
    assert_eq!(version.error(), "Request for unknown model: 'double' version 9 is not found");
    let method = rest.get("/v2/models/double/infer").await;
    assert_eq!(
        (method.status, method.json()),
        (StatusCode::METHOD_NOT_ALLOWED, json!({ "error": "Method Not Allowed" }))
    );
    let nowhere = rest.get("/v2/nope").await;
    assert_eq!((nowhere.status, nowhere.json()), (StatusCode::NOT_FOUND, json!({ "error": "Not Found" })));
    let path = rest.get("/v2/models/%ff").await;
    assert_eq!(path.status, StatusCode::BAD_REQUEST);
    assert!(!path.error().is_empty());
    let good = rest.send(
        Method::POST,
        "/v2/models/double/versions/1/infer",
        &[],
        double(&json!([1, 2])).to_string(),
    );
    assert_eq!(good.await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_server_and_its_models_describe_themselves() {
    let rest = Rest::start(Limits::default());
    assert_eq!(rest.get("/v2/health/live").await.json(), json!({ "live": true }));
    let ready = rest.get("/v2/health/ready").await;
    assert_eq!((ready.status, ready.json()), (StatusCode::OK, json!({ "ready": true, "live": true })));
    assert_eq!(rest.get("/v2").await.json()["name"], "manpasik");
    assert_eq!(rest.get("/v2/models").await.json(), json!({ "models": ["double", "echo"] }));
    let model = rest.get("/v2/models/double").await.json();
    assert_eq!(model["versions"], json!(["1"]));
    assert_eq!(model["inputs"], json!([{ "name": "x", "datatype": "FP32", "shape": [-1, 2] }]));
    assert_eq!(rest.get("/v2/models/double/ready").await.status, StatusCode::OK);
    let unknown = rest.get("/v2/models/nope/ready").await;
    assert_eq!(
        (unknown.status, unknown.error()),
        (StatusCode::BAD_REQUEST, "Model version not ready".into())
    );
    let missing = rest.get("/v2/models/food/ready").await;
    assert_eq!(missing.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(missing.error(), "libonnxruntime.so is missing");
    let index = rest.send(Method::POST, "/v2/repository/index", &[], "").await.json();
    assert_eq!(index[0], json!({ "name": "double", "version": "1", "state": "READY" }));
    assert_eq!(index[2]["reason"], "libonnxruntime.so is missing");
    let ready = rest.send(Method::POST, "/v2/repository/index", &[], "{\"ready\":true}").await.json();
    assert_eq!(ready.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn bodies_may_be_compressed_both_ways() {
    let rest = Rest::start(Limits::default());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(double(&json!([1, 2.5])).to_string().as_bytes()).expect("memory");
    let body = encoder.finish().expect("memory");
    let headers = [("content-encoding", "gzip"), ("accept-encoding", "deflate")];
    let answer = rest.infer(&headers, body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-encoding"], "deflate");
    let mut json = String::new();
    ZlibDecoder::new(&*answer.body).read_to_string(&mut json).expect("zlib");
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON")["outputs"][0]["data"], json!([2.0, 5.0]));
    let broken = rest.infer(&[("content-encoding", "gzip")], "garbage").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let unknown = rest.infer(&[("content-encoding", "br")], "garbage").await;
    assert!(unknown.error().starts_with("Content-Encoding: must be"));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let rest = Rest::start(Limits { request_bytes_max: 1000, ..Limits::default() });
    let answer = rest.infer(&[], vec![b' '; 1001]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.error(), "request body has more than 1000 bytes; send it in parts");
}

#[tokio::test]
async fn a_large_body_is_read_whole() {
    let rest = Rest::start(Limits::default());
    let mut body = double(&json!([1, 2.5])).to_string();
    body.push_str(&" ".repeat(1 << 20));
    assert_eq!(rest.infer(&[], body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn overload_is_429_with_retry_after() {
    let rest = Rest::start(Limits { inflight_requests_max: 0, ..Limits::default() });
    let answer = rest.infer(&[], double(&json!([1, 2])).to_string()).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], "1");
}
