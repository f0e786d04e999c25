//! EfficientNet-Lite: the plan of its blocks, and the graph they make.

use super::SIDE;
use super::network::{Builder, Conv, Signal, Weights};
use super::onnx::{Value, file_of, halved};
use crate::TrainingError;

/// A run of like blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// How many blocks.
    pub repeats: usize,
    /// Size of the depthwise filter, pixels.
    pub kernel: usize,
    /// Stride of the first block; the others have 1.
    pub stride: usize,
    /// Width inside the block over the width before it.
    pub expand: usize,
    /// Channels after it.
    pub out: usize,
}

/// Everything that tells one Lite network from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// Height and width of the input, pixels.
    pub side: usize,
    /// Channels after the first convolution.
    pub stem: usize,
    /// The blocks.
    pub stages: &'static [Stage],
    /// Channels of the last convolution: the features.
    pub head: usize,
    /// Classes.
    pub classes: usize,
}

const fn stage(repeats: usize, kernel: usize, stride: usize, expand: usize, out: usize) -> Stage {
    Stage { repeats, kernel, stride, expand, out }
}

impl Architecture {
    /// EfficientNet-Lite2: width 1.1 and depth 1.2 times Lite0, stem and head as in Lite0.
    pub const LITE2: Self = Self {
        side: SIDE,
        stem: 32,
        stages: &[
            stage(1, 3, 1, 1, 16),
            stage(3, 3, 2, 6, 24),
            stage(3, 5, 2, 6, 48),
            stage(4, 3, 2, 6, 88),
            stage(4, 5, 1, 6, 120),
            stage(5, 5, 2, 6, 208),
            stage(1, 3, 1, 6, 352),
        ],
        head: 1280,
        classes: 1000,
    };
}

/// The ONNX file of `plan` with `weights`, under the checkpoint's tensor names; with `half` they are stored in half
/// precision.
///
/// # Errors
/// [`TrainingError::Weights`] naming the tensor that is missing, misshapen or not finite.
pub(super) fn model(
    plan: &Architecture,
    weights: &Weights,
    metadata: &[(&str, String)],
    half: bool,
) -> Result<Vec<u8>, TrainingError> {
    let mut builder = Builder::new(weights);
    let image = Signal { name: "image".to_owned(), channels: 3, side: plan.side };
    let stem = Conv { kernel: 3, stride: 2, ..dense("_conv_stem", "_bn0", plan.stem, true) };
    let mut signal = builder.conv(&image, &stem)?;
    let mut index = 0;
    for stage in plan.stages {
        for repeat in 0..stage.repeats {
            let stride = if repeat == 0 { stage.stride } else { 1 };
            signal = block(&mut builder, &signal, &format!("_blocks.{index}"), Stage { stride, ..*stage })?;
            index += 1;
        }
    }
    let head = builder.conv(&signal, &dense("_conv_head", "_bn1", plan.head, true))?;
    builder.pool(&head, "features");
    builder.dense("features", "_fc", [plan.classes, plan.head], "logits")?;
    let outputs = vec![Value::batch_of("logits", &[plan.classes]), Value::batch_of("features", &[plan.head])];
    let graph =
        builder.finish("efficientnet-lite", Value::batch_of("image", &[3, plan.side, plan.side]), outputs);
    Ok(file_of(if half { halved(graph) } else { graph }, metadata))
}

/// Widen, filter each channel, narrow; add the input where shapes allow.
fn block(
    builder: &mut Builder<'_>,
    input: &Signal,
    name: &str,
    stage: Stage,
) -> Result<Signal, TrainingError> {
    let part = |part: &str| format!("{name}.{part}");
    let wide = input.channels * stage.expand;
    let mut signal = input.clone();
    if stage.expand > 1 {
        signal = builder.conv(&signal, &dense(&part("_expand_conv"), &part("_bn0"), wide, true))?;
    }
    let (conv, norm) = (part("_depthwise_conv"), part("_bn1"));
    let filter = Conv {
        kernel: stage.kernel,
        stride: stage.stride,
        depthwise: true,
        ..dense(&conv, &norm, wide, true)
    };
    signal = builder.conv(&signal, &filter)?;
    signal = builder.conv(&signal, &dense(&part("_project_conv"), &part("_bn2"), stage.out, false))?;
    if stage.stride == 1 && input.channels == stage.out {
        signal = builder.add(&part("add"), &signal, input);
    }
    Ok(signal)
}

