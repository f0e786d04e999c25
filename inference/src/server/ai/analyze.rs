//! AnalyzeMeasurement: every applicable model on one panel or sweep, at once.

use clinical::{Biomarker, Panel, Person};
use futures::future::join_all;
use models::{
    bundle::Family,
    family::{anomaly, biomarker, trend::Series},
};
use proto::manpasik::v1::{self as wire, AnalysisKind as Kind, analyze_measurement_request::Source};
use tonic::{Code, Status};

use super::{
    DISCLAIMER, Inner, asking,
    family::{Asked, Reader, refused},
    judge, read,
    sensor::{Values, beyond},
    write,
};

/// A request whose measurement, if it named one, has been fetched.
pub(super) struct Subject {
    pub(super) person: Person,
    pub(super) panel: Option<Panel>,
    pub(super) sweep: Option<read::Sweep>,
    pub(super) measurement_id: String,
}

/// One answer of a family: parts of the response, or why there are none.
type Part<T> = Result<(T, Vec<wire::Warning>), Status>;

impl Inner {
    pub(super) async fn analyze(
        &self,
        request: wire::AnalyzeMeasurementRequest,
    ) -> Result<wire::AnalyzeMeasurementResponse, Status> {
        let wire::AnalyzeMeasurementRequest { source, subject, history, analyses } = request;
        let kinds = read::analyses(&analyses)?;
        let everything = analyses.is_empty();
        read::few("history", history.len())?;
        let series = |(index, series)| read::series(&format!("history[{index}]"), series);
        let history = history.into_iter().enumerate().map(series).collect::<Result<Vec<_>, _>>()?;
        let subject = self.subject(source, read::person("subject", subject)?).await?;
        if let Some(sweep) = &subject.sweep {
            asking::of_cartridge(&sweep.cartridge.code);
        }
        let (mut answer, mut refusals) = self.measured(&subject).await;
        if let Some(passing) = refusals.iter().find(|status| passing(status)) {
            // Half an answer now would be taken for the whole: without the value, ask again.
            return Err(passing.clone());
        }
        let panel = match subject.panel {
            Some(panel) => Some(panel),
            None => panel_of(&answer, subject.person),
        };
        let asked = |kind| kinds.contains(&kind);
        let (classes, anomalies, trends, score) = tokio::join!(
            self.classify(panel.as_ref().filter(|_| asked(Kind::Biomarker))),
            self.anomalies(asked(Kind::Anomaly), panel.as_ref(), subject.sweep.as_ref()),
            self.trends(asked(Kind::Trend), &history, &subject.person),
            self.score(panel.as_ref().filter(|_| asked(Kind::HealthScore))),
        );
        let mut keep = Keep { warnings: &mut answer.warnings, refusals: &mut refusals };
        answer.classifications = keep.each("biomarker", classes);
        answer.anomalies = keep.each("anomaly", anomalies);
        answer.trends = keep.each("trend", trends);
        answer.health_score = keep.each("health_score", score).into_iter().next();
        answer.measurement_id = subject.measurement_id;
        answer.disclaimer = DISCLAIMER.into();
        finish(answer, refusals, everything)
    }

    /// Reads the source; a measurement's own subject goes before the request's.
    pub(super) async fn subject(&self, source: Option<Source>, person: Person) -> Result<Subject, Status> {
        let nothing = Subject { person, panel: None, sweep: None, measurement_id: String::new() };
        match source {
            Some(Source::Panel(panel)) => {
                let panel = read::panel(panel)?;
                Ok(Subject { person: *panel.person(), panel: Some(panel), ..nothing })
            }
            Some(Source::Channels(channels)) => {
                Ok(Subject { sweep: Some(read::channels(channels)?), ..nothing })
            }
            Some(Source::MeasurementId(id)) => {
                let stored = self.measurement(&id).await?;
                let stored_person = read::person("measurement.subject", stored.subject)?;
                let age_years = stored_person.age_years().or(person.age_years());
                let person = Person::new(age_years, stored_person.sex().or(person.sex()))
                    .map_err(|error| read::invalid("subject.age_years", error.to_string()))?;
                let channels = stored.channels.ok_or_else(|| {
                    Status::failed_precondition("measurement_id: the measurement has no channels yet")
                })?;
                let sweep = Some(read::channels(channels)?);
                Ok(Subject { person, sweep, measurement_id: id, panel: None })
            }
            None => Err(read::invalid("source", "is missing: send a panel, channels or a measurement_id")),
        }
    }

