//! Typed inference and measurement sessions, end to end over the network.

use clinical::{
    Biomarker,
    cartridge::Cartridge,
    simulator::{Simulator, SimulatorConfig, SyntheticPacket},
};
use proto::manpasik::v1::{
    AnalysisKind, AnalyzeMeasurementRequest, EndSessionRequest, Environment, EstimateFoodCaloriesRequest,
    Observation, Panel, RawPacket, Sex, StartSessionRequest, StreamMeasurementRequest, Subject, Verdict,
    analyze_measurement_request::Source,
};
use tonic::{Code, Status};

use crate::support::{Server, food_is_installed, http, skipped};

fn panel(code: &str, value: f64, unit: &str) -> AnalyzeMeasurementRequest {
    let subject = Subject { age_years: Some(54.0), sex: Sex::Female.into() };
    let observation = Observation { code: code.into(), value, unit: unit.into() };
    let panel = Panel { subject: Some(subject), observations: vec![observation], findings: Vec::new() };
    AnalyzeMeasurementRequest { source: Some(Source::Panel(panel)), ..Default::default() }
}

fn stored(id: &str) -> AnalyzeMeasurementRequest {
    AnalyzeMeasurementRequest { source: Some(Source::MeasurementId(id.into())), ..Default::default() }
}

async fn refusal(server: &Server, request: AnalyzeMeasurementRequest) -> Status {
    server.ai().await.analyze_measurement(request).await.expect_err("refused")
}

#[tokio::test]
async fn a_thyroid_panel_gets_class_interval_explanation_and_verdict() {
    let server = Server::start();
    let body = include_str!("../../assets/demo/thyroid.json");
    let request: AnalyzeMeasurementRequest = serde_json::from_str(body).expect("a request");
    let answer = server.ai().await.analyze_measurement(request).await.expect("answers").into_inner();
    let state =
        answer.classifications.iter().find(|class| class.task == "thyroid_state").expect("classified");
    assert!(state.label.contains("hypo"), "TSH 80 with low hormones: {}", state.label);
    let interval = state.interval.as_ref().expect("an interval");
    assert!(interval.low <= state.probability && state.probability <= interval.high);
    assert!(state.prediction_set.contains(&state.label));
    let model = state.model.as_ref().expect("a model");
    assert!(model.version.starts_with("MPS-") && !model.calibration_id.is_empty());
    let explanation = state.explanation.as_ref().expect("an explanation");
    assert!(explanation.contributions.iter().any(|part| part.feature == "tsh"));
    assert_ne!(state.safety.as_ref().expect("a verdict").verdict(), Verdict::Normal);
    let tsh = answer.biomarkers.iter().find(|b| b.quantity.as_ref().is_some_and(|q| q.loinc == "3016-3"));
    assert!(tsh.expect("judged by the rules").interpretation.starts_with('H'));
    assert!(!answer.disclaimer.is_empty());
}

/// Values that each could be someone's and together are nobody's.
fn nobody() -> AnalyzeMeasurementRequest {
    let observation =
        |(code, value, unit): (&str, f64, &str)| Observation { code: code.into(), value, unit: unit.into() };
    let values = [
        ("hba1c", 5.4, "%"),
        ("bmi", 16.0, "kg/m2"),
        ("waist", 165.0, "cm"),
        ("systolic_bp", 205.0, "mm[Hg]"),
        ("diastolic_bp", 40.0, "mm[Hg]"),
        ("heart_rate", 130.0, "/min"),
        ("hdl_cholesterol", 150.0, "mg/dL"),
        ("total_cholesterol", 160.0, "mg/dL"),
    ];
    let subject = Subject { age_years: Some(35.0), sex: Sex::Female.into() };
    let observations = values.map(observation).into();
    let panel = Panel { subject: Some(subject), observations, findings: Vec::new() };
    AnalyzeMeasurementRequest { source: Some(Source::Panel(panel)), ..Default::default() }
}