/// A convolution over all channels, 1 x 1 unless changed.
fn dense<'a>(conv: &'a str, norm: &'a str, out: usize, clip: bool) -> Conv<'a> {
    Conv { conv, norm, out, kernel: 1, stride: 1, depthwise: false, clip }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::onnx::{Model, Node};
    use super::*;
    use crate::data::pickle::torch::Tensor;

    const TINY: Architecture = Architecture {
        side: 9,
        stem: 4,
        stages: &[stage(1, 3, 1, 1, 4), stage(2, 5, 2, 2, 6)],
        head: 8,
        classes: 3,
    };

    fn weights() -> Weights {
        let mut all = Weights::new();
        let mut put = |name: String, shape: &[usize]| {
            let values = (0..shape.iter().product()).map(|i: usize| 0.5 + (i % 7) as f32 / 10.0).collect();
            all.insert(name, Tensor { shape: shape.to_vec(), values });
        };
        let mut conv = |conv: &str, norm: &str, shape: [usize; 4]| {
            put(format!("{conv}.weight"), &shape);
            for part in ["weight", "bias", "running_mean", "running_var"] {
                put(format!("{norm}.{part}"), &shape[..1]);
            }
        };
        conv("_conv_stem", "_bn0", [4, 3, 3, 3]);
        conv("_blocks.0._depthwise_conv", "_blocks.0._bn1", [4, 1, 3, 3]);
        conv("_blocks.0._project_conv", "_blocks.0._bn2", [4, 4, 1, 1]);
        for (block, before) in [(1, 4), (2, 6)] {
            let name = |part: &str| format!("_blocks.{block}.{part}");
            conv(&name("_expand_conv"), &name("_bn0"), [before * 2, before, 1, 1]);
            conv(&name("_depthwise_conv"), &name("_bn1"), [before * 2, 1, 5, 5]);
            conv(&name("_project_conv"), &name("_bn2"), [6, before * 2, 1, 1]);
        }
        conv("_conv_head", "_bn1", [8, 6, 1, 1]);
        put("_fc.weight".to_owned(), &[3, 8]);
        put("_fc.bias".to_owned(), &[3]);
        all
    }

    fn nodes(op: &str) -> Vec<Node> {
        let bytes = model(&TINY, &weights(), &[], false).expect("model");
        let graph = Model::decode(&bytes[..]).expect("decodes").graph.expect("graph");
        graph.node.into_iter().filter(|node| node.op_type == op).collect()
    }

    #[test]
    fn every_operator_reads_what_was_made_before() {
        let bytes = model(&TINY, &weights(), &[], false).expect("model");
        let graph = Model::decode(&bytes[..]).expect("decodes").graph.expect("graph");
        let mut known: Vec<String> = graph.initializer.iter().map(|c| c.name.clone()).collect();
        known.push("image".to_owned());
        for node in &graph.node {
            assert!(node.input.iter().all(|input| known.contains(input)), "{} reads the future", node.name);
            known.extend(node.output.clone());
        }
        assert!(graph.output.iter().all(|output| known.contains(&output.name)));
    }

    #[test]
    fn shortcuts_are_where_shapes_stay() {
        // Block 0 keeps 4 channels, block 1 changes size, block 2 keeps 6.
        let names: Vec<String> = nodes("Add").into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["_blocks.0.add", "_blocks.2.add"]);
    }

    #[test]
    fn narrowing_is_not_clipped_and_pads_follow_the_side() {
        assert!(nodes("Clip").iter().all(|node| !node.name.contains("_project_conv")));
        let convs = nodes("Conv");
        let pads = |name: &str| {
            let node = convs.iter().find(|node| node.name == name).expect("node");
            node.attribute.iter().find(|a| a.name == "pads").expect("pads").ints.clone()
        };
        // 9 -> 5 by stride 2 and 3 pixels; 5 -> 3 by stride 2 and 5 pixels.
        assert_eq!(pads("_conv_stem"), [1, 1, 1, 1]);
        assert_eq!(pads("_blocks.1._depthwise_conv"), [2, 2, 2, 2]);
        assert_eq!(pads("_conv_head"), [0, 0, 0, 0]);
    }

    #[test]
    fn the_same_weights_give_the_same_bytes() {
        let file = |half| model(&TINY, &weights(), &[], half).expect("model");
        assert_eq!(file(false), file(false));
        assert_eq!(file(true), file(true));
        assert!(file(true).len() < file(false).len());
    }

    #[test]
    fn a_missing_or_misshapen_tensor_is_named() {
        let mut bad = weights();
        bad.remove("_blocks.1._bn1.bias");
        let error = model(&TINY, &bad, &[], false).expect_err("missing").to_string();
        assert!(error.contains("_blocks.1._bn1.bias"), "{error}");
        let mut bad = weights();
        bad.insert("_fc.bias".to_owned(), Tensor { shape: vec![2], values: vec![0.0; 2] });
        let error = model(&TINY, &bad, &[], false).expect_err("shape").to_string();
        assert!(error.contains("[3]") && error.contains("[2]"), "{error}");
        let mut bad = weights();
        bad.get_mut("_bn0.running_var").expect("there").values[0] = f32::NAN;
        assert!(model(&TINY, &bad, &[], false).expect_err("nan").to_string().contains("not finite"));
    }
}
