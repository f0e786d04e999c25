//! The committed nutrition table and the network conversion, against the real downloads.

use std::io::Write as _;

use flate2::{Compression, Crc, write::ZlibEncoder};
use models::engine::{OnnxEngine, OnnxOptions};
use models::family::food::Encoder;
use models::{Batch, Bundle, bundle::Quantisation};
use rand::{Rng as _, SeedableRng as _};
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
    let Ok(engine) = OnnxEngine::find(None, &[installed().join("lib")], OnnxOptions::default()) else {
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

/// A PNG of 64 x 64 pixels of noise.
fn noise() -> Vec<u8> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut lines = Vec::new();
    for _ in 0..64 {
        // Each line begins with its filter: none.
        lines.push(0);
        lines.extend((0..3 * 64).map(|_| rng.random::<u8>()));
    }
    let mut data = ZlibEncoder::new(Vec::new(), Compression::fast());
    data.write_all(&lines).expect("packs");
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let head = [&[0, 0, 0, 64, 0, 0, 0, 64][..], &[8, 2, 0, 0, 0]].concat();
    for (kind, body) in [(b"IHDR", head), (b"IDAT", data.finish().expect("packs")), (b"IEND", Vec::new())] {
        let part = [&kind[..], &body].concat();
        let mut crc = Crc::new();
        crc.update(&part);
        png.extend(u32::try_from(body.len()).expect("small").to_be_bytes());
        png.extend(part);
        png.extend(crc.sum().to_be_bytes());
    }
    png
}

#[test]
fn noise_a_cat_and_a_person_leave_it_unsure_and_a_coffee_does_not() {
    let (Some(store), Some(data)) =
        (store_with(&["efficientnet-lite2", "coffee-photo"]), std::env::var_os("MANPASIK_DATA_DIR"))
    else {
        return;
    };
    let Ok(engine) = OnnxEngine::find(None, &[installed().join("lib")], OnnxOptions::default()) else {
        return;
    };
    let out = tempfile::tempdir().expect("dir");
    let folder = write_bundle(data.as_ref(), out.path(), &engine, Quantisation::Fp32).expect("made");
    let bundle = Bundle::open(&folder).expect("sound");
    let (encoder, mut model) = (Encoder::new(&bundle).expect("fits"), bundle.load(&engine).expect("loads"));
    let mut look = |photo: &[u8], explain| {
        let encoded = encoder.encode(photo, None, explain).expect("encodes");
        let outputs = model.run(Batch { tensors: encoded.tensors.clone() }).expect("runs").tensors;
        encoder.decode(&encoded, &outputs).expect("decodes")
    };
    assert!(look(&noise(), false).unsure, "noise");
    let photo = |name| store.member("coffee-photo", &format!("skimage/data/{name}.png")).expect("there");
    for name in ["chelsea", "astronaut"] {
        assert!(look(&photo(name), false).unsure, "{name}");
    }
    let coffee = look(&photo("coffee"), true);
    assert!(!coffee.unsure && coffee.candidates[0].row.label == "Espresso");
    let explanation = coffee.explanation.expect("asked for");
    let sum: f64 = explanation.contributions.iter().map(|part| part.contribution).sum();
    assert!((explanation.base_value + sum - coffee.candidates[0].confidence).abs() < 1e-6);
}
