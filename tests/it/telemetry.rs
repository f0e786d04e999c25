//! Traces as a collector gets them, and a line of the log for each request.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::{Span, span::SpanKind},
};
use serde_json::{Value, json};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport};

use crate::support::{Server, http, shipped_bundles};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().expect("lock").push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let service = TraceServiceServer::new(collector.clone());
        let server = transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    fn spans(&self) -> Vec<Span> {
        let sent = self.0.lock().expect("lock");
        let resources = sent.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|of| &of.scope_spans).flat_map(|of| of.spans.clone()).collect()
    }
}

/// A body that asks `sensor-fingerprint` once, with this id.
fn body(id: &str) -> String {
    let print = vec![0.25; 93];
    json!({ "id": id, "inputs": [{ "name": "print", "datatype": "FP32", "shape": [1, 93], "data": print }] })
        .to_string()
}

fn ask(server: &Server, id: &str, headers: &str) -> u16 {
    let headers = format!("content-type: application/json\r\n{headers}");
    http::send(server.http, "POST", "/v2/models/sensor-fingerprint/infer", &headers, body(id).as_bytes())
        .status
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_a_recorded_request_reach_the_collector_below_those_of_its_caller() {
    let (collector, address) = Collector::start().await;
    let settings =
        [("MANPASIK__TELEMETRY__OTLP_ENDPOINT", &*address), ("MANPASIK__TELEMETRY__SAMPLE_SHARE", "0")];
    let mut server = Server::with(&shipped_bundles(), &settings);
    for flags in ["01", "00"] {
        assert_eq!(ask(&server, "a", &format!("traceparent: 00-{TRACE}-{PARENT}-{flags}\r\n")), 200);
    }
    assert_eq!(ask(&server, "b", ""), 200);
    let stopped = tokio::task::spawn_blocking(move || server.terminate()).await.expect("no panic");
    assert_eq!(stopped, Some(0), "what waits is sent before it stops");

    let spans = collector.spans();
    let of = |kind: SpanKind| spans.iter().filter(move |span| span.kind == kind as i32).collect::<Vec<_>>();
    let [request] = &of(SpanKind::Server)[..] else { panic!("one request was recorded: {spans:?}") };
    assert_eq!(
        (&*request.name, hex(&request.trace_id), hex(&request.parent_span_id)),
        ("infer", TRACE.into(), PARENT.into())
    );
    let model = request.attributes.iter().find(|pair| pair.key == "manpasik.model.name").expect("named");
    assert!(format!("{model:?}").contains("sensor-fingerprint"));
    let stages = of(SpanKind::Internal);
    assert!(stages.iter().any(|span| span.name == "compute"), "{stages:?}");
    for stage in stages {
        assert_eq!((&stage.parent_span_id, &stage.trace_id), (&request.span_id, &request.trace_id));
        assert!(stage.start_time_unix_nano >= request.start_time_unix_nano);
    }
    let resource = collector.0.lock().expect("lock")[0].resource_spans[0].resource.clone().expect("told");
    assert!(format!("{resource:?}").contains("service.name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_requests_are_answered_and_a_share_is_recorded_of_those_without_a_trace() {
    let nobody = [("MANPASIK__TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:9")];
    let server = Server::with(&shipped_bundles(), &nobody);
    assert_eq!(ask(&server, "a", &format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n")), 200);
    drop(server);
    let (collector, address) = Collector::start().await;
    let all = [("MANPASIK__TELEMETRY__OTLP_ENDPOINT", &*address), ("MANPASIK__TELEMETRY__SAMPLE_SHARE", "1")];
    let mut server = Server::with(&shipped_bundles(), &all);
    assert_eq!(ask(&server, "a", ""), 200);
    tokio::task::spawn_blocking(move || server.terminate()).await.expect("no panic");
    let spans = collector.spans();
    let root = spans.iter().find(|span| span.kind == SpanKind::Server as i32).expect("recorded");
    assert!(root.parent_span_id.is_empty() && root.trace_id.iter().any(|byte| *byte != 0));
}

#[test]
fn each_request_leaves_a_line_with_its_id_and_nothing_of_what_it_sent() {
    let settings = [("MANPASIK__LOG__REQUESTS", "true"), ("MANPASIK__LOG__JSON", "true")];
    let server = Server::logging(&shipped_bundles(), &settings);
    assert_eq!(ask(&server, "req-17", &format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n")), 200);
    let bad = r#"{"id": "req-18", "inputs": []}"#;
    assert_eq!(http::post(server.http, "/v2/models/sensor-fingerprint/infer", bad).status, 400);
    let lines = || -> Vec<Value> {
        server.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let find = |id: &str| lines().into_iter().find(|line| line["fields"]["request_id"] == id);
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while find("req-17").is_none() || find("req-18").is_none() {
        assert!(std::time::Instant::now() < until, "no such lines: {:?}", lines());
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = find("req-17").expect("there")["fields"].clone();
    assert_eq!((&told["outcome"], &told["model"]), (&json!("ok"), &json!("sensor-fingerprint")));
    assert_eq!(told["trace"], TRACE);
    assert!(told["version"].as_str().is_some_and(|version| version.starts_with("MPS-")), "{told}");
    assert!(told["total_us"].as_u64() >= told["compute_us"].as_u64());
    assert_eq!(find("req-18").expect("there")["fields"]["outcome"], "invalid_argument");
    assert!(!server.log().contains("0.25"), "what was sent is never written");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
