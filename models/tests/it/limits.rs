//! The edges of what a bundle may say: the last value that is taken and the first that is not, one table of
//! `model.toml`, `manifest.json` or tensor file at a time.

use std::fs;
use std::path::Path;

use models::bundle::{
    BundleConfig, DatasetConfig, FeatureConfig, Golden, MetricConfig, NetworkConfig, PublicKey, SecretKey,
    TensorConfig, Version, from_safetensors, to_safetensors,
};
use models::{Bundle, DType, Tensor};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{bundle_at, config, inputs, model, networks, reseal, writer};

/// The first network's configuration after `change`.
fn changed(change: impl FnOnce(&mut BundleConfig)) -> BundleConfig {
    let mut config = config(&networks()[0]);
    change(&mut config);
    config
}

/// A configuration of a model that ONNX Runtime would run, whose tensors no network has a say in.
fn free(change: impl FnOnce(&mut BundleConfig)) -> BundleConfig {
    changed(|config| {
        config.engine = models::bundle::EngineKind::Onnx;
        config.network = None;
        change(config);
    })
}

fn feature(index: usize) -> FeatureConfig {
    FeatureConfig { name: format!("f{index}"), unit: None, loinc: None, low: Some(0.0), high: Some(1.0) }
}

fn metric(value: f64) -> MetricConfig {
    MetricConfig { name: "auc".into(), value, low: None, high: None, split: "test".into(), subgroup: None }
}

fn dataset(id: &str, version: &str, sha256: &str, licence: &str) -> DatasetConfig {
    DatasetConfig { id: id.into(), version: version.into(), sha256: sha256.into(), licence: licence.into() }
}

/// Many outputs of one column.
fn outputs(count: usize) -> Vec<TensorConfig> {
    (0..count).map(|index| TensorConfig::rows(&format!("o{index}"), &[1])).collect()
}

#[test]
fn the_last_value_inside_a_limit_is_taken() {
    let hash = "aB".repeat(32);
    let taken = [
        ("a name of 64", changed(|c| c.name = "a".repeat(64))),
        ("digits and dashes", changed(|c| c.task = "a-1_b".into())),
        ("64 tensors", free(|c| c.outputs = outputs(64))),
        ("a tensor of rank 8", free(|c| c.outputs[0].dims = vec![-1, 1, 1, 1, 1, 1, 1, 2])),
        ("a dimension of any size", free(|c| c.outputs[0].dims = vec![-1, -1])),
        ("a tensor name of 256", free(|c| c.outputs[0].name = "x".repeat(256))),
        ("65536 rows", changed(|c| c.batching.rows_max = 65_536)),
        ("a second of linger", changed(|c| c.batching.linger_us = 1_000_000)),
        ("an exact golden file", changed(|c| c.golden.tolerance = 0.0)),
        ("a tenth of tolerance", changed(|c| c.golden.tolerance = 0.1)),
        (
            "one value as its own range",
            changed(|c| {
                c.features = (0..6).map(feature).collect();
                c.features[0].low = Some(1.0);
            }),
        ),
        (
            "a range that is open",
            changed(|c| {
                c.features = (0..6).map(feature).collect();
                c.features[0].high = None;
            }),
        ),
        ("a hash in capitals", changed(|c| c.lineage.datasets = vec![dataset("a", "1", &hash, "CC0")])),
        ("a figure without interval", changed(|c| c.metrics = vec![metric(-0.5)])),
    ];
    for (what, config) in taken {
        assert!(config.check().is_ok(), "{what}: {:?}", config.check());
        let text = config.to_toml().expect("text");
        assert_eq!(BundleConfig::from_toml(&text).expect(what), config, "{what}");
    }
}

