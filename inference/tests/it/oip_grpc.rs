//! The Open Inference Protocol over gRPC, through the generated client and the real codec.

use std::time::Duration;

use bytes::Bytes;
use inference::{Limits, Server, server::oip};
use models::DType;
use proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelMetadataRequest, ModelReadyRequest,
    RepositoryIndexRequest, ServerLiveRequest, ServerMetadataRequest, ServerReadyRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    grpc_inference_service_server::GrpcInferenceServiceServer,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};
use tonic::{Code, Status};

use crate::support::{doubler, echo};

type Client = GrpcInferenceServiceClient<GrpcInferenceServiceServer<oip::OipService>>;

fn start(limits: Limits, cost: Duration) -> (Server, Client) {
    let seen = std::sync::Arc::default();
    let candidates = vec![doubler("1", 2.0, cost, 8, &seen), echo()];
    let server = Server::serve(limits, Vec::new(), candidates, Vec::new());
    let client = GrpcInferenceServiceClient::new(oip::grpc(server.handle()))
        .max_encoding_message_size(usize::MAX)
        .max_decoding_message_size(usize::MAX);
    (server, client)
}

fn bytes(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn input(datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: "x".into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        ..Default::default()
    }
}

fn raw(shape: &[i64], values: &[f32]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "double".into(),
        id: "7".into(),
        inputs: vec![input("FP32", shape)],
        raw_input_contents: vec![bytes(values)],
        ..Default::default()
    }
}

async fn refusal(client: &mut Client, request: ModelInferRequest) -> Status {
    client.model_infer(request).await.expect_err("must be refused")
}

#[tokio::test]
async fn raw_and_typed_tensors_give_the_same_raw_answer() {
    let (_server, mut client) = start(Limits::default(), Duration::ZERO);
    let mut typed = raw(&[1, 2], &[]);
    typed.raw_input_contents.clear();
    typed.inputs[0].contents =
        Some(InferTensorContents { fp32_contents: vec![1.0, 2.5], ..Default::default() });
    for request in [raw(&[1, 2], &[1.0, 2.5]), typed] {
        let answer = client.model_infer(request).await.expect("answer").into_inner();
        assert_eq!((&*answer.model_name, &*answer.model_version, &*answer.id), ("double", "1", "7"));
        assert_eq!(answer.raw_output_contents, [bytes(&[2.0, 5.0])]);
        let [output] = answer.outputs.as_slice() else { panic!("one output") };
        assert_eq!((&*output.name, &*output.datatype, &*output.shape), ("y", "FP32", &[1, 2][..]));
        assert_eq!(output.contents, None);
    }
}

#[tokio::test]
async fn every_datatype_goes_through_raw() {
    let (_server, mut client) = start(Limits::default(), Duration::ZERO);
    let contents = |dtype: DType| match dtype.size() {
        Some(size) => Bytes::from(vec![1; 2 * size]),
        None => Bytes::from_static(&[1, 0, 0, 0, b'a', 0, 0, 0, 0]),
    };
    let specs =
        DType::ALL.map(|dtype| InferInputTensor { name: dtype.oip().into(), ..input(dtype.oip(), &[1, 2]) });
    let asked =
        ["BYTES", "BOOL"].map(|name| InferRequestedOutputTensor { name: name.into(), ..Default::default() });
    let request = ModelInferRequest {
        model_name: "echo".into(),
        inputs: specs.into(),
        raw_input_contents: DType::ALL.map(contents).into(),
        ..Default::default()
    };
    let all = client.model_infer(request.clone()).await.expect("answer").into_inner();
    assert_eq!(all.raw_output_contents, DType::ALL.map(contents));
    let some = client.model_infer(ModelInferRequest { outputs: asked.into(), ..request }).await;
    let some = some.expect("answer").into_inner();
    assert_eq!(some.raw_output_contents, [contents(DType::Bytes), contents(DType::Bool)]);
}

