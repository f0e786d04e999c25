//! The trace of answers: each unary answer gets an identifier, and what was answered by which version goes into a
//! bounded queue from which somebody writes it down. No request waits for that; without room the answer has no
//! identifier and is counted (`manpasik_predictions_dropped_total`).

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::Counter;
use models::calibration::Cohort;
use prost::Message;
use proto::manpasik::v1 as wire;
use tokio::sync::mpsc;
use tonic::Response;
use uuid::Uuid;

use super::named;
use crate::server::guard::caller;

const DROPPED: &str = "manpasik_predictions_dropped_total";

/// A message that is encoded by whoever writes it down, not by whoever answers.
pub type Later = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// One answered request.
pub struct Traced {
    /// Identifier that the answer carries.
    pub id: String,
    /// Method that was called.
    pub rpc: &'static str,
    /// Who asked; empty while nobody has to say.
    pub tenant: String,
    /// Sex and age band, where the request tells.
    pub cohort: Option<Cohort>,
    /// ms since the Unix epoch.
    pub at_ms: i64,
    /// What each model answered.
    pub parts: Vec<Part>,
    /// The request.
    pub request: Later,
    /// The answer, where payloads are kept.
    pub answer: Option<Later>,
    /// What follows the request in its payload, so that it can be answered again.
    pub beside: Option<Later>,
}

/// What one model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Model and version.
    pub model: wire::ModelReference,
    /// Class, or value as text.
    pub output: String,
    /// Ends of the interval of a value.
    pub interval: Option<(f64, f64)>,
    /// Probability of the class.
    pub probability: Option<f64>,
    /// Classes of the prediction set.
    pub classes: Vec<String>,
}

/// Where answers are left.
pub struct Trace {
    queue: mpsc::Sender<Traced>,
    payloads: bool,
    dropped: Counter,
}

impl Trace {
    /// Leaves answers in `queue`, whole ones if `payloads`.
    #[must_use]
    pub fn new(queue: mpsc::Sender<Traced>, payloads: bool) -> Self {
        metrics::describe_counter!(DROPPED, "Answers of which no prediction was written");
        Self { queue, payloads, dropped: metrics::counter!(DROPPED) }
    }

    /// A place for the answer to `request`, while there is one.
    pub(super) fn place<Q: Asks>(&self, rpc: &'static str, request: &Q) -> Option<Place<'_, Q>> {
        let Ok(permit) = self.queue.try_reserve() else {
            self.dropped.increment(1);
            return None;
        };
        Some(Place { permit, rpc, request: request.clone(), payloads: self.payloads })
    }
}

/// A place in the queue, taken before the answer is known.
pub(super) struct Place<'a, Q> {
    permit: mpsc::Permit<'a, Traced>,
    rpc: &'static str,
    request: Q,
    payloads: bool,
}

/// Hands `answer` out, with its identifier where it is traced; `measurement` is the stored one that it is about.
pub(super) fn told<Q: Asks, A: Answers>(
    place: Option<Place<'_, Q>>,
    mut answer: A,
    measurement: Option<wire::Measurement>,
) -> Response<A> {
    if let Some(Place { permit, rpc, request, payloads }) = place {
        let id = Uuid::now_v7().to_string();
        let whole = payloads.then(|| {
            let whole = answer.clone();
            Box::new(move || whole.encode_to_vec()) as Later
        });
        permit.send(Traced {
            id: id.clone(),
            rpc,
            tenant: caller().map(|caller| caller.name.clone()).unwrap_or_default(),
            cohort: request.subject().and_then(cohort),
            at_ms: now_ms(),
            parts: answer.parts(),
            request: Box::new(move || request.encode_to_vec()),
            answer: whole,
            beside: measurement
                .filter(|_| payloads)
                .map(|measurement| Box::new(move || named::beside(measurement)) as Later),
        });
        answer.set_id(id);
    }
    Response::new(answer)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn cohort(subject: &wire::Subject) -> Option<Cohort> {
    let male = match subject.sex() {
        wire::Sex::Male => Some(true),
        wire::Sex::Female => Some(false),
        wire::Sex::Unspecified => None,
    };
    Cohort::of(subject.age_years, male)
}

/// A request that is traced.
pub(super) trait Asks: Message + Clone + 'static {
    /// Whom it is about, where it says so.
    fn subject(&self) -> Option<&wire::Subject>;
    /// Whether it names a stored measurement.
    fn names_measurement(&self) -> bool;
}

/// An answer that is traced.
pub(super) trait Answers: Message + Clone + 'static {
    /// What each model said.
    fn parts(&self) -> Vec<Part>;
    /// Where its identifier stands.
    fn set_id(&mut self, id: String);
}

impl Asks for wire::AnalyzeMeasurementRequest {
    fn subject(&self) -> Option<&wire::Subject> {
        use wire::analyze_measurement_request::Source;
        match &self.source {
            Some(Source::Panel(panel)) => panel.subject.as_ref(),
            Some(Source::Channels(_) | Source::MeasurementId(_)) | None => self.subject.as_ref(),
        }
    }

    fn names_measurement(&self) -> bool {
        use wire::analyze_measurement_request::Source;
        matches!(self.source, Some(Source::MeasurementId(_)))
    }
}

impl Asks for wire::GetHealthScoreRequest {
    fn subject(&self) -> Option<&wire::Subject> {
        use wire::get_health_score_request::Source;
        match &self.source {
            Some(Source::Panel(panel)) => panel.subject.as_ref(),
            Some(Source::MeasurementId(_)) | None => None,
        }
    }

    fn names_measurement(&self) -> bool {
        use wire::get_health_score_request::Source;
        matches!(self.source, Some(Source::MeasurementId(_)))
    }
}

