//! One suite over both engines: the same perceptron as candle weights and as an ONNX graph.

use std::path::PathBuf;

use models::bundle::{
    BodyConfig, BundleConfig, BundleWriter, ClassifierConfig, EngineKind, Golden, NetworkConfig, TensorConfig,
};
use models::engine::{CandleEngine, OnnxEngine, OnnxOptions, VARIABLES};
use models::{Batch, Bundle, DType, Engine, Model, ModelError, Tensor};

use crate::support::onnx::Perceptron;
use crate::support::{config, inputs, numbers, placed, run, weights};

const WIDTHS: [usize; 3] = [6, 17, 3];

fn perceptron() -> Perceptron {
    let [inputs, hidden, outputs] = WIDTHS;
    Perceptron {
        widths: WIDTHS,
        w0: numbers(inputs * hidden, 1),
        b0: numbers(hidden, 2),
        w1: numbers(hidden * outputs, 3),
        b1: numbers(outputs, 4),
    }
}

fn candle_weights() -> Vec<u8> {
    let ([inputs, hidden, outputs], perceptron) = (WIDTHS, perceptron());
    let tensor = |name: &str, shape: &[usize], values: &[f32]| {
        (name.to_owned(), Tensor::from_f32(shape.to_vec(), values).expect("a tensor"))
    };
    weights(&[
        tensor("body.0.weight", &[1, inputs, hidden], &perceptron.w0),
        tensor("body.0.bias", &[1, 1, hidden], &perceptron.b0),
        tensor("body.1.weight", &[1, hidden, outputs], &perceptron.w1),
        tensor("body.1.bias", &[1, 1, outputs], &perceptron.b1),
        tensor("standardise.center", &[inputs], &[0.0; 6]),
        tensor("standardise.scale", &[inputs], &[1.0; 6]),
        tensor("standardise.log", &[inputs], &[0.0; 6]),
    ])
}

fn config_for(engine: EngineKind) -> BundleConfig {
    let [inputs, hidden, outputs] = WIDTHS;
    let body = BodyConfig::new([hidden]);
    let network =
        NetworkConfig::Classifier(ClassifierConfig { inputs, masked: false, outputs, body, forest: None });
    let mut config = config(&network);
    config.engine = engine;
    if engine == EngineKind::Onnx {
        config.network = None;
    }
    config
}

/// ONNX Runtime where the environment names it; without it half of the suite is left out.
pub(crate) fn onnx() -> Option<OnnxEngine> {
    let engine = OnnxEngine::find(None, &[], OnnxOptions { device: placed(), ..OnnxOptions::default() });
    match engine {
        Ok(engine) => Some(engine),
        Err(error) => {
            assert!(VARIABLES.iter().all(|name| std::env::var_os(name).is_none()), "{error}");
            // Straight to the stream: the macro is for programs, and a skipped test must be seen.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"skipped: ONNX Runtime is not installed\n",
            );
            None
        }
    }
}

/// Runs `check` with each engine, a name for messages, and the same model opened by it.
fn with_each(check: impl Fn(&str, &BundleConfig, &dyn Engine, Vec<u8>, Box<dyn Model>)) {
    let (candle, config) =
        (CandleEngine::on(placed()).expect("the device is there"), config_for(EngineKind::Candle));
    let model = candle.open(&config, &candle_weights()).expect("a model");
    check("candle", &config, &candle, candle_weights(), model);
    if let Some(onnx) = onnx() {
        let (config, graph) = (config_for(EngineKind::Onnx), perceptron().graph());
        let model = onnx.open(&config, &graph).expect("a model");
        check("onnx", &config, &onnx, graph, model);
    }
}

/// The perceptron by the book, in double precision.
fn expected(features: &[f32]) -> Vec<f64> {
    let (perceptron, [_, hidden, outputs]) = (perceptron(), WIDTHS);
    let layer = |x: &[f64], w: &[f32], b: &[f32]| -> Vec<f64> {
        let sum = |column: usize| {
            x.iter().enumerate().map(|(k, x)| x * f64::from(w[k * b.len() + column])).sum::<f64>()
        };
        b.iter().enumerate().map(|(column, b)| sum(column) + f64::from(*b)).collect()
    };
    let x: Vec<f64> = features.iter().map(|value| f64::from(*value)).collect();
    let x: Vec<f64> = layer(&x, &perceptron.w0, &perceptron.b0).iter().map(|value| value.max(0.0)).collect();
    assert_eq!(x.len(), hidden);
    let exponents: Vec<f64> =
        layer(&x, &perceptron.w1, &perceptron.b1).iter().map(|value| value.exp()).collect();
    assert_eq!(exponents.len(), outputs);
    exponents.iter().map(|value| value / exponents.iter().sum::<f64>()).collect()
}