#[tokio::test]
async fn bad_input_is_refused_by_name() {
    let (_server, mut client) = start(Limits::default(), Duration::ZERO);
    let both = {
        let mut request = raw(&[1, 2], &[1.0, 2.0]);
        request.inputs[0].contents = Some(InferTensorContents::default());
        request
    };
    let asked = {
        let output = InferRequestedOutputTensor { name: "z".into(), ..Default::default() };
        ModelInferRequest { outputs: vec![output], ..raw(&[1, 2], &[1.0, 2.0]) }
    };
    let missing = ModelInferRequest { inputs: vec![], raw_input_contents: vec![], ..raw(&[1, 2], &[]) };
    let typed = ModelInferRequest { inputs: vec![input("INT32", &[1, 2])], ..raw(&[1, 2], &[1.0, 2.0]) };
    let cases = [
        (
            raw(&[1, 3], &[1.0; 3]),
            "unexpected shape for input 'x' for model 'double'. Expected [-1,2], got [1,3]",
        ),
        (raw(&[-1, 2], &[1.0; 2]), "unexpected shape for input 'x'"),
        (raw(&[i64::MAX, 2], &[1.0; 2]), "x: shape has too many elements"),
        (
            raw(&[2, 2], &[1.0; 3]),
            "input byte size mismatch for input 'x' for model 'double'. Expected 16, got 12",
        ),
        (raw(&[1, 2], &[1.0, f32::NAN]), "x: element 1 is NaN or infinite"),
        (raw(&[0, 2], &[]), "have no rows"),
        (raw(&[9, 2], &[1.0; 18]), "at most 8 rows"),
        (both, "contents field must not be specified when using raw_input_contents for 'x'"),
        (typed, "inference input 'x' data-type is 'INT32', but model 'double' expects 'FP32'"),
        (asked, "unexpected inference output 'z' for model 'double'"),
        (missing, "expected 1 inputs but got 0 inputs for model 'double'"),
    ];
    for (request, text) in cases {
        let status = refusal(&mut client, request).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{text}");
        assert!(status.message().contains(text), "{} should contain {text}", status.message());
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_names_the_field() {
    let limits = Limits { request_bytes_max: 1 << 20, ..Limits::default() };
    let (_server, mut client) = start(limits, Duration::ZERO);
    let status = refusal(&mut client, raw(&[1 << 18, 2], &vec![0.0; 1 << 19])).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "raw_input_contents has more than 1048576 bytes; send it in parts");
}

#[tokio::test]
async fn unknown_names_are_not_found_and_extensions_unimplemented() {
    let (_server, mut client) = start(Limits::default(), Duration::ZERO);
    let nope = ModelInferRequest { model_name: "nope".into(), ..raw(&[1, 2], &[1.0; 2]) };
    let status = refusal(&mut client, nope).await;
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "Request for unknown model: 'nope' is not found");
    let version = ModelInferRequest { model_version: "9".into(), ..raw(&[1, 2], &[1.0; 2]) };
    let status = refusal(&mut client, version).await;
    assert_eq!(status.message(), "Request for unknown model: 'double' version 9 is not found");
    let mut shared = raw(&[1, 2], &[1.0; 2]);
    let text = |choice| InferParameter { parameter_choice: Some(choice) };
    let parameters = &mut shared.inputs[0].parameters;
    parameters.insert("shared_memory_region".into(), text(ParameterChoice::StringParam("r".into())));
    parameters.insert("shared_memory_byte_size".into(), text(ParameterChoice::Int64Param(8)));
    shared.raw_input_contents.clear();
    assert_eq!(refusal(&mut client, shared).await.code(), Code::Unimplemented);
}

