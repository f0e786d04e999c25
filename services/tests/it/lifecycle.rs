//! What becomes of a session through silence, restarts, crashes, rivals and limits.

use proto::manpasik::v1::*;
use services::kernel::Limits;
use tonic::Code;

use crate::harness::{Harness, Reach, eventually, packets, quick};

#[tokio::test]
async fn a_restart_loses_nothing() {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "01:01").await;
    let all = packets("01:01", 40);
    let mut stream = harness.open(&id).await;
    stream.next().await.expect("no error").expect("where it stands");
    for packet in &all[..17] {
        stream.exchange(packet).await;
    }
    let mut harness = harness.restart().await;
    let (_, status) = stream.rest().await;
    assert_eq!(
        status.map(|status| status.code()),
        Some(Code::Unavailable),
        "the reader is told to come back"
    );
    let (answers, _) = harness.stream(&id, &all[17..]).await;
    assert!(answers.iter().all(|answer| !answer.duplicate));
    let measurement = harness.end(&id).await.expect("ends").measurement.expect("a measurement");
    assert_eq!(measurement.packets, 40);

    let mut other = Harness::quick().await;
    let whole = other.begin("user-1", "01:01").await;
    other.stream(&whole, &all).await;
    let whole = other.end(&whole).await.expect("ends").measurement.expect("a measurement");
    assert_eq!(whole.channels, measurement.channels, "the interruption left no trace in the sweep");
}

#[tokio::test]
async fn after_a_crash_the_reader_sends_again_what_was_not_on_disk() {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "01:01").await;
    let all = packets("01:01", 40);
    let mut stream = harness.open(&id).await;
    stream.next().await.expect("no error").expect("where it stands");
    let mut stored = None;
    for packet in &all[..27] {
        stored = stream.exchange(packet).await.stored_sequence;
    }
    assert_eq!(stored, Some(19), "written every ten packets");
    let mut after = harness.after_crash().await;
    let mut stream = after.open(&id).await;
    let standing = stream.next().await.expect("no error").expect("where it stands");
    assert_eq!((standing.sequence, standing.stored_sequence), (19, stored));
    for packet in &all[20..] {
        assert!(!stream.exchange(packet).await.duplicate);
    }
    let measurement = after.end(&id).await.expect("ends").measurement.expect("a measurement");
    assert_eq!(measurement.packets, 40);
    let loss = measurement.gates.iter().find(|gate| gate.gate == "packet_loss").expect("a gate");
    assert_eq!(loss.value, Some(0.0));
}

#[tokio::test]
async fn silence_ends_a_session() {
    let mut harness = Harness::quick().await;
    let silent = harness.begin("user-1", "01:01").await;
    harness.stream(&silent, &packets("01:01", 5)).await;
    harness.clock.advance_ms(200_000);
    let heard = harness.begin("user-1", "01:01").await;
    harness.clock.advance_ms(99_999);
    let stream = harness.open(&heard).await;
    assert_eq!(harness.get(&silent).await.expect_err("not yet").code(), Code::FailedPrecondition);
    harness.clock.advance_ms(1);
    let client = harness.client.clone();
    let ask = || {
        let (mut client, id) = (client.clone(), silent.clone());
        async move { client.get_measurement(GetMeasurementRequest { id }).await }
    };
    let ended =
        eventually(ask, Result::is_ok).await.expect("timed out").into_inner().measurement.expect("one");
    assert_eq!((ended.status(), ended.packets), (MeasurementStatus::TimedOut, 5));
    assert_eq!(ended.channels.expect("a sweep").values.len(), 88);
    let (_, status) = harness.stream(&silent, &packets("01:01", 6)).await;
    assert!(status.is_some_and(|status| status.message().contains("timed out")));
    assert_eq!(harness.end(&silent).await.expect_err("too late").code(), Code::FailedPrecondition);
    let (_, status) = stream.rest().await;
    assert!(status.is_none(), "the other session was heard: {status:?}");
}

#[tokio::test]
async fn silence_ends_an_open_stream_too() {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "01:01").await;
    let mut stream = harness.open(&id).await;
    stream.next().await.expect("no error").expect("where it stands");
    harness.clock.advance_ms(300_000);
    let status = stream.next().await.expect_err("ended");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("timed out"), "{}", status.message());
}

#[tokio::test]
async fn a_second_stream_takes_the_session_over() {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "01:01").await;
    let all = packets("01:01", 3);
    let mut first = harness.open(&id).await;
    first.next().await.expect("no error").expect("where it stands");
    first.exchange(&all[0]).await;
    let mut second = harness.open(&id).await;
    second.next().await.expect("no error").expect("where it stands");
    assert_eq!(first.next().await.expect_err("taken over").code(), Code::Aborted);
    assert!(!second.exchange(&all[1]).await.duplicate);
}

#[tokio::test]
async fn a_session_without_packets_is_aborted() {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "01:01").await;
    let ended = harness.end(&id).await.expect("ends");
    assert_eq!(ended.analysis, None);
    let measurement = ended.measurement.clone().expect("a measurement");
    assert_eq!((measurement.status(), measurement.channels), (MeasurementStatus::Aborted, None));
    assert_eq!(harness.end(&id).await.expect("the same"), ended);
    assert!(harness.ai.asked.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn sessions_and_their_packets_are_bounded() {
    let limits = Limits { sessions_active_max: 2, session_packets_max: 5, ..quick() };
    let mut harness = Harness::start(Reach::InProcess, limits).await;
    let first = harness.begin("user-1", "01:01").await;
    harness.begin("user-2", "01:01").await;
    let request = StartSessionRequest {
        user_id: "user-3".to_owned(),
        cartridge_code: "01:01".to_owned(),
        ..Default::default()
    };
    let status = harness.client.start_session(request.clone()).await.expect_err("full");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let (answers, status) = harness.stream(&first, &packets("01:01", 6)).await;
    assert_eq!((answers.len(), status.map(|status| status.code())), (5, Some(Code::ResourceExhausted)));
    harness.end(&first).await.expect("ends");
    assert!(harness.client.start_session(request).await.is_ok(), "there is room again");
}

#[tokio::test]
async fn the_widest_cartridge_resumes_too() {
    let mut harness = Harness::quick().await;
    let id = harness.begin("user-1", "05:03").await;
    let all = packets("05:03", 24);
    harness.stream(&id, &all[..13]).await;
    let mut harness = harness.restart().await;
    harness.stream(&id, &all[13..]).await;
    let measurement = harness.end(&id).await.expect("ends").measurement.expect("a measurement");
    assert_eq!((measurement.packets, measurement.channels.expect("a sweep").values.len()), (24, 1792));
}
