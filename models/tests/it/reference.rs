//! The networks against the formulas of their documentation, worked out again in double precision without
//! a single function of the engine: a kernel that is fast and wrong alike in training and serving would
//! pass every other test.

use std::collections::BTreeMap;

use models::bundle::{Activation, BodyConfig, Link, NetworkConfig};
use models::{Tensor, bundle::RegressorConfig};
use proptest::prelude::*;

use crate::support::{config, inputs, model, networks, run, tensors, trained};

/// Weights by name, in double precision.
struct Weights(BTreeMap<String, Vec<f64>>);

impl Weights {
    fn of(network: &NetworkConfig) -> Self {
        let (map, _) = trained(network);
        let wide = |tensor: &Tensor| tensor.as_f32().expect("FP32").iter().map(|v| f64::from(*v)).collect();
        Self(tensors(&map).iter().map(|(name, tensor)| (name.clone(), wide(tensor))).collect())
    }

    fn get(&self, name: &str) -> &[f64] {
        &self.0[name]
    }

    /// `x · W + b` of one member; `weight` is `[members, inputs, outputs]`.
    fn linear(&self, layer: &str, member: usize, x: &[f64], outputs: usize) -> Vec<f64> {
        let weight = &self.get(&format!("{layer}.weight"))[member * x.len() * outputs..];
        let bias = self.0.get(&format!("{layer}.bias"));
        (0..outputs)
            .map(|out| {
                let dot: f64 = x.iter().enumerate().map(|(at, x)| x * weight[at * outputs + out]).sum();
                dot + bias.map_or(0.0, |bias| bias[member * outputs + out])
            })
            .collect()
    }

    /// The raw answer of one perceptron.
    fn perceptron(&self, body: &BodyConfig, member: usize, x: &[f64], outputs: usize) -> Vec<f64> {
        let mut now = x.to_vec();
        for (index, width) in body.hidden.iter().enumerate() {
            now = self.linear(&format!("body.{index}"), member, &now, *width);
            now.iter_mut().for_each(|value| *value = activate(body.activation, *value));
        }
        let mut raw = self.linear(&format!("body.{}", body.hidden.len()), member, &now, outputs);
        if body.skip {
            let skip = self.linear("skip", member, x, outputs);
            raw.iter_mut().zip(skip).for_each(|(raw, skip)| *raw += skip);
        }
        raw
    }

