//! Inputs whose outputs a bundle remembers. All are made up: no row of a data set is ever committed.

use std::f32::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::columns::Column;
use super::matrix::Matrix;
use super::recipe::Prepared;

/// Rows remembered.
const ROWS: usize = 8;
/// Share of values left out.
const ABSENT: f64 = 0.2;

/// Panels with every value drawn evenly within the bounds the model was made for, narrowed to their lower
/// third, where most people are; the first row is complete.
pub(crate) fn panels(prepared: &Prepared, columns: &[Column], rng: &mut ChaCha8Rng) -> Vec<Matrix> {
    let mut values = Matrix::new(columns.len());
    let mut present = Matrix::new(columns.len());
    for row in 0..ROWS {
        for (column, feature) in columns.iter().zip(&prepared.features) {
            let (low, high) = (feature.low.unwrap_or(0.0) as f32, feature.high.unwrap_or(1.0) as f32);
            let draw: f32 = rng.random_range(0.0..1.0);
            let value = if column.is_binary() { draw.round() } else { low + (high - low) * draw / 3.0 };
            let there = row == 0 || !rng.random_bool(ABSENT);
            values.data.push(if there { value } else { 0.0 });
            present.data.push(f32::from(u8::from(there)));
        }
    }
    vec![values, present]
}

/// Glucose-like waves, mg/dL.
pub(crate) fn waves(steps: usize, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
    let mut history = Matrix::new(steps);
    for _ in 0..ROWS {
        let (level, swing) = (rng.random_range(90.0..180.0), rng.random_range(5.0..40.0));
        let (phase, turns) = (rng.random_range(0.0..1.0), rng.random_range(0.2..1.2));
        let at = |step: usize| level + swing * (TAU * (phase + turns * step as f32 / steps as f32)).sin();
        history.push(&(0..steps).map(at).collect::<Vec<f32>>());
    }
    vec![history]
}

/// The first simulated rows of the test part: they belong to nobody.
pub(crate) fn simulated(prepared: &Prepared) -> Vec<Matrix> {
    let rows: Vec<usize> = prepared.parts.test.iter().copied().take(ROWS).collect();
    prepared.pick(&rows)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn waves_look_like_glucose_and_repeat() {
        let draw = || waves(24, &mut ChaCha8Rng::seed_from_u64(1));
        let waves = draw();
        assert_eq!((waves[0].rows(), waves[0].cols), (ROWS, 24));
        assert!(waves[0].data.iter().all(|v| (40.0..400.0).contains(v)));
        assert_eq!(waves, draw());
    }
}
