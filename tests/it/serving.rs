//! The server as its clients meet it: both protocols, damaged bundles, a missing library, the end.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use proto::inference::{
    ModelInferRequest, RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
    ServerReadyRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::InferInputTensor,
};
use proto::manpasik::v1::EstimateFoodCaloriesRequest;
use tonic::{Code, transport::Channel};

use crate::support::{
    Server, copied_bundles, food_is_installed, http, sensor_sweep, shipped_bundles, skipped, version_dir,
};

const MODEL: &str = "sensor-fingerprint";

fn infer_request(values: &[f32]) -> ModelInferRequest {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let input = InferInputTensor {
        name: "print".into(),
        datatype: "FP32".into(),
        shape: vec![1, values.len() as i64],
        ..Default::default()
    };
    ModelInferRequest {
        model_name: MODEL.into(),
        id: "42".into(),
        inputs: vec![input],
        raw_input_contents: vec![bytes.into()],
        ..Default::default()
    }
}

/// What the model takes of a sweep.
fn sensor_print() -> Vec<f32> {
    models::family::sensor::print(&sensor_sweep()).expect("a sweep")
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect()
}

#[tokio::test]
async fn both_protocols_give_the_same_numbers() {
    let server = Server::start();
    let print = sensor_print();
    let over_grpc =
        server.oip().await.model_infer(infer_request(&print)).await.expect("answers").into_inner();
    let body = serde_json::json!({
        "id": "42",
        "inputs": [{"name": "print", "shape": [1, print.len()], "datatype": "FP32", "data": print}],
    });
    let over_rest = http::post(server.http, &format!("/v2/models/{MODEL}/infer"), &body.to_string());
    assert_eq!(over_rest.status, 200);
    let answer = over_rest.json();
    let rest: Vec<f32> = serde_json::from_value(answer["outputs"][0]["data"].clone()).expect("numbers");
    assert_eq!(floats(&over_grpc.raw_output_contents[0]), rest);
    assert_eq!(over_grpc.id, "42");
    assert_eq!(answer["model_version"], over_grpc.model_version.as_str());
    let sum: f32 = rest.iter().sum();
    assert!((sum - 1.0).abs() < 1e-4, "30 probabilities add up to {sum}");
}

/// What `model` says of one row by the name `input`: an answer for each output, by its name.
fn asked(server: &Server, model: &str, input: &str, row: &[f32]) -> BTreeMap<String, Vec<f32>> {
    let tensor = serde_json::json!({"name": input, "shape": [1, row.len()], "datatype": "FP32", "data": row});
    let body = serde_json::json!({ "inputs": [tensor] }).to_string();
    let answer = http::post(server.http, &format!("/v2/models/{model}/infer"), &body);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let outputs = answer.json()["outputs"].as_array().expect("outputs").clone();
    let named = |output: &serde_json::Value| {
        let values = serde_json::from_value(output["data"].clone()).expect("numbers");
        (output["name"].as_str().expect("a name").to_owned(), values)
    };
    outputs.iter().map(named).collect()
}

#[test]
fn the_ensemble_of_the_documentation_says_what_its_models_say_one_after_another() {
    let text = std::fs::read_to_string("docs/scheduling.md").expect("the page");
    let declared = text.split("```toml\n").find(|part| part.starts_with("[ensembles.")).expect("an example");
    let (declared, _) = declared.split_once("```").expect("its end");
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
    std::fs::write(file.path(), declared).expect("written");
    let server = Server::with(&shipped_bundles(), &[("MANPASIK_CONFIG", &file.path().to_string_lossy())]);
    let sweep = sensor_sweep();
    let corrected =
        asked(&server, "sensor-calibration", "channels", &sweep).remove("channels").expect("channels");
    let together = asked(&server, "sensor-sweep", "raw", &sweep);
    assert_eq!(together["values"], asked(&server, "sensor-value", "channels", &corrected)["values"]);
    assert_eq!(together["error"], asked(&server, "sensor-anomaly", "channels", &corrected)["error"]);
    assert_eq!(together.len(), 2);
    let told = http::get(server.http, "/v2/models/sensor-sweep/config").json();
    assert_eq!(
        (&told["platform"], told["ensemble_scheduling"]["step"].as_array().map(Vec::len)),
        (&"ensemble".into(), Some(3))
    );
    let stats = http::get(server.http, "/v2/models/sensor-sweep/stats").json();
    assert_eq!(stats["model_stats"][0]["inference_count"], 1);
}

