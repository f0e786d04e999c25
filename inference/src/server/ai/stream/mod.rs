//! StreamAnalysis: packets of a running measurement, scored as they come.
//!
//! The answers are pulled, not pushed: nothing is spawned and nothing queues. Each pull waits for a packet, takes all
//! that have arrived besides it, runs them as one batch and gives the answers in order; a slow reader therefore slows
//! its own writer and nobody else. The model version travels once, and an explanation only with an anomalous packet,
//! not more often than every [`EXPLAIN_EVERY`] packets, and with the summary.

mod sequence;
mod tally;

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt, stream};
use models::{Tensor, bundle::Family, family::anomaly};
use proto::manpasik::v1::{
    self as wire, stream_analysis_request::Message as Asking, stream_analysis_response::Message as Telling,
};
use tonic::Status;

use self::{sequence::Sequence, tally::Tally};
use super::{
    Inner, asking,
    family::{Asked, Reader},
    read, write,
};
use crate::Caller;

/// Packets of one batch.
const BATCH_PACKETS_MAX: usize = 64;
/// Silence after which a stream ends by itself, as a measurement does.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// Packets between two explanations.
const EXPLAIN_EVERY: u64 = 32;

type Answer = Result<wire::StreamAnalysisResponse, Status>;

/// Answers of one stream, in the order of its packets.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Answer> + Send>>;

/// The answers to `requests` of `caller`.
pub(super) fn answers<R>(inner: Arc<Inner>, requests: R, caller: Caller) -> Answers
where
    R: Stream<Item = Result<wire::StreamAnalysisRequest, Status>> + Send + Unpin + 'static,
{
    let opening = State::Opening(Opening { inner, requests, caller });
    let step = async |state| match state {
        State::Opening(opening) => Some(opening.step().await),
        State::Running(running) => Some(running.step().await),
        State::Ended => None,
    };
    stream::unfold(opening, step).map(stream::iter).flatten().boxed()
}

enum State<R> {
    Opening(Opening<R>),
    Running(Box<Running<R>>),
    Ended,
}

/// Waits for the start message.
struct Opening<R> {
    inner: Arc<Inner>,
    requests: R,
    caller: Caller,
}

impl<R: Stream<Item = Result<wire::StreamAnalysisRequest, Status>> + Unpin> Opening<R> {
    async fn step(mut self) -> (Vec<Answer>, State<R>) {
        match self.open().await {
            Ok((asked, label)) => {
                let Reader::Anomaly(encoder) = &*asked.reader else {
                    return (vec![Err(super::analyze::mismatched(&asked))], State::Ended);
                };
                let started = wire::StreamStarted {
                    model: Some(asked.reference.clone()),
                    threshold: encoder.threshold(),
                    coverage: encoder.specificity(),
                };
                let (sequence, tally) = (Sequence::default(), Tally::new(encoder.channels().unwrap_or(0)));
                let Self { inner, requests, caller: _ } = self;
                let running = Running { inner, requests, asked, label, sequence, tally, explained: None };
                (vec![tell(Telling::Started(started))], State::Running(Box::new(running)))
            }
            Err(status) => (vec![Err(status)], State::Ended),
        }
    }

