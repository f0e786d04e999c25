//! The AiInference service over small bundles: typed questions in, complete answers or named refusals out.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use inference::{Candidate, Limits, MeasurementSource, ModelSource, Server, server::ai::AiService};
use models::{Bundle, engine::candle::CandleEngine};
use proto::manpasik::v1::{
    self as wire, ai_inference_service_client::AiInferenceServiceClient,
    ai_inference_service_server::AiInferenceServiceServer, analyze_measurement_request::Source,
};
use tonic::{Code, Status};

use crate::{bundles, food, release::put_broken};

pub(crate) type Client = AiInferenceServiceClient<AiInferenceServiceServer<AiService>>;

/// A running service; the models live as long as it does.
pub(crate) struct Running {
    pub(crate) client: Client,
    service: AiService,
    _server: Server,
    _dir: Option<tempfile::TempDir>,
}

pub(crate) fn candidate(bundle: &Bundle, load: inference::Loader) -> Candidate {
    let config = bundle.config();
    let source = ModelSource {
        platform: config.engine.name().into(),
        family: config.family.name().into(),
        task: config.task.clone(),
        bundle: Some(Arc::new(bundle.clone())),
        ..ModelSource::new(
            config.name.clone(),
            config.version.to_string(),
            bundle.signature().clone(),
            config.batching.rows_max,
            load,
        )
    };
    Candidate { source, live: true }
}

fn serve(candidates: Vec<Candidate>) -> Running {
    let server = Server::serve(Limits::default(), Vec::new(), candidates, Vec::new());
    let service = AiService::new(server.handle());
    let client = AiInferenceServiceClient::new(AiInferenceServiceServer::new(service.clone()));
    Running { client, service, _server: server, _dir: None }
}

pub(crate) fn all() -> Running {
    let dir = tempfile::tempdir().expect("dir");
    let of = |bundle: Bundle| {
        let loaded = bundle.clone();
        candidate(&bundle, Box::new(move || loaded.load(&CandleEngine::new())))
    };
    let mut candidates: Vec<Candidate> = bundles::all(dir.path()).into_iter().map(of).collect();
    candidates.push(food::candidate(dir.path()));
    Running { _dir: Some(dir), ..serve(candidates) }
}

fn subject() -> Option<wire::Subject> {
    Some(wire::Subject { age_years: Some(55.0), sex: wire::Sex::Female.into() })
}

fn panel(values: &[(&str, f64, &str)]) -> wire::Panel {
    let observation = |(code, value, unit): &(&str, f64, &str)| wire::Observation {
        code: (*code).into(),
        value: *value,
        unit: (*unit).into(),
    };
    wire::Panel {
        subject: subject(),
        observations: values.iter().map(observation).collect(),
        findings: Vec::new(),
    }
}

fn full_panel() -> wire::Panel {
    panel(&[("3016-3", 9.0, "m[IU]/L"), ("bmi", 31.0, "kg/m2"), ("systolic_bp", 150.0, "mm[Hg]")])
}

fn sweep(code: &str, channels: usize) -> wire::Channels {
    wire::Channels { cartridge_code: code.into(), values: vec![900.0; channels], environment: None }
}

fn glucose(count: i64) -> wire::Series {
    let point = |i: i64| wire::SeriesPoint { time_unix_ms: 1_700_000_000_000 + i * 300_000, value: 5.5 };
    wire::Series { code: "2345-7".into(), unit: "mmol/L".into(), points: (0..count).map(point).collect() }
}

async fn analyze(
    running: &mut Running,
    source: Source,
    history: Vec<wire::Series>,
    analyses: Vec<i32>,
) -> Result<wire::AnalyzeMeasurementResponse, Status> {
    let request =
        wire::AnalyzeMeasurementRequest { source: Some(source), subject: subject(), history, analyses };
    running.client.analyze_measurement(request).await.map(tonic::Response::into_inner)
}

fn named(model: Option<&wire::ModelReference>) -> bool {
    model.is_some_and(|model| {
        !model.name.is_empty() && !model.version.is_empty() && !model.calibration_id.is_empty()
    })
}

