//! The committed bundles: whole, small, accepted by their families, described in full.

use std::fs;
use std::path::{Path, PathBuf};

use models::Bundle;
use models::bundle::Family;
use models::engine::CandleEngine;
use models::family::{anomaly, biomarker, health_score, sensor, trend};
use training::families::ALL;

const BYTES_MAX: u64 = 1 << 20;
const BYTES_TOGETHER_MAX: u64 = 4 << 20;

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    let children = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).expect("the folder of bundles is there");
        entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_dir()).collect()
    };
    children(&root).iter().flat_map(|name| children(name)).collect()
}

#[test]
fn every_family_has_its_bundle_where_its_name_and_version_say() {
    let mut names: Vec<String> = Vec::new();
    for folder in folders() {
        let bundle = Bundle::open(&folder).expect("a whole bundle");
        let config = bundle.config();
        assert!(
            folder.ends_with(Path::new(&config.name).join(config.version.to_string())),
            "{}",
            folder.display()
        );
        names.push(config.name.clone());
    }
    for family in ALL {
        assert!(names.iter().any(|name| name == family.name), "no bundle of `{}`", family.name);
    }
}

#[test]
fn golden_outputs_come_back_and_families_accept_them() {
    for folder in folders() {
        let bundle = Bundle::open(&folder).expect("a whole bundle");
        bundle.load(&CandleEngine::new()).expect("golden outputs come back");
        let config = bundle.config();
        let accepted = match (config.family, config.task.as_str()) {
            (Family::Biomarker, _) => biomarker::Encoder::new(&bundle).map(|_| ()),
            (Family::Anomaly, _) => anomaly::Encoder::new(&bundle).map(|_| ()),
            (Family::Trend, _) => trend::Encoder::new(&bundle).map(|_| ()),
            (Family::HealthScore, _) => health_score::Encoder::new(&bundle).map(|_| ()),
            (Family::Sensor, "sensor_value") => sensor::ValuePredictor::new(&bundle).map(|_| ()),
            (Family::Sensor, "sensor_fingerprint" | "sensor_quality") => {
                sensor::Classifier::new(&bundle).map(|_| ())
            }
            (Family::Sensor | Family::Food | Family::Encoder | Family::Generic, _) => Ok(()),
        };
        assert!(accepted.is_ok(), "{}: {accepted:?}", config.name);
    }
}

#[test]
fn bundles_are_small() {
    let mut together = 0;
    for folder in folders() {
        let files = fs::read_dir(&folder).expect("readable");
        let bytes: u64 = files.map(|file| file.expect("file").metadata().expect("size").len()).sum();
        assert!(bytes < BYTES_MAX, "{} has {bytes} bytes", folder.display());
        together += bytes;
    }
    assert!(together < BYTES_TOGETHER_MAX, "{together} bytes in all");
}

#[test]
fn cards_are_complete_and_simulated_models_say_so() {
    for folder in folders() {
        let bundle = Bundle::open(&folder).expect("a whole bundle");
        let card = bundle.card();
        for part in [
            "## Data",
            "SHA-256",
            "licence",
            "## Measured",
            "## Limits",
            "not for diagnosis",
            "## How it was made",
        ] {
            assert!(card.contains(part), "{}: no `{part}`", folder.display());
        }
        let synthetic = bundle.config().synthetic;
        assert_eq!(card.contains("Synthetic: trained and measured on simulated data only"), synthetic);
        assert!(!bundle.config().metrics.is_empty() && !bundle.config().lineage.datasets.is_empty());
    }
}