    /// Standardised values, 0 where missing, followed by the marks of a masked network.
    fn standardise(&self, values: &[f64], present: Option<&[f64]>) -> Vec<f64> {
        let [center, scale, log] = ["center", "scale", "log"].map(|n| self.get(&format!("standardise.{n}")));
        let standard = |at: usize| {
            let value = if log[at] == 0.0 { values[at] } else { values[at].max(1e-3).ln() };
            ((value - center[at]) / scale[at]).clamp(-1e4, 1e4)
        };
        let there = |at: usize| present.is_none_or(|present| present[at] != 0.0);
        let mut row: Vec<f64> =
            (0..values.len()).map(|at| if there(at) { standard(at) } else { 0.0 }).collect();
        row.extend(present.unwrap_or_default());
        row
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Gelu => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn softmax(raw: &[f64]) -> Vec<f64> {
    let top = raw.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = raw.iter().map(|v| (v - top).exp()).sum();
    raw.iter().map(|v| (v - top).exp() / sum).collect()
}

/// Quantiles that rise from the middle one outwards by softplus steps.
fn ordered(raw: &[f64]) -> Vec<f64> {
    let middle = raw.len() / 2;
    let sum = |range: std::ops::Range<usize>| raw[range].iter().map(|v| softplus(*v)).sum::<f64>();
    let quantile = |at: usize| match at.cmp(&middle) {
        std::cmp::Ordering::Less => raw[middle] - sum(at..middle),
        std::cmp::Ordering::Equal => raw[middle],
        std::cmp::Ordering::Greater => raw[middle] + sum(middle + 1..at + 1),
    };
    (0..raw.len()).map(quantile).collect()
}

/// The first output of one row, by the book.
fn answer(network: &NetworkConfig, weights: &Weights, values: &[f64], present: Option<&[f64]>) -> Vec<f64> {
    let body = network.body().expect("a network with perceptrons");
    let outputs: usize = match network {
        NetworkConfig::Autoencoder(_) => values.len(),
        NetworkConfig::Classifier(_)
        | NetworkConfig::Regressor(_)
        | NetworkConfig::Forecaster(_)
        | NetworkConfig::Risk(_)
        | NetworkConfig::Encoder(_) => network.output_dims()[0].iter().product(),
    };
    let x = match network {
        NetworkConfig::Forecaster(_) => history(weights, values),
        NetworkConfig::Classifier(_)
        | NetworkConfig::Regressor(_)
        | NetworkConfig::Autoencoder(_)
        | NetworkConfig::Risk(_)
        | NetworkConfig::Encoder(_) => weights.standardise(values, present),
    };
    let members: Vec<Vec<f64>> = (0..body.members)
        .map(|m| linked(network, weights, weights.perceptron(body, m, &x, outputs)))
        .collect();
    let mean: Vec<f64> = (0..outputs)
        .map(|at| members.iter().map(|member| member[at]).sum::<f64>() / members.len() as f64)
        .collect();
    match network {
        NetworkConfig::Forecaster(_) => {
            let (scale, last) = (weights.get("standardise.scale")[0], values[values.len() - 1]);
            mean.iter().map(|v| v * scale + last).collect()
        }
        NetworkConfig::Autoencoder(_) => {
            let there = |at: usize| present.is_none_or(|present| present[at] != 0.0);
            let squares: Vec<f64> =
                (0..values.len()).filter(|at| there(*at)).map(|at| (x[at] - mean[at]).powi(2)).collect();
            vec![squares.iter().sum::<f64>() / squares.len().max(1) as f64]
        }
        NetworkConfig::Classifier(_)
        | NetworkConfig::Regressor(_)
        | NetworkConfig::Risk(_)
        | NetworkConfig::Encoder(_) => mean,
    }
}

fn history(weights: &Weights, values: &[f64]) -> Vec<f64> {
    let [center, scale] = ["center", "scale"].map(|n| weights.get(&format!("standardise.{n}"))[0]);
    let last = values[values.len() - 1];
    values.iter().map(|v| (v - last) / scale).chain([(last - center) / scale]).collect()
}

fn linked(network: &NetworkConfig, weights: &Weights, raw: Vec<f64>) -> Vec<f64> {
    match network {
        NetworkConfig::Classifier(_) => softmax(&raw),
        NetworkConfig::Regressor(RegressorConfig { link, .. }) => {
            let (center, scale) = (weights.get("output.center"), weights.get("output.scale"));
            let linear = raw.iter().zip(center).zip(scale).map(|((v, c), s)| v * s + c);
            linear
                .map(|v| match link {
                    Link::Linear => v,
                    Link::Exp => v.exp(),
                    Link::Softplus => softplus(v),
                })
                .collect()
        }
        NetworkConfig::Forecaster(forecaster) => raw.chunks(forecaster.quantiles).flat_map(ordered).collect(),
        NetworkConfig::Autoencoder(_) | NetworkConfig::Risk(_) | NetworkConfig::Encoder(_) => raw,
    }
}

/// How far the served first output is from the book's, at worst, relative to its size.
fn distance(network: &NetworkConfig, rows: usize, seed: u64) -> f64 {
    let (weights, inputs) = (Weights::of(network), inputs(&config(network), rows, seed));
    let served = run(&mut *model(network), &inputs);
    let served = served[0].as_f32().expect("FP32");
    let wide = |tensor: &Tensor| -> Vec<f64> {
        tensor.as_f32().expect("FP32").iter().map(|v| f64::from(*v)).collect()
    };
    let (values, present) = (wide(&inputs[0]), inputs.get(1).map(wide));
    let width = network.inputs();
    let expected = (0..rows).flat_map(|row| {
        let cut = row * width..(row + 1) * width;
        answer(network, &weights, &values[cut.clone()], present.as_ref().map(|marks| &marks[cut]))
    });
    let expected: Vec<f64> = expected.collect();
    assert_eq!(expected.len(), served.len(), "{network:?}");
    let gaps = expected.iter().zip(served.iter()).map(|(e, s)| (e - f64::from(*s)).abs() / e.abs().max(1.0));
    gaps.fold(0.0, f64::max)
}

/// Every kind of network that perceptrons make up (the encoder of text has its own reference), and every link of the regressor.
fn all() -> Vec<NetworkConfig> {
    let mut all = networks();
    for link in [Link::Linear, Link::Softplus] {
        if let NetworkConfig::Regressor(regressor) = &networks()[1] {
            all.push(NetworkConfig::Regressor(RegressorConfig { link, ..regressor.clone() }));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn every_network_computes_what_its_documentation_says(rows in 1usize..6, seed: u64) {
        for network in all() {
            let distance = distance(&network, rows, seed);
            prop_assert!(distance < 2e-4, "{network:?} is {distance} away");
        }
    }
}

#[test]
fn a_network_without_hidden_layers_is_a_linear_map() {
    for network in all() {
        let mut network = network;
        match &mut network {
            NetworkConfig::Classifier(c) => c.body.hidden.clear(),
            NetworkConfig::Regressor(c) => c.body.hidden.clear(),
            NetworkConfig::Autoencoder(c) => c.body.hidden.clear(),
            NetworkConfig::Forecaster(c) => c.body.hidden.clear(),
            NetworkConfig::Risk(c) => c.body.hidden.clear(),
            NetworkConfig::Encoder(_) => continue,
        }
        let distance = distance(&network, 4, 17);
        assert!(distance < 2e-4, "{network:?} is {distance} away");
    }
}
