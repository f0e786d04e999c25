//! Grows an ONNX graph operator by operator, keeping the name and the shape of the running value.

use std::collections::BTreeMap;

use super::onnx::{Attribute, Constant, Graph, Node, Value};
use crate::TrainingError;
use crate::data::pickle::torch::Tensor;

/// What the checkpoint's authors used for batch normalisation.
const BATCH_NORM_EPS: f64 = 1e-3;

/// Named tensors of a checkpoint.
pub(super) type Weights = BTreeMap<String, Tensor>;

/// The value an operator made: its name, channels, and side in pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signal {
    pub(super) name: String,
    pub(super) channels: usize,
    pub(super) side: usize,
}

/// A convolution followed by batch normalisation.
pub(super) struct Conv<'a> {
    /// Name of the convolution in the checkpoint, without `.weight`.
    pub(super) conv: &'a str,
    /// Name of the normalisation in the checkpoint.
    pub(super) norm: &'a str,
    pub(super) out: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// One filter a channel instead of all channels in each.
    pub(super) depthwise: bool,
    /// ReLU6 afterwards.
    pub(super) clip: bool,
}

/// The graph under construction.
pub(super) struct Builder<'a> {
    weights: &'a Weights,
    nodes: Vec<Node>,
    constants: Vec<Constant>,
}

impl<'a> Builder<'a> {
    /// An empty graph over `weights`.
    pub(super) fn new(weights: &'a Weights) -> Self {
        let bound = |name: &str, value| Constant::floats(name.to_owned(), &[], &[value]);
        Self { weights, nodes: Vec::new(), constants: vec![bound("clip_low", 0.0), bound("clip_high", 6.0)] }
    }

    /// Adds convolution, folded normalisation and clipping.
    pub(super) fn conv(&mut self, input: &Signal, spec: &Conv<'_>) -> Result<Signal, TrainingError> {
        let (out, k) = (spec.out, spec.kernel);
        let per_filter = if spec.depthwise { 1 } else { input.channels };
        let (kernel, bias) = self.folded(spec, &[out, per_filter, k, k])?;
        let (weight_name, bias_name) = (format!("{}.weight", spec.conv), format!("{}.bias", spec.conv));
        self.constants.push(Constant::floats(weight_name.clone(), &[out, per_filter, k, k], &kernel));
        self.constants.push(Constant::floats(bias_name.clone(), &[out], &bias));
        let (before, after) = same_padding(input.side, k, spec.stride);
        let (size, stride) = (k as i64, spec.stride as i64);
        let attributes = vec![
            Attribute::ints("dilations", &[1, 1]),
            Attribute::int("group", if spec.depthwise { input.channels as i64 } else { 1 }),
            Attribute::ints("kernel_shape", &[size, size]),
            Attribute::ints("pads", &[before, before, after, after]),
            Attribute::ints("strides", &[stride, stride]),
        ];
        let mut name = self.node("Conv", spec.conv, &[&input.name, &weight_name, &bias_name], attributes);
        if spec.clip {
            let clip = format!("{}.clip", spec.conv);
            name = self.node("Clip", &clip, &[&name, "clip_low", "clip_high"], Vec::new());
        }
        Ok(Signal { name, channels: out, side: input.side.div_ceil(spec.stride) })
    }

    /// Adds the sum of two signals of one shape.
    pub(super) fn add(&mut self, name: &str, a: &Signal, b: &Signal) -> Signal {
        let name = self.node("Add", name, &[&a.name, &b.name], Vec::new());
        Signal { name, ..a.clone() }
    }

    /// Averages over the picture and flattens; the result is named `output`.
    pub(super) fn pool(&mut self, input: &Signal, output: &str) {
        let pooled = self.node("GlobalAveragePool", "pool", &[&input.name], Vec::new());
        self.named("Flatten", output, &[&pooled], vec![Attribute::int("axis", 1)]);
    }

    /// Adds the classifier `dense` on `input`; the result is named `output`.
    pub(super) fn dense(
        &mut self,
        input: &str,
        dense: &str,
        dims: [usize; 2],
        output: &str,
    ) -> Result<(), TrainingError> {
        let (weight_name, bias_name) = (format!("{dense}.weight"), format!("{dense}.bias"));
        let (weight, bias) = (self.tensor(&weight_name, &dims)?, self.tensor(&bias_name, &dims[..1])?);
        let constants = [
            Constant::floats(weight_name.clone(), &dims, &weight.values),
            Constant::floats(bias_name.clone(), &dims[..1], &bias.values),
        ];
        self.constants.extend(constants);
        self.named("Gemm", output, &[input, &weight_name, &bias_name], vec![Attribute::int("transB", 1)]);
        Ok(())
    }

