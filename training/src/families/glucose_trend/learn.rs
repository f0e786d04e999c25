//! Training, and answers for everyone by a network that never saw them.

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::super::matrix::Matrix;
use super::super::recipe::{Context, Prepared, Recipe};
use super::super::trainee::Trainee;
use super::windows::turns;
use super::{CENTER_MG_DL, GlucoseTrend, LAGS, LEVELS, MEDIAN, SCALE_MG_DL};
use crate::evaluate::bootstrap::pick;
use crate::optimise::{self, Objective, Outcome, Plan};

/// Most passes over the windows.
const EPOCHS: usize = 16;

/// Pinball loss of every quantile and squared error of the median, in units of [`SCALE_MG_DL`].
struct Pinball<'a> {
    prepared: &'a Prepared,
    trainee: &'a Trainee,
    future: &'a Matrix,
    train: Vec<usize>,
    validation: Vec<usize>,
}

impl Pinball<'_> {
    fn of(&self, rows: &[usize]) -> Result<Tensor> {
        let inputs = self.prepared.pick(rows);
        let last = Tensor::from_vec(
            (0..rows.len()).map(|row| inputs[0].row(row)[LAGS - 1]).collect(),
            (rows.len(), 1),
            &Device::Cpu,
        )?;
        let moves = (self.future.pick(rows).to_candle()?.broadcast_sub(&last)? / f64::from(SCALE_MG_DL))?;
        let quantiles = self.trainee.raw(&inputs)?;
        let error = moves.unsqueeze(2)?.unsqueeze(0)?.broadcast_sub(&quantiles)?;
        let levels = LEVELS.map(|level| level as f32);
        let levels = Tensor::from_slice(&levels, (1, 1, 1, LEVELS.len()), &Device::Cpu)?;
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

/// Trains without the people `absent`.
pub(super) fn without(
    absent: &[u64],
    prepared: &Prepared,
    trainee: &Trainee,
    context: &Context,
) -> Result<Outcome> {
    let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
    let present = |rows: &[usize]| {
        rows.iter().copied().filter(|row| !absent.contains(&prepared.people[*row].group)).collect()
    };
    trainee.standardise_series(CENTER_MG_DL, SCALE_MG_DL)?;
    let plan = Plan {
        epochs_max: context.effort.choose(EPOCHS, 1),
        patience_epochs: 6,
        batch_rows: 256,
        learning_rate: 2e-3,
        weight_decay: 0.05,
        seed: context.seed,
        ..Plan::default()
    };
    let (train, validation) = (present(&prepared.parts.train), present(&prepared.parts.validation));
    let objective = Pinball { prepared, trainee, future, train, validation };
    optimise::fit(GlucoseTrend.spec().name, trainee.weights(), &objective, &plan, &context.progress)
}

/// Quantiles of the calibration rows, each by a network that was trained without that person.
pub(super) fn out_of_person(prepared: &Prepared, context: &Context) -> Result<Matrix> {
    let rows = &prepared.parts.calibration;
    let groups = prepared.groups(rows);
    let config = GlucoseTrend.network();
    let mut answers: Vec<Vec<f32>> = vec![Vec::new(); rows.len()];
    let turns = turns(&groups);
    for absent in &turns {
        let trainee = Trainee::new(&config)?;
        without(absent, prepared, &trainee, context)?;
        let places: Vec<usize> = (0..rows.len()).filter(|at| absent.contains(&groups[*at])).collect();
        let quantiles = trainee.first(&prepared.pick(&pick(rows, &places)))?;
        places.iter().enumerate().for_each(|(at, place)| answers[*place] = quantiles.row(at).to_vec());
    }
    let mut all = Matrix::new(super::HORIZONS * LEVELS.len());
    answers.iter().for_each(|answer| all.push(answer));
    Ok(all)
}
