//! One log relative risk, as a proportional-hazards model gives it.
//!
//! Where medicine knows the direction of an input, the answer never falls in it, whatever the weights: such a column is
//! cut in two at a value, `min(x, from)`, which is free, and `max(x - from, 0)`, which reaches the output only over the
//! rising paths of [`Dense::rising`]. A column may name the value that an absent one is taken for; its mark of presence
//! then never reaches the network.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use rand_chacha::ChaCha8Rng;

use super::super::kernel;
use super::{Dense, Standardise};
use crate::bundle::network::{RisingConfig, RiskConfig};

/// A standardised dense network with one output.
#[derive(Debug)]
pub struct Risk {
    pub(super) standardise: Standardise,
    pub(super) body: Dense,
    rising: Vec<RisingConfig>,
    columns: usize,
    settled: bool,
}

impl Risk {
    pub(super) fn new(config: &RiskConfig, vars: &VarBuilder<'_>) -> Result<Self> {
        let RiskConfig { inputs: columns, masked, rising, body } = config.clone();
        let standardise = Standardise::new(columns, masked, &vars.pp("standardise"))?;
        let body = Dense::new(standardise.width() + rising.len(), 1, &body, vars)?;
        Ok(Self { standardise, body, rising, columns, settled: false })
    }

    /// Brings the weights to the form that serves, once and for all: for weights that no longer move.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.body = self.body.rising(self.rising.len())?;
        self.settled = true;
        Ok(())
    }

    /// Rows of physical units to the standardised row, what is above the value of each rising column last.
    pub(super) fn prepare(&self, features: &[f32], present: Option<&[f32]>) -> Result<Vec<f32>> {
        let rows = self.standardise.run(features, present)?;
        if self.rising.is_empty() {
            return Ok(rows);
        }
        let level = |rising: &RisingConfig| {
            let standard = |value: f64| self.standardise.standard(rising.column, value as f32);
            Ok((rising.column, standard(rising.from)?, rising.absent.map(standard).transpose()?))
        };
        let levels = self.rising.iter().map(level).collect::<Result<Vec<_>>>()?;
        let width = self.standardise.width();
        let masked = width > self.columns;
        let mut prepared = Vec::with_capacity(rows.len() / width * (width + levels.len()));
        for row in rows.chunks_exact(width) {
            let start = prepared.len();
            prepared.extend_from_slice(row);
            for (column, level, absent) in &levels {
                let there = !masked || row[self.columns + column] != 0.0;
                let value = if there { Some(row[*column]) } else { *absent };
                let Some(value) = value else {
                    prepared.push(0.0);
                    continue;
                };
                prepared[start + column] = value.min(*level);
                if masked {
                    prepared[start + self.columns + column] = 1.0;
                }
                prepared.push((value - level).max(0.0));
            }
        }
        Ok(prepared)
    }

    /// Prepared rows to `rows × 1` log risks.
    pub(super) fn run(&self, prepared: &[f32]) -> Result<Vec<f32>> {
        if self.settled {
            return Ok(kernel::mean(self.body.run(prepared)?, self.body.members()));
        }
        let body = self.body.rising(self.rising.len())?;
        Ok(kernel::mean(body.run(prepared)?, body.members()))
    }

    /// The same with gradients, `[rows, inputs]` to `[members, rows, 1]`.
    pub(super) fn forward(&self, prepared: &Tensor, dropout: Option<&mut ChaCha8Rng>) -> Result<Tensor> {
        self.body.rising(self.rising.len())?.forward(prepared, dropout)
    }
}