    /// The finished graph.
    pub(super) fn finish(self, name: &str, input: Value, output: Vec<Value>) -> Graph {
        Graph {
            node: self.nodes,
            name: name.to_owned(),
            initializer: self.constants,
            input: vec![input],
            output,
        }
    }

    /// Kernel and bias that do what convolution and normalisation did: w * g / s and b - m * g / s.
    fn folded(&self, spec: &Conv<'_>, dims: &[usize]) -> Result<(Vec<f32>, Vec<f32>), TrainingError> {
        let kernel = self.tensor(&format!("{}.weight", spec.conv), dims)?;
        let part = |part: &str| self.tensor(&format!("{}.{part}", spec.norm), &dims[..1]);
        let (gain, shift, mean, variance) =
            (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
        let size = dims[1..].iter().product::<usize>();
        let mut weights = Vec::with_capacity(kernel.values.len());
        let mut bias = Vec::with_capacity(dims[0]);
        for (channel, filter) in kernel.values.chunks_exact(size).enumerate() {
            let spread = (f64::from(variance.values[channel]) + BATCH_NORM_EPS).sqrt();
            let scale = f64::from(gain.values[channel]) / spread;
            weights.extend(filter.iter().map(|w| (f64::from(*w) * scale) as f32));
            bias.push((f64::from(shift.values[channel]) - f64::from(mean.values[channel]) * scale) as f32);
        }
        match weights.iter().chain(&bias).all(|v| v.is_finite()) {
            true => Ok((weights, bias)),
            false => {
                Err(TrainingError::Weights { reason: format!("`{}` is not finite after folding", spec.conv) })
            }
        }
    }

    fn tensor(&self, name: &str, dims: &[usize]) -> Result<&'a Tensor, TrainingError> {
        let missing = || TrainingError::Weights { reason: format!("no tensor `{name}`") };
        let tensor = self.weights.get(name).ok_or_else(missing)?;
        if tensor.shape == dims {
            return Ok(tensor);
        }
        let reason = format!("`{name}` should have shape {dims:?}, has {:?}", tensor.shape);
        Err(TrainingError::Weights { reason })
    }

    fn node(&mut self, op: &str, name: &str, inputs: &[&str], attribute: Vec<Attribute>) -> String {
        let output = format!("{name}.out");
        self.named(op, &output, inputs, attribute);
        output
    }

    fn named(&mut self, op: &str, output: &str, inputs: &[&str], attribute: Vec<Attribute>) {
        self.nodes.push(Node {
            input: inputs.iter().map(|i| (*i).to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.strip_suffix(".out").unwrap_or(output).to_owned(),
            op_type: op.to_owned(),
            attribute,
        });
    }
}

/// TensorFlow's SAME: enough zeros for ceil(side / stride) outputs, the odd one at the end.
pub(super) fn same_padding(side: usize, kernel: usize, stride: usize) -> (i64, i64) {
    let needed = (side.div_ceil(stride).saturating_sub(1) * stride + kernel).saturating_sub(side);
    let before = needed / 2;
    (before as i64, (needed - before) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_uneven_where_the_stride_makes_it_so() {
        assert_eq!(same_padding(260, 3, 2), (0, 1));
        assert_eq!(same_padding(65, 5, 2), (2, 2));
        assert_eq!(same_padding(130, 3, 1), (1, 1));
        assert_eq!(same_padding(7, 1, 1), (0, 0));
    }

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor { shape: shape.to_vec(), values: values.to_vec() }
    }

    #[test]
    fn folding_equals_convolution_then_normalisation() {
        let weights: Weights = [
            ("c.weight", tensor(&[2, 1, 1, 1], &[2.0, -3.0])),
            ("n.weight", tensor(&[2], &[1.5, 0.5])),
            ("n.bias", tensor(&[2], &[0.25, -1.0])),
            ("n.running_mean", tensor(&[2], &[0.1, 0.2])),
            ("n.running_var", tensor(&[2], &[4.0, 0.0])),
        ]
        .map(|(name, t)| (name.to_owned(), t))
        .into();
        let spec = Conv { conv: "c", norm: "n", out: 2, kernel: 1, stride: 1, depthwise: false, clip: false };
        let (kernel, bias) = Builder::new(&weights).folded(&spec, &[2, 1, 1, 1]).expect("folds");
        for (channel, x) in [(0, 0.7_f64), (1, -0.4)] {
            let value = |name: &str| f64::from(weights[name].values[channel]);
            let spread = (value("n.running_var") + 1e-3).sqrt();
            let direct = (value("c.weight") * x - value("n.running_mean")) / spread * value("n.weight")
                + value("n.bias");
            let folded = f64::from(kernel[channel]) * x + f64::from(bias[channel]);
            assert!((direct - folded).abs() < 1e-5, "{direct} {folded}");
        }
    }
}