    async fn open(&mut self) -> Result<(Asked, String), Status> {
        let message = match tokio::time::timeout(IDLE_MAX, self.requests.next()).await {
            Ok(Some(request)) => request?.message,
            Ok(None) => None,
            Err(_) => return Err(Status::deadline_exceeded("no start message came")),
        };
        let Some(Asking::Start(start)) = message else {
            return Err(read::invalid("start", "must be the first message of the stream"));
        };
        let wire::StreamStart { cartridge_code, model_name, label } = start;
        if label.chars().count() > read::TEXT_CHARS_MAX {
            return Err(read::invalid("start.label", "has more than 256 characters"));
        }
        let cartridge = read::cartridge("start.cartridge_code", &cartridge_code)?;
        // A stream stays with the version it began with; without a person, its label says whose it is.
        let user = if self.caller.user.is_empty() { label.clone() } else { self.caller.user.clone() };
        let caller = Caller { user, cartridge: cartridge.code.to_string() };
        let asked = asking::once(caller, || self.inner.sweep_model(&model_name))?;
        match &*asked.reader {
            Reader::Anomaly(encoder) if encoder.channels() == Some(cartridge.channels()) => {
                Ok((asked, label))
            }
            Reader::Anomaly(_) => {
                let reason = format!("no model checks packets of {} channels", cartridge.channels());
                Err(read::invalid("start.cartridge_code", reason))
            }
            Reader::Biomarker(_) | Reader::Trend(_) | Reader::HealthScore(_) | Reader::Food(_) => {
                Err(read::invalid("start.model_name", "is no anomaly model"))
            }
            Reader::Value(_) | Reader::Text(_) | Reader::Unasked => {
                Err(read::invalid("start.model_name", "is no anomaly model"))
            }
        }
    }
}

impl Inner {
    /// The anomaly model of that name, or the one that takes sweeps.
    fn sweep_model(&self, name: &str) -> Result<Asked, Status> {
        if !name.is_empty() {
            return self.ask(asking::route(&self.handle, name)?);
        }
        let takes_sweeps = |asked: &Asked| match &*asked.reader {
            Reader::Anomaly(encoder) => encoder.channels().is_some(),
            Reader::Biomarker(_) | Reader::Trend(_) | Reader::HealthScore(_) => false,
            Reader::Food(_) | Reader::Value(_) | Reader::Text(_) | Reader::Unasked => false,
        };
        let found = self.asked(Family::Anomaly).into_iter().find(takes_sweeps);
        found.ok_or_else(|| self.unavailable(Family::Anomaly))
    }
}

/// Scores packets.
struct Running<R> {
    inner: Arc<Inner>,
    requests: R,
    asked: Asked,
    label: String,
    sequence: Sequence,
    tally: Tally,
    /// Count of packets at the last explanation.
    explained: Option<u64>,
}

/// Why packets stopped coming.
enum End {
    Closed,
    Silent,
    Failed(Status),
}

impl<R: Stream<Item = Result<wire::StreamAnalysisRequest, Status>> + Unpin> Running<R> {
    async fn step(mut self: Box<Self>) -> (Vec<Answer>, State<R>) {
        let (packets, end) = self.receive().await;
        let mut answers = match self.score(packets).await {
            Ok(answers) => answers,
            Err(status) => return (vec![Err(status)], State::Ended),
        };
        match end {
            None => return (answers, State::Running(self)),
            Some(End::Failed(status)) => answers.push(Err(status)),
            Some(End::Closed) => answers.push(self.summary(false)),
            Some(End::Silent) => answers.push(self.summary(true)),
        }
        (answers, State::Ended)
    }

    /// Waits for a packet and takes all that are there.
    async fn receive(&mut self) -> (Vec<wire::StreamPacket>, Option<End>) {
        let packets_max = BATCH_PACKETS_MAX.min(self.asked.served.rows_max());
        let mut packets = Vec::new();
        while packets.len() < packets_max {
            let next = match self.requests.next().now_or_never() {
                Some(next) => Ok(next),
                None if packets.is_empty() => tokio::time::timeout(IDLE_MAX, self.requests.next()).await,
                None => break,
            };
            let end = match next {
                Ok(Some(Ok(request))) => match self.packet(request) {
                    Ok(packet) => {
                        packets.extend(packet);
                        continue;
                    }
                    Err(status) => End::Failed(status),
                },
                Ok(Some(Err(status))) => End::Failed(status),
                Ok(None) => End::Closed,
                Err(_) => End::Silent,
            };
            return (packets, Some(end));
        }
        (packets, None)
    }

    /// The packet of a message; `None` for one that was there before.
    fn packet(&mut self, request: wire::StreamAnalysisRequest) -> Result<Option<wire::StreamPacket>, Status> {
        let Some(Asking::Packet(packet)) = request.message else {
            return Err(read::invalid("packet", "is missing: only the first message is a start"));
        };
        if let Err(error) = self.encoder()?.check_sweep(&packet.channels) {
            return Err(read::invalid(format!("packet {}", packet.sequence), error));
        }
        Ok(self.sequence.take(packet.sequence).then_some(packet))
    }