#[tokio::test]
async fn a_panel_is_analysed_by_every_family_at_once() {
    let mut running = all();
    let answer =
        analyze(&mut running, Source::Panel(full_panel()), vec![glucose(40)], vec![]).await.expect("answers");
    assert_eq!(answer.biomarkers.len(), 3);
    let tsh = answer.biomarkers.iter().find(|b| b.quantity.as_ref().is_some_and(|q| q.name == "tsh"));
    assert!(tsh.is_some_and(|tsh| tsh.interpretation == "H" && tsh.reference_range.is_some()));
    let class = &answer.classifications[0];
    assert_eq!((class.task.as_str(), class.probabilities.len()), ("thyroid_state", 3));
    assert!(named(class.model.as_ref()) && class.interval.is_some() && class.explanation.is_some());
    assert_ne!(
        class.safety.as_ref().map(|s| s.verdict()),
        Some(wire::Verdict::Normal),
        "TSH of 9 is not normal"
    );
    assert_eq!(answer.anomalies.len(), 1);
    assert!(named(answer.anomalies[0].model.as_ref()));
    let score = answer.health_score.expect("has an age");
    assert!(named(score.model.as_ref()) && score.score.is_some_and(|s| s.unit == "{score}"));
    assert_eq!(answer.trends[0].method, "glucose-trend");
    assert!(answer.warnings.iter().any(|w| w.code == "missing_inputs"));
    assert!(answer.disclaimer.contains("not a diagnosis"));
}

/// A running service of one bundle.
fn of_one(make: fn(&std::path::Path) -> Bundle) -> Running {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = make(dir.path());
    let loaded = bundle.clone();
    let candidate = candidate(&bundle, Box::new(move || loaded.load(&CandleEngine::new())));
    Running { _dir: Some(dir), ..serve(vec![candidate]) }
}

#[tokio::test]
async fn a_panel_unlike_any_that_was_seen_is_uncertain_and_an_ordinary_one_is_not_warned_of() {
    let mut running = of_one(bundles::bounded_thyroid);
    let warned = |answer: &wire::AnalyzeMeasurementResponse| {
        answer
            .warnings
            .iter()
            .any(|warning| warning.code == "out_of_distribution" && warning.field == "panel")
    };
    let mut panel = panel(&[("3016-3", 2.0, "m[IU]/L")]);
    let ordinary =
        analyze(&mut running, Source::Panel(panel.clone()), vec![], vec![]).await.expect("answers");
    assert!(!warned(&ordinary), "{:?}", ordinary.warnings);
    panel.subject = Some(wire::Subject { age_years: Some(97.0), sex: wire::Sex::Female.into() });
    let strange = analyze(&mut running, Source::Panel(panel), vec![], vec![]).await.expect("answers");
    assert!(warned(&strange), "{:?}", strange.warnings);
    let class = &strange.classifications[0];
    let safety = class.safety.as_ref().expect("a verdict");
    assert_eq!(safety.verdict(), wire::Verdict::Uncertain);
    assert!(safety.reasons.iter().any(|reason| reason.contains("abstains: age")), "{:?}", safety.reasons);
    assert_eq!(class.prediction_set.len(), 3, "nothing is ruled out");
}

#[tokio::test]
async fn a_history_unlike_any_that_was_seen_is_answered_by_its_last_value() {
    let mut running = of_one(bundles::bounded_glucose_trend);
    let mut ask = async |series| {
        let request = wire::PredictTrendRequest {
            source: Some(wire::predict_trend_request::Source::Series(series)),
            ..Default::default()
        };
        running.client.predict_trend(request).await.expect("answers").into_inner()
    };
    let smooth = ask(glucose(40)).await;
    assert!(smooth.method == "glucose-trend" && smooth.warnings.is_empty(), "{:?}", smooth.warnings);
    let mut saw = glucose(40);
    saw.points.iter_mut().step_by(2).for_each(|point| point.value = 9.0);
    let rough = ask(saw).await;
    assert_eq!(rough.method, "persistence");
    let codes: Vec<&str> = rough.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["out_of_distribution"]);
    assert_eq!(rough.safety.as_ref().map(|safety| safety.verdict()), Some(wire::Verdict::Uncertain));
}

