//! Everything a reader or the inference service can do wrong.

use proto::manpasik::v1::*;
use services::kernel::{Limits, remote};
use services::measurement::{Config, MeasurementModule};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::ai::Mood;
use crate::harness::{Harness, Reach, eventually, packets, quick};

async fn refused(change: impl Fn(&mut StartSessionRequest), field: &str) {
    let mut harness = Harness::quick().await;
    let mut request = StartSessionRequest {
        user_id: "user-1".to_owned(),
        cartridge_code: "01:01".to_owned(),
        ..Default::default()
    };
    change(&mut request);
    let status = harness.client.start_session(request).await.expect_err(field);
    assert_eq!(status.code(), Code::InvalidArgument, "{field}");
    assert!(status.message().starts_with(field), "{}", status.message());
}

#[tokio::test]
async fn a_wrong_start_names_its_field() {
    refused(|request| request.cartridge_code = "01:FF".to_owned(), "cartridge_code").await;
    refused(|request| request.cartridge_code = "glucose".to_owned(), "cartridge_code").await;
    refused(|request| request.user_id.clear(), "user_id").await;
    let subject = |age_years, sex| Some(Subject { age_years, sex });
    refused(move |request| request.subject = subject(Some(-1.0), 0), "subject.age_years").await;
    refused(move |request| request.subject = subject(Some(f64::NAN), 0), "subject.age_years").await;
    refused(move |request| request.subject = subject(None, 7), "subject.sex").await;
}

/// Sends two sound packets and a changed third; the stream must end with this status and the session go on.
async fn packet_refused(change: impl Fn(&mut RawPacket), code: Code, message: &str) {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "01:01").await;
    let sound = packets("01:01", 4);
    let mut sent = sound.clone();
    change(&mut sent[2]);
    let (answers, status) = harness.stream(&id, &sent).await;
    let status = status.expect(message);
    assert_eq!((status.code(), answers.len()), (code, 2), "{status:?}");
    assert!(status.message().contains(message), "{}", status.message());
    let (answers, status) = harness.stream(&id, &sound[2..]).await;
    assert!(status.is_none() && answers.iter().all(|answer| !answer.duplicate), "the session goes on");
    assert_eq!(harness.end(&id).await.expect("ends").measurement.expect("one").packets, 4);
}

#[tokio::test]
async fn a_wrong_packet_ends_the_stream_and_not_the_session() {
    let invalid = Code::InvalidArgument;
    packet_refused(|packet| packet.detection.truncate(87), invalid, "packet.detection: has 87 channels")
        .await;
    packet_refused(|packet| packet.reference.clear(), invalid, "packet.reference: has 0 channels").await;
    packet_refused(|packet| packet.detection[5] = f32::NAN, invalid, "packet.detection[5]").await;
    packet_refused(|packet| packet.reference[87] = f32::NEG_INFINITY, invalid, "packet.reference[87]").await;
    packet_refused(|packet| packet.sequence = 1 << 60, invalid, "packet.sequence").await;
    packet_refused(|packet| packet.detection = vec![1.0; 100_000], invalid, "packet").await;
    let environment = |change: fn(&mut Environment)| {
        move |packet: &mut RawPacket| packet.environment.iter_mut().for_each(change)
    };
    let hot = environment(|environment| environment.temperature_celsius = f64::INFINITY);
    packet_refused(hot, invalid, "packet.environment.temperature_celsius").await;
    let empty = environment(|environment| environment.battery_percent = 9.0);
    packet_refused(empty, Code::FailedPrecondition, "gate battery").await;
}