#[tokio::test]
async fn a_panel_that_is_nobodys_is_abstained_on_and_an_ordinary_one_is_not() {
    let server = Server::start();
    let answer = server.ai().await.analyze_measurement(nobody()).await.expect("answers").into_inner();
    let warned: Vec<&str> = answer
        .warnings
        .iter()
        .filter(|warning| warning.code == "out_of_distribution")
        .map(|warning| warning.message.as_str())
        .collect();
    assert!(warned.iter().any(|text| text.starts_with("diabetes abstains")), "{:?}", answer.warnings);
    let state = answer.classifications.iter().find(|class| class.task == "diabetes").expect("told");
    assert_eq!(state.safety.as_ref().expect("a verdict").verdict(), Verdict::Uncertain);
    assert_eq!(state.prediction_set.len(), 2, "nothing is ruled out");
    let body = include_str!("../../assets/demo/nhanes-adult.json");
    let ordinary: AnalyzeMeasurementRequest = serde_json::from_str(body).expect("a request");
    let answer = server.ai().await.analyze_measurement(ordinary).await.expect("answers").into_inner();
    let strange = answer.warnings.iter().find(|warning| warning.code == "out_of_distribution");
    assert!(strange.is_none(), "{strange:?}");
}

#[tokio::test]
async fn json_and_grpc_give_the_same_answer() {
    let server = Server::start();
    let body = include_str!("../../assets/demo/nhanes-adult.json");
    let rest = http::post(server.http, "/v1/ai/analyze-measurement", body);
    assert_eq!(rest.status, 200, "{}", String::from_utf8_lossy(&rest.body));
    let request: AnalyzeMeasurementRequest = serde_json::from_str(body).expect("a request");
    let grpc = server.ai().await.analyze_measurement(request).await.expect("answers").into_inner();
    // Written and read alike: the reader rounds the last digit of some numbers.
    let mut grpc: serde_json::Value =
        serde_json::from_str(&serde_json::to_string(&grpc).expect("JSON")).expect("JSON");
    let mut rest = rest.json();
    let ids = [&mut rest, &mut grpc].map(|answer| answer["predictionId"].take());
    assert!(ids[0].is_string() && ids[0] != ids[1], "each answer is traced by its own: {ids:?}");
    assert_eq!(rest, grpc);
}

#[tokio::test]
async fn bad_values_are_refused_naming_the_field() {
    let server = Server::start();
    for (case, request, needle) in [
        ("impossible value", panel("2345-7", -5.0, "mg/dL"), "glucose"),
        ("not a number", panel("glucose", f64::NAN, "mg/dL"), "glucose"),
        ("unknown unit", panel("glucose", 90.0, "furlong"), "furlong"),
        ("unknown code", panel("29463-70", 90.0, "mg/dL"), "29463-70"),
        ("nothing", AnalyzeMeasurementRequest::default(), "source"),
    ] {
        let status = refusal(&server, request).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{case}: {status}");
        assert!(status.message().contains(needle), "{case}: {status}");
    }
    let mut request = panel("glucose", 90.0, "mg/dL");
    request.analyses = vec![AnalysisKind::Biomarker.into(), 99];
    let status = refusal(&server, request).await;
    assert!(status.code() == Code::InvalidArgument && status.message().contains("analyses"), "{status}");
}

#[tokio::test]
async fn a_value_that_no_model_takes_is_still_judged_by_the_rules() {
    let server = Server::start();
    let answer = server.ai().await.analyze_measurement(panel("crp", 250.0, "mg/L")).await;
    let answer = answer.expect("a critical value is never answered with an error").into_inner();
    let crp = answer.biomarkers.first().expect("judged");
    assert_eq!(crp.safety.as_ref().expect("a verdict").verdict(), Verdict::Critical);
    assert!(
        answer.warnings.iter().any(|warning| warning.code == "not_analysed"),
        "the absent models are named"
    );
    let mut request = panel("crp", 250.0, "mg/L");
    request.analyses = vec![AnalysisKind::HealthScore.into()];
    let status = refusal(&server, request).await;
    assert_eq!(
        status.code(),
        Code::InvalidArgument,
        "asked for by name, a model that cannot answer is an error"
    );
}

#[tokio::test]
async fn images_that_are_none_or_too_large_are_refused() {
    let server = Server::start();
    if !food_is_installed() {
        return skipped("the food model is not installed: run `make setup` and `manpasik models fetch food`");
    }
    for (case, image) in [("text", b"not an image".to_vec()), ("huge", huge_png_head())] {
        let request = EstimateFoodCaloriesRequest { image: image.into(), ..Default::default() };
        let status = server.ai().await.estimate_food_calories(request).await.expect_err(case);
        assert_eq!(status.code(), Code::InvalidArgument, "{case}: {status}");
        assert!(status.message().contains("image"), "{case}: {status}");
    }
}

