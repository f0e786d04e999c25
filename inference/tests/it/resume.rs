//! Analysis streams that break off and are gone on with: nothing is analysed twice, and no answer is missing.

use std::ops::Range;

use futures::{StreamExt, stream};
use proto::manpasik::v1::{
    self as wire, stream_analysis_request::Message as Asking, stream_analysis_response::Message as Telling,
};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use crate::ai::{Running, all};

fn packet(sequence: u64, value: f32) -> Asking {
    Asking::Packet(wire::StreamPacket { sequence, channels: vec![value; 88] })
}

/// A stream that is open, and what its server has told.
struct Open {
    asking: mpsc::Sender<wire::StreamAnalysisRequest>,
    answers: Streaming<wire::StreamAnalysisResponse>,
}

impl Open {
    async fn with(
        running: &Running,
        start: wire::StreamStart,
    ) -> Result<(Self, wire::StreamStarted), Status> {
        let (asking, asked) = mpsc::channel(64);
        let requests = stream::unfold(asked, async |mut asked| Some((asked.recv().await?, asked))).boxed();
        let mut answers = running.client.clone().stream_analysis(requests).await?.into_inner();
        let open = wire::StreamAnalysisRequest { message: Some(Asking::Start(start)) };
        asking.send(open).await.expect("there is room");
        match answers.message().await?.and_then(|answer| answer.message) {
            Some(Telling::Started(started)) => Ok((Self { asking, answers }, started)),
            other => panic!("no start: {other:?}"),
        }
    }

    async fn send(&self, numbers: Range<u64>) {
        for number in numbers {
            let message = Some(packet(number, 900.0 + number as f32));
            self.asking.send(wire::StreamAnalysisRequest { message }).await.expect("there is room");
        }
    }

    async fn analyses(&mut self, count: usize) -> Vec<wire::PacketAnalysis> {
        let mut told = Vec::new();
        while told.len() < count {
            match self.answers.message().await.expect("answers").and_then(|answer| answer.message) {
                Some(Telling::Analysis(analysis)) => told.push(analysis),
                other => panic!("no analysis: {other:?}"),
            }
        }
        told
    }

    async fn close(mut self) -> wire::StreamSummary {
        drop(self.asking);
        match self.answers.message().await.expect("answers").and_then(|answer| answer.message) {
            Some(Telling::Summary(summary)) => summary,
            other => panic!("no summary: {other:?}"),
        }
    }
}

fn of_reader() -> wire::StreamStart {
    wire::StreamStart { cartridge_code: "01:01".into(), label: "s-1".into(), ..Default::default() }
}

fn resumed(started: &wire::StreamStarted, last_sequence: Option<u64>) -> wire::StreamStart {
    let stream_id = started.stream_id.clone();
    wire::StreamStart { resume: Some(wire::StreamResume { stream_id, last_sequence }), ..Default::default() }
}

#[tokio::test]
async fn a_stream_that_broke_off_goes_on_and_no_answer_is_missing_or_different() {
    let running = all();
    let (mut whole, _) = Open::with(&running, of_reader()).await.expect("opens");
    whole.send(0..40).await;
    let wanted = whole.analyses(40).await;
    let expected = whole.close().await;

    let (mut first, started) = Open::with(&running, of_reader()).await.expect("opens");
    assert_eq!((started.packets, started.last_sequence), (0, None));
    first.send(0..20).await;
    assert_eq!(first.analyses(20).await, wanted[..20]);
    drop(first);
    // The client saw answers up to 11 only.
    let (mut second, again) = Open::with(&running, resumed(&started, Some(11))).await.expect("goes on");
    assert_eq!((again.packets, again.last_sequence), (20, Some(19)));
    assert_eq!((&again.stream_id, &again.model), (&started.stream_id, &started.model));
    assert_eq!(second.analyses(8).await, wanted[12..20]);
    second.send(20..30).await;
    assert_eq!(second.analyses(10).await, wanted[20..30]);
    // The old connection still seems to be there.
    let (mut third, again) = Open::with(&running, resumed(&started, Some(29))).await.expect("taken over");
    assert_eq!(again.packets, 30);
    let let_go = second.answers.message().await.expect_err("let go");
    assert_eq!(let_go.code(), Code::Aborted);
    third.send(28..40).await;
    assert_eq!(third.analyses(10).await, wanted[30..], "28 and 29 were analysed before");
    let summary = third.close().await;
    assert_eq!((summary.packets, summary.label.as_str()), (40, "s-1"));
    assert_eq!((summary.score_mean, summary.score_interval), (expected.score_mean, expected.score_interval));
    let codes: Vec<_> = summary.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["synthetic_model", "duplicate_packets"]);
    let over = Open::with(&running, resumed(&started, None)).await.err().expect("it has ended");
    assert_eq!(over.code(), Code::NotFound);
}

#[tokio::test]
async fn answers_that_are_no_longer_kept_are_told_of_and_a_bad_packet_ends_nothing_for_good() {
    let running = all();
    let (mut first, started) = Open::with(&running, of_reader()).await.expect("opens");
    for part in 0..5 {
        first.send(part * 60..part * 60 + 60).await;
        first.analyses(60).await;
    }
    let message = Some(Asking::Packet(wire::StreamPacket { sequence: 300, channels: vec![1.0] }));
    first.asking.send(wire::StreamAnalysisRequest { message }).await.expect("there is room");
    let refused = first.answers.message().await.expect_err("too few channels");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let (mut second, again) = Open::with(&running, resumed(&started, Some(3))).await.expect("goes on");
    assert_eq!(again.packets, 300);
    let kept = second.analyses(256).await;
    assert_eq!((kept[0].sequence, kept[255].sequence), (44, 299));
    let summary = second.close().await;
    assert!(summary.warnings.iter().any(|warning| warning.code == "lost_answers"), "{summary:?}");
    for unknown in ["", "s-1", "00000000-0000-4000-8000-000000000000"] {
        let start = resumed(&wire::StreamStarted { stream_id: unknown.into(), ..started.clone() }, None);
        let refused = Open::with(&running, start).await.err().expect("nobody knows it");
        assert_eq!(refused.code(), Code::NotFound, "{unknown}");
    }
}
