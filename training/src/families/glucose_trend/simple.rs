//! Simple methods on the same windows, fitted on the people that the network learns from.

use anyhow::{Context as _, Result};
use models::calibration::conformal_quantile;

use super::super::matrix::Matrix;
use super::super::pinball::COVERAGE;
use super::super::recipe::Prepared;
use super::windows::turns;
use super::{ASKED, LAGS};
use crate::evaluate::baseline::{BoostedValues, Ridge};

/// Weight of squared coefficients of the ridge.
const PENALTY: f64 = 10.0;

/// Answers of the simple methods at one horizon.
pub(super) struct Answers {
    pub(super) persistence: Vec<f64>,
    pub(super) ridge: Vec<f64>,
    pub(super) boosted: Option<Vec<f64>>,
    /// Half-width around the ridge.
    pub(super) half_width: f64,
}

impl Answers {
    /// The methods by name; the last value of the history is the first.
    pub(super) fn named(&self) -> Vec<(&'static str, &[f64])> {
        let mut named = vec![("persistence", &self.persistence[..]), ("ridge", &self.ridge[..])];
        named.extend(self.boosted.as_deref().map(|values| ("boosted trees", values)));
        named
    }
}

/// The fitted methods.
pub(super) struct Simple {
    ridge: Ridge,
    /// One for each of [`ASKED`], or none.
    boosted: Vec<BoostedValues>,
    /// One for each of [`ASKED`].
    half_widths: Vec<f64>,
}

impl Simple {
    /// Fits the ridge and, where they are wanted, the trees.
    pub(super) fn fit(prepared: &Prepared, trees: bool) -> Result<Self> {
        let rows = &prepared.parts.calibration;
        let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
        let (history, future) = (prepared.inputs[0].pick(rows), future.pick(rows));
        let groups = prepared.groups(rows);
        let boosted = |(_, horizon): &(u32, usize)| {
            let moves = moves(&history, &future, *horizon);
            BoostedValues::fit(&relative(&history), &moves)
        };
        Ok(Self {
            ridge: Ridge::fit(&history.to_f64(), &future.to_f64(), PENALTY),
            boosted: if trees { ASKED.iter().map(boosted).collect() } else { Vec::new() },
            half_widths: half_widths(&history, &future, &groups).context("too few windows for a ridge")?,
        })
    }

    /// Answers at the `asked`-th of [`ASKED`].
    pub(super) fn answers(&self, history: &Matrix, asked: usize) -> Answers {
        let (_, horizon) = ASKED[asked];
        let persistence = history.column(LAGS - 1);
        let boosted = self.boosted.get(asked).map(|trees| {
            let rows = relative(history);
            rows.iter().zip(&persistence).map(|(row, last)| last + trees.predict(row)).collect()
        });
        Answers {
            ridge: history.to_f64().iter().map(|row| self.ridge.predict(row)[horizon]).collect(),
            persistence,
            boosted,
            half_width: self.half_widths[asked],
        }
    }
}

/// Every step of the history less the last, and the last.
fn relative(history: &Matrix) -> Vec<Vec<f64>> {
    let row = |row: Vec<f64>| {
        let last = row[LAGS - 1];
        row[..LAGS - 1].iter().map(|value| value - last).chain([last]).collect()
    };
    history.to_f64().into_iter().map(row).collect()
}

fn moves(history: &Matrix, future: &Matrix, horizon: usize) -> Vec<f64> {
    future.column(horizon).iter().zip(history.column(LAGS - 1)).map(|(to, from)| to - from).collect()
}

/// How far a ridge misses people it was not fitted on.
fn half_widths(history: &Matrix, future: &Matrix, groups: &[u64]) -> Option<Vec<f64>> {
    let mut misses = vec![Vec::new(); ASKED.len()];
    for absent in turns(groups) {
        let (out, kept): (Vec<usize>, Vec<usize>) =
            (0..groups.len()).partition(|row| absent.contains(&groups[*row]));
        let ridge = Ridge::fit(&history.pick(&kept).to_f64(), &future.pick(&kept).to_f64(), PENALTY);
        for row in out {
            let values: Vec<f64> = history.row_f64(row);
            let answer = ridge.predict(&values);
            for (misses, (_, horizon)) in misses.iter_mut().zip(ASKED) {
                misses.push((answer[horizon] - f64::from(future.row(row)[horizon])).abs());
            }
        }
    }
    misses.into_iter().map(|misses| conformal_quantile(misses, COVERAGE)).collect()
}