#[test]
fn the_first_value_beyond_a_limit_is_refused_with_its_key() {
    let hash = "ab".repeat(32);
    let with_features = |change: fn(&mut Vec<FeatureConfig>)| {
        changed(|c| {
            c.features = (0..6).map(feature).collect();
            change(&mut c.features);
        })
    };
    let refused = [
        ("name", changed(|c| c.name = "a".repeat(65))),
        ("name", changed(|c| c.name = "1a".into())),
        ("name", changed(|c| c.name = String::new())),
        ("task", changed(|c| c.task = "Über".into())),
        ("[[output]]", free(|c| c.outputs = outputs(65))),
        ("[[output]]", free(|c| c.outputs.clear())),
        ("output `output0` has dims", free(|c| c.outputs[0].dims = vec![-1, 1, 1, 1, 1, 1, 1, 1, 2])),
        ("output `output0` has dims", free(|c| c.outputs[0].dims = vec![-1, -2])),
        ("output `output0` has dims", free(|c| c.outputs[0].dims = vec![])),
        ("needs a name", free(|c| c.outputs[0].name = String::new())),
        ("needs a name", free(|c| c.outputs[0].name = "x".repeat(257))),
        ("input `features` is there twice", free(|c| c.inputs[1].name = "features".into())),
        ("unknown dtype `fp32`", free(|c| c.inputs[0].dtype = "fp32".into())),
        ("labels", changed(|c| c.labels = vec!["a".into(), "b".into(), String::new()])),
        (
            "labels",
            free(|c| {
                c.labels = vec!["a".into(), "b".into()];
                c.outputs[0].dims = vec![-1, -1];
            }),
        ),
        ("feature `f1` is there twice", with_features(|f| f[2].name = "f1".into())),
        ("feature `` is there twice", with_features(|f| f[0].name = String::new())),
        ("feature `f3` has low", with_features(|f| f[3].low = Some(2.0))),
        ("feature `f3` has low", with_features(|f| f[3].high = Some(f64::INFINITY))),
        ("batching.rows_max", changed(|c| c.batching.rows_max = 65_537)),
        ("batching.linger_us", changed(|c| c.batching.linger_us = 1_000_001)),
        ("golden.tolerance", changed(|c| c.golden.tolerance = 0.1001)),
        ("golden.tolerance", changed(|c| c.golden.tolerance = -1e-9)),
        ("needs an id", changed(|c| c.lineage.datasets = vec![dataset("", "1", &hash, "CC0")])),
        ("needs an id", changed(|c| c.lineage.datasets = vec![dataset("a", "", &hash, "CC0")])),
        ("needs an id", changed(|c| c.lineage.datasets = vec![dataset("a", "1", &hash, "")])),
        ("sha256", changed(|c| c.lineage.datasets = vec![dataset("a", "1", &hash[1..], "CC0")])),
        ("metric `auc`", changed(|c| c.metrics = vec![metric(f64::NAN)])),
        ("metric ``", changed(|c| c.metrics = vec![MetricConfig { name: String::new(), ..metric(1.0) }])),
        (
            "metric `auc`",
            changed(|c| {
                c.metrics = vec![MetricConfig { low: Some(f64::NAN), ..metric(1.0) }];
            }),
        ),
    ];
    for (part, config) in refused {
        let error = config.check().expect_err(part).to_string();
        assert!(error.contains("model.toml") && error.contains(part), "`{error}` lacks `{part}`");
    }
}

