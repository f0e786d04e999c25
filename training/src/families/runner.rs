//! Runs a bundle through its engine in batches: what is measured is what is served.

use anyhow::{Context as _, Result};
use models::bundle::{BundleConfig, Golden};
use models::engine::CandleEngine;
use models::{Batch, Bundle, Model, Signature, Tensor};

use super::matrix::Matrix;

/// A loaded model.
pub(crate) struct Runner {
    model: Box<dyn Model>,
    rows_max: usize,
}

impl Runner {
    /// A model that is not in a bundle yet.
    pub(crate) fn of(config: &BundleConfig, weights: &[u8]) -> Result<Self> {
        let model = CandleEngine::new().open(config, weights)?;
        Ok(Self { model, rows_max: config.batching.rows_max })
    }

    /// Loads `bundle`, golden outputs checked.
    pub(crate) fn load(bundle: &Bundle) -> Result<Self> {
        let config = bundle.config();
        let model =
            bundle.load(&CandleEngine::new()).with_context(|| format!("cannot load `{}`", config.name))?;
        Ok(Self { model, rows_max: config.batching.rows_max })
    }

    /// Outputs in signature order for inputs in signature order.
    pub(crate) fn run(&mut self, inputs: &[Matrix]) -> Result<Vec<Matrix>> {
        let rows = inputs.first().map_or(0, Matrix::rows);
        let mut outputs: Vec<Matrix> = Vec::new();
        for start in (0..rows).step_by(self.rows_max) {
            let range: Vec<usize> = (start..(start + self.rows_max).min(rows)).collect();
            let tensors = inputs.iter().map(|m| m.pick(&range).to_tensor()).collect::<Result<Vec<_>>>()?;
            let batch = self.model.run(Batch { tensors })?;
            outputs.resize(batch.tensors.len(), Matrix::default());
            for (all, tensor) in outputs.iter_mut().zip(&batch.tensors) {
                all.append(&Matrix::from_tensor(tensor)?);
            }
        }
        Ok(outputs)
    }

    /// The outputs to remember for `inputs`.
    pub(crate) fn record(&mut self, signature: &Signature, inputs: Vec<Tensor>) -> Result<Golden> {
        Ok(Golden::record(&mut *self.model, signature, inputs)?)
    }

    /// The first output only.
    pub(crate) fn first(&mut self, inputs: &[Matrix]) -> Result<Matrix> {
        self.run(inputs)?.into_iter().next().context("the model gave no output")
    }
}
