//! `ModelStreamInfer` over the generated client and the real codec: order, failures in band, bounds and the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use inference::{Limits, Server, server::oip};
use proto::inference::{
    InferParameter, ModelInferRequest, ModelStreamInferResponse,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    grpc_inference_service_server::GrpcInferenceServiceServer, infer_parameter::ParameterChoice,
    model_infer_request::InferInputTensor,
};
use tonic::{Code, Status};

use crate::support::{Seen, doubler};

type Client = GrpcInferenceServiceClient<GrpcInferenceServiceServer<oip::OipService>>;

fn start(limits: Limits, cost: Duration) -> (Server, Client, Arc<Seen>) {
    let seen = Arc::default();
    let server = Server::serve(limits, Vec::new(), vec![doubler("1", 2.0, cost, 8, &seen)], Vec::new());
    let client = GrpcInferenceServiceClient::new(oip::grpc(server.handle()));
    (server, client, seen)
}

fn request(id: usize, value: f32) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: vec![1, 2],
        ..Default::default()
    };
    let bytes: Bytes = [value, value].iter().flat_map(|value| value.to_le_bytes()).collect();
    ModelInferRequest {
        model_name: "double".into(),
        id: id.to_string(),
        inputs: vec![input],
        raw_input_contents: vec![bytes],
        ..Default::default()
    }
}

async fn answers(
    client: &mut Client,
    requests: Vec<ModelInferRequest>,
) -> Vec<Result<ModelStreamInferResponse, Status>> {
    let answers = client.model_stream_infer(stream::iter(requests)).await.expect("a stream");
    answers.into_inner().collect().await
}

fn first_value(response: &ModelStreamInferResponse) -> f32 {
    let raw = &response.infer_response.as_ref().expect("a response").raw_output_contents[0];
    f32::from_le_bytes(raw[..4].try_into().expect("four bytes"))
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests_and_requests_share_batches() {
    let (_server, mut client, seen) = start(Limits::default(), Duration::from_millis(2));
    let requests: Vec<_> = (0..100).map(|id| request(id, id as f32)).collect();
    let answers = answers(&mut client, requests).await;
    assert_eq!(answers.len(), 100);
    for (id, answer) in answers.iter().enumerate() {
        let answer = answer.as_ref().expect("an answer");
        assert_eq!(answer.error_message, "");
        assert_eq!(answer.infer_response.as_ref().map(|response| response.id.clone()), Some(id.to_string()));
        assert_eq!(first_value(answer), id as f32 * 2.0);
    }
    let batches = seen.batches.lock().expect("lock").len();
    assert!(batches < 100, "requests of one stream run together: {batches} batches");
}

#[tokio::test]
async fn a_failure_is_told_in_band_and_the_stream_goes_on() {
    let (_server, mut client, _) = start(Limits::default(), Duration::ZERO);
    let unknown = ModelInferRequest { model_name: "nope".into(), ..request(1, 1.0) };
    let wrong =
        ModelInferRequest { raw_input_contents: vec![Bytes::from_static(&[0; 4])], ..request(2, 1.0) };
    let requests = vec![request(0, 1.0), unknown, wrong, request(3, 2.0)];
    let answers: Vec<_> =
        answers(&mut client, requests).await.into_iter().map(|answer| answer.expect("an answer")).collect();
    let texts: Vec<_> = answers.iter().map(|answer| &*answer.error_message).collect();
    assert_eq!(texts[0], "");
    assert_eq!(texts[1], "Request for unknown model: 'nope' is not found");
    assert!(texts[2].contains("byte size mismatch"), "{}", texts[2]);
    assert_eq!((texts[3], first_value(&answers[3])), ("", 4.0));
    let told = answers[2].infer_response.as_ref().expect("whose failure it is");
    assert_eq!((&*told.id, told.outputs.len()), ("2", 0));
}

#[tokio::test]
async fn the_last_answer_is_marked_for_whom_wants_it() {
    let (_server, mut client, _) = start(Limits::default(), Duration::ZERO);
    let flag = |on| InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(on)) };
    let mut marked = request(0, 1.0);
    marked.parameters.insert("triton_enable_empty_final_response".into(), flag(true));
    let answers = answers(&mut client, vec![marked, request(1, 1.0)]).await;
    let mark = |at: usize| {
        let response = answers[at].as_ref().expect("an answer").infer_response.as_ref().expect("a response");
        response.parameters.get("triton_final_response").cloned()
    };
    assert_eq!((mark(0), mark(1)), (Some(flag(true)), None));
}

#[tokio::test]
async fn no_more_than_the_window_is_under_way_and_the_deadline_holds() {
    let limits = Limits { stream_window_max: 4, ..Limits::default() };
    let (server, mut client, seen) = start(limits, Duration::from_millis(20));
    let requests: Vec<_> = (0..80).map(|id| request(id, 1.0)).collect();
    let mut asked = tonic::Request::new(stream::iter(requests));
    asked.metadata_mut().insert("grpc-timeout", "250m".parse().expect("ascii"));
    let mut answers = client.model_stream_infer(asked).await.expect("a stream").into_inner();
    let mut texts = Vec::new();
    while let Some(answer) = answers.next().await {
        assert!(server.inflight() <= 4);
        texts.push(answer.expect("in band").error_message);
    }
    assert_eq!(texts.len(), 80);
    assert!(seen.largest_batch() <= 4);
    assert!(texts.iter().any(String::is_empty) && texts[79].contains("deadline"), "{texts:?}");
}

#[tokio::test]
async fn silence_ends_a_stream_and_so_does_a_drain() {
    let limits = Limits { stream_idle_ms_max: 300, ..Limits::default() };
    let (_server, mut client, _) = start(limits, Duration::ZERO);
    let silent = stream::iter([request(0, 1.0)]).chain(stream::pending());
    let answers = client.model_stream_infer(silent).await.expect("a stream").into_inner();
    let answers: Vec<_> = answers.collect().await;
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[1].as_ref().expect_err("silent").code(), Code::DeadlineExceeded);

    let (server, mut client, _) = start(Limits::default(), Duration::ZERO);
    let open = stream::iter([request(0, 1.0)]).chain(stream::pending());
    let mut answers = client.model_stream_infer(open).await.expect("a stream").into_inner();
    assert!(answers.next().await.is_some_and(|answer| answer.is_ok()));
    assert!(server.drain().await);
    let until = Instant::now() + Duration::from_secs(10);
    assert!(answers.next().await.is_none() && Instant::now() < until);
}
