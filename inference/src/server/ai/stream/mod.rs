//! StreamAnalysis: packets of a running measurement, scored as they come.
//!
//! The answers are pulled, not pushed: nothing is spawned and nothing queues. Each pull waits for a packet, takes all
//! that have arrived besides it, runs them as one batch and gives the answers in order; a slow reader therefore slows
//! its own writer and nobody else. The model version travels once, and an explanation only with an anomalous packet,
//! not more often than every [`EXPLAIN_EVERY`] packets, and with the summary. A stream that breaks off can be gone on with
//! ([`resume`]): a packet counts as seen once it is analysed, and the last answers are kept.

mod resume;
mod sequence;
mod tally;

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt, stream};
use models::{Tensor, bundle::Family, family::anomaly};
use proto::manpasik::v1::{
    self as wire, stream_analysis_request::Message as Asking, stream_analysis_response::Message as Telling,
};
use tonic::Status;

pub(super) use self::resume::Streams;
use self::{
    resume::{Known, Lease},
    sequence::Sequence,
};
use super::{
    Inner, asking,
    family::{Asked, Reader},
    read, write,
};
use crate::{Caller, server::guard};

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
    // Asked here: nobody is known any more while answers are pulled.
    let owner = guard::caller().map(|caller| caller.name.clone());
    let opening = State::Opening(Opening { inner, requests, caller, owner });
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
    /// Who showed a token, where one is asked for: nobody else goes on with the stream.
    owner: Option<String>,
}

impl<R: Stream<Item = Result<wire::StreamAnalysisRequest, Status>> + Unpin> Opening<R> {
    async fn step(mut self) -> (Vec<Answer>, State<R>) {
        let opened = match self.start().await {
            Ok(wire::StreamStart { resume: Some(resume), .. }) => self.resume(&resume),
            Ok(start) => self.begin(start),
            Err(status) => Err(status),
        };
        match opened {
            Ok((answers, lease)) => {
                let Self { inner, requests, .. } = self;
                (answers, State::Running(Box::new(Running { inner, requests, lease })))
            }
            Err(status) => (vec![Err(status)], State::Ended),
        }
    }

    async fn start(&mut self) -> Result<wire::StreamStart, Status> {
        let message = match tokio::time::timeout(IDLE_MAX, self.requests.next()).await {
            Ok(Some(request)) => request?.message,
            Ok(None) => None,
            Err(_) => return Err(Status::deadline_exceeded("no start message came")),
        };
        match message {
            Some(Asking::Start(start)) => Ok(start),
            Some(Asking::Packet(_)) | None => {
                Err(read::invalid("start", "must be the first message of the stream"))
            }
        }
    }

    fn begin(&self, start: wire::StreamStart) -> Result<(Vec<Answer>, Lease), Status> {
        let (asked, label) = self.open(start)?;
        let channels = encoder(&asked)?.channels().unwrap_or(0);
        let known = Box::new(Known::new(asked, label, channels));
        let lease = self.inner.streams.begin(self.owner.clone(), known);
        let started = lease.with(|known| started(known, lease.id())).ok_or_else(gone)?;
        Ok((vec![started], lease))
    }

    /// Goes on with a stream that broke off: first come the answers that did not arrive.
    fn resume(&self, resume: &wire::StreamResume) -> Result<(Vec<Answer>, Lease), Status> {
        let lease = self.inner.streams.resume(&resume.stream_id, self.owner.as_deref())?;
        let answers = lease.with(|known| {
            let (answers, some_lost) = known.after(resume.last_sequence);
            known.has_lost_answers |= some_lost;
            let answers = answers.into_iter().map(|answer| tell(Telling::Analysis(answer)));
            std::iter::once(started(known, lease.id())).chain(answers).collect()
        });
        Ok((answers.ok_or_else(gone)?, lease))
    }

