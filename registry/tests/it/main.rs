//! The catalogue over folders made for the purpose. What a sound bundle is, is tested with the
//! bundles themselves; here they are only found, ordered and told apart.

mod runs;
mod serving;
mod suite;

use std::{fs, path::Path};

use models::bundle::Trust;
use registry::Catalogue;
use tempfile::TempDir;

fn broken(root: &Path, name: &str, version: &str) {
    let folder = root.join(name).join(version);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("model.toml"), "name = 1").expect("a file");
}

#[test]
fn a_folder_that_is_not_there_holds_nothing() {
    let catalogue = Catalogue::scan(&["/nonexistent".into()], &Trust::default());
    assert!(catalogue.entries().is_empty() && catalogue.live("any").is_none());
}

#[test]
fn broken_bundles_are_listed_in_order_with_the_file_that_is_wrong() {
    let root = TempDir::new().expect("a temporary folder");
    broken(root.path(), "b", "MPS-X-v1.0.0-FP32");
    broken(root.path(), "a", "MPS-X-v2.0.0-FP32");
    fs::create_dir_all(root.path().join("a/.unfinished")).expect("a folder");
    let catalogue = Catalogue::scan(&[root.path().to_path_buf()], &Trust::default());
    let names: Vec<&str> = catalogue.entries().iter().map(|entry| entry.name()).collect();
    assert_eq!(names, ["a", "b"]);
    for entry in catalogue.entries() {
        assert!(entry.bundle().is_none());
        assert!(entry.reason().is_some_and(|reason| reason.contains("manifest.json")), "{entry:?}");
    }
    assert!(catalogue.live("a").is_none(), "a broken version never serves");
}

#[test]
fn of_two_alike_the_first_folder_wins() {
    let (first, second) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    for root in [&first, &second] {
        broken(root.path(), "a", "MPS-X-v1.0.0-FP32");
    }
    let folders = [first.path().to_path_buf(), second.path().to_path_buf()];
    let catalogue = Catalogue::scan(&folders, &Trust::default());
    assert_eq!(catalogue.entries().len(), 1);
    assert!(catalogue.entries()[0].folder().starts_with(first.path()));
}

#[test]
fn the_shipped_bundles_are_sound_and_each_has_a_live_version() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    let catalogue = Catalogue::scan(&[shipped], &Trust::default());
    assert!(!catalogue.entries().is_empty(), "no bundle is shipped");
    for entry in catalogue.entries() {
        assert_eq!(entry.reason(), None, "{}", entry.name());
        assert!(catalogue.live(entry.name()).is_some(), "{}", entry.name());
    }
}
