//! Every datatype through the ONNX engine and through a bundle, bit for bit.

use bytes::Bytes;
use models::bundle::{
    BatchingConfig, BundleConfig, BundleWriter, EngineKind, Family, Golden, GoldenConfig, LineageConfig,
    SCHEMA_VERSION, TensorConfig,
};
use models::{Batch, DType, Tensor};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::engines::onnx;
use crate::support::onnx::identity;
use crate::support::run;

fn config(dtypes: &[DType]) -> BundleConfig {
    let side = |side: &str| -> Vec<TensorConfig> {
        let tensor = |dtype: &DType| TensorConfig {
            dtype: dtype.oip().into(),
            ..TensorConfig::rows(&format!("{side}_{}", dtype.oip()), &[2])
        };
        dtypes.iter().map(tensor).collect()
    };
    BundleConfig {
        schema_version: SCHEMA_VERSION,
        name: "identity".into(),
        version: "MPS-IDENTITY-v1.0.0-FP32".parse().expect("a version"),
        family: Family::Generic,
        engine: EngineKind::Onnx,
        task: "identity".into(),
        intended_use: "Tests only.".into(),
        synthetic: true,
        labels: vec![],
        inputs: side("INPUT"),
        outputs: side("OUTPUT"),
        network: None,
        features: vec![],
        forecast: None,
        batching: BatchingConfig::new(16),
        golden: GoldenConfig { tolerance: 0.0 },
        lineage: LineageConfig { seed: 1, rows_train: 0, trained_with: "tests".into(), datasets: vec![] },
        metrics: vec![],
    }
}

/// Two columns of each datatype over `bytes`, used again and again.
fn tensors(rows: usize, bytes: &[u8]) -> Vec<Tensor> {
    let tensor = |dtype: DType| {
        let count = rows * 2;
        let mut next = bytes.iter().copied().cycle();
        if dtype == DType::Bytes {
            let texts: Vec<String> = (0..count)
                .map(|at| "é".repeat(usize::from(next.next().unwrap_or(0)) % 5) + &at.to_string())
                .collect();
            return Tensor::from_strings(vec![rows, 2], &texts).expect("fits");
        }
        let mut data: Vec<u8> = next.take(count * dtype.size().unwrap_or(0)).collect();
        match dtype {
            DType::Bool => data.iter_mut().for_each(|byte| *byte &= 1),
            // The last byte of a small float holds the high bits of its exponent: kept finite.
            DType::F16 | DType::Bf16 => data.iter_mut().skip(1).step_by(2).for_each(|byte| *byte &= 0x3b),
            DType::F32 => data.iter_mut().skip(3).step_by(4).for_each(|byte| *byte &= 0x3f),
            DType::F64 => data.iter_mut().skip(7).step_by(8).for_each(|byte| *byte &= 0x3f),
            DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::I8 | DType::I16 | DType::I32 => {}
            DType::I64 | DType::Bytes => {}
        }
        Tensor::new(dtype, vec![rows, 2], Bytes::from(data)).expect("fits")
    };
    DType::ALL.map(tensor).into()
}

#[test]
fn every_datatype_goes_through_a_graph_bit_for_bit() {
    let Some(onnx) = onnx() else { return };
    let mut model = onnx.open(&config(&DType::ALL), &identity(&DType::ALL)).expect("a model");
    let mut runner = TestRunner::new(Config::with_cases(64));
    let cases = (1usize..9, prop::collection::vec(any::<u8>(), 1..64));
    let model = std::cell::RefCell::new(&mut model);
    let checked = runner.run(&cases, |(rows, bytes)| {
        let inputs = tensors(rows, &bytes);
        let outputs = run(&mut ***model.borrow_mut(), &inputs);
        prop_assert_eq!(outputs, inputs);
        Ok(())
    });
    checked.expect("every case");
}

#[test]
fn a_bundle_keeps_golden_tensors_of_every_datatype() {
    let Some(onnx) = onnx() else { return };
    let (config, graph) = (config(&DType::ALL), identity(&DType::ALL));
    let signature = config.signature().expect("a signature");
    let mut model = onnx.open(&config, &graph).expect("a model");
    let golden = Golden::record(&mut *model, &signature, tensors(3, &[1, 200, 7])).expect("golden");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let writer = BundleWriter::new(config).weights(graph).calibration("{}").card("# x");
    let bundle = writer.golden(&golden).expect("golden").write(folder.path().join("v")).expect("written");
    let read =
        Golden::from_bytes(&bundle.file("golden.safetensors").expect("there"), &signature).expect("read");
    assert_eq!(read, golden);
    bundle.load(&onnx).expect("loads, and gives its golden outputs again");
}

#[test]
fn text_that_onnx_cannot_hold_is_refused_by_place() {
    let Some(onnx) = onnx() else { return };
    let mut model = onnx.open(&config(&[DType::Bytes]), &identity(&[DType::Bytes])).expect("a model");
    for bad in [&b"\xff"[..], b"a\0b"] {
        let tensor = Tensor::from_strings(vec![1, 2], &[b"a", bad]).expect("fits");
        let error = model.run(Batch { tensors: vec![tensor] }).expect_err("refused").to_string();
        assert!(error.starts_with("INPUT_BYTES: element 1 is not UTF-8"), "{error}");
    }
    let empty = Tensor::from_strings(vec![1, 2], &["", ""]).expect("fits");
    assert_eq!(run(&mut *model, std::slice::from_ref(&empty)), [empty]);
}
