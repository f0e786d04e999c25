//! What the regressors share: squared error of standardised targets, wherever a target is known.

use anyhow::Result;
use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

use super::matrix::Matrix;
use super::recipe::Prepared;
use super::trainee::Trainee;
use crate::evaluate::bootstrap::pick;
use crate::optimise::Objective;

/// Mean squared error of every member on its own.
pub(crate) struct SquaredError<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) trainee: &'a Trainee,
    /// On the scale of raw answers, see [`Trainee::scale_outputs`].
    pub(crate) targets: &'a Matrix,
    /// 1 where a target is known.
    pub(crate) known: &'a Matrix,
}

impl SquaredError<'_> {
    fn of(&self, rows: &[usize]) -> Result<Tensor> {
        let raw = self.trainee.raw(&self.prepared.pick(rows))?;
        let members = raw.dim(0)? as f64;
        let known = self.known.pick(rows).to_candle()?;
        let count = (known.sum_all()? * members)?;
        let error = raw.broadcast_sub(&self.targets.pick(rows).to_candle()?)?;
        Ok(error.sqr()?.broadcast_mul(&known)?.sum_all()?.div(&count)?)
    }
}

impl Objective for SquaredError<'_> {
    fn rows(&self) -> usize {
        self.prepared.parts.train.len()
    }

    fn loss(&self, rows: &[usize], _rng: &mut ChaCha8Rng) -> Result<Tensor> {
        self.of(&pick(&self.prepared.parts.train, rows))
    }

    fn validate(&self) -> Result<f64> {
        Ok(f64::from(self.of(&self.prepared.parts.validation)?.to_scalar::<f32>()?))
    }
}