    /// The values of the answer: those given, or those a sweep predicts.
    async fn measured(&self, subject: &Subject) -> (wire::AnalyzeMeasurementResponse, Vec<Status>) {
        let mut answer = wire::AnalyzeMeasurementResponse::default();
        if let Some(panel) = &subject.panel {
            let judged = panel.values().iter().map(|(b, value)| judge::given(*b, *value, panel.person()));
            answer.biomarkers = judged.collect();
        }
        let Some(sweep) = &subject.sweep else { return (answer, Vec::new()) };
        match self.values(sweep).await {
            Ok(Values { predicted, model }) => {
                if predicted.is_empty() {
                    let text = format!("no model predicts a value of cartridge {}", sweep.cartridge.code);
                    answer.warnings.push(write::warning("no_value", text, "channels.cartridge_code"));
                } else {
                    answer.warnings.extend(write::synthetic(&model));
                }
                answer.warnings.extend(beyond(&model, &predicted));
                let judged = |value| judge::predicted(value, &subject.person, &model);
                answer.biomarkers = predicted.into_iter().map(judged).collect();
                (answer, Vec::new())
            }
            Err(status) => {
                answer.warnings.push(not_analysed("sensor", &status));
                (answer, vec![status])
            }
        }
    }

    async fn classify(&self, panel: Option<&Panel>) -> Vec<Part<wire::PanelClassification>> {
        let Some(panel) = panel else { return Vec::new() };
        let asked = self.asked(Family::Biomarker);
        if asked.is_empty() {
            return vec![Err(self.unavailable(Family::Biomarker))];
        }
        join_all(asked.iter().map(|asked| self.classify_one(asked, panel))).await
    }

    async fn classify_one(&self, asked: &Asked, panel: &Panel) -> Part<wire::PanelClassification> {
        let Reader::Biomarker(encoder) = &*asked.reader else { return Err(mismatched(asked)) };
        let encoded = encoder.encode(panel).map_err(refused)?;
        let outputs = self.run(asked, &encoded.tensors).await?;
        let answer = encoder.decode(&encoded, &outputs).map_err(refused)?;
        let name = asked.served.name();
        let missing = write::missing(name, &answer.missing);
        let warnings = missing.into_iter().chain(write::beyond(name, &answer.beyond, "panel"));
        let told = classification(asked, panel, answer);
        Ok((told, warnings.chain(write::synthetic(&asked.reference)).collect()))
    }

    async fn anomalies(
        &self,
        asked: bool,
        panel: Option<&Panel>,
        sweep: Option<&read::Sweep>,
    ) -> Vec<Part<wire::AnomalyResult>> {
        if !asked {
            return Vec::new();
        }
        let models = self.asked(Family::Anomaly);
        // A sweep is checked as a sweep; its predicted values are not a panel that was measured.
        let fits = |asked: &&Asked| match &*asked.reader {
            Reader::Anomaly(encoder) => encoder.channels().is_some() == sweep.is_some(),
            Reader::Biomarker(_) | Reader::Trend(_) | Reader::HealthScore(_) => false,
            Reader::Food(_) | Reader::Value(_) | Reader::Text(_) | Reader::Unasked => false,
        };
        let fitting: Vec<&Asked> = models.iter().filter(fits).collect();
        if fitting.is_empty() {
            return vec![Err(self.unavailable(Family::Anomaly))];
        }
        join_all(fitting.into_iter().map(|asked| self.anomaly_one(asked, panel, sweep))).await
    }

