//! The analysis of the packets of one stream: one inner stream to the inference service, opened with the first packet.
//!
//! Packets go in and answers come out in the same order. When anything goes wrong (down, too slow, out of order) the
//! inner stream is dropped, the reason is kept, and it is opened again after a pause; a packet in between is told to
//! have no analysis rather than given an invented score.

use std::collections::VecDeque;
use std::time::Duration;

use proto::manpasik::v1::ai_inference_service_client::AiInferenceServiceClient;
use proto::manpasik::v1::stream_analysis_request::Message as Asked;
use proto::manpasik::v1::stream_analysis_response::Message as Answered;
use proto::manpasik::v1::{
    ModelReference, PacketAnalysis, StreamAnalysisRequest, StreamAnalysisResponse, StreamPacket, StreamStart,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use crate::kernel::{GrpcService, Limits};

/// An inner stream that works, or why there is none.
#[derive(Debug)]
enum Line {
    Closed,
    Open(Box<Open>),
    Down { reason: String, again: Option<Instant> },
}

#[derive(Debug)]
struct Open {
    packets: mpsc::Sender<StreamAnalysisRequest>,
    answers: Streaming<StreamAnalysisResponse>,
    /// Sequences sent and when their answers are due.
    due: VecDeque<(u64, Instant)>,
    /// Whether the stream has said which model version answers.
    named: bool,
    /// That model, until the first answer has carried it on.
    model: Option<ModelReference>,
}

/// An analysed packet; the model is told once an inner stream.
#[derive(Debug)]
pub(super) struct Analysed {
    pub(super) packet: PacketAnalysis,
    pub(super) model: Option<ModelReference>,
}

/// Sends the packets of one stream to analysis.
#[derive(Debug)]
pub(super) struct Analyst {
    client: AiInferenceServiceClient<GrpcService>,
    start: StreamStart,
    packet_deadline: Duration,
    retry: Duration,
    window: usize,
    line: Line,
}

impl Analyst {
    /// Nothing is sent before the first packet.
    pub(super) fn new(
        client: AiInferenceServiceClient<GrpcService>,
        cartridge_code: String,
        label: String,
        limits: &Limits,
    ) -> Self {
        Self {
            client,
            start: StreamStart { cartridge_code, label, ..StreamStart::default() },
            packet_deadline: Duration::from_millis(limits.stream_packet_ms_max),
            retry: Duration::from_millis(limits.stream_retry_ms),
            window: limits.stream_window_max.max(1),
            line: Line::Closed,
        }
    }

    /// Sends a packet; the error is why it will not be analysed. The caller keeps at most `stream_window_max`
    /// packets waiting, so there is always room.
    pub(super) async fn send(&mut self, sequence: u64, channels: Vec<f32>) -> Result<(), String> {
        self.open_when_due().await?;
        let Line::Open(open) = &mut self.line else { return Err(self.reason()) };
        let message = Some(Asked::Packet(StreamPacket { sequence, channels }));
        if open.packets.try_send(StreamAnalysisRequest { message }).is_err() {
            return Err(self.fail("the analysis stream takes no more packets".to_owned(), true));
        }
        open.due.push_back((sequence, Instant::now() + self.packet_deadline));
        Ok(())
    }

    /// Whether an answer is due.
    pub(super) fn expects(&self) -> bool {
        matches!(&self.line, Line::Open(open) if !open.due.is_empty())
    }

    /// The next answer, in the order of the packets; the error says why none of the packets sent will be answered.
    /// Dropping the future loses nothing. Only called while an answer is due.
    pub(super) async fn next(&mut self) -> Result<Analysed, String> {
        loop {
            let Line::Open(open) = &mut self.line else { return Err(self.reason()) };
            let Some(&(sequence, due)) = open.due.front() else {
                return Err("no packet is in analysis".to_owned());
            };
            let answered = match timeout_at(due, open.answers.message()).await {
                Err(_) => {
                    let reason = format!("no answer within {} ms", self.packet_deadline.as_millis());
                    return Err(self.fail(reason, true));
                }
                Ok(Err(status)) => {
                    // A stream that has begun fits the cartridge; what broke it was this packet or this moment.
                    let again = open.named || can_recover(status.code());
                    return Err(self.fail(told(&status), again));
                }
                Ok(Ok(answered)) => answered.and_then(|response| response.message),
            };
            match answered {
                Some(Answered::Started(started)) => {
                    open.model = started.model.filter(|model| !model.version.is_empty());
                    open.named = open.model.is_some();
                }
                // A score is worth nothing without the version that gave it.
                Some(Answered::Analysis(_)) if !open.named => {
                    return Err(self.fail("the analysis names no model version".to_owned(), true));
                }
                Some(Answered::Analysis(packet)) if packet.sequence == sequence => {
                    open.due.pop_front();
                    return Ok(Analysed { packet, model: open.model.take() });
                }
                Some(Answered::Analysis(packet)) => {
                    let reason = format!("answer to packet {} instead of {sequence}", packet.sequence);
                    return Err(self.fail(reason, true));
                }
                Some(Answered::Summary(_)) | None => {
                    return Err(self.fail("the analysis stream was closed".to_owned(), true));
                }
            }
        }
    }

    async fn open_when_due(&mut self) -> Result<(), String> {
        let due = match &self.line {
            Line::Open(_) => false,
            Line::Closed => true,
            Line::Down { again, .. } => again.is_some_and(|again| Instant::now() >= again),
        };
        if !due {
            return Ok(());
        }
        // One place more than the window, for the start message.
        let (packets, queue) = mpsc::channel(self.window + 1);
        let start = StreamAnalysisRequest { message: Some(Asked::Start(self.start.clone())) };
        if packets.try_send(start).is_err() {
            return Err(self.fail("the analysis stream could not be started".to_owned(), true));
        }
        let call = self.client.stream_analysis(Request::new(ReceiverStream::new(queue)));
        match timeout(self.packet_deadline, call).await {
            Ok(Ok(response)) => {
                let answers = response.into_inner();
                let open = Open { packets, answers, due: VecDeque::new(), named: false, model: None };
                self.line = Line::Open(Box::new(open));
                Ok(())
            }
            Ok(Err(status)) => {
                let again = can_recover(status.code());
                Err(self.fail(told(&status), again))
            }
            Err(_) => Err(self.fail("the analysis service does not answer".to_owned(), true)),
        }
    }

    fn fail(&mut self, reason: String, recoverable: bool) -> String {
        tracing::warn!(session = self.start.label, reason, "packet analysis stopped");
        let again = recoverable.then(|| Instant::now() + self.retry);
        self.line = Line::Down { reason: reason.clone(), again };
        reason
    }

    fn reason(&self) -> String {
        match &self.line {
            Line::Down { reason, .. } => reason.clone(),
            Line::Closed | Line::Open(_) => "the analysis stream is not open".to_owned(),
        }
    }
}

fn told(status: &Status) -> String {
    format!("{}: {}", status.code().description(), status.message())
}

/// Whether asking again later can help; a cartridge no model knows stays unknown.
pub(super) const fn can_recover(code: Code) -> bool {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::Unimplemented => false,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => true,
    }
}
