//! Which version serves a name, over sound bundles of many versions, of which some are then spoilt.

use std::{
    fs,
    path::{Path, PathBuf},
};

use models::bundle::Trust;
use models::{Bundle, bundle::BundleWriter};
use registry::Catalogue;
use tempfile::TempDir;

/// A small bundle that is shipped: the one whose copies stand for other versions.
fn original() -> Bundle {
    let name = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/sensor-quality");
    let version = fs::read_dir(name).expect("shipped").next().expect("a version").expect("readable");
    Bundle::open(version.path()).expect("sound")
}

/// Writes the original as `name` in `version` where it belongs below `root`.
fn put(root: &Path, name: &str, version: &str) -> PathBuf {
    let (bundle, place) = (original(), root.join(name).join(version));
    let mut config = bundle.config().clone();
    config.name = name.into();
    config.version = version.parse().expect("a version");
    let golden = bundle.golden().expect("golden");
    let writer = BundleWriter::new(config)
        .weights(bundle.weights().expect("weights"))
        .calibration(bundle.calibration_json())
        .card(bundle.card());
    writer.golden(&golden).expect("golden").write(&place).expect("written");
    place
}

fn live(roots: &[&Path], name: &str) -> Option<PathBuf> {
    let roots: Vec<PathBuf> = roots.iter().map(|root| root.to_path_buf()).collect();
    Catalogue::scan(&roots, &Trust::default()).live(name).map(|entry| entry.folder().to_path_buf())
}

fn spoil(place: &Path) {
    fs::write(place.join("card.md"), "other words").expect("written");
}

#[test]
fn the_highest_sound_version_serves_by_number_and_not_by_spelling() {
    let root = TempDir::new().expect("a temporary folder");
    let versions = ["MPS-Q-v1.9.0-FP32", "MPS-Q-v1.10.0-FP32", "MPS-Q-v2.0.0-FP32", "MPS-Q-v10.0.0-FP32"];
    let mut places: Vec<PathBuf> =
        versions.iter().map(|version| put(root.path(), "quality", version)).collect();
    while let Some(highest) = places.pop() {
        assert_eq!(live(&[root.path()], "quality").as_deref(), Some(&*highest));
        spoil(&highest);
    }
    assert_eq!(live(&[root.path()], "quality"), None, "nothing sound is left");
}

#[test]
fn versions_are_listed_with_the_spoilt_ones_and_their_reason() {
    let root = TempDir::new().expect("a temporary folder");
    put(root.path(), "quality", "MPS-Q-v1.0.0-FP32");
    spoil(&put(root.path(), "quality", "MPS-Q-v1.1.0-FP32"));
    let catalogue = Catalogue::scan(&[root.path().to_path_buf()], &Trust::default());
    let told: Vec<(&str, bool)> =
        catalogue.entries().iter().map(|entry| (entry.version(), entry.reason().is_some())).collect();
    assert_eq!(told, [("MPS-Q-v1.0.0-FP32", false), ("MPS-Q-v1.1.0-FP32", true)]);
    let reason = catalogue.entries()[1].reason().expect("spoilt").to_owned();
    assert!(reason.contains("card.md"), "{reason}");
}

#[test]
fn the_same_numbers_serve_in_the_finer_format() {
    let root = TempDir::new().expect("a temporary folder");
    let full = put(root.path(), "quality", "MPS-Q-v1.0.0-FP32");
    put(root.path(), "quality", "MPS-Q-v1.0.0-INT8");
    put(root.path(), "quality", "MPS-Q-v1.0.0-FP16");
    assert_eq!(live(&[root.path()], "quality"), Some(full));
}

#[test]
fn a_bundle_that_lies_under_another_name_or_version_answers_for_neither() {
    let root = TempDir::new().expect("a temporary folder");
    let place = put(root.path(), "quality", "MPS-Q-v1.0.0-FP32");
    let moved = root.path().join("impostor").join("MPS-Q-v1.0.0-FP32");
    fs::create_dir_all(moved.parent().expect("a parent")).expect("made");
    fs::rename(&place, &moved).expect("moved");
    let renamed = put(root.path(), "quality", "MPS-Q-v2.0.0-FP32");
    fs::rename(&renamed, renamed.with_file_name("MPS-Q-v3.0.0-FP32")).expect("moved");
    let catalogue = Catalogue::scan(&[root.path().to_path_buf()], &Trust::default());
    assert_eq!(catalogue.entries().len(), 2);
    for entry in catalogue.entries() {
        let reason = entry.reason().expect("refused");
        assert!(reason.contains("model.toml") && reason.contains("but lies in"), "{reason}");
        assert!(catalogue.live(entry.name()).is_none());
    }
}

#[test]
fn of_two_folders_the_first_wins_unless_only_the_second_is_sound() {
    let (first, second) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (here, there) = (
        put(first.path(), "quality", "MPS-Q-v1.0.0-FP32"),
        put(second.path(), "quality", "MPS-Q-v1.0.0-FP32"),
    );
    let roots = [first.path(), second.path()];
    assert_eq!(live(&roots, "quality").as_deref(), Some(&*here));
    spoil(&here);
    assert_eq!(live(&roots, "quality").as_deref(), Some(&*there));
    spoil(&there);
    assert_eq!(live(&roots, "quality"), None);
    let newer = put(second.path(), "quality", "MPS-Q-v1.0.1-FP32");
    assert_eq!(live(&roots, "quality"), Some(newer), "a later folder may hold a later version");
}

#[test]
fn what_is_no_bundle_folder_is_passed_over() {
    let root = TempDir::new().expect("a temporary folder");
    let place = put(root.path(), "quality", "MPS-Q-v1.0.0-FP32");
    fs::write(root.path().join("README.md"), "words").expect("written");
    fs::write(root.path().join("quality/notes.txt"), "words").expect("written");
    fs::create_dir_all(root.path().join(".staging/MPS-Q-v9.0.0-FP32")).expect("made");
    fs::create_dir_all(root.path().join("quality/.MPS-Q-v9.0.0-FP32.00ff")).expect("made");
    let catalogue = Catalogue::scan(&[root.path().to_path_buf()], &Trust::default());
    assert_eq!(catalogue.entries().len(), 1);
    assert_eq!(catalogue.entries()[0].folder(), place);
}