    fn encoder(&self) -> Result<&anomaly::Encoder, Status> {
        match &*self.asked.reader {
            Reader::Anomaly(encoder) => Ok(encoder),
            Reader::Biomarker(_) | Reader::Trend(_) | Reader::HealthScore(_) => Err(self.mismatched()),
            Reader::Food(_) | Reader::Value(_) | Reader::Text(_) | Reader::Unasked => Err(self.mismatched()),
        }
    }

    fn mismatched(&self) -> Status {
        super::analyze::mismatched(&self.asked)
    }

    async fn score(&mut self, packets: Vec<wire::StreamPacket>) -> Result<Vec<Answer>, Status> {
        if packets.is_empty() {
            return Ok(Vec::new());
        }
        let width = packets[0].channels.len();
        let mut values = Vec::with_capacity(packets.len() * width);
        packets.iter().for_each(|packet| values.extend_from_slice(&packet.channels));
        let tensor = Tensor::from_f32(vec![packets.len(), width], &values).map_err(super::family::refused)?;
        let outputs = self.run(tensor).await?;
        let read = |index: usize| outputs.get(index).and_then(|tensor| tensor.as_f32().ok());
        let (Some(errors), Some(residuals)) = (read(0), read(1)) else {
            return Err(Status::internal("the model gave no error and residual"));
        };
        if errors.len() != packets.len() || residuals.len() != values.len() {
            return Err(Status::internal("the model gave an error or residual of another size"));
        }
        let rows = packets.iter().zip(errors.iter().zip(residuals.chunks_exact(width)));
        Ok(rows.map(|(packet, (error, residual))| self.tell(packet, *error, residual)).collect())
    }

    /// Runs packets. When a version on trial fails them, the stream goes on with the live one.
    async fn run(&mut self, packets: Tensor) -> Result<Vec<Tensor>, Status> {
        let packets = [packets];
        let failure = match self.inner.run(&self.asked, &packets).await {
            Ok(outputs) => return Ok(outputs),
            Err(failure) => failure,
        };
        let Some(live) = self.asked.route.live() else { return Err(failure) };
        let live = self.inner.ask(live)?;
        let outputs = self.inner.run(&live, &packets).await?;
        self.asked.route.failed();
        self.asked = live;
        Ok(outputs)
    }

    fn tell(&mut self, packet: &wire::StreamPacket, error: f32, residual: &[f32]) -> Answer {
        let encoder = self.encoder()?;
        let (score, anomalous) = encoder.score(error);
        let due = self.explained.is_none_or(|at| self.tally.packets() >= at + EXPLAIN_EVERY);
        let explain = anomalous && due;
        let explanation =
            explain.then(|| write::explanation(encoder.explain_sweep(&packet.channels, residual)));
        if explain {
            self.explained = Some(self.tally.packets());
        }
        self.tally.add(score, anomalous, &packet.channels, residual);
        let sequence = packet.sequence;
        tell(Telling::Analysis(wire::PacketAnalysis {
            sequence,
            score: score as f32,
            anomalous,
            explanation,
        }))
    }

    fn summary(&self, silent: bool) -> Answer {
        let mut warnings: Vec<_> = write::synthetic(&self.asked.reference).into_iter().collect();
        warnings.extend(self.sequence.warnings());
        if silent {
            warnings.push(write::warning("idle", "the stream ended after 300 s of silence", "packet"));
        }
        let model = self.asked.reference.clone();
        Ok(wire::StreamAnalysisResponse {
            message: Some(Telling::Summary(self.tally.summary(
                self.encoder()?,
                &self.label,
                model,
                warnings,
            ))),
        })
    }
}

fn tell(message: Telling) -> Answer {
    Ok(wire::StreamAnalysisResponse { message: Some(message) })
}