impl Asks for wire::PredictTrendRequest {
    fn subject(&self) -> Option<&wire::Subject> {
        self.subject.as_ref()
    }

    fn names_measurement(&self) -> bool {
        use wire::predict_trend_request::Source;
        matches!(self.source, Some(Source::MeasurementId(_)))
    }
}

impl Asks for wire::EstimateFoodCaloriesRequest {
    fn subject(&self) -> Option<&wire::Subject> {
        None
    }

    fn names_measurement(&self) -> bool {
        false
    }
}

impl Answers for wire::AnalyzeMeasurementResponse {
    fn parts(&self) -> Vec<Part> {
        // What a rule said of a given value is no prediction: only predicted values have an interval.
        let values = self.biomarkers.iter().filter(|result| result.interval.is_some());
        let values = values.filter_map(|result| value(&result.model, &result.quantity, &result.interval));
        let classes = self.classifications.iter().filter_map(|class| {
            let classes = class.prediction_set.clone();
            let (output, probability) = (class.label.clone(), Some(class.probability));
            Some(Part { model: class.model.clone()?, output, interval: None, probability, classes })
        });
        let anomalies = self.anomalies.iter().filter_map(|found| {
            let output = if found.anomalous { "anomalous" } else { "ordinary" }.to_owned();
            Some(Part {
                model: found.model.clone()?,
                output,
                interval: None,
                probability: None,
                classes: Vec::new(),
            })
        });
        let trends = self.trends.iter().flat_map(Answers::parts);
        let score = self.health_score.iter().flat_map(Answers::parts);
        values.chain(classes).chain(anomalies).chain(trends).chain(score).collect()
    }

    fn set_id(&mut self, id: String) {
        self.prediction_id = id;
    }
}

impl Answers for wire::GetHealthScoreResponse {
    fn parts(&self) -> Vec<Part> {
        value(&self.model, &self.score, &self.interval).into_iter().collect()
    }

    fn set_id(&mut self, id: String) {
        self.prediction_id = id;
    }
}

impl Answers for wire::PredictTrendResponse {
    /// The furthest point; a simple method is no model.
    fn parts(&self) -> Vec<Part> {
        let last = self.forecast.last();
        last.and_then(|point| value(&self.model, &point.quantity, &point.interval)).into_iter().collect()
    }

    fn set_id(&mut self, id: String) {
        self.prediction_id = id;
    }
}

impl Answers for wire::EstimateFoodCaloriesResponse {
    fn parts(&self) -> Vec<Part> {
        let output = self.item.as_ref().map_or_else(|| "unsure".to_owned(), |item| item.name.clone());
        let part = |model| Part { model, output, interval: None, probability: None, classes: Vec::new() };
        self.model.clone().map(part).into_iter().collect()
    }

    fn set_id(&mut self, id: String) {
        self.prediction_id = id;
    }
}

fn value(
    model: &Option<wire::ModelReference>,
    quantity: &Option<wire::Quantity>,
    interval: &Option<wire::Interval>,
) -> Option<Part> {
    let output = quantity.as_ref()?.value.to_string();
    let interval = interval.as_ref().map(|interval| (interval.low, interval.high));
    Some(Part { model: model.clone()?, output, interval, probability: None, classes: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(value: f64) -> wire::GetHealthScoreResponse {
        wire::GetHealthScoreResponse {
            score: Some(wire::Quantity { value, ..Default::default() }),
            interval: Some(wire::Interval { low: 70.0, high: 90.0, coverage: 0.9 }),
            model: Some(wire::ModelReference { name: "health-score".into(), ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn an_answer_with_a_place_has_an_identifier_and_one_without_is_answered_all_the_same() {
        let (queue, mut waiting) = mpsc::channel(1);
        let trace = Trace::new(queue, true);
        let request = wire::GetHealthScoreRequest::default();
        let place = trace.place("GetHealthScore", &request);
        let none = trace.place("GetHealthScore", &request);
        assert!(place.is_some() && none.is_none(), "there is one place");
        let answer = told(place, score(81.5), None).into_inner();
        assert_eq!(told(none, score(81.5), None).into_inner().prediction_id, "");

        let Traced { id, parts, answer: kept, tenant, .. } = waiting.try_recv().expect("left");
        assert_eq!((answer.prediction_id.as_str(), tenant.as_str()), (id.as_str(), ""));
        assert_eq!((parts[0].output.as_str(), parts[0].interval), ("81.5", Some((70.0, 90.0))));
        let kept = kept.expect("payloads are kept")();
        assert_eq!(kept, score(81.5).encode_to_vec(), "without the identifier");
    }

    #[test]
    fn a_place_that_is_given_up_is_free_again() {
        let (queue, _waiting) = mpsc::channel(1);
        let trace = Trace::new(queue, false);
        let request = wire::PredictTrendRequest::default();
        drop(trace.place("PredictTrend", &request));
        assert!(trace.place("PredictTrend", &request).is_some());
    }

    #[test]
    fn only_what_models_predicted_is_a_part() {
        let value = |interval| wire::BiomarkerResult {
            quantity: Some(wire::Quantity { value: 4.0, ..Default::default() }),
            interval,
            model: Some(wire::ModelReference::default()),
            ..Default::default()
        };
        let biomarkers =
            vec![value(None), value(Some(wire::Interval { low: 3.0, high: 5.0, coverage: 0.9 }))];
        let answer = wire::AnalyzeMeasurementResponse { biomarkers, ..Default::default() };
        assert_eq!(answer.parts().len(), 1, "a given value is judged, not predicted");
    }
}
