//! Whether a bundle is what its family reads: the same reader that will turn its answers into words must take it.

use models::{
    Bundle, ModelError,
    bundle::Family,
    family::{anomaly, biomarker, encoder, food, health_score, sensor, trend},
};

use super::Gate;

/// The gate of that.
pub(super) fn gate(bundle: &Bundle) -> Gate {
    let family = bundle.config().family;
    match read(bundle) {
        Some(Ok(())) => Gate::passed("contract", format!("the family {} can read it", family.name())),
        Some(Err(error)) => {
            Gate::failed("contract", format!("the family {} cannot read it: {error}", family.name()))
        }
        None => Gate::skipped("contract", "a generic model has no contract but its own signature"),
    }
}

fn read(bundle: &Bundle) -> Option<Result<(), ModelError>> {
    Some(match bundle.config().family {
        Family::Biomarker => biomarker::Encoder::new(bundle).map(drop),
        Family::Anomaly => anomaly::Encoder::new(bundle).map(drop),
        Family::Trend => trend::Encoder::new(bundle).map(drop),
        Family::HealthScore => health_score::Encoder::new(bundle).map(drop),
        Family::Food => food::Encoder::new(bundle).map(drop),
        Family::Encoder => encoder::Encoder::new(bundle).map(drop),
        Family::Sensor => match bundle.config().task.as_str() {
            "sensor_value" => sensor::ValuePredictor::new(bundle).map(drop),
            "sensor_calibration" => sensor::Calibrator::new(bundle).map(drop),
            _ => sensor::Classifier::new(bundle).map(drop),
        },
        Family::Generic => return None,
    })
}