    async fn anomaly_one(
        &self,
        asked: &Asked,
        panel: Option<&Panel>,
        sweep: Option<&read::Sweep>,
    ) -> Part<wire::AnomalyResult> {
        let Reader::Anomaly(encoder) = &*asked.reader else { return Err(mismatched(asked)) };
        let encoded = match (panel, sweep) {
            (_, Some(sweep)) => encoder.encode_sweep(&sweep.values),
            (Some(panel), None) => encoder.encode_panel(panel),
            (None, None) => return Err(Status::failed_precondition("there is no value to check")),
        };
        let encoded = encoded.map_err(refused)?;
        let outputs = self.run(asked, &encoded.tensors).await?;
        let answer = encoder.decode(&encoded, &outputs).map_err(refused)?;
        let safety = match (sweep, panel) {
            (None, Some(panel)) => judge::with_anomaly(judge::of_panel(panel), answer.anomalous),
            (Some(_), _) | (None, None) => judge::of_sweep(answer.anomalous),
        };
        let mut warnings: Vec<_> = write::synthetic(&asked.reference).into_iter().collect();
        if let (Some(panel), None) = (panel, sweep) {
            warnings.extend(write::missing(asked.served.name(), &absent(asked, panel)));
        }
        Ok((anomaly(asked, answer, safety), warnings))
    }

    async fn trends(
        &self,
        asked: bool,
        history: &[Series],
        person: &Person,
    ) -> Vec<Part<wire::PredictTrendResponse>> {
        if !asked {
            return Vec::new();
        }
        if history.is_empty() {
            return vec![Err(Status::failed_precondition("history: is empty, a trend needs earlier values"))];
        }
        let one = async |series: &Series| Ok((self.forecast(series, 0, person).await?, Vec::new()));
        join_all(history.iter().map(one)).await
    }

    async fn score(&self, panel: Option<&Panel>) -> Vec<Part<wire::GetHealthScoreResponse>> {
        match panel {
            Some(panel) => vec![self.scored(panel).await.map(|score| (score, Vec::new()))],
            None => Vec::new(),
        }
    }
}

/// The predicted values as a panel, for the models that take panels.
fn panel_of(answer: &wire::AnalyzeMeasurementResponse, person: Person) -> Option<Panel> {
    let add = |builder: clinical::panel::PanelBuilder, quantity: &wire::Quantity| {
        let biomarker = Biomarker::from_code(&quantity.name)?;
        builder.value(biomarker, quantity.value, biomarker.unit()).ok()
    };
    let mut quantities = answer.biomarkers.iter().filter_map(|result| result.quantity.as_ref());
    quantities.try_fold(Panel::builder(person), add)?.build().ok()
}

fn classification(asked: &Asked, panel: &Panel, answer: biomarker::Answer) -> wire::PanelClassification {
    let task = asked.served.task().to_owned();
    let (label, probability) = (answer.label().to_owned(), answer.probability());
    let share = |(label, probability)| wire::ClassProbability { label, probability };
    let safety = judge::of_label(&task, &label, probability, panel);
    wire::PanelClassification {
        safety: Some(judge::beyond(safety, &answer.beyond)),
        task,
        label,
        probability,
        prediction_set_coverage: answer.interval.coverage,
        interval: Some(write::interval(answer.interval)),
        probabilities: answer.probabilities.into_iter().map(share).collect(),
        prediction_set: answer.prediction_set,
        model: Some(asked.reference.clone()),
        explanation: Some(write::explanation(answer.explanation)),
    }
}