#[tokio::test]
async fn deadlines_come_from_the_call_or_the_request() {
    let (_server, mut client) = start(Limits::default(), Duration::from_millis(200));
    // As many rows as a batch may have, so that nobody shares it.
    let mut timed = raw(&[8, 2], &[1.0; 16]);
    let micros = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(100_000)) };
    timed.parameters.insert("timeout".into(), micros);
    // A timeout bounds the wait, not the run: of two at once the one that finds the model busy is refused.
    let (mut one, mut other) = (client.clone(), client.clone());
    let (one, other) = tokio::join!(one.model_infer(timed.clone()), other.model_infer(timed));
    let refused: Vec<Code> =
        [one, other].into_iter().filter_map(Result::err).map(|status| status.code()).collect();
    assert_eq!(refused, [Code::DeadlineExceeded]);
    let mut call = tonic::Request::new(raw(&[1, 2], &[1.0; 2]));
    call.metadata_mut().insert("grpc-timeout", "20m".parse().expect("ascii"));
    let status = client.model_infer(call).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let mut wrong = raw(&[1, 2], &[1.0; 2]);
    let text = InferParameter { parameter_choice: Some(ParameterChoice::StringParam("soon".into())) };
    wrong.parameters.insert("timeout".into(), text);
    assert_eq!(refusal(&mut client, wrong).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn overload_says_when_to_come_back() {
    let limits = Limits { inflight_requests_max: 0, ..Limits::default() };
    let (_server, mut client) = start(limits, Duration::ZERO);
    let status = refusal(&mut client, raw(&[1, 2], &[1.0; 2])).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.metadata().get("retry-after-ms").map(|value| value.as_bytes()), Some(&b"100"[..]));
}

#[tokio::test]
async fn the_server_and_its_models_describe_themselves() {
    let (server, mut client) = start(Limits::default(), Duration::ZERO);
    assert!(client.server_live(ServerLiveRequest {}).await.expect("answer").into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.expect("answer").into_inner().ready);
    let metadata = client.server_metadata(ServerMetadataRequest {}).await.expect("answer").into_inner();
    assert_eq!(metadata.name, "manpasik");
    assert!(metadata.extensions.contains(&"binary_tensor_data".to_owned()));
    let request = ModelMetadataRequest { name: "double".into(), version: String::new() };
    let model = client.model_metadata(request).await.expect("answer").into_inner();
    assert_eq!((&*model.name, model.versions), ("double", vec!["1".to_owned()]));
    assert_eq!((&*model.inputs[0].name, &*model.inputs[0].datatype), ("x", "FP32"));
    assert_eq!(model.inputs[0].shape, [-1, 2]);
    for (name, ready) in [("double", true), ("nope", false)] {
        let request = ModelReadyRequest { name: name.into(), version: String::new() };
        assert_eq!(client.model_ready(request).await.expect("answer").into_inner().ready, ready);
    }
    let index =
        client.repository_index(RepositoryIndexRequest::default()).await.expect("answer").into_inner();
    let names: Vec<_> = index.models.iter().map(|model| (&*model.name, &*model.state)).collect();
    assert_eq!(names, [("double", "READY"), ("echo", "READY")]);
    server.drain().await;
    assert!(!client.server_ready(ServerReadyRequest {}).await.expect("answer").into_inner().ready);
    assert_eq!(refusal(&mut client, raw(&[1, 2], &[1.0; 2])).await.code(), Code::Unavailable);
}

/// A request to the model that gives its inputs back, each input in the typed field of its datatype.
fn typed_echo(contents: &[(DType, InferTensorContents)]) -> ModelInferRequest {
    let typed = |(dtype, contents): &(DType, InferTensorContents)| InferInputTensor {
        name: dtype.oip().into(),
        contents: Some(contents.clone()),
        ..input(dtype.oip(), &[1, 2])
    };
    ModelInferRequest {
        model_name: "echo".into(),
        inputs: contents.iter().map(typed).collect(),
        ..Default::default()
    }
}

#[tokio::test]
async fn half_precision_has_no_typed_field_and_says_where_it_goes() {
    let (_server, mut client) = start(Limits::default(), Duration::ZERO);
    let one = |dtype: DType| {
        let mut contents = InferTensorContents::default();
        match dtype {
            DType::Bool => contents.bool_contents = vec![true, false],
            DType::I8 | DType::I16 | DType::I32 => contents.int_contents = vec![-1, 1],
            DType::I64 => contents.int64_contents = vec![i64::MIN, i64::MAX],
            DType::U8 | DType::U16 | DType::U32 => contents.uint_contents = vec![0, 255],
            DType::U64 => contents.uint64_contents = vec![0, u64::MAX],
            DType::F32 => contents.fp32_contents = vec![1.0, 2.0],
            DType::F64 => contents.fp64_contents = vec![1.0, 2.0],
            DType::Bytes => contents.bytes_contents = vec!["a".into(), "".into()],
            DType::F16 | DType::Bf16 => {}
        }
        (dtype, contents)
    };
    let status = refusal(&mut client, typed_echo(&DType::ALL.map(one))).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("FP16") && status.message().contains("raw_input_contents"), "{status}");
}

