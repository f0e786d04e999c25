//! One session from start to end, the same suite in one process and over the network.

use proto::manpasik::v1::analyze_measurement_request::Source;
use proto::manpasik::v1::*;
use tonic::Code;

use crate::ai::{Mood, VERSION, predicted};
use crate::harness::{Harness, Reach, packets, quick};

macro_rules! suite {
    ($($name:ident),*) => {
        mod in_process {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Reach::InProcess).await;
            })*
        }
        mod network {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Reach::Network).await;
            })*
        }
    };
}

suite!(
    a_session_is_streamed_analysed_and_stored,
    a_reader_that_reconnects_goes_on,
    ending_twice_answers_the_same,
    without_analysis_the_session_goes_on_and_ends_later
);

async fn a_session_is_streamed_analysed_and_stored(reach: Reach) {
    let mut harness = Harness::start(reach, quick()).await;
    let request = StartSessionRequest {
        user_id: "user-1".to_owned(),
        cartridge_code: "01:01".to_owned(),
        subject: Some(Subject { age_years: Some(40.0), sex: Sex::Female.into() }),
        ..Default::default()
    };
    let started = harness.client.start_session(request).await.expect("starts").into_inner();
    assert_eq!((started.channels, started.duration_seconds, started.idle_timeout_seconds), (88, 15, 300));

    let (answers, status) = harness.stream(&started.session_id, &packets("01:01", 150)).await;
    assert!(status.is_none(), "{status:?}");
    let sequences: Vec<u64> = answers.iter().map(|answer| answer.sequence).collect();
    assert_eq!(sequences, (0..150).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer.anomaly_score.is_some() && answer.failed_gates.is_empty()));
    assert_eq!(answers[0].model.as_ref().map(|model| model.version.as_str()), Some(VERSION));
    assert!(answers[1..].iter().all(|answer| answer.model.is_none()), "the model is named once");
    assert!(answers.windows(2).all(|pair| pair[0].progress_percent <= pair[1].progress_percent));
    assert!(answers[149].progress_percent > 99.0);

    let ended = harness.end(&started.session_id).await.expect("ends");
    let measurement = ended.measurement.expect("a measurement");
    assert_eq!((measurement.packets, measurement.status()), (150, MeasurementStatus::Completed));
    assert_eq!(measurement.quality(), SignalQuality::Good);
    assert!(measurement.gates.len() == 8 && measurement.gates.iter().all(|gate| gate.passed));
    assert_eq!(measurement.digest.len(), 64);
    let channels = measurement.channels.clone().expect("a sweep");
    let value = measurement.biomarkers[0].quantity.clone().expect("a quantity");
    assert_eq!((value.unit.as_str(), value.value), ("mg/dL", predicted(&channels.values)));
    assert_eq!(ended.analysis.expect("an analysis").measurement_id, measurement.id);

    let asked = harness.ai.asked.lock().expect("not poisoned").remove(0);
    assert_eq!(asked.source, Some(Source::Channels(channels)));
    assert_eq!(asked.subject, Some(Subject { age_years: Some(40.0), sex: Sex::Female.into() }));
    assert_eq!(harness.get(&measurement.id).await.expect("stored"), measurement);
}

async fn a_reader_that_reconnects_goes_on(reach: Reach) {
    let mut harness = Harness::start(reach, quick()).await;
    let id = harness.begin("user-1", "01:01").await;
    let packets = packets("01:01", 40);
    let (first, _) = harness.stream(&id, &packets[..25]).await;
    assert_eq!(first.len(), 25);
    let mut stream = harness.open(&id).await;
    let standing = stream.next().await.expect("no error").expect("an answer");
    assert_eq!((standing.sequence, standing.stored_sequence), (24, Some(24)), "a closed stream is written");
    // The reader did not hear the last answers and sends those packets again.
    for packet in &packets[20..] {
        stream.send(packet).await;
        let answer = stream.next().await.expect("no error").expect("an answer");
        assert_eq!((answer.sequence, answer.duplicate), (packet.sequence, packet.sequence < 25));
        assert_eq!(answer.anomaly_score.is_none(), answer.duplicate);
    }
    drop(stream);
    let measurement = harness.end(&id).await.expect("ends").measurement.expect("a measurement");
    assert_eq!(measurement.packets, 40);
}

async fn ending_twice_answers_the_same(reach: Reach) {
    let mut harness = Harness::start(reach, quick()).await;
    let id = harness.begin("user-1", "01:01").await;
    harness.stream(&id, &packets("01:01", 12)).await;
    let (mut left, mut right) = (harness.client.clone(), harness.client.clone());
    let request = || EndSessionRequest { session_id: id.clone() };
    let (left, right) = tokio::join!(left.end_session(request()), right.end_session(request()));
    let (left, right) = (left.expect("ends").into_inner(), right.expect("ends").into_inner());
    assert_eq!(left, right);
    let asked = harness.ai.asked.lock().expect("not poisoned").len();
    assert_eq!(asked, 1, "analysed once");
    let mut harness = harness.restart().await;
    assert_eq!(harness.end(&id).await.expect("still the same"), left);
    let (_, status) = harness.stream(&id, &packets("01:01", 1)).await;
    assert_eq!(status.map(|status| status.code()), Some(Code::FailedPrecondition));
}

async fn without_analysis_the_session_goes_on_and_ends_later(reach: Reach) {
    let mut harness = Harness::start(reach, quick()).await;
    harness.ai.set(Mood::Down);
    let id = harness.begin("user-1", "01:01").await;
    let (answers, status) = harness.stream(&id, &packets("01:01", 12)).await;
    assert!(status.is_none() && answers.len() == 12);
    for answer in &answers {
        assert_eq!((answer.anomaly_score, answer.anomalous), (None, None), "no invented score");
        let gate = answer.failed_gates.iter().find(|gate| gate.gate == "analysis").expect("a named gate");
        assert!(gate.message.contains("the test server is down"), "{}", gate.message);
    }
    let status = harness.end(&id).await.expect_err("no analysis");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("call EndSession again"), "{}", status.message());
    let status = harness.get(&id).await.expect_err("still running");
    assert_eq!(status.code(), Code::FailedPrecondition);

    harness.ai.set(Mood::Sound);
    let measurement = harness.end(&id).await.expect("ends").measurement.expect("a measurement");
    assert_eq!((measurement.packets, measurement.status()), (12, MeasurementStatus::Completed));
}