fn anomaly(asked: &Asked, answer: anomaly::Answer, safety: wire::SafetyVerdict) -> wire::AnomalyResult {
    let flag = |flag: anomaly::Flag| {
        let anomaly::Flag { feature, loinc, value, unit, low, high, description } = flag;
        wire::AnomalyFlag { feature, loinc, value, unit, expected_low: low, expected_high: high, description }
    };
    let anomaly::Answer { score, interval, threshold, false_alarm_rate: _, anomalous, flags, explanation } =
        answer;
    wire::AnomalyResult {
        task: asked.served.task().into(),
        score,
        interval: Some(write::interval(interval)),
        threshold,
        anomalous,
        flags: flags.into_iter().map(flag).collect(),
        safety: Some(safety),
        model: Some(asked.reference.clone()),
        explanation: Some(write::explanation(explanation)),
    }
}

/// Biomarkers that the model was measured with and the panel does not hold.
fn absent(asked: &Asked, panel: &Panel) -> Vec<String> {
    let bundle = asked.served.bundle();
    let features = bundle.iter().flat_map(|bundle| &bundle.config().features);
    let missing = features.filter(|feature| {
        Biomarker::from_code(&feature.name).is_some_and(|biomarker| panel.value(biomarker).is_none())
    });
    missing.map(|feature| feature.name.clone()).collect()
}

/// A model whose bundle was swapped for one of another family between two looks.
pub(super) fn mismatched(asked: &Asked) -> Status {
    Status::unavailable(format!("model `{}` is being replaced; ask again", asked.served.name()))
}

fn not_analysed(what: &str, status: &Status) -> wire::Warning {
    write::warning("not_analysed", format!("{what}: {}", status.message()), "analyses")
}

/// Sorts the parts of an answer from the reasons why others are absent.
struct Keep<'a> {
    warnings: &'a mut Vec<wire::Warning>,
    refusals: &'a mut Vec<Status>,
}

impl Keep<'_> {
    fn each<T>(&mut self, what: &str, parts: Vec<Part<T>>) -> Vec<T> {
        let keep = |part: Part<T>| match part {
            Ok((value, warnings)) => {
                self.warnings.extend(warnings);
                Some(value)
            }
            Err(status) => {
                self.warnings.push(not_analysed(what, &status));
                self.refusals.push(status);
                None
            }
        };
        parts.into_iter().filter_map(keep).collect()
    }
}

/// Whether the same question may be answered in a moment.
fn passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Internal | Code::ResourceExhausted | Code::DeadlineExceeded => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// An answer with anything in it stands; without, the first refusal is the answer. Overload is always an error, so
/// that the caller comes back instead of taking half an answer for the whole.
fn finish(
    mut answer: wire::AnalyzeMeasurementResponse,
    refusals: Vec<Status>,
    everything: bool,
) -> Result<wire::AnalyzeMeasurementResponse, Status> {
    let by_model = answer.biomarkers.iter().any(|result| result.interval.is_some());
    // The rules' word on a value stands alone, unless a model was asked for by name.
    let any = by_model
        || (everything && !answer.biomarkers.is_empty())
        || !answer.classifications.is_empty()
        || !answer.anomalies.is_empty()
        || !answer.trends.is_empty()
        || answer.health_score.is_some();
    let busy = |status: &Status| matches!(status.code(), Code::ResourceExhausted | Code::DeadlineExceeded);
    let decisive = refusals.iter().position(busy).or_else(|| (!any && !refusals.is_empty()).then_some(0));
    if let Some(index) = decisive {
        return Err(refusals.into_iter().nth(index).unwrap_or_else(|| Status::internal("no answer")));
    }
    for inner in answer.health_score.iter_mut().map(|score| &mut score.warnings) {
        answer.warnings.append(inner);
    }
    for inner in answer.trends.iter_mut().map(|trend| &mut trend.warnings) {
        answer.warnings.append(inner);
    }
    answer.warnings.sort_by(|a, b| (&a.code, &a.message).cmp(&(&b.code, &b.message)));
    answer.warnings.dedup();
    Ok(answer)
}
