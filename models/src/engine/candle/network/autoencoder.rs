//! How unlike what it was trained on a row is: the row minus its reconstruction.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::super::kernel;
use super::{Dense, Standardise};
use crate::bundle::network::AutoencoderConfig;

/// A standardised dense autoencoder.
#[derive(Debug)]
pub struct Autoencoder {
    pub(super) standardise: Standardise,
    pub(super) body: Dense,
    columns: usize,
}

impl Autoencoder {
    pub(super) fn new(config: &AutoencoderConfig, vars: &VarBuilder<'_>) -> Result<Self> {
        let standardise = Standardise::new(config.inputs, config.masked, &vars.pp("standardise"))?;
        let body = Dense::new(standardise.width(), config.inputs, &config.body, vars)?;
        Ok(Self { standardise, body, columns: config.inputs })
    }

    /// What the reconstruction is held against: the standardised columns of prepared rows,
    /// `[rows, columns]`, and their mask, when there is one.
    pub fn target(&self, prepared: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let values = prepared.narrow(1, 0, self.columns)?;
        let masked = self.body.inputs() > self.columns;
        let mask = masked.then(|| prepared.narrow(1, self.columns, self.columns)).transpose()?;
        Ok((values, mask))
    }

    /// Standardised rows to `rows × 1` errors and `rows × columns` residuals. Missing columns
    /// have residual 0 and no part in the error; a row without any value has error 0.
    pub(super) fn run(&self, prepared: &[f32]) -> Result<Vec<Vec<f32>>> {
        let mut residual = kernel::mean(self.body.run(prepared)?, self.body.members());
        let mut errors = Vec::with_capacity(residual.len() / self.columns);
        let rows = prepared.chunks_exact(self.body.inputs());
        for (row, residual) in rows.zip(residual.chunks_exact_mut(self.columns)) {
            let (values, mask) = row.split_at(self.columns);
            let (mut squares, mut count) = (0.0, 0.0f32);
            for (column, (residual, value)) in residual.iter_mut().zip(values).enumerate() {
                let there = mask.get(column).is_none_or(|mark| *mark != 0.0);
                *residual = if there { value - *residual } else { 0.0 };
                squares += *residual * *residual;
                count += f32::from(u8::from(there));
            }
            errors.push(squares / count.max(1.0));
        }
        Ok(vec![errors, residual])
    }
}
