//! Class probabilities: the mean over members of the softmax of their logits.

use candle_core::Result;
use candle_nn::VarBuilder;

use super::super::kernel;
use super::{Dense, Standardise};
use crate::bundle::network::ClassifierConfig;

/// A standardised dense classifier.
#[derive(Debug)]
pub struct Classifier {
    pub(super) standardise: Standardise,
    pub(super) body: Dense,
    classes: usize,
}

impl Classifier {
    pub(super) fn new(config: &ClassifierConfig, vars: &VarBuilder<'_>) -> Result<Self> {
        let standardise = Standardise::new(config.inputs, config.masked, &vars.pp("standardise"))?;
        let body = Dense::new(standardise.width(), config.outputs, &config.body, vars)?;
        Ok(Self { standardise, body, classes: config.outputs })
    }

    /// Standardised rows to `rows × classes` probabilities.
    pub(super) fn run(&self, prepared: &[f32]) -> Result<Vec<f32>> {
        let mut logits = self.body.run(prepared)?;
        kernel::softmax(&mut logits, self.classes);
        Ok(kernel::mean(logits, self.body.members()))
    }
}
