//! One stream of packets: in from the reader, through the rules, to the analysis, and out in the same order.
//!
//! A single task owns everything. It reads a packet only while fewer than `stream_window_max` wait for their
//! analysis, and waits for the reader to take its answers, so a slow party slows the others and nothing piles up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proto::manpasik::v1::{StreamMeasurementRequest, StreamMeasurementResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::analyst::{Analysed, Analyst};
use super::calls::Core;
use super::rules::{self, GateNote};
use super::running::{Accepted, Taken};
use super::session::Shared;
use super::{convert, rules::Packet};
use crate::kernel::ServiceError;

/// Answers to the reader.
pub(super) type Answers = ReceiverStream<Result<StreamMeasurementResponse, Status>>;

/// Starts the task of one stream.
pub(super) fn open(core: Arc<Core>, requests: Streaming<StreamMeasurementRequest>) -> Answers {
    let (out, answers) = mpsc::channel(core.limits.stream_window_max.max(1));
    tokio::spawn(async move {
        let mut stream = Stream { core, out, attached: None, waiting: VecDeque::new() };
        let end = stream.run(requests).await;
        stream.save().await;
        if let Err(error) = end {
            // A reader that is gone does not hear it.
            let _ = stream.send(Err(error.into())).await;
        }
    });
    ReceiverStream::new(answers)
}

/// An answer on its way; it may leave once it is analysed or known not to be.
struct Waiting {
    answer: StreamMeasurementResponse,
    in_analysis: bool,
}

/// The session a stream feeds.
struct Attached {
    id: Uuid,
    session: Shared,
    ended: CancellationToken,
    analyst: Analyst,
}

struct Stream {
    core: Arc<Core>,
    out: mpsc::Sender<Result<StreamMeasurementResponse, Status>>,
    attached: Option<Attached>,
    waiting: VecDeque<Waiting>,
}

/// What happened next.
enum Event {
    Request(Option<StreamMeasurementRequest>),
    Broken(Status),
    Analysis(Result<Analysed, String>),
    Late,
    Ended,
    Gone,
}