#[tokio::test]
async fn a_sweep_gives_values_and_says_that_its_models_are_synthetic() {
    let mut running = all();
    let answer =
        analyze(&mut running, Source::Channels(sweep("01:01", 88)), vec![], vec![]).await.expect("answers");
    let [value] = &answer.biomarkers[..] else { panic!("one analyte: {:?}", answer.biomarkers) };
    assert!(value.interval.is_some() && value.explanation.is_some() && named(value.model.as_ref()));
    assert_eq!(
        value.quantity.as_ref().map(|q| (q.name.as_str(), q.unit.as_str())),
        Some(("glucose", "mg/dL"))
    );
    assert_eq!(answer.anomalies[0].task, "sensor_sweep");
    let codes: Vec<_> = answer.warnings.iter().map(|w| w.code.as_str()).collect();
    assert!(codes.contains(&"synthetic_model") && codes.contains(&"not_analysed"), "{codes:?}");
}

#[tokio::test]
async fn what_a_version_on_trial_fails_is_asked_of_the_live_one() {
    let mut plain = all();
    let listed = plain.client.list_models(wire::ListModelsRequest { family: "biomarker".into() }).await;
    let listed = listed.expect("listed").into_inner().models;
    let names: Vec<&str> = listed.iter().map(|model| model.name.as_str()).collect();
    let mut running = all();
    let handle = put_broken(&running._server, &names);
    let ask = async |running: &mut Running| {
        analyze(running, Source::Panel(full_panel()), Vec::new(), Vec::new()).await.expect("answered")
    };
    let (expected, answer) = (ask(&mut plain).await, ask(&mut running).await);
    assert_eq!(answer.classifications.len(), expected.classifications.len());
    assert_eq!(answer.warnings, expected.warnings, "nothing was left out");
    for name in names {
        assert_eq!(handle.trial(name).expect("a trial").1.failed, 1, "{name}");
    }
}

#[tokio::test]
async fn a_single_analysis_that_cannot_run_is_an_error() {
    let mut running = serve(Vec::new());
    let kinds = [wire::AnalysisKind::Biomarker, wire::AnalysisKind::HealthScore, wire::AnalysisKind::Trend];
    for kind in kinds {
        let status = analyze(&mut running, Source::Panel(full_panel()), vec![], vec![kind.into()]).await;
        assert_eq!(status.expect_err("nothing to ask").code(), Code::FailedPrecondition, "{kind:?}");
    }
}

#[tokio::test]
async fn bad_requests_name_the_field() {
    let mut running = all();
    let glucose_of = |value, unit: &str| Source::Panel(panel(&[("glucose", value, unit)]));
    let mut infinite = sweep("01:01", 88);
    infinite.values[5] = f32::INFINITY;
    for (source, analyses, start) in [
        (glucose_of(-5.0, "mg/dL"), vec![], "panel.observations[0]"),
        (glucose_of(f64::NAN, "mg/dL"), vec![], "panel.observations[0]"),
        (glucose_of(90.0, "stone"), vec![], "panel.observations[0].unit"),
        (Source::Panel(full_panel()), vec![42], "analyses[0]"),
        (Source::Channels(sweep("01:01", 87)), vec![], "channels.values"),
        (Source::Channels(infinite), vec![], "channels.values[5]"),
        (Source::Channels(sweep("what", 88)), vec![], "channels.cartridge_code"),
        (Source::MeasurementId(String::new()), vec![], "measurement_id"),
    ] {
        let status = analyze(&mut running, source, vec![], analyses).await.expect_err(start);
        assert_eq!(status.code(), Code::InvalidArgument, "{start}: {status}");
        assert!(status.message().starts_with(start), "{status}");
    }
    let nothing = running.client.analyze_measurement(wire::AnalyzeMeasurementRequest::default()).await;
    assert!(nothing.is_err_and(|status| status.message().starts_with("source: ")));
}