#[tokio::test]
async fn a_photo_of_an_espresso_is_named_with_its_energy() {
    let server = Server::start();
    if !food_is_installed() {
        return skipped("the food model is not installed: run `make setup` and `manpasik models fetch food`");
    }
    let image = include_bytes!("../../assets/espresso.jpg").to_vec();
    let request = |portion_grams| EstimateFoodCaloriesRequest {
        image: image.clone().into(),
        portion_grams,
        ..Default::default()
    };
    let mut client = server.ai().await;
    let usual = client.estimate_food_calories(request(None)).await.expect("answers").into_inner();
    let item = usual.item.expect("sure enough");
    assert_eq!((item.name.as_str(), item.portion_is_default), ("Espresso", true));
    assert_eq!(usual.candidates.len(), 5);
    let weighed = client.estimate_food_calories(request(Some(60.0))).await.expect("answers").into_inner();
    let (item, usual) = (weighed.item.expect("sure enough"), item.energy.expect("energy").value);
    assert!((item.energy.expect("energy").value - 2.0 * usual).abs() < 1e-9, "60 g hold twice what 30 g do");
    let raw = http::exchange(server.http, "POST", "/v1/ai/food-calories", "image/jpeg", &image);
    assert_eq!(raw.json()["item"]["name"], "Espresso");
}

/// A PNG head that promises 10,001 × 10,001 pixels.
fn huge_png_head() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(10_001u32.to_be_bytes());
    bytes.extend(10_001u32.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[tokio::test]
async fn a_session_is_streamed_ended_stored_and_analysed_again_by_its_id() {
    let server = Server::start();
    let mut client = server.measurement().await;
    let start = StartSessionRequest {
        user_id: "someone".into(),
        device_id: "reader".into(),
        cartridge_code: "01:01".into(),
        subject: Some(Subject { age_years: Some(40.0), sex: Sex::Male.into() }),
    };
    let started = client.start_session(start).await.expect("starts").into_inner();
    let requests = packets(&started.session_id);
    let sent = requests.len();
    let answers = client.stream_measurement(tokio_stream::iter(requests)).await.expect("streams");
    let mut answers = answers.into_inner();
    let mut received = 0;
    while let Some(answer) = answers.message().await.expect("the stream holds") {
        received += 1;
        assert!(answer.anomaly_score.is_some_and(|score| (0.0..=1.0).contains(&score)), "{answer:?}");
    }
    assert_eq!(received, sent);
    let end = EndSessionRequest { session_id: started.session_id.clone() };
    let ended = client.end_session(end).await.expect("ends").into_inner();
    let measurement = ended.measurement.expect("stored");
    let glucose = measurement.biomarkers.first().and_then(|b| b.quantity.clone()).expect("a value");
    assert_eq!((glucose.unit.as_str(), glucose.loinc.as_str()), ("mg/dL", "2345-7"));
    let interval = measurement.biomarkers.first().and_then(|b| b.interval).expect("an interval");
    assert!((interval.low..=interval.high).contains(&180.0), "what was simulated: {interval:?}");
    assert!(interval.high < 360.0, "the shipped model knows sweeps like this one: {interval:?}");

    let again = server.ai().await.analyze_measurement(stored(&measurement.id)).await;
    let again = again.expect("resolves").into_inner();
    assert_eq!(again.measurement_id, measurement.id);
    assert!(again.biomarkers.iter().any(|b| b.quantity.as_ref().is_some_and(|q| q.name == glucose.name)));
    assert!(again.warnings.iter().any(|warning| warning.code == "synthetic_model"));
    let unknown = stored("00000000-0000-0000-0000-000000000000");
    assert_eq!(refusal(&server, unknown).await.code(), Code::NotFound);
}

/// A synthetic glucose session of 30 packets.
pub(crate) fn packets(session_id: &str) -> Vec<StreamMeasurementRequest> {
    let cartridge = Cartridge::parse("01:01").expect("glucose");
    let mut simulator = Simulator::new(SimulatorConfig::default(), 11).expect("valid");
    let session = simulator.session(cartridge, &[(Biomarker::Glucose, 180.0)], 30).expect("simulates");
    let request = |packet: SyntheticPacket| {
        let environment = Environment {
            temperature_celsius: packet.temperature_c.into(),
            humidity_percent: packet.humidity_percent.into(),
            battery_percent: packet.battery_percent.into(),
            ..Default::default()
        };
        let packet = RawPacket {
            sequence: packet.sequence,
            time_ms: packet.timestamp_ms,
            detection: packet.detection,
            reference: packet.reference,
            environment: Some(environment),
            self_test_passed: true,
        };
        StreamMeasurementRequest { session_id: session_id.into(), packet: Some(packet) }
    };
    session.packets.into_iter().map(request).collect()
}
