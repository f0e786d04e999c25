//! Values in physical units: raw answers scaled, shifted, passed through the link and averaged.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use super::super::kernel;
use super::{Dense, Standardise, slice};
use crate::bundle::network::{Link, RegressorConfig};

/// A standardised dense regressor.
#[derive(Debug)]
pub struct Regressor {
    pub(super) standardise: Standardise,
    pub(super) body: Dense,
    center: Tensor,
    scale: Tensor,
    link: Link,
    outputs: usize,
}

impl Regressor {
    pub(super) fn new(config: &RegressorConfig, vars: &VarBuilder<'_>) -> Result<Self> {
        let standardise = Standardise::new(config.inputs, config.masked, &vars.pp("standardise"))?;
        let body = Dense::new(standardise.width(), config.outputs, &config.body, vars)?;
        let output = vars.pp("output");
        let get = |name, value| output.get_with_hints(config.outputs, name, Init::Const(value));
        let (center, scale) = (get("center", 0.0)?, get("scale", 1.0)?);
        Ok(Self { standardise, body, center, scale, link: config.link, outputs: config.outputs })
    }

    /// Standardised rows to `rows × outputs` values.
    pub(super) fn run(&self, prepared: &[f32]) -> Result<Vec<f32>> {
        let mut values = self.body.run(prepared)?;
        slice::of(&self.center, |center| {
            slice::of(&self.scale, |scale| {
                for row in values.chunks_exact_mut(self.outputs) {
                    for ((value, center), scale) in row.iter_mut().zip(center).zip(scale) {
                        *value = apply(self.link, value.mul_add(*scale, *center));
                    }
                }
            })
        })??;
        Ok(kernel::mean(values, self.body.members()))
    }

    /// Values of raw answers `[members, rows, outputs]`, with gradients.
    pub fn values(&self, raw: &Tensor) -> Result<Tensor> {
        let linear = raw.broadcast_mul(&self.scale.detach())?.broadcast_add(&self.center.detach())?;
        match self.link {
            Link::Linear => Ok(linear),
            Link::Exp => linear.clamp(-EXPONENT_MAX, EXPONENT_MAX)?.exp(),
            Link::Softplus => softplus(&linear),
        }
    }
}

/// Beyond it `exp` would leave single precision.
const EXPONENT_MAX: f32 = 80.0;

fn apply(link: Link, value: f32) -> f32 {
    match link {
        Link::Linear => value,
        Link::Exp => value.clamp(-EXPONENT_MAX, EXPONENT_MAX).exp(),
        Link::Softplus => kernel::softplus(value),
    }
}

/// `ln(1 + eˣ)` without overflow, with gradients.
pub(super) fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}
