//! The dense block that every network is built on: equal perceptrons side by side, each with its
//! own weights, and a linear path around them if asked for.

use candle_core::{Device, Result, Tensor};
use candle_nn::{Init, VarBuilder};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::super::kernel;
use super::slice;
use crate::bundle::network::{Activation, BodyConfig};

/// An ensemble of multilayer perceptrons.
#[derive(Debug)]
pub struct Dense {
    layers: Vec<Layer>,
    skip: Option<Tensor>,
    activation: Activation,
    dropout: f32,
    members: usize,
    inputs: usize,
    outputs: usize,
}

#[derive(Debug)]
struct Layer {
    weight: Tensor,
    bias: Tensor,
    inputs: usize,
    outputs: usize,
}

impl Dense {
    /// Takes the tensors of `body.*` and `skip.*` from `vars`.
    pub(super) fn new(
        inputs: usize,
        outputs: usize,
        config: &BodyConfig,
        vars: &VarBuilder<'_>,
    ) -> Result<Self> {
        let BodyConfig { hidden, activation, dropout, members, skip } = config.clone();
        let get =
            |shape: (usize, usize, usize), name: &str| vars.get_with_hints(shape, name, Init::Const(0.0));
        let mut layers = Vec::with_capacity(hidden.len() + 1);
        let mut width = inputs;
        for (index, next) in hidden.into_iter().chain([outputs]).enumerate() {
            let weight = get((members, width, next), &format!("body.{index}.weight"))?;
            let bias = get((members, 1, next), &format!("body.{index}.bias"))?;
            layers.push(Layer { weight, bias, inputs: width, outputs: next });
            width = next;
        }
        let skip = if skip { Some(get((members, inputs, outputs), "skip.weight")?) } else { None };
        Ok(Self { layers, skip, activation, dropout, members, inputs, outputs })
    }

    /// The same perceptrons, bent so that no output falls in any of the last `count` inputs; with at most one hidden
    /// layer, which is rectified.
    ///
    /// Hidden unit `j` is `s · max(s · (|w| x + …), 0)` with `s` +1 for even and −1 for odd units, and counts with a
    /// weight that is not below 0: convex and concave pieces, both of which rise (Runje & Shankaranarayana 2023). Bent
    /// twice is bent once.
    pub(super) fn rising(&self, count: usize) -> Result<Self> {
        let bend = |weight: &Tensor, signs: Option<&Tensor>| {
            let free = self.inputs - count;
            let rising = weight.narrow(1, free, count)?.abs()?;
            let rising = signs.map_or(Ok(rising.clone()), |signs| rising.broadcast_mul(signs))?;
            Tensor::cat(&[&weight.narrow(1, 0, free)?, &rising], 1)
        };
        let layer = |layer: &Layer, weight| Layer { weight, bias: layer.bias.clone(), ..*layer };
        let skip = self.skip.as_ref().filter(|_| count > 0).map(|skip| bend(skip, None)).transpose()?;
        let layers = match &self.layers[..] {
            layers if count == 0 => layers.iter().map(|of| layer(of, of.weight.clone())).collect(),
            [only] => vec![layer(only, bend(&only.weight, None)?)],
            [hidden, last] => {
                let sign = |unit: usize| if unit.is_multiple_of(2) { 1.0f32 } else { -1.0 };
                let signs: Vec<f32> = (0..hidden.outputs).map(sign).collect();
                let signs = Tensor::from_vec(signs, (1, 1, hidden.outputs), self.device())?;
                let out = last.weight.abs()?.broadcast_mul(&signs.reshape((1, hidden.outputs, 1))?)?;
                vec![layer(hidden, bend(&hidden.weight, Some(&signs))?), layer(last, out)]
            }
            _ => candle_core::bail!("only a network with at most one hidden layer can be made to rise"),
        };
        let skip = skip.or_else(|| self.skip.clone());
        Ok(Self { layers, skip, ..*self })
    }

    /// Where its weights are.
    pub(super) fn device(&self) -> &Device {
        self.layers.first().map_or(&Device::Cpu, |layer| layer.weight.device())
    }

    /// Columns that it takes.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Perceptrons side by side.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Answers of the members one after another, each `rows × outputs`.
    pub(super) fn run(&self, x: &[f32]) -> Result<Vec<f32>> {
        let rows = x.len() / self.inputs;
        if !self.device().is_cpu() {
            let x = Tensor::from_slice(x, (rows, self.inputs), self.device())?;
            return self.forward(&x, None)?.flatten_all()?.to_vec1();
        }
        let (mut all, mut now, mut next) = (Vec::new(), Vec::new(), Vec::new());
        for member in 0..self.members {
            for (index, layer) in self.layers.iter().enumerate() {
                let hidden = index + 1 < self.layers.len();
                next.resize(rows * layer.outputs, 0.0);
                let x = if index == 0 { x } else { &now };
                layer.run(member, hidden.then_some(self.activation), x, &mut next)?;
                std::mem::swap(&mut now, &mut next);
            }
            if let Some(skip) = &self.skip {
                next.resize(rows * self.outputs, 0.0);
                self.run_skip(skip, member, x, &mut next)?;
                now.iter_mut().zip(&next).for_each(|(sum, skip)| *sum += skip);
            }
            if self.members == 1 {
                return Ok(now);
            }
            all.extend_from_slice(&now);
        }
        Ok(all)
    }

    fn run_skip(&self, skip: &Tensor, member: usize, x: &[f32], y: &mut [f32]) -> Result<()> {
        let (inputs, bias) = (self.inputs, vec![0.0; self.outputs]);
        slice::of(skip, |weight| {
            let weight = &weight[member * inputs * self.outputs..][..inputs * self.outputs];
            kernel::Layer { weight, bias: &bias, inputs, activation: None }.run(x, y);
        })
    }

    /// The same with gradients, `[rows, inputs]` to `[members, rows, outputs]`.
    pub(super) fn forward(&self, x: &Tensor, mut dropout: Option<&mut ChaCha8Rng>) -> Result<Tensor> {
        let shared = x.unsqueeze(0)?;
        let mut now = shared.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            now = now.broadcast_matmul(&layer.weight)?.broadcast_add(&layer.bias)?;
            if index + 1 < self.layers.len() {
                now = match self.activation {
                    Activation::Relu => now.relu()?,
                    Activation::Gelu => now.gelu()?,
                };
                if let Some(rng) = dropout.as_deref_mut() {
                    now = drop_units(&now, self.dropout, rng)?;
                }
            }
        }
        match &self.skip {
            Some(skip) => now + shared.broadcast_matmul(skip)?,
            None => Ok(now),
        }
    }
}

impl Layer {
    fn run(&self, member: usize, activation: Option<Activation>, x: &[f32], y: &mut [f32]) -> Result<()> {
        let Self { weight, bias, inputs, outputs } = self;
        slice::of(weight, |weight| {
            slice::of(bias, |bias| {
                let weight = &weight[member * inputs * outputs..][..inputs * outputs];
                let bias = &bias[member * outputs..][..*outputs];
                kernel::Layer { weight, bias, inputs: *inputs, activation }.run(x, y);
            })
        })?
    }
}

/// candle's own dropout cannot be seeded on the processor, so its mask is drawn here.
fn drop_units(x: &Tensor, share: f32, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    if share <= 0.0 {
        return Ok(x.clone());
    }
    let kept = 1.0 / (1.0 - share);
    let mask: Vec<f32> =
        (0..x.elem_count()).map(|_| if rng.random::<f32>() < share { 0.0 } else { kept }).collect();
    x * Tensor::from_vec(mask, x.shape(), x.device())?
}
