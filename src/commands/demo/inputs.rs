//! Real inputs of the demonstration, each the JSON body of the request it becomes
//! (`assets/demo/README.md` names source and licence), and one simulated session.

use anyhow::Context;
use proto::manpasik::v1::{
    AnalyzeMeasurementRequest, EstimateFoodCaloriesRequest, PredictTrendRequest,
    predict_trend_request::Source,
};
use serde::de::DeserializeOwned;

/// A photo of an espresso.
const ESPRESSO: &[u8] = include_bytes!("../../../assets/espresso.jpg");

/// Thyroid panel of one patient.
pub(super) fn thyroid() -> anyhow::Result<AnalyzeMeasurementRequest> {
    parse("thyroid", include_str!("../../../assets/demo/thyroid.json"))
}

/// Examination of one adult.
pub(super) fn adult() -> anyhow::Result<AnalyzeMeasurementRequest> {
    parse("nhanes-adult", include_str!("../../../assets/demo/nhanes-adult.json"))
}

/// Six hours of continuous glucose readings, and when the last was taken.
pub(super) fn glucose() -> anyhow::Result<(PredictTrendRequest, i64)> {
    let request: PredictTrendRequest =
        parse("cgm-six-hours", include_str!("../../../assets/demo/cgm-six-hours.json"))?;
    let last = match &request.source {
        Some(Source::Series(series)) => series.points.last().map(|point| point.time_unix_ms),
        Some(Source::MeasurementId(_)) | None => None,
    };
    Ok((request, last.context("the glucose series has no point")?))
}

/// The photo, portion unknown, with the question which parts of it mattered.
pub(super) fn espresso() -> EstimateFoodCaloriesRequest {
    EstimateFoodCaloriesRequest { image: ESPRESSO.into(), explain: true, ..Default::default() }
}

fn parse<T: DeserializeOwned>(name: &str, text: &str) -> anyhow::Result<T> {
    serde_json::from_str(text).with_context(|| format!("the demonstration input `{name}` is not a request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_a_request() {
        assert!(thyroid().expect("thyroid").source.is_some());
        assert!(adult().expect("adult").source.is_some());
        assert!(glucose().expect("glucose").1 > 0);
        assert!(espresso().image.starts_with(&[0xff, 0xd8]));
    }
}
