//! Small models with made-up weights, their bundles, and ways to spoil them.

pub(crate) mod onnx;

use std::fs;
use std::path::Path;

use candle_core::{DType as CandleDType, Device};
use candle_nn::{VarBuilder, VarMap};
use models::bundle::{
    Activation, AutoencoderConfig, BatchingConfig, BodyConfig, BundleConfig, BundleWriter, ClassifierConfig,
    EngineKind, Family, ForecastConfig, ForecasterConfig, Golden, GoldenConfig, LineageConfig, Link,
    NetworkConfig, RegressorConfig, RiskConfig, SCHEMA_VERSION, TensorConfig, to_safetensors,
};
use models::engine::candle::network::Network;
use models::engine::{self, CandleEngine};
use models::{Batch, Bundle, Model, Tensor};
use sha2::{Digest, Sha256};

/// Numbers in [-1, 1) that look random and are always the same.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// One network of each kind, small, with every option used by at least one.
pub(crate) fn networks() -> Vec<NetworkConfig> {
    let body = |members, skip, activation| BodyConfig {
        members,
        skip,
        activation,
        dropout: 0.2,
        ..BodyConfig::new([17, 9])
    };
    let (inputs, masked) = (6, true);
    vec![
        NetworkConfig::Classifier(ClassifierConfig {
            inputs,
            masked,
            outputs: 3,
            body: body(3, true, Activation::Gelu),
            forest: None,
        }),
        NetworkConfig::Regressor(RegressorConfig {
            inputs,
            masked: false,
            outputs: 4,
            link: Link::Exp,
            body: body(2, false, Activation::Relu),
        }),
        NetworkConfig::Autoencoder(AutoencoderConfig {
            inputs,
            masked,
            body: body(1, false, Activation::Gelu),
        }),
        NetworkConfig::Forecaster(ForecasterConfig {
            inputs,
            horizons: 2,
            quantiles: 5,
            body: body(2, true, Activation::Relu),
        }),
        NetworkConfig::Risk(RiskConfig {
            inputs,
            masked,
            rising: Vec::new(),
            body: body(1, true, Activation::Relu),
        }),
    ]
}

/// The configuration of a bundle around `network`.
pub(crate) fn config(network: &NetworkConfig) -> BundleConfig {
    let width = network.inputs() as i64;
    let mut inputs = vec![TensorConfig::rows("features", &[width])];
    if network.masked() {
        inputs.push(TensorConfig::rows("present", &[width]));
    }
    let outputs = network.output_dims().into_iter().enumerate().map(|(index, dims)| {
        TensorConfig::rows(&format!("output{index}"), &dims.iter().map(|dim| *dim as i64).collect::<Vec<_>>())
    });
    let forecast = match network {
        NetworkConfig::Forecaster(forecaster) => Some(ForecastConfig {
            step_seconds: 300,
            history_steps: forecaster.inputs,
            sparse_samples_min: None,
            horizons_seconds: (1..=forecaster.horizons as u32).map(|step| step * 900).collect(),
            quantiles: (1..=forecaster.quantiles).map(|at| at as f64 / 10.0).collect(),
        }),
        NetworkConfig::Classifier(_)
        | NetworkConfig::Regressor(_)
        | NetworkConfig::Autoencoder(_)
        | NetworkConfig::Risk(_)
        | NetworkConfig::Encoder(_) => None,
    };
    BundleConfig {
        schema_version: SCHEMA_VERSION,
        name: "test_model".into(),
        version: "MPS-TEST-v1.0.0-FP32".parse().expect("a version"),
        family: Family::Generic,
        engine: EngineKind::Candle,
        task: "test".into(),
        intended_use: "Tests only.".into(),
        synthetic: true,
        labels: vec![],
        inputs,
        outputs: outputs.collect(),
        network: Some(network.clone()),
        features: vec![],
        forecast,
        batching: BatchingConfig::new(64),
        golden: GoldenConfig { tolerance: 1e-5 },
        lineage: LineageConfig { seed: 1, rows_train: 0, trained_with: "tests".into(), datasets: vec![] },
        metrics: vec![],
    }
}

