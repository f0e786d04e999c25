//! Values moved far away, so that a network learns where they ought to be.
//!
//! The noise knows nothing of what real anomalies look like: it moves values up or down, alone or together, by
//! anything from half a spread to a hundred.

use anyhow::{Result, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::matrix::Matrix;
use super::recipe::Prepared;
use super::trainee::Trainee;

/// Share of rows that are left alone.
const UNTOUCHED: f64 = 0.125;
/// Share of the others in which most values move.
const WHOLE_ROWS: f64 = 0.3;
/// Probability that a value of such a row moves.
const TOGETHER: f64 = 0.8;
/// Probability that a value of another row moves.
const ALONE: f64 = 0.3;
/// How far a value moves, in spreads, even on a logarithmic scale.
const REACH: (f32, f32) = (0.5, 100.0);
/// Spreads from the centre at which a row to be reconstructed is cut off: even among normal rows some are strange.
const BOUND: f32 = 4.0;
/// Share of values in each tail that have no say in the spread.
const TAIL: f64 = 0.05;
/// Standard deviations between the centre and a tail of that share, if values were normally distributed.
const TAIL_DEVIATIONS: f32 = 1.645;

/// Centre and spread of each column, in its own unit.
pub(crate) struct Noise {
    columns: Vec<(f32, f32)>,
}

impl Noise {
    /// Measures the values present in the training rows, and makes `trainee` standardise by the same figures, without
    /// logarithms: what is strange in a hormone is its amount. Median and tails instead of mean and deviation, because
    /// a few extreme values among the normal rows would make all others look alike.
    pub(crate) fn of(prepared: &Prepared, trainee: &Trainee) -> Result<Self> {
        let [values, present] = &prepared.inputs[..] else { anyhow::bail!("a panel has values and marks") };
        let column = |col: usize| {
            let there = prepared.parts.train.iter().filter(|row| present.row(**row)[col] > 0.0);
            let mut known: Vec<f32> = there.map(|row| values.row(*row)[col]).collect();
            ensure!(!known.is_empty(), "column {col} has no value in the training rows");
            known.sort_by(f32::total_cmp);
            let at = |share: f64| known[((known.len() - 1) as f64 * share).round() as usize];
            let spread = (at(1.0 - TAIL) - at(TAIL)) / (2.0 * TAIL_DEVIATIONS);
            Ok((at(0.5), if spread > 1e-6 { spread } else { 1.0 }))
        };
        let columns = (0..values.cols).map(column).collect::<Result<Vec<_>>>()?;
        let (centres, scales): (Vec<f32>, Vec<f32>) = columns.iter().copied().unzip();
        trainee.weights().set("standardise.center", &centres)?;
        trainee.weights().set("standardise.scale", &scales)?;
        trainee.weights().set("standardise.log", &vec![0.0; columns.len()])?;
        Ok(Self { columns })
    }

    /// Brings far values to the bound.
    pub(crate) fn bound(&self, values: &mut Matrix) {
        for row in values.data.chunks_exact_mut(self.columns.len()) {
            for (value, (centre, spread)) in row.iter_mut().zip(&self.columns) {
                *value = value.clamp(centre - BOUND * spread, centre + BOUND * spread);
            }
        }
    }

    /// Moves values.
    pub(crate) fn apply(&self, values: &mut Matrix, rng: &mut ChaCha8Rng) {
        for row in values.data.chunks_exact_mut(self.columns.len()) {
            if rng.random_bool(UNTOUCHED) {
                continue;
            }
            let moved = if rng.random_bool(WHOLE_ROWS) { TOGETHER } else { ALONE };
            for (value, (_, spread)) in row.iter_mut().zip(&self.columns) {
                if rng.random_bool(moved) {
                    let far = rng.random_range(REACH.0.ln()..REACH.1.ln()).exp();
                    *value += spread * if rng.random_bool(0.5) { far } else { -far };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn values_move_both_ways_within_reach_and_some_rows_stay() {
        let noise = Noise { columns: vec![(10.0, 2.0), (0.0, 1.0)] };
        let whole = Matrix { cols: 2, data: [10.0, 0.0].repeat(1000) };
        let mut seen = whole.clone();
        noise.apply(&mut seen, &mut ChaCha8Rng::seed_from_u64(1));
        let moves: Vec<f32> = seen.data.iter().zip(&whole.data).map(|(s, w)| s - w).collect();
        let stays = moves.chunks(2).filter(|row| row.iter().all(|by| *by == 0.0)).count();
        assert!((300..600).contains(&stays), "{stays} rows stay");
        let first: Vec<f32> = moves.iter().copied().step_by(2).filter(|by| *by != 0.0).collect();
        assert!(first.iter().all(|by| (0.99..200.1).contains(&by.abs())));
        let up = first.iter().filter(|by| **by > 0.0).count();
        assert!((first.len() * 2 / 5..first.len() * 3 / 5).contains(&up));
    }

    #[test]
    fn far_values_of_a_target_are_cut_off() {
        let noise = Noise { columns: vec![(10.0, 2.0)] };
        let mut rows = Matrix { cols: 1, data: vec![11.0, 500.0, -500.0] };
        noise.bound(&mut rows);
        assert_eq!(rows.data, [11.0, 18.0, 2.0]);
    }
}
