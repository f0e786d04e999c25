//! The arithmetic of serving: one dense layer over rows.
//!
//! General matrix kernels choose their order of summing by the number of rows, so the last bits
//! of a row would depend on its neighbours in the batch. Here every element is
//! `bias + x₀w₀ + x₁w₁ + …`, fused and in that order, whatever the batch: a row alone and a row
//! among others are equal bit for bit. It also runs on the calling thread only, so the speed does
//! not hang on a setting of a thread pool.

use crate::bundle::network::Activation;

/// Rows that share one pass over the weights.
const ROWS: usize = 4;

/// One layer of one member: `weight` is `[inputs, outputs]`, row after row.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) inputs: usize,
    pub(super) activation: Option<Activation>,
}

impl Layer<'_> {
    fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Writes `activation(x · weight + bias)` of each row of `x` to `y`.
    pub(super) fn run(&self, x: &[f32], y: &mut [f32]) {
        let outputs = self.outputs();
        let full = x.len() / (ROWS * self.inputs) * ROWS;
        let (x_blocks, x_rest) = x.split_at(full * self.inputs);
        let (y_blocks, y_rest) = y.split_at_mut(full * outputs);
        self.blocks::<ROWS, 16>(x_blocks, y_blocks);
        self.blocks::<1, 64>(x_rest, y_rest);
        if let Some(activation) = self.activation {
            activate(activation, y);
        }
    }

    /// Blocks of `R` rows, each in tiles of `C` columns, then of 8, then of 1.
    fn blocks<const R: usize, const C: usize>(&self, x: &[f32], y: &mut [f32]) {
        let (inputs, outputs) = (self.inputs, self.outputs());
        let mut packed: Vec<[f32; R]> = Vec::new();
        for (x, y) in x.chunks_exact(R * inputs).zip(y.chunks_exact_mut(R * outputs)) {
            let x = if R == 1 {
                x.as_chunks().0
            } else {
                // Side by side, the rows' values are read in one stream without bounds checks.
                packed.clear();
                packed.extend((0..inputs).map(|k| std::array::from_fn(|row| x[row * inputs + k])));
                &packed
            };
            let mut column = 0;
            while column + C <= outputs {
                self.tile::<R, C>(x, y, column);
                column += C;
            }
            while column + 8 <= outputs {
                self.tile::<R, 8>(x, y, column);
                column += 8;
            }
            while column < outputs {
                self.tile::<R, 1>(x, y, column);
                column += 1;
            }
        }
    }

    #[inline(always)]
    fn tile<const R: usize, const C: usize>(&self, x: &[[f32; R]], y: &mut [f32], column: usize) {
        let outputs = self.outputs();
        let mut sums = [[0.0f32; C]; R];
        for sums in &mut sums {
            sums.copy_from_slice(&self.bias[column..column + C]);
        }
        for (values, weights) in x.iter().zip(self.weight.chunks_exact(outputs)) {
            let weights = &weights[column..column + C];
            for (sums, value) in sums.iter_mut().zip(values) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = value.mul_add(*weight, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            y[row * outputs + column..][..C].copy_from_slice(sums);
        }
    }
}

fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
        Activation::Gelu => values.iter_mut().for_each(|value| *value = gelu(*value)),
    }
}

/// The tanh form, as in training: `x/2 · (1 + tanh z)` is `x / (1 + e⁻²ᶻ)`.
fn gelu(x: f32) -> f32 {
    const MINUS_2_SQRT_2_OVER_PI: f32 = -1.595_769;
    /// Below, the answer is zero; unlike `max`, the comparison keeps what is not a number.
    const LEAST: f32 = -30.0;
    let x = if x < LEAST { LEAST } else { x };
    let exponent = MINUS_2_SQRT_2_OVER_PI * x * (0.044_715 * x).mul_add(x, 1.0);
    x / (1.0 + exp(exponent))
}

/// `eˣ` without a branch or a call, so that a loop over it is done eight numbers at a time. Exact to two
/// units in the last place between its ends, e⁻⁸⁷ and e⁸⁸, at which it stays for smaller and larger `x`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// ln 2 in two parts; products with the first are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// Added and taken away again, it rounds to a whole number, which then lies in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let rest = whole.mul_add(-LN_2[1], whole.mul_add(-LN_2[0], x));
    // The series of eˣ; with |rest| ≤ ln 2 / 2 the next term is below half a unit in the last place.
    let series = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let part = series.into_iter().fold(0.0f32, |sum, term| sum.mul_add(rest, term));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    part * power
}

