//! GetHealthScore: the score of a panel.

use clinical::{Panel, Unit};
use models::{bundle::Family, family::health_score};
use proto::manpasik::v1::{
    self as wire, analyze_measurement_request::Source as Any, get_health_score_request::Source,
};
use tonic::Status;

use super::{
    DISCLAIMER, Inner,
    analyze::mismatched,
    family::{Asked, Reader, refused},
    judge, read,
    sensor::beyond,
    write,
};

impl Inner {
    pub(super) async fn health_score(
        &self,
        request: wire::GetHealthScoreRequest,
    ) -> Result<wire::GetHealthScoreResponse, Status> {
        let wire::GetHealthScoreRequest { source } = request;
        let source = source.map(|source| match source {
            Source::Panel(panel) => Any::Panel(panel),
            Source::MeasurementId(id) => Any::MeasurementId(id),
        });
        let subject = self.subject(source, clinical::Person::default()).await?;
        if let Some(panel) = subject.panel {
            return self.scored(&panel).await;
        }
        let Some(sweep) = subject.sweep else {
            return Err(read::invalid("source", "is missing: send a panel or a measurement_id"));
        };
        let values = self.values(&sweep).await?;
        let panel = values.panel(subject.person).ok_or_else(|| {
            Status::failed_precondition("measurement_id: no model predicts a value of this cartridge")
        })?;
        let mut answer = self.scored(&panel).await?;
        answer.warnings.extend(write::synthetic(&values.model));
        answer.warnings.extend(beyond(&values.model, &values.predicted));
        Ok(answer)
    }

    /// The score of a checked panel.
    pub(super) async fn scored(&self, panel: &Panel) -> Result<wire::GetHealthScoreResponse, Status> {
        let models = self.asked(Family::HealthScore);
        let asked = models.first().ok_or_else(|| self.unavailable(Family::HealthScore))?;
        let Reader::HealthScore(encoder) = &*asked.reader else { return Err(mismatched(asked)) };
        let encoded = encoder.encode(panel).map_err(refused)?;
        let outputs = self.run(asked, &encoded.tensors).await?;
        let answer = encoder.decode(&encoded, &outputs).map_err(refused)?;
        Ok(told(asked, panel, answer))
    }
}

fn told(asked: &Asked, panel: &Panel, answer: health_score::Answer) -> wire::GetHealthScoreResponse {
    let health_score::Answer {
        score,
        interval,
        areas,
        risk,
        risk_interval,
        event,
        horizon_years,
        reference_population,
        explanation,
        missing,
        beyond: far,
    } = answer;
    let name = asked.served.name();
    let told = write::missing(name, &missing).into_iter().chain(write::beyond(name, &far, "panel"));
    let safety = judge::of_panel(panel);
    let category = |(category, points)| wire::CategoryScore { category, points };
    wire::GetHealthScoreResponse {
        score: Some(wire::Quantity {
            unit: "{score}".into(),
            ..write::plain("health_score", score, Unit::One)
        }),
        interval: Some(write::interval(interval)),
        categories: areas.into_iter().map(category).collect(),
        risk: Some(write::plain(&format!("{event} within {horizon_years} years"), risk, Unit::One)),
        risk_interval: Some(write::interval(risk_interval)),
        reference_population,
        safety: Some(if far.is_empty() { safety } else { judge::beyond(safety, &far) }),
        model: Some(asked.reference.clone()),
        explanation: Some(write::explanation(explanation)),
        warnings: told.chain(write::synthetic(&asked.reference)).collect(),
        disclaimer: DISCLAIMER.into(),
        prediction_id: String::new(),
    }
}