#[test]
fn a_forecaster_has_an_odd_number_of_quantiles_and_its_horizons_in_order() {
    let mut config = config(&networks()[3]);
    if let Some(NetworkConfig::Forecaster(forecaster)) = &mut config.network {
        forecaster.quantiles = 4;
    }
    assert!(config.check().expect_err("even").to_string().contains("network.quantiles is 4"));
    let mut config = crate::support::config(&networks()[3]);
    config.forecast.iter_mut().for_each(|forecast| forecast.horizons_seconds = vec![900, 900]);
    assert!(config.check().expect_err("twice").to_string().contains("horizons_seconds"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_to_the_text_makes_the_reader_panic(at in any::<prop::sample::Index>(), byte in 0u8..128, network in 0usize..5) {
        let mut text = config(&networks()[network]).to_toml().expect("text").into_bytes();
        let place = at.index(text.len());
        text[place] = byte;
        if let Ok(read) = BundleConfig::from_toml(&String::from_utf8_lossy(&text)) {
            prop_assert!(read.signature().is_ok() && read.to_toml().is_ok());
        }
    }

    #[test]
    fn a_version_reads_back_as_it_was_written(kind in "[A-Z0-9]([A-Z0-9_-]{0,20}[A-Z0-9])?", number: [u32; 3], at in 0usize..3) {
        let quantisation = ["FP32", "FP16", "INT8"][at];
        let [major, minor, patch] = number;
        let text = format!("MPS-{kind}-v{major}.{minor}.{patch}-{quantisation}");
        let version: Version = text.parse().expect("valid");
        prop_assert_eq!(version.to_string(), text);
        prop_assert_eq!((version.kind(), version.number()), (kind.as_str(), number));
    }

    #[test]
    fn any_text_is_a_version_or_is_not(text in "(MPS-)?[A-Zv.0-9_-]{0,30}(-FP32)?") {
        if let Ok(version) = text.parse::<Version>() {
            prop_assert_eq!(version.to_string(), text, "one version has one spelling");
        }
    }

    #[test]
    fn tensors_of_every_datatype_survive_the_file(rows in 0usize..5, seed: u8) {
        let tensors: Vec<(String, Tensor)> = DType::ALL
            .into_iter()
            .filter_map(|dtype| Some((dtype, dtype.size()?)))
            .map(|(dtype, size)| {
                let bytes: Vec<u8> = (0..rows * 3 * size).map(|at| at as u8 ^ seed).collect();
                (dtype.oip().to_owned(), Tensor::new(dtype, vec![rows, 3], bytes.into()).expect("fits"))
            })
            .collect();
        let named = tensors.iter().map(|(name, tensor)| (name.clone(), tensor));
        let read = from_safetensors("x", &to_safetensors(named).expect("written")).expect("read");
        prop_assert_eq!(read.into_iter().collect::<std::collections::BTreeMap<_, _>>(), tensors.into_iter().collect());
    }

    #[test]
    fn half_a_tensor_file_is_refused_by_name(at in any::<prop::sample::Index>()) {
        let tensor = Tensor::from_f32(vec![4], &[1.0, 2.0, 3.0, 4.0]).expect("fits");
        let bytes = to_safetensors([("a".to_owned(), &tensor)]).expect("written");
        let error = from_safetensors("golden.safetensors", &bytes[..at.index(bytes.len())]).expect_err("half");
        prop_assert!(error.to_string().contains("golden.safetensors"));
    }
}

#[test]
fn strings_come_back_from_a_tensor_file_as_they_were() {
    let strings = Tensor::new(DType::Bytes, vec![1], b"\x01\0\0\0a".as_slice().into()).expect("fits");
    let bytes = to_safetensors([("label".to_owned(), &strings)]).expect("written");
    let read = from_safetensors("golden.safetensors", &bytes).expect("read");
    assert_eq!(read.get("label"), Some(&strings));
}

#[test]
fn a_golden_file_holds_as_many_rows_as_every_load_can_afford() {
    let config = config(&networks()[0]);
    let signature = config.signature().expect("a signature");
    let record = |rows| Golden::record(&mut *model(&networks()[0]), &signature, inputs(&config, rows, 3));
    assert_eq!(record(64).expect("the most").inputs()[0].rows(), 64);
    let error = record(65).expect_err("more").to_string();
    assert!(error.contains("65 rows") && error.contains("64"), "{error}");
    assert!(record(0).expect_err("none").to_string().contains("no rows"));
    let narrow = vec![Tensor::from_f32(vec![1, 6], &[0.0; 6]).expect("fits")];
    let one = Golden::record(&mut *model(&networks()[0]), &signature, narrow).expect_err("one of two inputs");
    assert!(one.to_string().contains("expected 2 inputs"), "{one}");
}

/// The complaint about a bundle whose manifest is this JSON.
fn manifest_complaint(manifest: impl FnOnce(&Path) -> serde_json::Value) -> String {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let dir = parent.path().join("bundle");
    bundle_at(&dir);
    fs::write(dir.join("manifest.json"), manifest(&dir).to_string()).expect("written");
    Bundle::open(&dir).expect_err("a wrong manifest").to_string()
}

/// The manifest as it stands.
fn manifest(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(dir.join("manifest.json")).expect("readable")).expect("JSON")
}

#[test]
fn a_manifest_that_is_wrong_is_refused_before_any_other_file_is_believed() {
    let edit = |change: &dyn Fn(&mut serde_json::Value)| {
        manifest_complaint(|dir| {
            let mut manifest = manifest(dir);
            change(&mut manifest);
            manifest
        })
    };
    let many = (0..65).map(|at| (format!("f{at}"), json!({ "sha256": "00", "size": 0 })));
    let many: serde_json::Map<_, _> = many.collect();
    let cases = [
        (edit(&|m| m["schema_version"] = json!(2)), "schema_version is 2"),
        (edit(&|m| m["surprise"] = json!(1)), "surprise"),
        (edit(&|m| m["files"]["card.md"]["surprise"] = json!(1)), "surprise"),
        (edit(&|m| m["files"]["card.md"]["size"] = json!(-1)), "manifest.json"),
        (edit(&|m| m["files"]["card.md"]["size"] = json!(u64::MAX)), "card.md"),
        (edit(&|m| m["files"]["../card.md"] = json!({ "sha256": "00", "size": 0 })), "../card.md"),
        (edit(&|m| m["files"][".hidden"] = json!({ "sha256": "00", "size": 0 })), ".hidden"),
        (edit(&|m| m["files"] = json!({})), "model.toml"),
        (edit(&|m| m["files"] = many.clone().into()), "more than 64 files"),
        (edit(&|m| m["files"]["ghost.txt"] = json!({ "sha256": "00", "size": 0 })), "ghost.txt"),
        (edit(&|m| m["files"]["card.md"]["sha256"] = json!("00")), "card.md"),
        (manifest_complaint(|_| json!([])), "manifest.json"),
    ];
    for (message, part) in cases {
        assert!(message.contains(part), "`{message}` lacks `{part}`");
    }
}

#[test]
fn a_file_of_the_bundle_that_is_no_file_is_refused_by_name() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let dir = parent.path().join("bundle");
    bundle_at(&dir);
    fs::remove_file(dir.join("card.md")).expect("removed");
    fs::create_dir(dir.join("card.md")).expect("made");
    let error = Bundle::open(&dir).expect_err("a folder for a file").to_string();
    assert!(error.contains("card.md"), "{error}");
    let error = Bundle::open(parent.path().join("nowhere")).expect_err("no folder").to_string();
    assert!(error.contains("manifest.json"), "{error}");
    let error = Bundle::open(dir.join("model.toml")).expect_err("a file for a folder").to_string();
    assert!(error.contains("manifest.json"), "{error}");
}

