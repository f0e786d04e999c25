//! The committed nutrition table and the network conversion, against the real downloads.

use models::engine::{OnnxEngine, OnnxOptions};
use models::{Bundle, bundle::Quantisation};
use training::food::{Sighting, convert_from_store, measure, nutrition, record_table, write_bundle};

use crate::real_data::{installed, store_with};

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

/// Cells of a table of records, numbers apart from words.
fn cells(table: &str) -> Vec<Result<f64, String>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(|line| line.split('\t')).map(|cell| cell.parse().map_err(|_| cell.to_owned())).collect()
}

#[test]
fn the_committed_record_is_what_both_variants_see() {
    const RECORD: &str = include_str!("../../assets/food_confidence.tsv");
    let sources = ["efficientnet-lite2", "food-photos", "food-stamps", "coffee-photo"];
    let (Some(store), Some(data)) = (store_with(&sources), std::env::var_os("MANPASIK_DATA_DIR")) else {
        return;
    };
    let Ok(engine) = OnnxEngine::find(None, &[installed().join("lib")], OnnxOptions { intra_threads: 1 })
    else {
        return;
    };
    let out = tempfile::tempdir().expect("dir");
    let seen = |bits| -> Vec<Sighting> {
        let folder = write_bundle(data.as_ref(), out.path(), &engine, bits).expect("made");
        let bundle = Bundle::open(&folder).expect("sound");
        let mut model = bundle.load(&engine).expect("loads");
        measure(&store, &bundle, &mut *model, true).expect("measured")
    };
    let table = record_table(&seen(Quantisation::Fp32), &seen(Quantisation::Fp16)).expect("the same photos");
    if let Some(path) = std::env::var_os("MANPASIK_WRITE_FOOD_RECORD") {
        std::fs::write(path, &table).expect("write");
        return;
    }
    let (now, committed) = (cells(&table), cells(RECORD));
    assert_eq!(now.len(), committed.len());
    for (a, b) in now.iter().zip(&committed) {
        match (a, b) {
            // Other processors choose other kernels.
            (Ok(a), Ok(b)) => assert!((a - b).abs() < 5e-3, "{a} {b}"),
            (a, b) => assert_eq!(a, b, "write it again with MANPASIK_WRITE_FOOD_RECORD"),
        }
    }
}
