//! Which family reads the answers of a served model, kept per bundle so that calibration and tables are parsed once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use models::{
    Bundle, Calibration, ModelError, Tensor,
    bundle::Family as Kind,
    family::{anomaly, biomarker, encoder, food, health_score, sensor, trend},
};
use proto::manpasik::v1 as wire;
use tonic::Status;

use super::{Inner, asking};
use crate::{InferError, ModelState, Route, Served, server::guard};

/// Bundles remembered; more are only met when versions are swapped all the time.
const REMEMBERED_MAX: usize = 64;

/// The reader of one model.
#[allow(clippy::large_enum_variant, reason = "made once for each model and kept behind a pointer")]
pub(super) enum Reader {
    Biomarker(biomarker::Encoder),
    Anomaly(anomaly::Encoder),
    Trend(trend::Encoder),
    HealthScore(health_score::Encoder),
    Food(food::Encoder),
    Text(encoder::Encoder),
    Value(sensor::ValuePredictor),
    /// A model that no typed question reaches.
    Unasked,
}

/// A served model with its reader.
pub(super) struct Asked {
    pub(super) route: Route,
    pub(super) served: Arc<Served>,
    pub(super) reader: Arc<Reader>,
    pub(super) reference: wire::ModelReference,
}

/// Readers by the digest of their bundle.
#[derive(Default)]
pub(super) struct Families(Mutex<HashMap<String, (Arc<Reader>, wire::ModelReference)>>);

impl Families {
    fn of(&self, bundle: &Bundle) -> Result<(Arc<Reader>, wire::ModelReference), ModelError> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(bundle.digest()) {
            return Ok(found.clone());
        }
        let made = (Arc::new(reader(bundle)?), reference(bundle)?);
        let mut known = known();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(bundle.digest().to_owned(), made.clone());
        Ok(made)
    }
}

fn reader(bundle: &Bundle) -> Result<Reader, ModelError> {
    let config = bundle.config();
    Ok(match config.family {
        Kind::Biomarker => Reader::Biomarker(biomarker::Encoder::new(bundle)?),
        Kind::Anomaly => Reader::Anomaly(anomaly::Encoder::new(bundle)?),
        Kind::Trend => Reader::Trend(trend::Encoder::new(bundle)?),
        Kind::HealthScore => Reader::HealthScore(health_score::Encoder::new(bundle)?),
        Kind::Food => Reader::Food(food::Encoder::new(bundle)?),
        Kind::Encoder => Reader::Text(encoder::Encoder::new(bundle)?),
        Kind::Sensor if config.task == "sensor_value" => Reader::Value(sensor::ValuePredictor::new(bundle)?),
        Kind::Sensor | Kind::Generic => Reader::Unasked,
    })
}

fn reference(bundle: &Bundle) -> Result<wire::ModelReference, ModelError> {
    let config = bundle.config();
    Ok(wire::ModelReference {
        name: config.name.clone(),
        version: config.version.to_string(),
        calibration_id: Calibration::from_json(bundle.calibration_json().as_bytes())?.id().to_owned(),
        trained_on_synthetic_data: config.synthetic,
    })
}

impl Inner {
    /// The live models of a family that can answer.
    pub(super) fn asked(&self, family: Kind) -> Vec<Asked> {
        let live = |status: &crate::ModelStatus| status.live && status.family == family.name();
        let found = self.handle.models().into_iter().filter(live).filter_map(|status| {
            let route = asking::route(&self.handle, &status.name).ok()?;
            self.ask(route).ok()
        });
        found.collect()
    }

    /// A served model with its reader.
    pub(super) fn ask(&self, route: Route) -> Result<Asked, Status> {
        let served = Arc::clone(route.served());
        let bundle = served.bundle().ok_or_else(|| {
            Status::failed_precondition(format!(
                "model `{}` has no bundle to read answers with",
                served.name()
            ))
        })?;
        let (reader, reference) = self.families.of(bundle).map_err(InferError::from)?;
        Ok(Asked { route, served, reader, reference })
    }

    /// Why no model of `family` answers.
    pub(super) fn unavailable(&self, family: Kind) -> Status {
        let of_family = |status: &crate::ModelStatus| status.family == family.name();
        let refusal = |status: crate::ModelStatus| guard::check(&status.name).err();
        if let Some(error) = self.handle.models().into_iter().filter(of_family).find_map(refusal) {
            return error.into();
        }
        let reasons: Vec<String> = self
            .handle
            .models()
            .into_iter()
            .filter(of_family)
            .filter_map(|status| match status.state {
                ModelState::Unavailable { reason } => Some(format!("{}: {reason}", status.name)),
                ModelState::Ready => None,
            })
            .collect();
        if reasons.is_empty() {
            return Status::failed_precondition(format!(
                "no {} model is loaded; add its bundle to a bundle folder",
                family.name()
            ));
        }
        Status::unavailable(reasons.join("; "))
    }

    /// Runs one request on a model; row 0 is the case. What a version on trial fails is not asked of the live one here,
    /// because that reads its answers with tables of its own: [`asking`] asks the whole question again.
    pub(super) async fn run(&self, asked: &Asked, tensors: &[Tensor]) -> Result<Vec<Tensor>, Status> {
        let route = &asked.route;
        let answer = self.handle.infer_first(route, tensors.to_vec(), asking::terms(), 1).await;
        Ok(answer.inspect_err(|_| asking::failed(route))?.tensors)
    }
}

/// A family's refusal as a status.
pub(super) fn refused(error: ModelError) -> Status {
    InferError::from(error).into()
}
