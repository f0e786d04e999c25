//! What becomes of answers: traced, labelled, replayed, and watched for drift, over the real program.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use models::{
    Bundle, Tensor,
    bundle::{BundleWriter, REFERENCE_FILE},
    reference::{Layout, Reference},
};
use proto::manpasik::v1::{
    AnalysisKind, AnalyzeMeasurementRequest, AnalyzeMeasurementResponse, EndSessionRequest, Observation,
    Panel, Sex, StartSessionRequest, Subject, analyze_measurement_request::Source,
};
use serde_json::Value;

use crate::analysis::packets;
use crate::support::{Server, copied_bundles, http, run_over, shipped_bundles, version_dir};

const KEPT: [(&str, &str); 2] = [
    ("MANPASIK__PREDICTIONS__PAYLOAD_LOGGING", "true"),
    (
        "MANPASIK__PREDICTIONS__PAYLOAD_KEY",
        "abababababababababababababababababababababababababababababababab",
    ),
];

/// A thyroid panel of a man of 47 with that TSH, to be classified.
pub(crate) fn thyroid(tsh: f64) -> AnalyzeMeasurementRequest {
    let observation =
        |(code, value, unit): (&str, f64, &str)| Observation { code: code.into(), value, unit: unit.into() };
    let values = [("tsh", tsh, "m[IU]/L"), ("t3", 120.0, "ng/dL"), ("total_t4", 8.0, "ug/dL")];
    let panel = Panel {
        subject: Some(Subject { age_years: Some(47.0), sex: Sex::Male.into() }),
        observations: values.map(observation).into(),
        findings: Vec::new(),
    };
    AnalyzeMeasurementRequest {
        source: Some(Source::Panel(panel)),
        analyses: vec![AnalysisKind::Biomarker.into()],
        ..Default::default()
    }
}

pub(crate) async fn ask(server: &Server, tsh: f64) -> AnalyzeMeasurementResponse {
    server.ai().await.analyze_measurement(thyroid(tsh)).await.expect("answers").into_inner()
}

/// What a command says over the data of a server, as JSON.
fn said(data: &Path, arguments: &[&str]) -> Value {
    let bundles = shipped_bundles().to_string_lossy().into_owned();
    let arguments = [arguments, &["--json", "--bundles", &bundles]].concat();
    run_over(data, &arguments, &KEPT).ok().json()
}

