//! One log relative risk, as a proportional-hazards model gives it.

use candle_core::Result;
use candle_nn::VarBuilder;

use super::super::kernel;
use super::{Dense, Standardise};
use crate::bundle::network::RiskConfig;

/// A standardised dense network with one output.
#[derive(Debug)]
pub struct Risk {
    pub(super) standardise: Standardise,
    pub(super) body: Dense,
}

impl Risk {
    pub(super) fn new(config: &RiskConfig, vars: &VarBuilder<'_>) -> Result<Self> {
        let standardise = Standardise::new(config.inputs, config.masked, &vars.pp("standardise"))?;
        let body = Dense::new(standardise.width(), 1, &config.body, vars)?;
        Ok(Self { standardise, body })
    }

    /// Standardised rows to `rows × 1` log risks.
    pub(super) fn run(&self, prepared: &[f32]) -> Result<Vec<f32>> {
        Ok(kernel::mean(self.body.run(prepared)?, self.body.members()))
    }
}
