//! Training end to end on simulated data, with little effort: the steps work and repeat bit for bit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use models::Bundle;
use training::data::Store;
use training::evaluate::evaluate;
use training::families::{ALL, Context, Effort, Family};
use training::optimise::Progress;

fn context(dir: &Path, seed: u64) -> Context {
    Context {
        store: Store::open(&dir.join("data")).expect("a store"),
        out: dir.join("bundles"),
        seed,
        progress: Progress::hidden(),
        effort: Effort::Trial,
    }
}

fn family(name: &str) -> &'static Family {
    ALL.iter().find(|family| family.name == name).expect("known")
}

/// Bytes of every file of a bundle folder.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path());
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    entries.map(|path| (name(&path), fs::read(&path).expect("readable"))).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let train = |seed| {
        let dir = tempfile::tempdir().expect("folder");
        let report = family("sensor-value").train(&context(dir.path(), seed)).expect("trained");
        files(&report.dir)
    };
    let first = train(5);
    assert_eq!(first, train(5));
    assert_ne!(first["weights.safetensors"], train(6)["weights.safetensors"]);
}

#[test]
fn every_simulated_model_is_made_and_measured_alike() {
    let dir = tempfile::tempdir().expect("folder");
    let context = context(dir.path(), 3);
    for family in ALL.iter().filter(|family| family.name.starts_with("sensor-")) {
        let trained = family.train(&context).expect("trained");
        let bundle = Bundle::open(&trained.dir).expect("a whole bundle");
        assert!(bundle.config().synthetic && trained.report.synthetic, "{}", family.name);
        // What the card says is what the bundle does: measuring again gives the same figures.
        let again = evaluate(&bundle, &context).expect("measured");
        assert_eq!(trained.report.measures, again.measures, "{}", family.name);
        assert!(again.measures.iter().all(|measure| measure.value.is_finite()));
    }
}

#[test]
fn a_half_precision_sibling_is_whole_smaller_and_says_what_it_costs() {
    let dir = tempfile::tempdir().expect("folder");
    let context = context(dir.path(), 3);
    let trained = family("sensor-quality").train(&context).expect("trained");
    let full = Bundle::open(&trained.dir).expect("whole");
    assert!(full.card().contains("With weights of 16 bits"), "the full card says it too");
    let halved = family("sensor-quality").halve(&full, &context).expect("written");
    assert!(halved.dir.to_string_lossy().ends_with("-FP16"), "{}", halved.dir.display());
    let half = Bundle::open(&halved.dir).expect("whole");
    half.load(&models::engine::CandleEngine::new()).expect("golden outputs come back");
    assert!(half.card().contains("## Number format") && half.card().contains("| 16 bits |"));
    assert!(halved.bytes.1 < halved.bytes.0 && halved.figures[0].loss() < training::families::LOSS_MAX);
    assert_eq!(half.calibration_json(), full.calibration_json());
    let again = family("sensor-quality").halve(&half, &context).expect_err("fewer bits already").to_string();
    assert!(again.contains("FP32"), "{again}");
    let other = family("sensor-anomaly").halve(&full, &context).expect_err("another model").to_string();
    assert!(other.contains("sensor-quality"), "{other}");
}

#[test]
fn a_bundle_of_no_known_family_is_refused() {
    let dir = tempfile::tempdir().expect("folder");
    let context = context(dir.path(), 3);
    let trained = family("sensor-quality").train(&context).expect("trained");
    let text = fs::read_to_string(trained.dir.join("model.toml")).expect("readable");
    assert!(text.contains("name = \"sensor-quality\""));
    let config = models::bundle::BundleConfig::from_toml(
        &text.replace("name = \"sensor-quality\"", "name = \"unheard-of\""),
    )
    .expect("still valid");
    let bundle = Bundle::open(&trained.dir).expect("whole");
    let other = models::bundle::BundleWriter::new(config)
        .weights(bundle.weights().expect("weights"))
        .calibration(bundle.calibration_json())
        .card(bundle.card())
        .golden(&bundle.golden().expect("golden"))
        .and_then(|writer| writer.write(dir.path().join("other")))
        .expect("written");
    let error = evaluate(&other, &context).expect_err("unknown").to_string();
    assert!(error.contains("unheard-of"), "{error}");
}