#[tokio::test]
async fn measurement_ids_resolve_through_the_source() {
    struct One;
    #[async_trait]
    impl MeasurementSource for One {
        async fn measurement(&self, id: &str) -> Result<wire::Measurement, Status> {
            let found = wire::Measurement {
                id: id.into(),
                channels: Some(sweep("01:01", 88)),
                subject: subject(),
                ..Default::default()
            };
            if id == "m-1" { Ok(found) } else { Err(Status::not_found("no such measurement")) }
        }
    }
    let mut running = all();
    let ask = async |running: &mut Running, id: &str| {
        analyze(running, Source::MeasurementId(id.into()), vec![], vec![]).await
    };
    let status = ask(&mut running, "m-1").await.expect_err("not connected");
    assert_eq!(status.code(), Code::FailedPrecondition);
    running.service.set_measurements(Arc::new(One));
    let answer = ask(&mut running, "m-1").await.expect("resolves");
    assert_eq!((answer.measurement_id.as_str(), answer.biomarkers.len()), ("m-1", 1));
    assert_eq!(ask(&mut running, "m-2").await.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test]
async fn a_trend_is_in_the_canonical_unit_and_a_short_one_says_so() {
    let mut running = all();
    let ask = async |running: &mut Running, series| {
        let source = Some(wire::predict_trend_request::Source::Series(series));
        let request = wire::PredictTrendRequest { source, horizon_seconds: 0, subject: subject() };
        running.client.predict_trend(request).await.map(tonic::Response::into_inner)
    };
    let long = ask(&mut running, glucose(40)).await.expect("answers");
    assert_eq!((long.forecast.len(), long.method.as_str()), (2, "glucose-trend"));
    assert!(
        long.forecast
            .iter()
            .all(|p| p.interval.is_some() && p.quantity.as_ref().is_some_and(|q| q.unit == "mg/dL"))
    );
    let short = ask(&mut running, glucose(2)).await.expect("answers");
    assert_eq!(short.method, "persistence");
    assert!(short.warnings.iter().any(|w| w.code == "short_history"));
    let hdl =
        |points| wire::Series { code: "hdl_cholesterol".into(), unit: "mg/dL".into(), ..glucose(points) };
    let unknown = ask(&mut running, hdl(5)).await.expect("answers by a simple method");
    assert_eq!((unknown.method.as_str(), unknown.forecast.len(), unknown.model), ("mean", 1, None));
    assert!(unknown.warnings.iter().any(|w| w.code == "no_model"));
    let tsh = wire::Series { code: "tsh".into(), unit: "m[IU]/L".into(), ..glucose(2) };
    assert!(ask(&mut running, tsh).await.is_err_and(|s| s.message().starts_with("series.code: ")));
}

#[tokio::test]
async fn models_are_listed_and_described() {
    let mut running = all();
    let ask = |family: &str| wire::ListModelsRequest { family: family.into() };
    let listed = running.client.list_models(ask("")).await.expect("lists").into_inner().models;
    assert_eq!(listed.len(), 8);
    assert!(
        listed.iter().all(|m| m.state == "READY" && m.digest.len() == 64 && !m.calibration_id.is_empty())
    );
    let sensors = running.client.list_models(ask("sensor")).await.expect("lists").into_inner().models;
    assert!(sensors.len() == 2 && sensors.iter().all(|m| m.trained_on_synthetic_data));
    assert!(running.client.list_models(ask("moods")).await.is_err_and(|s| s.code() == Code::InvalidArgument));
    let info = |name: &str| wire::GetModelInfoRequest { name: name.into(), version: String::new() };
    let thyroid = running.client.get_model_info(info("thyroid")).await.expect("known").into_inner();
    assert!(
        thyroid.card.starts_with("# ")
            && thyroid.model.is_some_and(|m| m.inputs.len() == 2 && m.size_bytes > 0)
    );
    assert!(running.client.get_model_info(info("nope")).await.is_err_and(|s| s.code() == Code::NotFound));
}

#[tokio::test]
async fn a_photo_gets_the_energy_of_its_food() {
    let mut running = all();
    let ask = |image: Vec<u8>, portion_grams| wire::EstimateFoodCaloriesRequest {
        image: image.into(),
        portion_grams,
        explain: true,
        ..Default::default()
    };
    let answer =
        running.client.estimate_food_calories(ask(food::photo(), Some(60.0))).await.expect("answers");
    let answer = answer.into_inner();
    let item = answer.item.expect("sure");
    assert_eq!((item.name.as_str(), item.portion_is_default), ("Espresso", false));
    assert!(item.energy.is_some_and(|e| e.unit == "kcal" && (e.value - 5.4).abs() < 1e-9));
    assert_eq!((answer.candidates.len(), item.nutrients.len()), (2, 3));
    for (request, start) in [
        (ask(b"no photo".to_vec(), None), "image: is neither JPEG nor PNG"),
        (ask(Vec::new(), None), "image: "),
        (ask(food::photo(), Some(-1.0)), "portion_grams: "),
    ] {
        let status = running.client.estimate_food_calories(request).await.expect_err(start);
        assert!(status.code() == Code::InvalidArgument && status.message().starts_with(start), "{status}");
    }
}

mod streaming {
    use wire::{stream_analysis_request::Message as Asking, stream_analysis_response::Message as Telling};

    use super::*;

    fn start(code: &str) -> Asking {
        Asking::Start(wire::StreamStart {
            cartridge_code: code.into(),
            label: "s-1".into(),
            ..Default::default()
        })
    }

    fn packet(sequence: u64, value: f32) -> Asking {
        Asking::Packet(wire::StreamPacket { sequence, channels: vec![value; 88] })
    }

    /// The answers until the stream ends, and the status if it ended badly.
    async fn ask(running: &mut Running, messages: Vec<Asking>) -> (Vec<Telling>, Option<Status>) {
        let requests =
            messages.into_iter().map(|message| wire::StreamAnalysisRequest { message: Some(message) });
        let response = running.client.stream_analysis(stream::iter(requests.collect::<Vec<_>>())).await;
        let mut answers = response.expect("opens").into_inner();
        let mut told = Vec::new();
        loop {
            match answers.message().await {
                Ok(Some(answer)) => told.extend(answer.message),
                Ok(None) => return (told, None),
                Err(status) => return (told, Some(status)),
            }
        }
    }

    #[tokio::test]
    async fn packets_are_answered_in_order_then_summed_up() {
        let mut running = all();
        let numbers: Vec<u64> = (0..200).chain([150, 199, 5000]).collect();
        let packets = numbers.iter().map(|number| packet(*number, 900.0));
        let (told, status) = ask(&mut running, [start("01:01")].into_iter().chain(packets).collect()).await;
        assert!(status.is_none(), "{status:?}");
        let [Telling::Started(started), analyses @ .., Telling::Summary(summary)] = &told[..] else {
            panic!("begins with started and ends with a summary")
        };
        assert!(named(started.model.as_ref()) && (started.threshold - 0.95).abs() < 1e-9);
        let order: Vec<u64> = analyses
            .iter()
            .map(|answer| match answer {
                Telling::Analysis(analysis) => analysis.sequence,
                Telling::Started(_) | Telling::Summary(_) => panic!("only analyses between"),
            })
            .collect();
        assert_eq!(order, (0..200).chain([5000]).collect::<Vec<_>>(), "duplicates are dropped");
        assert_eq!((summary.packets, summary.label.as_str()), (201, "s-1"));
        let codes: Vec<_> = summary.warnings.iter().map(|w| w.code.as_str()).collect();
        assert_eq!(codes, ["synthetic_model", "missing_packets", "duplicate_packets"]);
    }

    #[tokio::test]
    async fn a_stream_whose_version_on_trial_fails_goes_on_with_the_live_one() {
        let mut plain = all();
        let listed = plain.client.list_models(wire::ListModelsRequest { family: "anomaly".into() }).await;
        let listed = listed.expect("listed").into_inner().models;
        let names: Vec<&str> = listed.iter().map(|model| model.name.as_str()).collect();
        let mut running = all();
        let handle = put_broken(&running._server, &names);
        let messages = || (0..5).map(|sequence| packet(sequence, 900.0));
        let asked = || [start("01:01")].into_iter().chain(messages()).collect();
        let (expected, _) = ask(&mut plain, asked()).await;
        let (answers, failure) = ask(&mut running, asked()).await;
        assert!(failure.is_none(), "{failure:?}");
        assert_eq!(answers.last(), expected.last());
        let failed: u64 = names.iter().map(|name| handle.trial(name).expect("a trial").1.failed).sum();
        assert_eq!(failed, 1, "once, and then no more was asked of it");
    }

    #[tokio::test]
    async fn a_packet_scores_as_the_same_sweep_does_alone() {
        let mut running = all();
        let sweep = Source::Channels(sweep("01:01", 88));
        let alone = analyze(&mut running, sweep, vec![], vec![wire::AnalysisKind::Anomaly.into()]).await;
        let expected = alone.expect("answers").anomalies[0].score as f32;
        let messages = vec![start("01:01"), packet(1, 100.0), packet(2, 900.0), packet(3, 5000.0)];
        let (told, _) = ask(&mut running, messages).await;
        let Telling::Analysis(analysis) = &told[2] else { panic!("the second packet") };
        assert_eq!((analysis.sequence, analysis.score), (2, expected));
    }

    #[tokio::test]
    async fn anomalous_packets_explain_themselves_now_and_then() {
        let mut running = all();
        let packets = (0..65).map(|number| packet(number, 1e6));
        let (told, _) = ask(&mut running, [start("01:01")].into_iter().chain(packets).collect()).await;
        let explained = told.iter().filter_map(|answer| match answer {
            Telling::Analysis(analysis) => analysis.explanation.as_ref().map(|_| analysis.sequence),
            Telling::Started(_) | Telling::Summary(_) => None,
        });
        assert_eq!(explained.collect::<Vec<_>>(), [0, 32, 64]);
        let Some(Telling::Summary(summary)) = told.last() else { panic!("ends with a summary") };
        assert_eq!((summary.anomalous_packets, summary.explanation.is_some()), (65, true));
        assert_eq!(summary.safety.as_ref().map(|s| s.verdict()), Some(wire::Verdict::Uncertain));
    }

    #[tokio::test]
    async fn what_does_not_belong_ends_the_stream_with_the_field() {
        let mut running = all();
        let wrong = Asking::Packet(wire::StreamPacket { sequence: 7, channels: vec![1.0; 87] });
        for (messages, answers, message) in [
            (vec![], 0, "start: "),
            (vec![packet(0, 1.0)], 0, "start: "),
            (vec![start("zz")], 0, "start.cartridge_code: "),
            (vec![start("05:02")], 0, "start.cartridge_code: no model checks packets of 896 channels"),
            (vec![start("01:01"), start("01:01")], 1, "packet: "),
            (vec![start("01:01"), packet(6, 1.0), wrong], 2, "packet 7: channels: has 87"),
            (vec![start("01:01"), packet(6, f32::NAN)], 1, "packet 6: channels[0]"),
        ] {
            let (told, status) = ask(&mut running, messages).await;
            let status = status.expect("refused");
            assert_eq!(told.len(), answers, "{message}");
            assert!(
                status.code() == Code::InvalidArgument && status.message().starts_with(message),
                "{status}"
            );
        }
    }

    #[tokio::test]
    async fn an_empty_stream_has_an_empty_summary() {
        let (told, status) = ask(&mut all(), vec![start("01:01")]).await;
        assert!(status.is_none());
        let Some(Telling::Summary(summary)) = told.last() else { panic!("ends with a summary") };
        assert!(summary.packets == 0 && summary.safety.is_none() && summary.score_interval.is_none());
    }
}
