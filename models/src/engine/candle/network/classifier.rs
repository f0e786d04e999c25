//! Class probabilities: the mean over members of the softmax of their logits, and the trees' beside it.

use candle_core::Result;
use candle_nn::VarBuilder;

use super::super::kernel;
use super::{Dense, Forest, Standardise};
use crate::bundle::network::ClassifierConfig;

/// A standardised dense classifier.
#[derive(Debug)]
pub struct Classifier {
    pub(super) standardise: Standardise,
    pub(super) body: Dense,
    pub(super) forest: Option<Forest>,
    classes: usize,
}

impl Classifier {
    pub(super) fn new(config: &ClassifierConfig, vars: &VarBuilder<'_>) -> Result<Self> {
        let standardise = Standardise::new(config.inputs, config.masked, &vars.pp("standardise"))?;
        let body = Dense::new(standardise.width(), config.outputs, &config.body, vars)?;
        let shape = (config.inputs, config.outputs, config.masked);
        let forest = |config| Forest::new(config, shape, &vars.pp("forest"));
        let forest = config.forest.as_ref().map(forest).transpose()?;
        Ok(Self { standardise, body, forest, classes: config.outputs })
    }

    /// Standardised rows to `rows × classes` probabilities.
    pub(super) fn run(&self, prepared: &[f32]) -> Result<Vec<f32>> {
        let mut logits = self.body.run(prepared)?;
        kernel::softmax(&mut logits, self.classes);
        let mut probabilities = kernel::mean(logits, self.body.members());
        if let Some(forest) = &self.forest {
            forest.mix(prepared, &mut probabilities)?;
        }
        Ok(probabilities)
    }
}