#[tokio::test]
async fn contents_in_the_field_of_another_datatype_count_as_absent() {
    let (_server, mut client) = start(Limits::default(), Duration::ZERO);
    let mut request = raw(&[1, 2], &[]);
    request.raw_input_contents.clear();
    for contents in [
        InferTensorContents { fp64_contents: vec![1.0, 2.0], ..Default::default() },
        InferTensorContents { fp32_contents: vec![1.0], ..Default::default() },
        InferTensorContents { fp32_contents: vec![1.0; 3], ..Default::default() },
        InferTensorContents::default(),
    ] {
        request.inputs[0].contents = Some(contents);
        let status = refusal(&mut client, request.clone()).await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("byte size mismatch for input 'x'"), "{status}");
    }
    request.inputs[0].contents = None;
    assert!(refusal(&mut client, request).await.message().contains("Expected 8, got 0"));
}

#[tokio::test]
async fn raw_contents_are_as_many_as_the_inputs() {
    let (_server, mut client) = start(Limits::default(), Duration::ZERO);
    let mut request = raw(&[1, 2], &[1.0, 2.0]);
    request.raw_input_contents.push(bytes(&[1.0, 2.0]));
    let status = refusal(&mut client, request.clone()).await;
    assert!(
        status.message().contains("[request id: 7] raw_input_contents has 2 entries for 1 inputs"),
        "{status}"
    );
    request.inputs.push(request.inputs[0].clone());
    let status = refusal(&mut client, request).await;
    assert!(status.message().contains("expected 1 inputs but got 2"), "{status}");
}

#[tokio::test]
async fn a_batch_holds_up_to_the_rows_of_the_model_and_keeps_their_order() {
    let (_server, mut client) = start(Limits::default(), Duration::ZERO);
    for rows in 1..=8 {
        let values: Vec<f32> = (0..rows * 2).map(|at| at as f32).collect();
        let answer = client.model_infer(raw(&[rows, 2], &values)).await.expect("answer").into_inner();
        let doubled: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        assert_eq!(answer.raw_output_contents, [bytes(&doubled)]);
        assert_eq!(answer.outputs[0].shape, [rows, 2]);
    }
}

#[tokio::test]
async fn a_timeout_that_is_no_timeout_is_passed_over_and_a_priority_is_any_whole_number() {
    let (_server, mut client) = start(Limits::default(), Duration::ZERO);
    for header in ["soon", "1", "-1S", "999999999S"] {
        let mut call = tonic::Request::new(raw(&[1, 2], &[1.0; 2]));
        call.metadata_mut().insert("grpc-timeout", header.parse().expect("ascii"));
        client.model_infer(call).await.expect(header);
    }
    for level in [0, 1, 2, 3, u64::MAX] {
        let mut request = raw(&[1, 2], &[1.0; 2]);
        let choice = Some(ParameterChoice::Uint64Param(level));
        request.parameters.insert("priority".into(), InferParameter { parameter_choice: choice });
        client.model_infer(request).await.expect("answer");
    }
    for choice in
        [ParameterChoice::DoubleParam(1.0), ParameterChoice::BoolParam(true), ParameterChoice::Int64Param(-1)]
    {
        let mut request = raw(&[1, 2], &[1.0; 2]);
        request.parameters.insert("priority".into(), InferParameter { parameter_choice: Some(choice) });
        let status = refusal(&mut client, request).await;
        assert!(status.message().starts_with("priority: parameter must be a whole number"), "{status}");
    }
}
