//! StreamSeries: the points of any regular series, scored against its own ordinary start as they come.
//!
//! No model of the registry takes part: what is ordinary comes with the stream, and so do the thresholds
//! ([`models::family::discord`]). As with packets the answers are pulled, so that a slow reader slows its own writer.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt, stream};
use models::family::discord::{Discord, Scored};
use proto::manpasik::v1::{
    self as wire, stream_series_request::Message as Asking, stream_series_response::Message as Telling,
};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::{family::refused, read, write};

/// Values of one message: each costs as many multiplications as the start has values.
const VALUES_MAX: usize = 256;
/// Stretches of a window that are explained apart.
const PARTS: usize = 6;
/// Silence after which a stream ends by itself.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// Name and version of the rule, which changes when its scores do.
const RULE: (&str, &str) = ("series-anomaly", "MPS-SERIES-v1.0.0-FP64");

type Answer = Result<wire::StreamSeriesResponse, Status>;

/// Answers of one stream.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Answer> + Send>>;

/// The answers to `requests`; `place` is held until the stream ends.
pub(super) fn answers<R>(place: OwnedSemaphorePermit, requests: R) -> Answers
where
    R: Stream<Item = Result<wire::StreamSeriesRequest, Status>> + Send + Unpin + 'static,
{
    let step = async |state| match state {
        State::Opening(requests, place) => Some(open(requests, place).await),
        State::Running(running) => Some(running.step().await),
        State::Ended => None,
    };
    stream::unfold(State::Opening(requests, place), step).boxed()
}

enum State<R> {
    Opening(R, OwnedSemaphorePermit),
    Running(Box<Running<R>>),
    Ended,
}

/// A series that is watched.
struct Running<R> {
    requests: R,
    _place: OwnedSemaphorePermit,
    discord: Discord,
    /// Number of the point that was explained last.
    explained: Option<u64>,
    summary: wire::SeriesSummary,
}

async fn open<R>(mut requests: R, place: OwnedSemaphorePermit) -> (Answer, State<R>)
where
    R: Stream<Item = Result<wire::StreamSeriesRequest, Status>> + Unpin,
{
    match begin(&mut requests).await {
        Ok((discord, label)) => {
            let thresholds = discord.thresholds();
            let started = wire::SeriesStarted {
                model: Some(model()),
                window: discord.window() as u32,
                arrival_threshold: thresholds.arrival,
                settled_threshold: thresholds.settled,
                false_alarm_rate: discord.false_alarm_rate(),
            };
            let summary = wire::SeriesSummary { label, model: Some(model()), ..Default::default() };
            let running = Running { requests, _place: place, discord, explained: None, summary };
            (tell(Telling::Started(started)), State::Running(Box::new(running)))
        }
        Err(status) => (Err(status), State::Ended),
    }
}

/// Learns from the start message. That may take a tenth of a second and so happens on a thread of its own.
async fn begin<R>(requests: &mut R) -> Result<(Discord, String), Status>
where
    R: Stream<Item = Result<wire::StreamSeriesRequest, Status>> + Unpin,
{
    let message = match tokio::time::timeout(IDLE_MAX, requests.next()).await {
        Ok(Some(request)) => request?.message,
        Ok(None) => None,
        Err(_) => return Err(Status::deadline_exceeded("no start message came")),
    };
    let Some(Asking::Start(start)) = message else {
        return Err(read::invalid("start", "must be the first message of the stream"));
    };
    let wire::SeriesStart { ordinary, window, label } = start;
    if label.chars().count() > read::TEXT_CHARS_MAX {
        return Err(read::invalid("start.label", "has more than 256 characters"));
    }
    let learn = move || match window {
        0 => Discord::new(&ordinary),
        window => Discord::with_window(&ordinary, window as usize),
    };
    let learnt = tokio::task::spawn_blocking(learn).await;
    let discord = learnt.map_err(|_| Status::internal("the start could not be learnt from"))?;
    Ok((discord.map_err(refused)?, label))
}

impl<R: Stream<Item = Result<wire::StreamSeriesRequest, Status>> + Unpin> Running<R> {
    async fn step(mut self: Box<Self>) -> (Answer, State<R>) {
        let request = match tokio::time::timeout(IDLE_MAX, self.requests.next()).await {
            Ok(Some(Ok(request))) => request,
            Ok(Some(Err(status))) => return (Err(status), State::Ended),
            Ok(None) => return (tell(Telling::Summary(self.summary)), State::Ended),
            Err(_) => {
                let idle = write::warning("idle", "the stream ended after 300 s of silence", "values");
                self.summary.warnings.push(idle);
                return (tell(Telling::Summary(self.summary)), State::Ended);
            }
        };
        match self.score(request) {
            Ok(scores) => (tell(Telling::Scores(scores)), State::Running(self)),
            Err(status) => (Err(status), State::Ended),
        }
    }

    /// Scores the values of a message; one that is no number ends the stream before any of them counts.
    fn score(&mut self, request: wire::StreamSeriesRequest) -> Result<wire::SeriesScores, Status> {
        let Some(Asking::Values(wire::SeriesValues { values })) = request.message else {
            return Err(read::invalid("values", "is missing: only the first message is a start"));
        };
        if values.len() > VALUES_MAX {
            return Err(read::invalid(
                "values",
                format!("has {} values, at most {VALUES_MAX}", values.len()),
            ));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(read::invalid(format!("values[{at}]"), "is not a finite number"));
        }
        let mut scores = wire::SeriesScores::default();
        for value in values {
            let step = self.discord.push(value).map_err(refused)?;
            let explanation = self.explain(step.arrival);
            scores.arrivals.push(wire::PointScore { explanation, ..told(step.arrival) });
            scores.settled.extend(step.settled.map(told));
        }
        self.count(&scores);
        Ok(scores)
    }

    fn explain(&mut self, point: Scored) -> Option<wire::Explanation> {
        let window = self.discord.window() as u64;
        let due = self.explained.is_none_or(|at| point.index >= at + window);
        (point.anomalous && due).then(|| {
            self.explained = Some(point.index);
            write::explanation(self.discord.explain(PARTS))
        })
    }

    fn count(&mut self, scores: &wire::SeriesScores) {
        let summary = &mut self.summary;
        summary.points += scores.arrivals.len() as u64;
        summary.settled_points += scores.settled.len() as u64;
        for point in &scores.settled {
            summary.anomalous_points += u64::from(point.anomalous);
            if summary.highest.as_ref().is_none_or(|highest| point.score > highest.score) {
                summary.highest = Some(point.clone());
            }
        }
    }
}

fn told(Scored { index, distance, anomalous }: Scored) -> wire::PointScore {
    wire::PointScore { index, score: distance, anomalous, explanation: None }
}

fn model() -> wire::ModelReference {
    let (name, version) = RULE;
    wire::ModelReference { name: name.into(), version: version.into(), ..Default::default() }
}

fn tell(message: Telling) -> Answer {
    Ok(wire::StreamSeriesResponse { message: Some(message) })
}
