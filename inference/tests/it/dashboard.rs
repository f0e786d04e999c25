//! The dashboard of `deploy/grafana` and the metrics it is drawn from.

use std::{collections::BTreeSet, path::Path, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Request, header},
};
use inference::server;
use serde_json::Value;
use tower::ServiceExt;

use crate::support::{rows, serve};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn metrics(accept: &str) -> (String, String) {
    let (_server, handle, _) = serve(inference::Limits::default(), Duration::ZERO, 8);
    let mut traced = inference::Request::new("double", rows(1.0, 1));
    traced.terms.trace = inference::TraceContext::parse(TRACEPARENT);
    handle.infer(traced).await.expect("answer");
    let request =
        Request::get("/metrics").header(header::ACCEPT, accept).body(Body::empty()).expect("request");
    let response = server::http_routes(&handle).oneshot(request).await.expect("infallible");
    let kind = response.headers()[header::CONTENT_TYPE].to_str().expect("ascii").to_owned();
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
    (kind, String::from_utf8(body.to_vec()).expect("text"))
}

/// Words of ours in the queries of a dashboard, wherever they stand.
fn named(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("expr" | "query", Value::String(text)) => {
                        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                        found.extend(words.filter(|word| word.starts_with("manpasik_")).map(str::to_owned));
                    }
                    (_, value) => named(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| named(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_dashboard_uses_only_metrics_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana/manpasik.json");
    let dashboard = std::fs::read_to_string(path).expect("the dashboard");
    let mut names = BTreeSet::new();
    named(&serde_json::from_str(&dashboard).expect("JSON"), &mut names);
    assert!(names.len() >= 10, "{names:?}");
    let (kind, text) = metrics("*/*").await;
    assert!(kind.starts_with("text/plain"));
    for name in names {
        let sample =
            |line: &str| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let there = text.lines().any(sample);
        assert!(there, "no metric `{name}` in\n{text}");
    }
}

#[tokio::test]
async fn a_scraper_that_knows_them_is_told_exemplars() {
    let (kind, text) = metrics("application/openmetrics-text; version=1.0.0").await;
    assert!(kind.starts_with("application/openmetrics-text"));
    assert!(text.contains("# {trace_id=\"0af7651916cd43dd8448eb211c80319c\"}"), "{text}");
    assert!(text.contains("# TYPE manpasik_inference_requests counter"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    for stage in ["queue", "input", "compute", "output", "request"] {
        let name = format!(
            "manpasik_inference_{stage}_seconds_bucket{{model=\"double\",version=\"1\",le=\"+Inf\"}}"
        );
        assert!(text.contains(&name), "{name}");
    }
}
