//! ListModels and GetModelInfo: what serves, from which bundle, and how well it did when it was measured.

use models::{
    Bundle, DType, TensorSpec,
    bundle::{Family, config::MetricConfig},
};
use proto::manpasik::v1 as wire;
use tonic::Status;

use super::{Inner, read::invalid};
use crate::{InferError, ModelState, ModelStatus, Route, server::guard};

impl Inner {
    pub(super) fn list(&self, request: &wire::ListModelsRequest) -> Result<wire::ListModelsResponse, Status> {
        let wire::ListModelsRequest { family } = request;
        if !family.is_empty() && !Family::ALL.iter().any(|known| known.name() == family) {
            let known: Vec<_> = Family::ALL.iter().map(|family| family.name()).collect();
            return Err(invalid("family", format!("is none of {}", known.join(", "))));
        }
        let wanted = |status: &ModelStatus| {
            guard::lists(&status.name) && (family.is_empty() || status.family == *family)
        };
        let models = self.handle.models().into_iter().filter(wanted).map(|status| self.info(status).0);
        Ok(wire::ListModelsResponse { models: models.collect() })
    }

    pub(super) fn model_info(
        &self,
        request: &wire::GetModelInfoRequest,
    ) -> Result<wire::GetModelInfoResponse, Status> {
        let wire::GetModelInfoRequest { name, version } = request;
        if name.is_empty() {
            return Err(invalid("name", "is empty: ListModels names the models"));
        }
        guard::check(name)?;
        let asked = |status: &ModelStatus| {
            status.name == *name && if version.is_empty() { status.live } else { status.version == *version }
        };
        let known = self.handle.models();
        // A model none of whose versions serves is still described when no version is named.
        let named = |status: &&ModelStatus| status.name == *name && version.is_empty();
        let status = known.iter().find(|status| asked(status)).or_else(|| known.iter().find(named));
        let status = status.cloned().ok_or_else(|| InferError::UnknownModel { name: name.clone() })?;
        let (model, card) = self.info(status);
        Ok(wire::GetModelInfoResponse { model: Some(model), card })
    }

    /// The model and its card; of one that does not serve, what is known without its bundle.
    fn info(&self, status: ModelStatus) -> (wire::ModelInfo, String) {
        let served = self.handle.model(&status.name, Some(&status.version)).ok();
        let bundle = served.as_ref().and_then(|served| served.bundle());
        let card = bundle.map_or_else(String::new, |bundle| bundle.card().to_owned());
        let calibration_id = served.clone().and_then(|served| self.ask(Route::to(served)).ok());
        let ModelStatus { name, version, family, task: _, platform, live: _, state } = status;
        let (state, reason) = match state {
            ModelState::Ready => ("READY", String::new()),
            ModelState::Unavailable { reason } => ("UNAVAILABLE", reason),
        };
        let known = wire::ModelInfo {
            name,
            version,
            family,
            engine: platform,
            state: state.into(),
            reason,
            calibration_id: calibration_id.map_or_else(String::new, |asked| asked.reference.calibration_id),
            ..Default::default()
        };
        (bundle.map_or_else(|| known.clone(), |bundle| described(known.clone(), bundle)), card)
    }
}

/// What the bundle adds.
fn described(info: wire::ModelInfo, bundle: &Bundle) -> wire::ModelInfo {
    let config = bundle.config();
    let size: u64 = bundle.manifest().files().values().map(|file| file.size).sum();
    wire::ModelInfo {
        intended_use: config.intended_use.clone(),
        trained_on_synthetic_data: config.synthetic,
        inputs: bundle.signature().inputs.iter().map(tensor).collect(),
        outputs: bundle.signature().outputs.iter().map(tensor).collect(),
        metrics: config.metrics.iter().map(metric).collect(),
        size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
        digest: bundle.digest().to_owned(),
        ..info
    }
}

fn tensor(spec: &TensorSpec) -> wire::TensorInfo {
    let TensorSpec { name, dtype, dims, unit, loinc: _ } = spec;
    wire::TensorInfo {
        name: name.clone(),
        datatype: DType::oip(*dtype).into(),
        shape: dims.clone(),
        unit: unit.clone().unwrap_or_default(),
    }
}

fn metric(metric: &MetricConfig) -> wire::Metric {
    let MetricConfig { name, value, low: _, high: _, split, subgroup } = metric;
    let name = subgroup.as_ref().map_or_else(|| name.clone(), |group| format!("{name} ({group})"));
    wire::Metric { name, value: *value, split: split.clone() }
}