#[tokio::test]
async fn a_stream_needs_a_session_and_keeps_to_it() {
    let mut harness = Harness::quick().await;
    let status = |answer: (Vec<_>, Option<Status>)| answer.1.expect("refused").code();
    assert_eq!(status(harness.stream("no uuid", &[]).await), Code::InvalidArgument);
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(status(harness.stream(nobody, &[]).await), Code::NotFound);
    assert_eq!(harness.get(nobody).await.expect_err("none").code(), Code::NotFound);
    assert_eq!(harness.end(nobody).await.expect_err("none").code(), Code::NotFound);
    let id = harness.begin("user-1", "01:01").await;
    let stream = harness.open(&id).await;
    let other = StreamMeasurementRequest { session_id: nobody.to_owned(), packet: None };
    stream.sender.send(other).await.expect("open");
    assert_eq!(status(stream.rest().await), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_that_names_no_session_is_closed() {
    let mut harness = Harness::start(Reach::InProcess, Limits { stream_attach_ms_max: 20, ..quick() }).await;
    let (_sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = harness.client.stream_measurement(requests).await.expect("opens").into_inner();
    let status = answers.message().await.expect_err("closed");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn repeated_late_and_lost_packets_are_told_apart() {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "01:01").await;
    let all = packets("01:01", 60);
    let order = (0..30).chain([32, 31, 31, 30, 5]).chain(36..60);
    let sent: Vec<_> = order.map(|index: usize| all[index].clone()).collect();
    let (answers, status) = harness.stream(&id, &sent).await;
    assert!(status.is_none());
    assert!(answers.iter().map(|a| a.sequence).eq(sent.iter().map(|p| p.sequence)), "in the order sent");
    let repeated: Vec<_> = answers.iter().filter(|a| a.duplicate).map(|a| a.sequence).collect();
    assert_eq!(repeated, [31, 5]);
    let measurement = harness.end(&id).await.expect("ends").measurement.expect("a measurement");
    assert_eq!(measurement.packets, 57);
    let gate = measurement.gates.iter().find(|gate| gate.gate == "packet_loss").expect("a gate");
    assert_eq!((gate.passed, gate.value), (false, Some(5.0)), "3 of 60 lost");
}

#[tokio::test]
async fn a_failing_gate_is_told_and_marks_the_measurement() {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "01:01").await;
    let mut sent = packets("01:01", 20);
    for environment in sent.iter_mut().filter_map(|packet| packet.environment.as_mut()) {
        environment.temperature_celsius = 8.0;
    }
    let (answers, _) = harness.stream(&id, &sent).await;
    assert!(answers.iter().all(|answer| answer.failed_gates.iter().any(|gate| gate.gate == "temperature")));
    let measurement = harness.end(&id).await.expect("ends").measurement.expect("a measurement");
    let gate = measurement.gates.iter().find(|gate| gate.gate == "temperature").expect("a gate");
    assert_eq!((gate.passed, gate.limit, gate.unit.as_str()), (false, 15.0, "Cel"));
}

/// However the analysis of packets fails, every packet is kept and told why it has no score.
async fn analysis_fails(mood: Mood, limits: Limits, reason: &str) {
    let mut harness = Harness::start(Reach::InProcess, limits).await;
    harness.ai.set(mood);
    let id = harness.begin("user-1", "01:01").await;
    let (answers, status) = harness.stream(&id, &packets("01:01", 12)).await;
    assert!(status.is_none() && answers.len() == 12, "{mood:?} {status:?}");
    for answer in &answers {
        assert_eq!(answer.anomaly_score, None, "{mood:?}");
        assert!(answer.failed_gates.iter().any(|gate| gate.gate == "analysis"), "{mood:?}");
    }
    let told = answers[0].failed_gates.iter().any(|gate| gate.message.contains(reason));
    assert!(told, "{mood:?} {:?}", answers[0].failed_gates);
    harness.ai.set(Mood::Sound);
    assert_eq!(harness.end(&id).await.expect("ends").measurement.expect("one").packets, 12);
}

#[tokio::test]
async fn a_packet_without_analysis_is_kept_and_says_why() {
    analysis_fails(Mood::Down, quick(), "down").await;
    analysis_fails(Mood::Refuses, quick(), "no model for this cartridge").await;
    analysis_fails(Mood::Nameless, quick(), "names no model version").await;
    analysis_fails(Mood::Disordered, quick(), "instead of 0").await;
    let impatient = Limits { stream_packet_ms_max: 20, ..quick() };
    analysis_fails(Mood::Silent, impatient, "no answer within 20 ms").await;
}

#[tokio::test]
async fn analysis_that_breaks_comes_back_in_the_same_stream() {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "01:01").await;
    let all = packets("01:01", 60);
    let mut stream = harness.open(&id).await;
    stream.next().await.expect("no error").expect("where it stands");
    assert!(stream.exchange(&all[0]).await.anomaly_score.is_some());
    harness.ai.set(Mood::Down);
    assert!(stream.exchange(&all[1]).await.anomaly_score.is_none());
    harness.ai.set(Mood::Sound);
    let back = async {
        for packet in &all[2..] {
            if stream.exchange(packet).await.anomaly_score.is_some() {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        false
    };
    assert!(back.await, "the inner stream was opened again");
}

#[tokio::test]
async fn an_analysis_nobody_can_use_does_not_end_the_session() {
    let mut harness = Harness::start(Reach::InProcess, Limits { ai_call_ms_max: 30, ..quick() }).await;
    let id = harness.begin("user-1", "01:01").await;
    harness.stream(&id, &packets("01:01", 5)).await;
    for mood in [Mood::Nameless, Mood::Silent, Mood::Down] {
        harness.ai.set(mood);
        assert_eq!(harness.end(&id).await.expect_err("no use").code(), Code::Unavailable, "{mood:?}");
    }
    harness.ai.set(Mood::Sound);
    let client = harness.client.clone();
    let ask = || {
        let (mut client, session_id) = (client.clone(), id.clone());
        async move { client.end_session(EndSessionRequest { session_id }).await }
    };
    assert!(eventually(ask, Result::is_ok).await.is_ok());
}

#[tokio::test]
async fn a_cartridge_no_model_knows_is_stored_with_a_warning() {
    let mut harness = Harness::quick().await;
    harness.ai.set(Mood::Refuses);
    let id = harness.begin("user-1", "04:01").await;
    harness.stream(&id, &packets("04:01", 5)).await;
    let ended = harness.end(&id).await.expect("ends");
    let warnings = ended.analysis.expect("an answer").warnings;
    assert_eq!((warnings.len(), warnings[0].code.as_str()), (1, "not_analysed"));
    let measurement = ended.measurement.expect("a measurement");
    assert_eq!(measurement.channels.expect("a sweep").values.len(), 8);
    assert!(measurement.biomarkers.is_empty());
}

#[tokio::test]
async fn an_inference_service_that_is_not_there_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address").connect_lazy();
    let config = Config { limits: quick(), ..Config::new(store::Url::SqliteMemory) };
    let (ai, vectors) = (remote(channel.clone()), remote(channel));
    let module = MeasurementModule::start(&config, ai, vectors).await.expect("starts without them");
    let harness = Harness::quick().await;
    let mut harness = Harness { module, ..harness };
    harness.client = measurement_service_client::MeasurementServiceClient::new(services::kernel::in_process(
        harness.module.service(),
    ));
    let id = harness.begin("user-1", "01:01").await;
    let (answers, status) = harness.stream(&id, &packets("01:01", 3)).await;
    assert!(status.is_none() && answers.len() == 3);
    assert_eq!(harness.end(&id).await.expect_err("nobody there").code(), Code::Unavailable);
}
