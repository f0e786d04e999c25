//! Training, and answers for everyone by a network that never saw them.

use anyhow::{Context as _, Result};

use super::super::matrix::Matrix;
use super::super::pinball::{LEVELS, Pinball};
use super::super::recipe::{Context, Prepared, Recipe};
use super::super::trainee::Trainee;
use super::windows::turns;
use super::{CENTER_MG_DL, GlucoseTrend, SCALE_MG_DL};
use crate::evaluate::bootstrap::pick;
use crate::optimise::{self, Outcome, Plan};

/// Most passes over the windows.
const EPOCHS: usize = 16;

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
    let objective = Pinball { prepared, trainee, future, scale: SCALE_MG_DL, train, validation };
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
