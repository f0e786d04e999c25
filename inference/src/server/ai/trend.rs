//! PredictTrend: where a series goes.

use clinical::{Biomarker, Person};
use models::{
    bundle::Family,
    family::trend::{Answer, Direction, Point, Question, Sample, Series, Way, without_model},
};
use proto::manpasik::v1::{self as wire, predict_trend_request::Source};
use tonic::Status;

use super::{
    DISCLAIMER, Inner,
    family::{Asked, Reader, refused},
    judge, read, write,
};

impl Inner {
    pub(super) async fn trend(
        &self,
        request: wire::PredictTrendRequest,
    ) -> Result<wire::PredictTrendResponse, Status> {
        let wire::PredictTrendRequest { source, horizon_seconds, subject } = request;
        let person = read::person("subject", subject)?;
        let (series, person) = match source {
            Some(Source::Series(series)) => (read::series("series", series)?, person),
            Some(Source::MeasurementId(id)) => stored(self.measurement(&id).await?)?,
            None => return Err(read::invalid("source", "is missing: send a series or a measurement_id")),
        };
        self.forecast(&series, horizon_seconds, &person).await
    }

    /// Forecast of a checked series.
    pub(super) async fn forecast(
        &self,
        series: &Series,
        horizon_seconds: i64,
        person: &Person,
    ) -> Result<wire::PredictTrendResponse, Status> {
        let models = self.asked(Family::Trend);
        let fitting = models.iter().find_map(|asked| match &*asked.reader {
            Reader::Trend(encoder) if encoder.biomarker() == series.biomarker() => Some((asked, encoder)),
            Reader::Trend(_) | Reader::Biomarker(_) | Reader::Anomaly(_) | Reader::HealthScore(_) => None,
            Reader::Food(_) | Reader::Value(_) | Reader::Text(_) | Reader::Unasked => None,
        });
        let Some((asked, encoder)) = fitting else {
            if models.is_empty() {
                return Err(self.unavailable(Family::Trend));
            }
            let answer = without_model(series, horizon_seconds).map_err(refused)?;
            return Ok(told(None, series.biomarker(), answer, person));
        };
        let answer = match encoder.encode(series, horizon_seconds, person).map_err(refused)? {
            Question::Simple(answer) => answer,
            Question::Run(encoded) => {
                let outputs = self.run(asked, &encoded.tensors).await?;
                encoder.decode(&encoded, &outputs).map_err(refused)?
            }
        };
        Ok(told(Some(asked), series.biomarker(), answer, person))
    }
}

/// The only series that a stored measurement is: its own value. Earlier ones are the caller's to send.
fn stored(measurement: wire::Measurement) -> Result<(Series, Person), Status> {
    let person = read::person("measurement.subject", measurement.subject)?;
    let quantity =
        measurement.biomarkers.into_iter().find_map(|result| result.quantity).ok_or_else(|| {
            Status::failed_precondition("measurement_id: the measurement has no value to continue")
        })?;
    let biomarker = read::biomarker("measurement.biomarkers", &quantity.name)?;
    let sample = Sample { time_unix_ms: measurement.ended_unix_ms, value: quantity.value };
    let series = Series::new(biomarker, biomarker.unit(), vec![sample]).map_err(refused)?;
    Ok((series, person))
}

fn told(
    asked: Option<&Asked>,
    biomarker: Biomarker,
    answer: Answer,
    person: &Person,
) -> wire::PredictTrendResponse {
    let Answer { points, direction, way, explanation, beyond } = answer;
    let judge = |point: &Point| judge::of_interval(biomarker, point.value, point.interval, person).0;
    let worst = points.iter().map(judge).max_by_key(|judged| judged.verdict);
    let safety = worst.map(|judged| write::safety(&judged, Some(biomarker)));
    let name = asked.map_or("", |asked| asked.served.name());
    let simple = match way {
        _ if !beyond.is_empty() => write::beyond(name, &beyond, "series.points"),
        Way::Model => None,
        Way::Linear | Way::Persistence => Some(write::warning(
            "short_history",
            "the history is too short or has a gap, so a simple method answered with its own, wider interval",
            "series.points",
        )),
        Way::Mean => Some(write::warning(
            "no_model",
            "no model forecasts this, so the mean of the last values answered with Student's interval",
            "series.code",
        )),
    };
    let point = |Point { time_unix_ms, value, interval }| wire::ForecastPoint {
        time_unix_ms,
        quantity: Some(write::quantity(biomarker, value)),
        interval: Some(write::interval(interval)),
    };
    wire::PredictTrendResponse {
        forecast: points.into_iter().map(point).collect(),
        direction: told_direction(direction).into(),
        method: method(way, name),
        safety: safety.map(|safety| judge::beyond(safety, &beyond)),
        model: asked.map(|asked| asked.reference.clone()),
        explanation: explanation.map(write::explanation),
        warnings: simple
            .into_iter()
            .chain(asked.and_then(|asked| write::synthetic(&asked.reference)))
            .collect(),
        disclaimer: DISCLAIMER.into(),
        prediction_id: String::new(),
    }
}

fn told_direction(direction: Direction) -> wire::TrendDirection {
    match direction {
        Direction::Up => wire::TrendDirection::Up,
        Direction::Down => wire::TrendDirection::Down,
        Direction::Stable => wire::TrendDirection::Stable,
    }
}

fn method(way: Way, model: &str) -> String {
    match way {
        Way::Model => model.into(),
        Way::Linear => "linear".into(),
        Way::Persistence => "persistence".into(),
        Way::Mean => "mean".into(),
    }
}
