//! What quantile forecasters are trained for.

use anyhow::Result;
use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

use super::matrix::Matrix;
use super::recipe::Prepared;
use super::trainee::Trainee;
use crate::evaluate::bootstrap::pick;
use crate::optimise::{Objective, device};

/// Levels of the quantiles.
pub(crate) const LEVELS: [f64; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];
/// Places of the median and of the two quantiles that the served interval starts from.
pub(crate) const MEDIAN: usize = 2;
pub(crate) const LOW: usize = 1;
pub(crate) const HIGH: usize = 3;
/// Share of what comes that the served interval is to hold.
pub(crate) const COVERAGE: f64 = 0.8;

/// Pinball loss of every quantile and squared error of the median, in units of `scale`.
pub(crate) struct Pinball<'a> {
    /// The first input is the history, whose last column is the last value.
    pub(crate) prepared: &'a Prepared,
    pub(crate) trainee: &'a Trainee,
    pub(crate) future: &'a Matrix,
    /// Typical size of a move, unit of the series.
    pub(crate) scale: f32,
    pub(crate) train: Vec<usize>,
    pub(crate) validation: Vec<usize>,
}

impl Pinball<'_> {
    fn of(&self, rows: &[usize]) -> Result<Tensor> {
        let inputs = self.prepared.pick(rows);
        let last = Tensor::from_vec(
            (0..rows.len()).map(|row| inputs[0].row(row)[inputs[0].cols - 1]).collect(),
            (rows.len(), 1),
            device(),
        )?;
        let moves = (self.future.pick(rows).to_candle()?.broadcast_sub(&last)? / f64::from(self.scale))?;
        let quantiles = self.trainee.raw(&inputs)?;
        let error = moves.unsqueeze(2)?.unsqueeze(0)?.broadcast_sub(&quantiles)?;
        let levels = LEVELS.map(|level| level as f32);
        let levels = Tensor::from_slice(&levels, (1, 1, 1, LEVELS.len()), device())?;
        let above = error.broadcast_mul(&levels)?;
        let below = error.broadcast_mul(&(levels - 1.0)?)?;
        let pinball = above.maximum(&below)?.mean_all()?;
        let square = error.narrow(3, MEDIAN, 1)?.sqr()?.mean_all()?;
        Ok((pinball + (square * 0.5)?)?)
    }
}

impl Objective for Pinball<'_> {
    fn rows(&self) -> usize {
        self.train.len()
    }

    fn loss(&self, rows: &[usize], _rng: &mut ChaCha8Rng) -> Result<Tensor> {
        self.of(&pick(&self.train, rows))
    }

    fn validate(&self) -> Result<f64> {
        Ok(f64::from(self.of(&self.validation)?.to_scalar::<f32>()?))
    }
}