/// Waits until `found` finds something.
pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_traced_labelled_and_reproduced_bit_for_bit() {
    let mut server = Server::with(&shipped_bundles(), &KEPT);
    let answer = ask(&server, 2.0).await;
    let id = answer.prediction_id.as_str();
    assert!(!id.is_empty());
    let data = server.data_dir().to_owned();
    // What was answered before an orderly end is written.
    assert_eq!(server.terminate(), Some(0));

    let parts = said(&data, &["predictions", "show", id]);
    let parts = parts.as_array().expect("parts");
    let thyroid = parts.iter().find(|part| part["model"] == "thyroid").expect("thyroid answered");
    let told = answer.classifications.iter().find(|class| class.task == "thyroid_state").expect("told");
    assert_eq!(thyroid["output"], told.label);
    assert_eq!(thyroid["version"], told.model.as_ref().expect("a model").version);
    assert_eq!(thyroid["cohort"], "men_40_60");
    assert_eq!(thyroid["input_sha256"].as_str().map(str::len), Some(64));

    let label = ["predictions", "label", id, "--outcome", &told.label, "--model", "thyroid"];
    assert_eq!(said(&data, &label)[0]["outcome"], told.label);
    let figures = said(&data, &["models", "accuracy", "thyroid"]);
    assert_eq!(figures["figures"].as_array().map(Vec::len), Some(2), "everybody and the cohort: {figures}");
    assert_eq!(figures["figures"][0]["accuracy"], 1.0);

    assert_eq!(said(&data, &["replay", id])["bit_for_bit"], true);
    let other = [("MANPASIK__PREDICTIONS__PAYLOAD_KEY", KEPT[1].1.replace("ab", "cd"))];
    let other: Vec<(&str, &str)> = other.iter().map(|(key, value)| (*key, value.as_str())).collect();
    run_over(&data, &["replay", id], &other).refused(&["under another key"]);
    run_over(&data, &["replay", "none"], &KEPT).refused(&["prediction `none`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_a_stored_measurement_is_reproduced_without_the_service_that_stored_it() {
    let mut server = Server::with(&shipped_bundles(), &KEPT);
    let mut client = server.measurement().await;
    let start = StartSessionRequest {
        user_id: "someone".into(),
        device_id: "reader".into(),
        cartridge_code: "01:01".into(),
        subject: None,
    };
    let session_id = client.start_session(start).await.expect("starts").into_inner().session_id;
    let sent = tokio_stream::iter(packets(&session_id));
    let mut answers = client.stream_measurement(sent).await.expect("streams").into_inner();
    while answers.message().await.expect("the stream holds").is_some() {}
    let ended = client.end_session(EndSessionRequest { session_id }).await.expect("ends").into_inner();
    let measurement = ended.measurement.expect("stored").id;
    let request = AnalyzeMeasurementRequest {
        source: Some(Source::MeasurementId(measurement)),
        ..AnalyzeMeasurementRequest::default()
    };
    let id =
        server.ai().await.analyze_measurement(request).await.expect("answers").into_inner().prediction_id;
    let data = server.data_dir().to_owned();
    assert_eq!(server.terminate(), Some(0));
    fs::remove_file(data.join("measurement.sqlite")).expect("there is one");
    assert_eq!(said(&data, &["replay", &id])["bit_for_bit"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_not_kept_unless_told_and_routes_label_too() {
    let server = Server::start();
    let id = ask(&server, 2.0).await.prediction_id;
    let path = format!("/v1/predictions/{id}");
    eventually("the prediction is written", || {
        Some(http::get(server.http, &path)).filter(|answer| answer.status == 200)
    });
    let outcome = format!("{path}/outcome");
    let body = r#"{"outcome": "negative", "model": "thyroid"}"#;
    assert_eq!(http::post(server.http, &outcome, body).json()["outcome"], "negative");
    let refused = http::post(server.http, &outcome, r#"{"outcome": ""}"#);
    assert_eq!((refused.status, &refused.json()["error"]["field"]), (400, &"outcome".into()));
    let figures = http::get(server.http, "/v1/models/thyroid/accuracy").json();
    assert_eq!(figures["figures"][0]["labelled"], 1, "{figures}");
    assert_eq!(http::get(server.http, "/v1/predictions/none").status, 404);
    run_over(server.data_dir(), &["replay", &id], &[]).refused(&["payload_logging"]);
}

/// The shipped bundles, of which thyroid says that in training TSH was about 2.
pub(crate) fn with_reference() -> tempfile::TempDir {
    let bundles = copied_bundles();
    let folder = version_dir(bundles.path(), "thyroid");
    let bundle = Bundle::open(&folder).expect("sound");
    let layout = Layout::of(bundle.config()).expect("a table");
    let width = bundle.config().features.len();
    let row = |at: usize| {
        let mut row = vec![0.0; width];
        row[layout.place("tsh").expect("an input")] = 1.5 + (at % 100) as f32 / 100.0;
        row
    };
    let values: Vec<f32> = (0..1_000).flat_map(row).collect();
    let tensor = |values: &[f32]| Tensor::from_f32(vec![1_000, width], values).expect("whole");
    let cases = layout.cases(&[tensor(&values), tensor(&vec![1.0; values.len()])], &[]);
    let reference = Reference::of(&layout, &cases).expect("columns");
    let mut writer = BundleWriter::new(bundle.config().clone()).replace();
    for name in bundle.manifest().files().keys() {
        writer = writer.file(name, bundle.file(name).expect("sound"));
    }
    writer.file(REFERENCE_FILE, reference.to_json().expect("text")).write(&folder).expect("written");
    bundles
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_of_what_is_asked_is_shown_where_training_is_known() {
    let bundles = with_reference();
    let server = Server::with(bundles.path(), &[("MANPASIK__DRIFT__ROWS", "100")]);
    for at in 0..100 {
        ask(&server, 6.0 + f64::from(at) / 100.0).await;
    }
    let path = "/v1/models/thyroid/drift";
    let windows = eventually("a window is closed", || {
        let told = http::get(server.http, path).json();
        told["windows"].as_array().filter(|windows| windows.len() == 2).cloned()
    });
    let all = windows.iter().find(|window| window["cohort"] == "all").expect("everybody");
    let features = all["features"].as_array().expect("features");
    let tsh = features.iter().find(|feature| feature["feature"] == "tsh").expect("compared");
    assert!(tsh["alarm"] == true && tsh["stability_index"].as_f64() > Some(1.0), "{tsh}");
    assert!(windows.iter().any(|window| window["cohort"] == "men_40_60"));
    let metrics = String::from_utf8(http::get(server.http, "/metrics").body).expect("text");
    assert!(metrics.contains("manpasik_drift_alarms_total{model=\"thyroid\""), "{metrics}");
    let shown = run_over(server.data_dir(), &["models", "drift", "thyroid"], &[]).ok().out;
    assert!(shown.contains("tsh") && shown.contains("ALARM"), "{shown}");
}