/// A network over a map, as a trainer has it, with made-up weights and scales.
pub(crate) fn trained(config: &NetworkConfig) -> (VarMap, Network) {
    let map = VarMap::new();
    let vars = VarBuilder::from_varmap(&map, CandleDType::F32, &Device::Cpu);
    let network = Network::new(config, vars).expect("a network");
    for (name, var) in map.data().lock().expect("one thread").iter() {
        let seed = name.bytes().map(u64::from).sum::<u64>() + 1;
        let mut values = numbers(var.elem_count(), seed);
        match name.rsplit('.').next() {
            Some("scale") => values.iter_mut().for_each(|value| *value += 1.5),
            Some("log") => values.iter_mut().for_each(|value| *value = f32::from(*value > 0.5)),
            _ => values.iter_mut().for_each(|value| *value *= 0.5),
        }
        let values = candle_core::Tensor::from_vec(values, var.shape(), &Device::Cpu).expect("a tensor");
        var.set(&values).expect("the same shape");
    }
    (map, network)
}

/// The named tensors of a map, ours.
pub(crate) fn tensors(map: &VarMap) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<_> = map
        .data()
        .lock()
        .expect("one thread")
        .iter()
        .map(|(name, var)| {
            let values = var.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("numbers");
            (name.clone(), Tensor::from_f32(var.dims().to_vec(), &values).expect("a tensor"))
        })
        .collect();
    tensors.sort_by(|(one, _), (other, _)| one.cmp(other));
    tensors
}

/// `weights.safetensors` of these tensors.
pub(crate) fn weights(tensors: &[(String, Tensor)]) -> Vec<u8> {
    to_safetensors(tensors.iter().map(|(name, tensor)| (name.clone(), tensor))).expect("safetensors")
}

/// Rows for the inputs of `config`; every third value of a masked network is missing.
pub(crate) fn inputs(config: &BundleConfig, rows: usize, seed: u64) -> Vec<Tensor> {
    let width = config.inputs[0].dims[1] as usize;
    let values: Vec<f32> = numbers(rows * width, seed).iter().map(|value| value * 3.0).collect();
    let marks: Vec<f32> = (0..rows * width).map(|at| f32::from(u8::from(at % 3 != 1))).collect();
    let tensor = |values: &[f32]| Tensor::from_f32(vec![rows, width], values).expect("a tensor");
    let mut inputs = vec![tensor(&values)];
    if config.inputs.len() == 2 {
        inputs.push(tensor(&marks));
    }
    inputs
}

/// Where models of the tests compute: on the processor, or where `MANPASIK_TEST_DEVICE` says.
pub(crate) fn placed() -> engine::Device {
    let named = std::env::var("MANPASIK_TEST_DEVICE");
    named.map_or(engine::Device::Cpu, |text| text.parse().expect("a device"))
}

/// The model of `network` with made-up weights.
pub(crate) fn model(network: &NetworkConfig) -> Box<dyn Model> {
    let (map, _) = trained(network);
    CandleEngine::on(placed())
        .expect("the device is there")
        .open(&config(network), &weights(&tensors(&map)))
        .expect("a model")
}

/// Outputs of `model` for `inputs`, which must be accepted.
pub(crate) fn run(model: &mut dyn Model, inputs: &[Tensor]) -> Vec<Tensor> {
    model.run(Batch { tensors: inputs.to_vec() }).expect("outputs").tensors
}

/// A writer that lacks nothing.
pub(crate) fn writer(network: &NetworkConfig) -> BundleWriter {
    let config = config(network);
    let (map, _) = trained(network);
    let signature = config.signature().expect("a signature");
    let golden = Golden::record(&mut *model(network), &signature, inputs(&config, 5, 3)).expect("golden");
    BundleWriter::new(config)
        .weights(weights(&tensors(&map)))
        .calibration("{}")
        .card("# Test model")
        .golden(&golden)
        .expect("golden")
}

/// A bundle of the first network at `dir`.
pub(crate) fn bundle_at(dir: &Path) -> Bundle {
    writer(&networks()[0]).write(dir).expect("a bundle")
}

/// Makes the manifest agree with the files again, so that what lies behind the hashes is reached.
pub(crate) fn reseal(dir: &Path) {
    let mut files = serde_json::Map::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        if !name.starts_with("manifest") {
            let content = fs::read(dir.join(&name)).expect("a file");
            let hash = hex::encode(Sha256::digest(&content));
            files.insert(name, serde_json::json!({ "sha256": hash, "size": content.len() }));
        }
    }
    let manifest = serde_json::json!({ "schema_version": 1, "files": files });
    fs::write(dir.join("manifest.json"), manifest.to_string()).expect("written");
}