#[tokio::test]
async fn damaged_bundles_are_refused_by_name_and_the_rest_serves() {
    let bundles = copied_bundles();
    let weights = version_dir(bundles.path(), "thyroid").join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, bytes).expect("writable");
    std::fs::remove_file(version_dir(bundles.path(), "diabetes").join("golden.safetensors"))
        .expect("removed");
    std::fs::write(version_dir(bundles.path(), "health-score").join("manifest.sig"), "0".repeat(128))
        .expect("writable");
    let key = (
        "MANPASIK__MODELS__TRUSTED_KEYS",
        r#"["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"]"#,
    );
    let server = Server::with(bundles.path(), &[key]);
    let mut client = server.oip().await;
    let index =
        client.repository_index(RepositoryIndexRequest::default()).await.expect("answers").into_inner();
    let damaged = [
        ("thyroid", "weights.safetensors"),
        ("diabetes", "golden.safetensors"),
        ("health-score", "manifest.sig"),
    ];
    for (name, file) in damaged {
        let entry = index.models.iter().find(|model| model.name == name).expect("listed");
        assert_eq!(entry.state, "UNAVAILABLE", "{name}");
        assert!(entry.reason.contains(file), "{name}: {}", entry.reason);
    }
    client.model_infer(infer_request(&sensor_print())).await.expect("the others still serve");
}

#[tokio::test]
async fn a_model_comes_back_the_way_it_came_or_not_at_all() {
    let bundles = copied_bundles();
    let server = Server::with(bundles.path(), &[]);
    let mut client = server.oip().await;
    let load = || RepositoryModelLoadRequest { model_name: MODEL.into(), ..Default::default() };
    let unload = RepositoryModelUnloadRequest { model_name: MODEL.into(), ..Default::default() };
    let weights = version_dir(bundles.path(), MODEL).join("weights.safetensors");
    let bytes = std::fs::read(&weights).expect("readable");
    std::fs::write(&weights, &bytes[1..]).expect("writable");
    let status = client.repository_model_load(load()).await.expect_err("damaged");
    assert!(status.code() == Code::Internal && status.message().contains("weights.safetensors"), "{status}");
    client.model_infer(infer_request(&sensor_print())).await.expect("what served serves on");
    client.repository_model_unload(unload).await.expect("unloads");
    client.repository_model_load(load()).await.expect_err("still damaged");
    let status = client.model_infer(infer_request(&sensor_print())).await.expect_err("out of service");
    assert_eq!(status.code(), Code::Unavailable);
    std::fs::write(&weights, bytes).expect("writable");
    client.repository_model_load(load()).await.expect("loads");
    client.model_infer(infer_request(&sensor_print())).await.expect("serves again");
}

#[tokio::test]
async fn without_onnx_runtime_the_candle_models_serve_and_readiness_tells() {
    if !food_is_installed() {
        return skipped("the food model is not installed: run `make setup` and `manpasik models fetch food`");
    }
    let nowhere = [("MANPASIK_ONNXRUNTIME", "/nonexistent/libonnxruntime.so")];
    let server = Server::with(&shipped_bundles(), &nowhere);
    let ready = http::get(server.http, "/readyz");
    assert_eq!(ready.status, 200, "{}", String::from_utf8_lossy(&ready.body));
    let text = String::from_utf8_lossy(&ready.body).into_owned();
    assert!(text.contains("make setup"), "the fix is named: {text}");
    let mut client = server.oip().await;
    assert!(client.server_ready(ServerReadyRequest {}).await.expect("answers").into_inner().ready);
    client.model_infer(infer_request(&sensor_print())).await.expect("candle models serve");
}