#[test]
fn both_compute_the_perceptron() {
    with_each(|name, config, _, _, mut model| {
        let inputs = inputs(config, 9, 21);
        let outputs = run(&mut *model, &inputs);
        assert_eq!((outputs.len(), outputs[0].shape()), (1, &[9, 3][..]), "{name}");
        let (features, got) = (inputs[0].as_f32().expect("numbers"), outputs[0].as_f32().expect("numbers"));
        for (features, got) in features.chunks(6).zip(got.chunks(3)) {
            for (got, want) in got.iter().zip(expected(features)) {
                assert!((f64::from(*got) - want).abs() < 1e-5, "{name}: {got} {want}");
            }
        }
    });
}

#[test]
fn both_keep_rows_apart_and_take_unaligned_bytes() {
    with_each(|name, config, _, _, mut model| {
        let inputs = inputs(config, 6, 22);
        let together = run(&mut *model, &inputs);
        for row in 0..6 {
            let alone = run(&mut *model, &[inputs[0].slice_rows(row, 1).expect("a row")]);
            let together = together[0].slice_rows(row, 1).expect("a row");
            let (alone, together) =
                (alone[0].to_f64().expect("numbers"), together.to_f64().expect("numbers"));
            let near = alone.iter().zip(&together).all(|(one, other)| (one - other).abs() < 1e-6);
            assert!(near, "{name}: {alone:?} {together:?}");
        }
        let mut shifted = vec![0u8];
        shifted.extend_from_slice(inputs[0].data());
        let data = bytes::Bytes::from(shifted).slice(1..);
        let shifted = Tensor::new(DType::F32, vec![6, 6], data).expect("a tensor");
        assert_eq!(run(&mut *model, &[shifted]), together, "{name}");
    });
}

#[test]
fn both_serve_a_bundle_and_check_its_golden_outputs() {
    with_each(|name, config, engine, weights, mut model| {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let signature = config.signature().expect("a signature");
        let golden = Golden::record(&mut *model, &signature, inputs(config, 4, 23)).expect("golden");
        let write = |golden: &Golden, dir: &str| -> Result<Bundle, ModelError> {
            let writer = BundleWriter::new(config.clone()).weights(weights.clone());
            writer.calibration("{}").card("# x").golden(golden)?.write(parent.path().join(dir))
        };
        let bundle = write(&golden, "good").expect("written");
        let mut loaded = bundle.load(engine).expect("loaded");
        assert_eq!(run(&mut *loaded, golden.inputs()), golden.outputs(), "{name}");
        struct Liar;
        impl Model for Liar {
            fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
                let rows = batch.rows();
                Ok(Batch { tensors: vec![Tensor::from_f32(vec![rows, 3], &vec![0.5; rows * 3])?] })
            }
        }
        let wrong = Golden::record(&mut Liar, &signature, inputs(config, 4, 23)).expect("golden");
        let error =
            write(&wrong, "bad").expect("written").load(engine).map(|_| ()).expect_err(name).to_string();
        assert!(error.contains("golden.safetensors") && error.contains("output0"), "{error}");
    });
}

#[test]
fn a_graph_unlike_its_signature_is_refused() {
    let Some(onnx) = onnx() else { return };
    let refused = |spoil: fn(&mut BundleConfig)| {
        let mut config = config_for(EngineKind::Onnx);
        spoil(&mut config);
        onnx.open(&config, &perceptron().graph()).map(|_| ()).expect_err("unlike").to_string()
    };
    for (part, message) in [
        ("input `other`: is not in the graph", refused(|c| c.inputs[0].name = "other".into())),
        ("output `output0`: has dimensions", refused(|c| c.outputs[0].dims[1] = 4)),
        ("input `features`: is", refused(|c| c.inputs[0].dtype = "INT64".into())),
        ("input `more`", refused(|c| c.inputs.push(TensorConfig::rows("more", &[1])))),
    ] {
        assert!(message.contains("model.onnx") && message.contains(part), "`{message}` should say `{part}`");
    }
    for graph in [&b"not a graph"[..], &perceptron().graph()[..40], &[]] {
        let error =
            onnx.open(&config_for(EngineKind::Onnx), graph).map(|_| ()).expect_err("malformed").to_string();
        assert!(error.contains("model.onnx"), "{error}");
    }
}

#[test]
fn a_library_that_is_not_there_is_named_with_the_command_that_brings_it() {
    let path = PathBuf::from("/nonexistent/libonnxruntime.so");
    let error = OnnxEngine::find(Some(&path), &[], OnnxOptions::default()).map(|_| ()).expect_err("absent");
    let message = error.to_string();
    assert!(
        message.contains("/nonexistent/libonnxruntime.so") && message.contains("make setup"),
        "{message}"
    );
}
