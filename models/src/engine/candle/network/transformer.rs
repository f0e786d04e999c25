//! The transformer encoder behind text: BERT's layers (Devlin et al. 2019) over tensors named as BERT names them,
//! the mean over the tokens, and a vector of length 1.
//!
//! Each text is computed alone and unpadded with the kernel that sums rows alike, so a text among others and the
//! same text alone give the same bits, and a short text costs what a short text costs. It is not trained here:
//! weights come from elsewhere and are rearranged once, at loading, into panels that stay in the cache.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::super::kernel;
use super::slice;
use crate::bundle::network::EncoderConfig;

/// Id that fills the end of a row.
const PAD: i64 = 0;
/// Id read for one that the vocabulary does not have; a caller of plain tensors can send anything.
const UNKNOWN: usize = 100;
/// Columns of a panel of weights: with 384 inputs it fills a third of a small second-level cache.
const PANEL: usize = 64;
/// Added to the variance, as in the published networks.
const EPSILON: f32 = 1e-12;

/// A loaded encoder.
#[derive(Debug)]
pub struct Transformer {
    words: Tensor,
    positions: Tensor,
    /// The first of the two segment vectors; texts come one at a time.
    segment: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    inputs: usize,
    width: usize,
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    mixed: Linear,
    attended: Norm,
    up: Linear,
    down: Linear,
    norm: Norm,
    heads: usize,
}

impl Transformer {
    /// The network of `config` over the tensors of `vars`.
    pub(in super::super) fn new(config: &EncoderConfig, vars: &VarBuilder<'_>) -> Result<Self> {
        let EncoderConfig { inputs, vocabulary, positions, width, layers, .. } = *config;
        let embeddings = vars.pp("embeddings");
        let table = |rows: usize, name: &str| embeddings.pp(name).get((rows, width), "weight");
        let segment = slice::of(&table(2, "token_type_embeddings")?, |all| all[..width].to_vec())?;
        let layer = |index: usize| Layer::new(config, &vars.pp("encoder.layer").pp(index));
        Ok(Self {
            words: table(vocabulary, "word_embeddings")?,
            positions: table(positions, "position_embeddings")?,
            segment,
            norm: Norm::new(width, &embeddings.pp("LayerNorm"))?,
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            inputs,
            width,
        })
    }

    /// Rows of token ids to rows of `width`; a row without a token gives zeros.
    pub(in super::super) fn run(&self, tokens: &[i64]) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(tokens.len() / self.inputs * self.width);
        for row in tokens.chunks_exact(self.inputs) {
            let used = row.iter().rposition(|id| *id != PAD).map_or(0, |last| last + 1);
            all.extend(self.text(&row[..used])?);
        }
        Ok(all)
    }

    fn text(&self, ids: &[i64]) -> Result<Vec<f32>> {
        if ids.is_empty() {
            return Ok(vec![0.0; self.width]);
        }
        let mut x = self.embed(ids)?;
        for layer in &self.layers {
            layer.run(&mut x, ids.len());
        }
        let mut mean = vec![0.0; self.width];
        for token in x.chunks_exact(self.width) {
            mean.iter_mut().zip(token).for_each(|(sum, value)| *sum += value);
        }
        let length = mean.iter().map(|value| value * value).sum::<f32>().sqrt();
        let scale = if length > 0.0 { length.recip() } else { 0.0 };
        mean.iter_mut().for_each(|value| *value *= scale);
        Ok(mean)
    }

    fn embed(&self, ids: &[i64]) -> Result<Vec<f32>> {
        let width = self.width;
        let vector =
            |table: &[f32], index: usize| table.get(index * width..(index + 1) * width).map(<[f32]>::to_vec);
        let mut x = slice::of(&self.words, |words| {
            let word = |id: &i64| {
                let known = usize::try_from(*id).ok().and_then(|index| vector(words, index));
                known.or_else(|| vector(words, UNKNOWN)).unwrap_or_else(|| vec![0.0; width])
            };
            ids.iter().flat_map(word).collect::<Vec<f32>>()
        })?;
        slice::of(&self.positions, |positions| {
            for (at, token) in x.chunks_exact_mut(width).enumerate() {
                let position = &positions[at * width..];
                for ((value, position), segment) in token.iter_mut().zip(position).zip(&self.segment) {
                    *value += position + segment;
                }
            }
        })?;
        self.norm.run(&mut x);
        Ok(x)
    }
}