impl Stream {
    async fn run(&mut self, mut requests: Streaming<StreamMeasurementRequest>) -> Result<(), ServiceError> {
        let mut open = true;
        while open || !self.waiting.is_empty() {
            match self.event(&mut requests, open).await {
                Event::Gone => return Ok(()),
                Event::Late => return Err(ServiceError::invalid("session_id", "did not come in time")),
                Event::Ended => return self.flush_ended().await,
                Event::Request(None) => open = false,
                Event::Broken(status) => {
                    self.drain().await;
                    return Err(ServiceError::invalid("packet", status.message()));
                }
                Event::Request(Some(request)) => {
                    if let Err(error) = self.request(request).await {
                        self.drain().await;
                        return Err(error);
                    }
                }
                Event::Analysis(analysis) => self.settle(analysis),
            }
            if !self.send_ready().await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for whatever comes first.
    async fn event(&mut self, requests: &mut Streaming<StreamMeasurementRequest>, open: bool) -> Event {
        let room = open && self.waiting.len() < self.core.limits.stream_window_max.max(1);
        let Some(Attached { ended, analyst, .. }) = &mut self.attached else {
            let late = Duration::from_millis(self.core.limits.stream_attach_ms_max);
            return tokio::select! {
                () = tokio::time::sleep(late) => Event::Late,
                () = self.out.closed() => Event::Gone,
                () = self.core.stopped.cancelled() => Event::Ended,
                request = requests.message() => received(request),
            };
        };
        tokio::select! {
            biased;
            () = ended.cancelled() => Event::Ended,
            () = self.core.stopped.cancelled() => Event::Ended,
            () = self.out.closed() => Event::Gone,
            analysis = analyst.next(), if analyst.expects() => Event::Analysis(analysis),
            request = requests.message(), if room => received(request),
        }
    }

    async fn request(&mut self, request: StreamMeasurementRequest) -> Result<(), ServiceError> {
        let StreamMeasurementRequest { session_id, packet } = request;
        self.attach(&session_id).await?;
        let Some(attached) = &mut self.attached else { return Ok(()) };
        let Some(packet) = packet else {
            let answer = convert::stream_status(&*attached.session.lock().await);
            self.waiting.push_back(Waiting { answer, in_analysis: false });
            return Ok(());
        };
        let packet = convert::packet(packet);
        let (taken, stored) = take(&self.core, attached, &packet).await?;
        let waiting = match taken {
            Taken::Repeated { progress_percent } => {
                let answer = convert::stream_repeated(packet.sequence, progress_percent, stored);
                Waiting { answer, in_analysis: false }
            }
            Taken::Accepted(Accepted { corrected, progress_percent, notes }) => {
                let mut answer = convert::stream_accepted(packet.sequence, progress_percent, notes, stored);
                let sent = attached.analyst.send(packet.sequence, corrected).await;
                if let Err(reason) = &sent {
                    answer.failed_gates.push(GateNote::not_analysed(reason).into());
                }
                Waiting { answer, in_analysis: sent.is_ok() }
            }
        };
        self.waiting.push_back(waiting);
        // An inner stream that broke while sending takes the packets before with it.
        if self.attached.as_ref().is_some_and(|attached| !attached.analyst.expects()) {
            self.lose("the analysis stream broke");
        }
        Ok(())
    }

    /// Binds the stream to the session its first message names.
    async fn attach(&mut self, session_id: &str) -> Result<(), ServiceError> {
        if let Some(attached) = &self.attached {
            let same = session_id.is_empty() || Uuid::try_parse(session_id).ok() == Some(attached.id);
            let reason = "differs from the session of the first message";
            return if same { Ok(()) } else { Err(ServiceError::invalid("session_id", reason)) };
        }
        let id = rules::session_id("session_id", session_id)?;
        let session = self.core.session(id).await?;
        let mut live = session.lock().await;
        let ended = live.attach(self.core.clock.now_ms())?;
        let code = live.session.new.cartridge.code.to_string();
        drop(live);
        let analyst = Analyst::new(self.core.ai.clone(), code, id.to_string(), &self.core.limits);
        self.attached = Some(Attached { id, session, ended, analyst });
        Ok(())
    }

    /// Adds an analysis to the oldest answer that waits for one.
    fn settle(&mut self, analysis: Result<Analysed, String>) {
        match analysis {
            Err(reason) => self.lose(&reason),
            Ok(analysed) => {
                if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.in_analysis) {
                    waiting.in_analysis = false;
                    convert::add_analysis(&mut waiting.answer, analysed);
                }
            }
        }
    }

    /// Tells every answer that waits that its analysis will not come.
    fn lose(&mut self, reason: &str) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.in_analysis) {
            waiting.in_analysis = false;
            waiting.answer.failed_gates.push(GateNote::not_analysed(reason).into());
        }
    }

    /// Sends the answers that may leave; `false` when the reader is gone.
    async fn send_ready(&mut self) -> bool {
        while self.waiting.front().is_some_and(|waiting| !waiting.in_analysis) {
            let Some(Waiting { answer, .. }) = self.waiting.pop_front() else { break };
            if !self.send(Ok(answer)).await {
                return false;
            }
        }
        true
    }

    /// Waits for the reader as long as for one that is silent.
    async fn send(&self, answer: Result<StreamMeasurementResponse, Status>) -> bool {
        let idle = Duration::from_millis(self.core.limits.session_idle_ms_max.unsigned_abs());
        self.out.send_timeout(answer, idle).await.is_ok()
    }

    /// Waits for the analyses under way, each within its deadline.
    async fn drain(&mut self) {
        while let Some(attached) = self.attached.as_mut().filter(|attached| attached.analyst.expects()) {
            let analysis = attached.analyst.next().await;
            self.settle(analysis);
        }
        self.lose("the stream has ended");
        self.send_ready().await;
    }

    /// Ends a stream whose session ended, was taken over, or whose server stops.
    async fn flush_ended(&mut self) -> Result<(), ServiceError> {
        self.drain().await;
        let Some(attached) = &self.attached else { return Ok(()) };
        if self.core.stopped.is_cancelled() {
            let reason = "the server stops: connect again and go on".to_owned();
            return Err(ServiceError::Unavailable { reason, source: None });
        }
        attached.session.lock().await.check_active()?;
        let reason = "another stream took the session over".to_owned();
        Err(ServiceError::Conflict { reason })
    }

    async fn save(&mut self) {
        if let Some(attached) = &self.attached {
            self.core.save(&mut *attached.session.lock().await).await;
        }
    }
}

/// A message too large or malformed breaks the stream, and so does a connection that is gone.
fn received(request: Result<Option<StreamMeasurementRequest>, Status>) -> Event {
    request.map_or_else(Event::Broken, Event::Request)
}

/// Gives a packet to its session, and writes the session when it is time. Answers the highest sequence on disk too.
async fn take(
    core: &Core,
    attached: &Attached,
    packet: &Packet,
) -> Result<(Taken, Option<u64>), ServiceError> {
    let mut live = attached.session.lock().await;
    live.check_active()?;
    live.seen_ms = core.clock.now_ms();
    let taken = live.running.take(packet, &core.limits)?;
    if matches!(taken, Taken::Accepted(_)) {
        live.unsaved += 1;
        if live.unsaved >= core.limits.checkpoint_packets_max {
            core.save(&mut live).await;
        }
    }
    Ok((taken, live.stored))
}
