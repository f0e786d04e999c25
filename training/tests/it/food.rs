//! The committed nutrition table and the network conversion, against the real downloads.

use training::food::{convert_from_store, nutrition};

use crate::real_data::store_with;

#[test]
fn the_committed_nutrition_table_is_what_the_download_gives() {
    let Some(store) = store_with(&["fooddata"]) else { return };
    let built = nutrition::build(&store).expect("table");
    if let Some(path) = std::env::var_os("MANPASIK_WRITE_NUTRITION") {
        std::fs::write(path, &built).expect("write");
        return;
    }
    assert_eq!(
        built,
        nutrition::TABLE,
        "write it again with MANPASIK_WRITE_NUTRITION=training/assets/nutrition.tsv"
    );
}

#[test]
fn the_network_converts_to_the_same_bytes_twice() {
    let Some(store) = store_with(&["efficientnet-lite2"]) else { return };
    let dir = tempfile::tempdir().expect("dir");
    let (a, b) = (dir.path().join("a.onnx"), dir.path().join("b.onnx"));
    convert_from_store(&store, &a).expect("first");
    convert_from_store(&store, &b).expect("second");
    let (a, b) = (std::fs::read(a).expect("a"), std::fs::read(b).expect("b"));
    assert!(a == b);
    assert!((24_000_000..25_000_000).contains(&a.len()), "{}", a.len());
}
