//! How long a model takes without a server, from tensors to tensors: one row and small batches.
//!
//! The first is the perceptron of the load tests, 88-256-128-30; the second has the size of the
//! panel models, an ensemble of eight. The weights are made up: only the time counts.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use models::bundle::{
    BatchingConfig, BodyConfig, BundleConfig, ClassifierConfig, EngineKind, Family, GoldenConfig,
    LineageConfig, NetworkConfig, SCHEMA_VERSION, TensorConfig, to_safetensors,
};
use models::engine::CandleEngine;
use models::{Batch, Model, Tensor};

struct Case {
    name: &'static str,
    inputs: usize,
    outputs: usize,
    masked: bool,
    body: BodyConfig,
}

impl Case {
    fn config(&self) -> BundleConfig {
        let features = TensorConfig::rows("features", &[self.inputs as i64]);
        let present = self.masked.then(|| TensorConfig { name: "present".into(), ..features.clone() });
        let Self { inputs, outputs, masked, ref body, .. } = *self;
        let network = ClassifierConfig { inputs, masked, outputs, body: body.clone(), forest: None };
        BundleConfig {
            schema_version: SCHEMA_VERSION,
            name: "bench".into(),
            version: "MPS-BENCH-v1.0.0-FP32".parse().expect("a version"),
            family: Family::Generic,
            engine: EngineKind::Candle,
            task: "bench".into(),
            intended_use: "Measuring time.".into(),
            synthetic: true,
            labels: vec![],
            inputs: std::iter::once(features).chain(present).collect(),
            outputs: vec![TensorConfig::rows("probabilities", &[outputs as i64])],
            network: Some(NetworkConfig::Classifier(network)),
            features: vec![],
            forecast: None,
            batching: BatchingConfig::new(64),
            golden: GoldenConfig { tolerance: 1e-5 },
            lineage: LineageConfig { seed: 0, rows_train: 0, trained_with: "bench".into(), datasets: vec![] },
            metrics: vec![],
        }
    }

    fn model(&self) -> Box<dyn Model> {
        let mut tensors = Vec::new();
        let mut add = |name: String, shape: Vec<usize>| {
            let count: usize = shape.iter().product();
            // No column takes its logarithm, as with the channels of a sensor.
            let start = if name.ends_with("log") { 0.0 } else { 0.01 };
            let values: Vec<f32> = (0..count).map(|at| start * (1 + at % 17) as f32).collect();
            tensors.push((name, Tensor::from_f32(shape, &values).expect("a tensor")));
        };
        for name in ["center", "scale", "log"] {
            add(format!("standardise.{name}"), vec![self.inputs]);
        }
        let mut width = if self.masked { 2 * self.inputs } else { self.inputs };
        for (index, next) in self.body.hidden.iter().copied().chain([self.outputs]).enumerate() {
            add(format!("body.{index}.weight"), vec![self.body.members, width, next]);
            add(format!("body.{index}.bias"), vec![self.body.members, 1, next]);
            width = next;
        }
        let weights = to_safetensors(tensors.iter().map(|(name, tensor)| (name.clone(), tensor)));
        CandleEngine::new().open(&self.config(), &weights.expect("safetensors")).expect("a model")
    }

    fn batch(&self, rows: usize) -> Batch {
        let tensor =
            Tensor::from_f32(vec![rows, self.inputs], &vec![1.0; rows * self.inputs]).expect("a tensor");
        Batch { tensors: vec![tensor; if self.masked { 2 } else { 1 }] }
    }
}

fn networks(criterion: &mut Criterion) {
    let panel = BodyConfig { members: 8, ..BodyConfig::new([64, 64]) };
    let perceptron = BodyConfig::new([256, 128]);
    let cases = [
        Case { name: "perceptron_88_256_128_30", inputs: 88, outputs: 30, masked: false, body: perceptron },
        Case { name: "panel_12_64_64_7_x8", inputs: 12, outputs: 7, masked: true, body: panel },
    ];
    for case in &cases {
        let mut model = case.model();
        let mut group = criterion.benchmark_group(case.name);
        for rows in [1, 8, 64] {
            let batch = case.batch(rows);
            group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
                bencher.iter_batched(
                    || batch.clone(),
                    |batch| model.run(black_box(batch)).expect("outputs"),
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, networks);
criterion_main!(benches);