#[tokio::test]
async fn wrong_tensors_are_the_callers_fault_and_name_the_field() {
    let server = Server::start();
    let mut client = server.oip().await;
    let mut short = infer_request(&sensor_print());
    short.raw_input_contents[0].truncate(300);
    let mut wide = infer_request(&[1.0; 94]);
    wide.inputs[0].shape = vec![1, 94];
    let mut typed = infer_request(&sensor_print());
    typed.inputs[0].datatype = "INT32".into();
    let mut broken = sensor_print();
    broken[3] = f32::NAN;
    for (case, request) in
        [("short", short), ("wide", wide), ("typed", typed), ("nan", infer_request(&broken))]
    {
        let status = client.model_infer(request).await.expect_err(case);
        assert_eq!(status.code(), Code::InvalidArgument, "{case}: {status}");
        assert!(status.message().contains("print"), "{case}: {status}");
    }
    let mut unknown = infer_request(&sensor_print());
    unknown.model_name = "nope".into();
    let status = client.model_infer(unknown).await.expect_err("unknown model");
    assert_eq!(status.code(), Code::NotFound);
}

/// Synthetic pictures: waves of different lengths, three planes of 260 × 260.
fn pictures(numbers: &[usize]) -> Vec<f32> {
    const ELEMENTS: usize = 3 * 260 * 260;
    let wave = |number: usize, at: usize| ((at * (number + 1)) as f32 * 0.01).sin();
    numbers.iter().flat_map(|number| (0..ELEMENTS).map(move |at| wave(*number, at))).collect()
}

/// Single-precision outputs of the image model for one batch of pictures.
async fn logits(client: &mut GrpcInferenceServiceClient<Channel>, numbers: &[usize]) -> Vec<f32> {
    let mut request = infer_request(&pictures(numbers));
    request.model_name = "food".into();
    request.inputs[0].name = "image".into();
    request.inputs[0].shape = vec![numbers.len() as i64, 3, 260, 260];
    let answer = client.model_infer(request).await.expect("answers").into_inner();
    floats(&answer.raw_output_contents[0])
}

#[test]
fn images_in_one_batch_get_the_answers_they_get_alone() {
    let server = Server::start();
    if !food_is_installed() {
        return skipped("the food model is not installed: run `make setup` and `manpasik models fetch food`");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut client = runtime.block_on(server.oip());
    let alone: Vec<_> = (0..4).map(|number| runtime.block_on(logits(&mut client, &[number]))).collect();
    let mut runner = TestRunner::new(Config::with_cases(8));
    let compositions = prop::collection::vec(0..alone.len(), 1..7);
    let checked = runner.run(&compositions, |numbers| {
        let together = runtime.block_on(logits(&mut client.clone(), &numbers));
        for (number, row) in numbers.iter().zip(together.chunks_exact(1000)) {
            let apart = row.iter().zip(&alone[*number]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            prop_assert!(apart < 1e-3, "image {number} of {numbers:?} differs by {apart}");
        }
        Ok(())
    });
    checked.expect("every composition");
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let server = Server::start();
    let body = vec![b' '; 65 << 20];
    let path = format!("/v2/models/{MODEL}/infer");
    let answer = http::exchange(server.http, "POST", &path, "application/json", &body);
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    assert!(answer.json()["error"].is_string());
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_with_the_field_that_is_too_large() {
    let server = Server::start();
    let mut client = server.ai().await.max_encoding_message_size(usize::MAX);
    let request = EstimateFoodCaloriesRequest { image: vec![0; 65 << 20].into(), ..Default::default() };
    let status = client.estimate_food_calories(request).await.expect_err("65 MB");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().starts_with("image: the message has 68"), "{}", status.message());
    let mut client = server.oip().await.max_encoding_message_size(usize::MAX);
    let mut request = infer_request(&[0.0]);
    request.raw_input_contents = vec![vec![0; 80 << 20].into()];
    let status = client.model_infer(request).await.expect_err("80 MB");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().starts_with("raw_input_contents"), "{}", status.message());
}

#[test]
fn metrics_and_descriptions_are_public_on_loopback() {
    let server = Server::start();
    assert_eq!(http::get(server.http, "/healthz").status, 200);
    let metrics = http::get(server.http, "/metrics");
    assert_eq!(metrics.status, 200);
    let api = http::get(server.http, "/openapi.json").json();
    assert!(api["paths"]["/v1/ai/analyze-measurement"].is_object());
}

#[test]
fn a_signal_ends_the_server_in_order_even_right_after_its_first_line() {
    let mut server = Server::start();
    assert_eq!(server.terminate(), Some(0));
    assert!(server.data_dir().exists());
}
