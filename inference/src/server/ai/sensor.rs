//! From a sweep to values: the predictor of the cartridge, and what its values say as a panel.

use clinical::{Panel, Person, panel::PanelBuilder};
use models::{bundle::Family, family::sensor::Predicted};
use proto::manpasik::v1 as wire;
use tonic::Status;

use super::{
    Inner,
    family::{Reader, refused},
    read::Sweep,
    write,
};

/// Predicted values and the model that gave them.
pub(super) struct Values {
    pub(super) predicted: Vec<Predicted>,
    pub(super) model: wire::ModelReference,
}

impl Inner {
    /// The values that the cartridge measures.
    pub(super) async fn values(&self, sweep: &Sweep) -> Result<Values, Status> {
        let asked = self.asked(Family::Sensor);
        let predictor = asked.iter().find_map(|asked| match &*asked.reader {
            Reader::Value(predictor) => Some((asked, predictor)),
            Reader::Biomarker(_)
            | Reader::Anomaly(_)
            | Reader::Trend(_)
            | Reader::HealthScore(_)
            | Reader::Food(_)
            | Reader::Text(_)
            | Reader::Unasked => None,
        });
        let (asked, predictor) = predictor.ok_or_else(|| self.unavailable(Family::Sensor))?;
        let encoded = predictor.encode(&sweep.values).map_err(refused)?;
        let outputs = self.run(asked, &encoded.tensors).await?;
        let wanted = sweep.cartridge.analytes;
        let predicted = predictor.decode(&encoded, &outputs, wanted).map_err(refused)?;
        Ok(Values { predicted, model: asked.reference.clone() })
    }
}

/// The warning that a sweep is unlike all that the predictor has seen.
pub(super) fn beyond(model: &wire::ModelReference, predicted: &[Predicted]) -> Option<wire::Warning> {
    write::beyond(&model.name, &predicted.first()?.beyond, "channels")
}

impl Values {
    /// The values as a panel of `person`; `None` when there is none.
    pub(super) fn panel(&self, person: Person) -> Option<Panel> {
        let add = |builder: PanelBuilder, value: &Predicted| {
            let unit = value.biomarker.unit();
            builder.value(value.biomarker, value.value, unit).ok()
        };
        self.predicted.iter().try_fold(Panel::builder(person), add)?.build().ok()
    }
}