/// Turns each row of `width` numbers into probabilities.
pub(super) fn softmax(values: &mut [f32], width: usize) {
    for row in values.chunks_exact_mut(width) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|value| *value = (*value - top).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|value| *value /= sum);
    }
}

/// `ln(1 + eˣ)` without overflow.
pub(super) fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Mean over the members, which stand one after another in `values`.
pub(super) fn mean(mut values: Vec<f32>, members: usize) -> Vec<f32> {
    let size = values.len() / members.max(1);
    if members > 1 {
        let (mean, others) = values.split_at_mut(size);
        for other in others.chunks_exact(size.max(1)) {
            mean.iter_mut().zip(other).for_each(|(mean, other)| *mean += other);
        }
        mean.iter_mut().for_each(|mean| *mean /= members as f32);
        values.truncate(size);
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        (0..count).map(|i| ((i as u32 * 2_654_435_761 + seed) % 2001) as f32 / 1000.0 - 1.0).collect()
    }

    proptest! {
        #[test]
        fn a_row_is_the_same_alone_and_among_others(
            rows in 1usize..11, inputs in 1usize..40, outputs in 1usize..90, seed: u16,
        ) {
            let (weight, bias) = (numbers(inputs * outputs, 7), numbers(outputs, 3));
            let activation = Some(if seed % 2 == 0 { Activation::Relu } else { Activation::Gelu });
            let layer = Layer { weight: &weight, bias: &bias, inputs, activation };
            let x = numbers(rows * inputs, seed.into());
            let mut together = vec![0.0; rows * outputs];
            layer.run(&x, &mut together);
            for row in 0..rows {
                let mut alone = vec![0.0; outputs];
                layer.run(&x[row * inputs..][..inputs], &mut alone);
                prop_assert_eq!(&together[row * outputs..][..outputs], &alone[..]);
            }
        }

        #[test]
        fn it_is_the_sum_of_products(inputs in 1usize..40, outputs in 1usize..90) {
            let (weight, bias, x) = (numbers(inputs * outputs, 1), numbers(outputs, 2), numbers(inputs, 5));
            let mut y = vec![0.0; outputs];
            Layer { weight: &weight, bias: &bias, inputs, activation: None }.run(&x, &mut y);
            for (column, got) in y.iter().enumerate() {
                let product = |k: usize| f64::from(x[k]) * f64::from(weight[k * outputs + column]);
                let want = f64::from(bias[column]) + (0..inputs).map(product).sum::<f64>();
                prop_assert!((f64::from(*got) - want).abs() < 1e-4);
            }
        }
    }

    proptest! {
        #[test]
        fn exp_and_gelu_agree_with_double_precision(x in -87.0f32..88.0) {
            let want = f64::from(x).exp();
            prop_assert!((f64::from(exp(x)) - want).abs() <= want * 2.0 * f64::from(f32::EPSILON));
            let x = x / 8.0;
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (f64::from(x) + 0.044_715 * f64::from(x).powi(3));
            let want = 0.5 * f64::from(x) * (1.0 + inner.tanh());
            prop_assert!((f64::from(gelu(x)) - want).abs() < 1e-6 * (1.0 + want.abs()));
        }
    }

    #[test]
    fn gelu_ends_as_it_should() {
        assert_eq!((gelu(0.0), gelu(1e30)), (0.0, 1e30));
        assert!(gelu(f32::MIN).abs() < 1e-30 && gelu(-20.0).abs() < 1e-30);
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn softmax_and_softplus_do_not_overflow() {
        let mut values = vec![1e30, 0.0, -1e30, 5.0, 5.0, 5.0];
        softmax(&mut values, 3);
        assert_eq!(values[..3], [1.0, 0.0, 0.0]);
        assert!((values[3] - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!((softplus(1e30), softplus(-1e30)), (1e30, 0.0));
        assert!((softplus(0.0) - 2.0f32.ln()).abs() < 1e-7);
    }

    #[test]
    fn members_are_averaged() {
        assert_eq!(mean(vec![1.0, 2.0, 3.0, 6.0], 2), [2.0, 4.0]);
        assert_eq!(mean(vec![1.0, 2.0], 1), [1.0, 2.0]);
    }
}