impl Layer {
    fn new(config: &EncoderConfig, vars: &VarBuilder<'_>) -> Result<Self> {
        let EncoderConfig { width, heads, feed_forward, .. } = *config;
        let linear = |inputs, outputs, name: &str| Linear::new(inputs, outputs, &vars.pp(name));
        Ok(Self {
            query: linear(width, width, "attention.self.query")?,
            key: linear(width, width, "attention.self.key")?,
            value: linear(width, width, "attention.self.value")?,
            mixed: linear(width, width, "attention.output.dense")?,
            attended: Norm::new(width, &vars.pp("attention.output.LayerNorm"))?,
            up: linear(width, feed_forward, "intermediate.dense")?,
            down: linear(feed_forward, width, "output.dense")?,
            norm: Norm::new(width, &vars.pp("output.LayerNorm"))?,
            heads,
        })
    }

    fn run(&self, x: &mut [f32], tokens: usize) {
        let attention = self.mixed.run(&self.attend(x, tokens));
        add(x, &attention);
        self.attended.run(x);
        let mut hidden = self.up.run(x);
        hidden.iter_mut().for_each(|value| *value = gelu(*value));
        add(x, &self.down.run(&hidden));
        self.norm.run(x);
    }

    /// Softmax of the scaled products of queries and keys, times the values, head by head.
    fn attend(&self, x: &[f32], tokens: usize) -> Vec<f32> {
        let [query, key, value] = [&self.query, &self.key, &self.value].map(|linear| linear.run(x));
        let width = x.len() / tokens;
        let part = width / self.heads;
        let scale = (part as f32).sqrt().recip();
        let mut mixed = vec![0.0; x.len()];
        let mut scores = vec![0.0; tokens * tokens];
        let mut answer = vec![0.0; tokens * part];
        for head in 0..self.heads {
            let columns = |all: &[f32]| -> Vec<f32> {
                all.chunks_exact(width).flat_map(|row| row[head * part..][..part].to_vec()).collect()
            };
            let query: Vec<f32> = columns(&query).into_iter().map(|value| value * scale).collect();
            product(&query, &transposed(&columns(&key), part), &mut scores, part);
            kernel::softmax(&mut scores, tokens);
            product(&scores, &columns(&value), &mut answer, tokens);
            for (row, answer) in mixed.chunks_exact_mut(width).zip(answer.chunks_exact(part)) {
                row[head * part..][..part].copy_from_slice(answer);
            }
        }
        mixed
    }
}

/// `rows · right` without a bias, each row summed alike.
fn product(rows: &[f32], right: &[f32], out: &mut [f32], inputs: usize) {
    let bias = vec![0.0; right.len() / inputs];
    kernel::Layer { weight: right, bias: &bias, inputs, activation: None }.run(rows, out);
}

fn transposed(rows: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| rows.iter().skip(column).step_by(width).copied()).collect()
}

fn add(x: &mut [f32], more: &[f32]) {
    x.iter_mut().zip(more).for_each(|(x, more)| *x += more);
}

/// The exact form, which these networks were trained with.
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Abramowitz and Stegun 7.1.26, off by at most 1.5e-7.
fn erf(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = COEFFICIENTS.iter().fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    (1.0 - series * (-x * x).exp()).copysign(x)
}