#[test]
fn text_that_is_no_text_is_refused_by_name() {
    for file in ["model.toml", "card.md", "calibration.json"] {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let dir = parent.path().join("bundle");
        bundle_at(&dir);
        fs::write(dir.join(file), b"\xff\xfe").expect("written");
        reseal(&dir);
        let error = Bundle::open(&dir).expect_err(file).to_string();
        assert!(error.contains(file) && error.contains("not text"), "{error}");
    }
}

#[test]
fn keys_are_64_hexadecimal_digits_and_the_public_one_reads_back() {
    let secret = SecretKey::from_hex(&"7".repeat(64)).expect("64 digits");
    let public = PublicKey::from_hex(&secret.public().to_hex()).expect("its own spelling");
    assert_eq!(public, secret.public());
    for text in ["", "77", &"7".repeat(63), &"7".repeat(65), &"g".repeat(64)] {
        let error = SecretKey::from_hex(text).expect_err(text).to_string();
        assert!(error.contains("secret key") && error.contains("64 hexadecimal"), "{error}");
        assert!(PublicKey::from_hex(text).is_err(), "{text}");
    }
}

#[test]
fn the_digest_changes_with_the_content_and_only_with_it() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, card: &str| {
        let bundle = writer(&networks()[4]).card(card).write(parent.path().join(name)).expect("written");
        bundle.digest().to_owned()
    };
    assert_eq!(write("a", "# One"), write("b", "# One"));
    assert_ne!(write("c", "# One"), write("d", "# Two"));
}
