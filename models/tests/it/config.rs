//! Every rule of `model.toml`: a valid file reads back as written, and each fault names its key.

use models::bundle::{
    BundleConfig, DatasetConfig, EngineKind, FeatureConfig, MetricConfig, NetworkConfig, QueueConfig,
    TensorConfig, TimeoutAction,
};

use crate::support::{config, networks};

/// The complaint about the configuration of network `index` after `spoil`.
fn complaint(index: usize, spoil: impl FnOnce(&mut BundleConfig)) -> String {
    let mut config = config(&networks()[index]);
    config.check().expect("valid before");
    spoil(&mut config);
    config.check().expect_err("a fault").to_string()
}

fn full() -> BundleConfig {
    let mut config = config(&networks()[0]);
    config.labels = ["low", "normal", "high"].map(String::from).to_vec();
    config.features = (0..6)
        .map(|index| FeatureConfig {
            name: format!("feature{index}"),
            unit: Some("mmol/L".into()),
            loinc: None,
            low: Some(0.0),
            high: Some(1.5),
        })
        .collect();
    let dataset = DatasetConfig {
        id: "made up".into(),
        version: "1".into(),
        sha256: "0f".repeat(32),
        licence: "CC0-1.0".into(),
    };
    config.lineage.datasets = vec![dataset];
    config.batching.preferred_rows = vec![8, 16];
    config.batching.cache_bytes_max = 1 << 20;
    config.batching.queue = QueueConfig {
        depth_max: 32,
        timeout_us: 5_000,
        timeout_action: TimeoutAction::Delay,
        timeout_override: false,
    };
    config.metrics = vec![MetricConfig {
        name: "auc".into(),
        value: 0.9,
        low: Some(0.8),
        high: Some(0.95),
        split: "test".into(),
        subgroup: Some("sex=female".into()),
    }];
    config
}

#[test]
fn a_full_file_reads_back_as_it_was_written() {
    let all = networks().iter().map(config).chain([full()]).collect::<Vec<_>>();
    for config in all {
        let text = config.to_toml().expect("text");
        assert_eq!(BundleConfig::from_toml(&text).expect(&text), config);
    }
}

#[test]
fn unknown_keys_and_malformed_versions_are_refused() {
    let text = full().to_toml().expect("text");
    for (from, to) in [
        ("name = \"test_model\"", "name = \"test_model\"\ncolour = \"red\""),
        ("hidden = ", "colour = \"red\"\nhidden = "),
        ("tolerance = ", "colour = 1\ntolerance = "),
        ("kind = \"classifier\"", "kind = \"oracle\""),
        ("MPS-TEST-v1.0.0-FP32", "v1"),
        ("FP32\"\ndims", "FP31\"\ndims"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let error = BundleConfig::from_toml(&text.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains("model.toml"), "{error}");
    }
}

#[test]
fn each_fault_names_its_key() {
    let other_input = || TensorConfig::rows("features", &[7]);
    let cases: Vec<(&str, String)> = vec![
        ("schema_version", complaint(0, |c| c.schema_version = 2)),
        ("name `Bad/Name`", complaint(0, |c| c.name = "Bad/Name".into())),
        ("intended_use", complaint(0, |c| c.intended_use = " ".into())),
        ("[[input]]", complaint(0, |c| c.inputs.clear())),
        ("twice", complaint(2, |c| c.outputs[1].name = c.outputs[0].name.clone())),
        ("must be -1", complaint(0, |c| c.inputs[0].dims[0] = 4)),
        ("at least 1", complaint(0, |c| c.inputs[0].dims[1] = 0)),
        ("`features` has dims", complaint(0, |c| c.inputs[0] = other_input())),
        ("2 [[input]]", complaint(1, |c| c.inputs.push(TensorConfig::rows("present", &[6])))),
        ("`present`", complaint(0, |c| c.inputs[1].name = "mask".into())),
        ("FP64", complaint(0, |c| c.outputs[0].dtype = "FP64".into())),
        ("2 labels", complaint(0, |c| c.labels = vec!["a".into(), "b".into()])),
        ("labels must be", complaint(0, |c| c.labels = vec!["a".into(), "b".into(), "a".into()])),
        ("1 features", complaint(0, |c| c.features = full().features[..1].to_vec())),
        ("no [network]", complaint(0, |c| c.network = None)),
        ("takes no [network]", complaint(0, |c| c.engine = EngineKind::Onnx)),
        ("[forecast]", complaint(3, |c| c.forecast = None)),
        ("rows_max", complaint(0, |c| c.batching.rows_max = 0)),
        ("linger_us", complaint(0, |c| c.batching.linger_us = u64::MAX / 2)),
        ("preferred_rows", complaint(0, |c| c.batching.preferred_rows = vec![8, 8])),
        ("preferred_rows", complaint(0, |c| c.batching.preferred_rows = vec![0])),
        ("preferred_rows", complaint(0, |c| c.batching.preferred_rows = vec![65])),
        ("preferred_rows", complaint(0, |c| c.batching.preferred_rows = (1..=17).collect())),
        ("cache_bytes_max", complaint(0, |c| c.batching.cache_bytes_max = usize::MAX)),
        ("timeout_us", complaint(0, |c| c.batching.queue.timeout_us = u64::MAX)),
        ("golden.tolerance", complaint(0, |c| c.golden.tolerance = f64::NAN)),
        (
            "sha256",
            complaint(0, |c| {
                c.lineage.datasets = full().lineage.datasets;
                c.lineage.datasets[0].sha256 = "abc".into();
            }),
        ),
        (
            "metric `auc`",
            complaint(0, |c| {
                c.metrics = full().metrics;
                c.metrics[0].high = Some(0.1);
            }),
        ),
    ];
    for (part, message) in cases {
        assert!(message.contains("model.toml") && message.contains(part), "`{message}` should say `{part}`");
    }
}

#[test]
fn the_time_grid_of_a_forecaster_must_rise() {
    let forecast = |spoil: fn(&mut models::bundle::ForecastConfig)| {
        complaint(3, |c| c.forecast.iter_mut().for_each(spoil))
    };
    for (part, message) in [
        ("quantiles", forecast(|f| f.quantiles.reverse())),
        ("quantiles", forecast(|f| f.quantiles[0] = 0.0)),
        ("horizons_seconds", forecast(|f| f.horizons_seconds.reverse())),
        ("2 horizons and 4", forecast(|f| f.quantiles.truncate(4))),
        ("history_steps", forecast(|f| f.history_steps = 5)),
        ("step_seconds", forecast(|f| f.step_seconds = 0)),
    ] {
        assert!(message.contains(part), "`{message}` should say `{part}`");
    }
}

#[test]
fn a_hostile_size_is_refused_before_anything_is_allocated() {
    let body = |spoil: fn(&mut models::bundle::BodyConfig)| {
        complaint(0, |c| {
            if let Some(NetworkConfig::Classifier(classifier)) = &mut c.network {
                spoil(&mut classifier.body);
            }
        })
    };
    for (part, message) in [
        ("members", body(|b| b.members = 0)),
        ("members", body(|b| b.members = usize::MAX)),
        ("hidden", body(|b| b.hidden = vec![usize::MAX])),
        ("hidden", body(|b| b.hidden = vec![1; 1000])),
        ("dropout", body(|b| b.dropout = 1.0)),
        ("dropout", body(|b| b.dropout = f32::NAN)),
    ] {
        assert!(message.contains(part), "`{message}` should say `{part}`");
    }
}