/// A dense layer whose weights lie in panels of [`PANEL`] columns, input by input.
#[derive(Debug)]
struct Linear {
    panels: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Linear {
    /// Takes `weight`, `[outputs, inputs]`, and `bias`.
    fn new(inputs: usize, outputs: usize, vars: &VarBuilder<'_>) -> Result<Self> {
        let bias = slice::of(&vars.get(outputs, "bias")?, <[f32]>::to_vec)?;
        let panels = slice::of(&vars.get((outputs, inputs), "weight")?, |weight| {
            weight.chunks(PANEL * inputs).flat_map(|panel| transposed(panel, inputs)).collect()
        })?;
        Ok(Self { panels, bias, inputs })
    }

    fn run(&self, x: &[f32]) -> Vec<f32> {
        let (rows, outputs) = (x.len() / self.inputs, self.bias.len());
        let mut y = vec![0.0; rows * outputs];
        let mut part = Vec::new();
        let panels = self.panels.chunks(PANEL * self.inputs).zip(self.bias.chunks(PANEL));
        for (index, (weight, bias)) in panels.enumerate() {
            part.resize(rows * bias.len(), 0.0);
            kernel::Layer { weight, bias, inputs: self.inputs, activation: None }.run(x, &mut part);
            for (y, part) in y.chunks_exact_mut(outputs).zip(part.chunks_exact(bias.len())) {
                y[index * PANEL..][..bias.len()].copy_from_slice(part);
            }
        }
        y
    }
}

/// Layer normalisation.
#[derive(Debug)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Norm {
    fn new(width: usize, vars: &VarBuilder<'_>) -> Result<Self> {
        let take = |name: &str| slice::of(&vars.get(width, name)?, <[f32]>::to_vec);
        Ok(Self { weight: take("weight")?, bias: take("bias")? })
    }

    fn run(&self, x: &mut [f32]) {
        let width = self.weight.len();
        for row in x.chunks_exact_mut(width) {
            let mean = row.iter().sum::<f32>() / width as f32;
            let square = |value: &f32| (value - mean) * (value - mean);
            let variance = row.iter().map(square).sum::<f32>() / width as f32;
            let scale = (variance + EPSILON).sqrt().recip();
            for ((value, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
                *value = (*value - mean) * scale * weight + bias;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_error_function_has_its_known_values() {
        for (x, want) in
            [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (-2.0, -0.995_322_3), (9.0, 1.0)]
        {
            assert!((erf(x) - want).abs() < 3e-7, "{x}: {}", erf(x));
        }
    }

    #[test]
    fn normalised_rows_have_mean_0_and_variance_1() {
        let norm = Norm { weight: vec![1.0; 4], bias: vec![0.0; 4] };
        let mut x = vec![1.0, 2.0, 3.0, 4.0, -5.0, 5.0, -5.0, 5.0];
        norm.run(&mut x);
        for row in x.chunks_exact(4) {
            assert!(row.iter().sum::<f32>().abs() < 1e-6);
            assert!((row.iter().map(|value| value * value).sum::<f32>() - 4.0).abs() < 1e-5);
        }
    }

    proptest! {
        #[test]
        fn panels_give_the_plain_product(rows in 1usize..6, inputs in 1usize..20, outputs in 1usize..150) {
            let number = |index: usize| ((index * 7919) % 101) as f32 / 50.0 - 1.0;
            let weight: Vec<f32> = (0..inputs * outputs).map(number).collect();
            let bias: Vec<f32> = (0..outputs).map(|index| number(index + 3)).collect();
            let x: Vec<f32> = (0..rows * inputs).map(|index| number(index + 11)).collect();
            let panels = weight.chunks(PANEL * inputs).flat_map(|panel| transposed(panel, inputs)).collect();
            let got = Linear { panels, bias: bias.clone(), inputs }.run(&x);
            for row in 0..rows {
                for column in 0..outputs {
                    let product = |k: usize| x[row * inputs + k] * weight[column * inputs + k];
                    let want = bias[column] + (0..inputs).map(product).sum::<f32>();
                    prop_assert!((got[row * outputs + column] - want).abs() < 1e-4);
                }
            }
        }
    }
}
