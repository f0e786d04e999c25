//! `[telemetry]`: traces to a collector (OpenTelemetry Protocol over gRPC).
//!
//! Spans wait in a bounded queue of the library and leave in batches on a thread of their own; what does not fit, or what
//! the collector does not take, is dropped, and the log says so. A request never waits for it.

use std::time::Duration;

use anyhow::Context;
use inference::spans::{self, Span, SpanId, Stage};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId as Id, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor},
};
use serde::{Deserialize, Serialize};

/// Longest wait for the collector, for one batch and at the end.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Telemetry {
    /// gRPC address of the collector, such as `http://127.0.0.1:4317`; empty: no traces.
    pub(crate) otlp_endpoint: String,
    /// Share of the requests without a `traceparent` that are recorded, 0 to 1; a caller's own choice always counts.
    pub(crate) sample_share: f64,
    /// `service.name` of the spans.
    pub(crate) service_name: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), sample_share: 0.001, service_name: "manpasik".into() }
    }
}

impl Telemetry {
    /// Adds what is wrong under `[telemetry]`.
    pub(crate) fn check(&self, faults: &mut Vec<String>) {
        let Self { otlp_endpoint, sample_share, service_name } = self;
        if !otlp_endpoint.is_empty() && !otlp_endpoint.starts_with("http://") {
            faults.push(
                "telemetry.otlp_endpoint: must begin with http://, a collector beside this server".into(),
            );
        }
        if !(0.0..=1.0).contains(sample_share) {
            faults.push("telemetry.sample_share: must be 0 to 1".into());
        }
        if service_name.is_empty() {
            faults.push("telemetry.service_name: must not be empty".into());
        }
    }
}

/// Sends spans until it is dropped; what waits then is sent first.
pub(crate) struct Exporting(std::sync::Arc<BatchSpanProcessor>);

/// Begins to send the spans of this process; nothing where no collector is named. This must be called on a runtime.
pub(crate) fn start(telemetry: &Telemetry) -> anyhow::Result<Option<Exporting>> {
    if telemetry.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&telemetry.otlp_endpoint)
        .with_timeout(TIMEOUT)
        .build()
        .context("telemetry.otlp_endpoint: no connection can be made to the collector")?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let name = telemetry.service_name.clone();
    processor.set_resource(&Resource::builder().with_service_name(name).with_attribute(version).build());
    let processor = std::sync::Arc::new(processor);
    let scope = InstrumentationScope::builder("manpasik.inference").build();
    let sending = std::sync::Arc::clone(&processor);
    spans::export(telemetry.sample_share, Box::new(move |span| sending.on_end(data(span, &scope))));
    Ok(Some(Exporting(processor)))
}

impl Exporting {
    /// Sends what waits; the collector has so long at most. It blocks.
    pub(crate) fn finish(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// A span in the words of OpenTelemetry's conventions.
fn data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let Span { trace, id, parent, stage, model, version, start, took, error } = span;
    let own = |id: SpanId| Id::from_bytes(id.to_bytes());
    let trace = TraceId::from_bytes(trace.to_bytes());
    let mut attributes =
        vec![KeyValue::new("manpasik.model.name", model), KeyValue::new("manpasik.model.version", version)];
    attributes.extend(error.map(|error| KeyValue::new("error.type", error.as_str())));
    let (name, kind) = match stage {
        Stage::Request => ("infer", SpanKind::Server),
        Stage::Queue => ("queue", SpanKind::Internal),
        Stage::Input => ("input", SpanKind::Internal),
        Stage::Compute => ("compute", SpanKind::Internal),
        Stage::Output => ("output", SpanKind::Internal),
    };
    SpanData {
        span_context: SpanContext::new(trace, own(id), TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: parent.map_or(Id::INVALID, own),
        parent_span_is_remote: kind == SpanKind::Server && parent.is_some(),
        span_kind: kind,
        name: name.into(),
        start_time: start,
        end_time: start + took,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: error.map_or(Status::Unset, |error| Status::error(error.as_str())),
        instrumentation_scope: scope.clone(),
    }
}
