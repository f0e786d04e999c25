//! Real connections: both protocols on one port, and a drain that loses nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use inference::{Limits, Server, server};
use proto::inference::{
    ModelInferRequest, ServerReadyRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::InferInputTensor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tonic::Code;

use crate::support::doubler;

fn request() -> ModelInferRequest {
    let input = InferInputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: vec![1, 2],
        ..Default::default()
    };
    ModelInferRequest {
        model_name: "double".into(),
        inputs: vec![input],
        raw_input_contents: vec![Bytes::from_static(&[0; 8])],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admitted_requests_are_answered_and_later_ones_refused() {
    let candidate = doubler("1", 2.0, Duration::from_millis(100), 8, &Arc::default());
    let server = Server::serve(Limits::default(), Vec::new(), vec![candidate], Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = server::grpc_routes(&server.handle());
    let serving = tokio::spawn(server::serve_grpc(listener, server.handle(), routes, None, async {
        drop(stopped.await);
    }));
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("uri");
    let channel = channel.connect().await.expect("connects");
    let mut client = GrpcInferenceServiceClient::new(channel);
    assert!(client.server_ready(ServerReadyRequest {}).await.expect("answer").into_inner().ready);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.model_infer(request()).await })
        })
        .collect();
    crate::support::eventually("every call is in", || server.inflight() == 8).await;
    let (drained, late) = tokio::join!(server.drain(), async {
        crate::support::eventually("the drain began", || !server.handle().readiness().ready).await;
        client.model_infer(request()).await
    });
    assert!(drained);
    assert_eq!(late.expect_err("too late").code(), Code::Unavailable);
    for call in calls {
        call.await.expect("no panic").expect("answered");
    }
    stop.send(()).expect("still serving");
    let started = Instant::now();
    serving.await.expect("no panic").expect("closed");
    assert!(started.elapsed() < Duration::from_secs(5), "an idle connection does not hold up the end");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn http_1_and_stray_bytes_are_understood_on_the_same_loop() {
    let candidate = doubler("1", 2.0, Duration::ZERO, 8, &Arc::default());
    let server = Server::serve(Limits::default(), Vec::new(), vec![candidate], Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let routes = server::http_routes(server.handle());
    let serving =
        tokio::spawn(server::serve_http(listener, routes, Limits::default(), std::future::pending()));
    for (bytes, want) in [
        (&b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"[..], "HTTP/1.1 200"),
        (b"\x00\x01garbage\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(bytes).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.starts_with(want), "{answer}");
    }
    serving.abort();
}