    fn open(&self, start: wire::StreamStart) -> Result<(Asked, String), Status> {
        let wire::StreamStart { cartridge_code, model_name, label, resume: _ } = start;
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

fn gone() -> Status {
    Status::aborted("another connection goes on with this stream")
}

fn started(known: &Known, stream_id: String) -> Answer {
    let encoder = encoder(&known.asked)?;
    tell(Telling::Started(wire::StreamStarted {
        model: Some(known.asked.reference.clone()),
        threshold: encoder.threshold(),
        coverage: encoder.specificity(),
        stream_id,
        packets: known.tally.packets(),
        last_sequence: known.sequence.newest(),
    }))
}

fn encoder(asked: &Asked) -> Result<&anomaly::Encoder, Status> {
    match &*asked.reader {
        Reader::Anomaly(encoder) => Ok(encoder),
        Reader::Biomarker(_) | Reader::Trend(_) | Reader::HealthScore(_) => {
            Err(super::analyze::mismatched(asked))
        }
        Reader::Food(_) | Reader::Value(_) | Reader::Text(_) | Reader::Unasked => {
            Err(super::analyze::mismatched(asked))
        }
    }
}

/// Scores packets.
struct Running<R> {
    inner: Arc<Inner>,
    requests: R,
    lease: Lease,
}

/// Why packets stopped coming.
enum End {
    Closed,
    Silent,
    /// Another connection goes on.
    Taken,
    Failed(Status),
}

impl<R: Stream<Item = Result<wire::StreamAnalysisRequest, Status>> + Unpin> Running<R> {
    async fn step(mut self: Box<Self>) -> (Vec<Answer>, State<R>) {
        let (packets, sequence, end) = self.receive().await;
        let mut answers = match self.score(packets, sequence).await {
            Ok(answers) => answers,
            Err(status) => return (vec![Err(status)], State::Ended),
        };
        match end {
            None => return (answers, State::Running(self)),
            Some(End::Failed(status)) => answers.push(Err(status)),
            Some(End::Taken) => answers.push(Err(gone())),
            Some(End::Closed) => answers.push(self.summary(false)),
            Some(End::Silent) => answers.push(self.summary(true)),
        }
        (answers, State::Ended)
    }

    /// Waits for a packet and takes all that are there; what has been seen with them, and why no more come.
    async fn receive(&mut self) -> (Vec<wire::StreamPacket>, Sequence, Option<End>) {
        let mut packets = Vec::new();
        let Some((asked, mut sequence)) = self.lease.with(|known| (Arc::clone(&known.asked), known.sequence))
        else {
            return (packets, Sequence::default(), Some(End::Taken));
        };
        let packets_max = BATCH_PACKETS_MAX.min(asked.served.rows_max());
        while packets.len() < packets_max {
            let next = match self.requests.next().now_or_never() {
                Some(next) => Ok(next),
                None if packets.is_empty() => tokio::select! {
                    next = tokio::time::timeout(IDLE_MAX, self.requests.next()) => next,
                    () = self.lease.taken() => return (packets, sequence, Some(End::Taken)),
                },
                None => break,
            };
            let end = match next {
                Ok(Some(Ok(request))) => match packet(&asked, request, &mut sequence) {
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
            return (packets, sequence, Some(end));
        }
        (packets, sequence, None)
    }

    /// Analyses packets; with them `sequence` becomes what has been seen. Nothing has if the client goes meanwhile.
    async fn score(
        &mut self,
        packets: Vec<wire::StreamPacket>,
        sequence: Sequence,
    ) -> Result<Vec<Answer>, Status> {
        if packets.is_empty() {
            self.lease.with(|known| known.sequence = sequence);
            return Ok(Vec::new());
        }
        let asked = self.lease.with(|known| Arc::clone(&known.asked)).ok_or_else(gone)?;
        let width = packets[0].channels.len();
        let mut values = Vec::with_capacity(packets.len() * width);
        packets.iter().for_each(|packet| values.extend_from_slice(&packet.channels));
        let tensor = Tensor::from_f32(vec![packets.len(), width], &values).map_err(super::family::refused)?;
        let (asked, outputs) = run(&self.inner, asked, tensor).await?;
        let read = |index: usize| outputs.get(index).and_then(|tensor| tensor.as_f32().ok());
        let (Some(errors), Some(residuals)) = (read(0), read(1)) else {
            return Err(Status::internal("the model gave no error and residual"));
        };
        if errors.len() != packets.len() || residuals.len() != values.len() {
            return Err(Status::internal("the model gave an error or residual of another size"));
        }
        let rows = packets.iter().zip(errors.iter().zip(residuals.chunks_exact(width)));
        let analysed = self.lease.with(|known| {
            (known.asked, known.sequence) = (asked, sequence);
            rows.map(|(packet, (error, residual))| known.analyse(packet, *error, residual)).collect()
        });
        analysed.ok_or_else(gone)
    }

    /// The last answer; the stream is then over and not kept.
    fn summary(&self, silent: bool) -> Answer {
        let known = self.lease.end().ok_or_else(gone)?;
        let mut warnings: Vec<_> = write::synthetic(&known.asked.reference).into_iter().collect();
        warnings.extend(known.sequence.warnings());
        if known.has_lost_answers {
            let text = "answers before a connection broke off were no longer kept when it was gone on with";
            warnings.push(write::warning("lost_answers", text, "start.resume.last_sequence"));
        }
        if silent {
            warnings.push(write::warning("idle", "the stream ended after 300 s of silence", "packet"));
        }
        let model = known.asked.reference.clone();
        let summary = known.tally.summary(encoder(&known.asked)?, &known.label, model, warnings);
        tell(Telling::Summary(summary))
    }
}

/// The packet of a message; `None` for one that was there before.
fn packet(
    asked: &Asked,
    request: wire::StreamAnalysisRequest,
    sequence: &mut Sequence,
) -> Result<Option<wire::StreamPacket>, Status> {
    let Some(Asking::Packet(packet)) = request.message else {
        return Err(read::invalid("packet", "is missing: only the first message is a start"));
    };
    if let Err(error) = encoder(asked)?.check_sweep(&packet.channels) {
        return Err(read::invalid(format!("packet {}", packet.sequence), error));
    }
    Ok(sequence.take(packet.sequence).then_some(packet))
}

/// Runs packets. When a version on trial fails them, the stream goes on with the live one.
async fn run(inner: &Inner, asked: Arc<Asked>, packets: Tensor) -> Result<(Arc<Asked>, Vec<Tensor>), Status> {
    let packets = [packets];
    let failure = match inner.run(&asked, &packets).await {
        Ok(outputs) => return Ok((asked, outputs)),
        Err(failure) => failure,
    };
    let Some(live) = asked.route.live() else { return Err(failure) };
    let live = inner.ask(live)?;
    let outputs = inner.run(&live, &packets).await?;
    asked.route.failed();
    Ok((Arc::new(live), outputs))
}

impl Known {
    /// Takes a packet in, and tells what it looks like.
    fn analyse(&mut self, packet: &wire::StreamPacket, error: f32, residual: &[f32]) -> Answer {
        let encoder = encoder(&self.asked)?;
        let (score, anomalous) = encoder.score(error);
        let due = self.explained.is_none_or(|at| self.tally.packets() >= at + EXPLAIN_EVERY);
        let explain = anomalous && due;
        let explanation =
            explain.then(|| write::explanation(encoder.explain_sweep(&packet.channels, residual)));
        if explain {
            self.explained = Some(self.tally.packets());
        }
        self.tally.add(score, anomalous, &packet.channels, residual);
        let analysis =
            wire::PacketAnalysis { sequence: packet.sequence, score: score as f32, anomalous, explanation };
        self.answered(&analysis);
        tell(Telling::Analysis(analysis))
    }
}

fn tell(message: Telling) -> Answer {
    Ok(wire::StreamAnalysisResponse { message: Some(message) })
}
