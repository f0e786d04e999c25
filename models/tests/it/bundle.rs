//! A bundle is whole and unchanged, or it is refused with the file and the reason.

use std::fs;
use std::path::Path;

use models::bundle::{BundleWriter, SecretKey, Trust, from_safetensors, sign, to_safetensors};
use models::engine::{CandleEngine, UnavailableEngine};
use models::{Bundle, Tensor};

use crate::support::{self, bundle_at, networks, reseal, writer};

const FILES: [&str; 5] =
    ["model.toml", "weights.safetensors", "golden.safetensors", "calibration.json", "card.md"];

/// Tensors by name.
type Named = Vec<(String, Tensor)>;

/// Writes a bundle, lets `spoil` have its folder, and gives the error of opening or loading it.
fn fault(spoil: impl FnOnce(&Path)) -> String {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let dir = parent.path().join("bundle");
    bundle_at(&dir);
    spoil(&dir);
    let opened = Bundle::open(&dir).and_then(|bundle| bundle.load(&CandleEngine::new()).map(|_| ()));
    opened.expect_err("a spoilt bundle").to_string()
}

/// Changes the named tensors of a safetensors file and makes the manifest agree.
fn edit(dir: &Path, file: &str, change: impl FnOnce(&mut Named)) {
    let content = fs::read(dir.join(file)).expect("a file");
    let mut tensors: Vec<_> = from_safetensors(file, &content).expect("tensors").into_iter().collect();
    change(&mut tensors);
    let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), tensor));
    fs::write(dir.join(file), to_safetensors(tensors).expect("safetensors")).expect("written");
    reseal(dir);
}

fn first_value(tensors: &mut [(String, Tensor)], name: &str, value: f32) {
    let (_, tensor) = tensors.iter_mut().find(|(other, _)| other == name).expect("the tensor");
    let mut values = tensor.as_f32().expect("numbers").into_owned();
    values[0] = value;
    *tensor = Tensor::from_f32(tensor.shape().to_vec(), &values).expect("a tensor");
}

fn assert_says(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "`{message}` should say {parts:?}");
}

#[test]
fn every_kind_of_network_survives_the_way_to_disk() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    for (index, network) in networks().iter().enumerate() {
        let dir = parent.path().join(format!("deep/{index}"));
        let written = writer(network).file("nutrition.tsv", "a\tb\n").write(&dir).expect("written");
        let bundle = Bundle::open(&dir).expect("opened");
        assert_eq!(bundle.config(), &support::config(network));
        assert_eq!((bundle.digest(), bundle.dir()), (written.digest(), dir.as_path()));
        assert_eq!((bundle.card(), bundle.calibration_json()), ("# Test model", "{}"));
        assert_eq!(bundle.file("nutrition.tsv").expect("listed"), b"a\tb\n");
        assert!(bundle.file("other.txt").is_err() && bundle.file("../0/card.md").is_err());
        let mut model = bundle.load(&CandleEngine::new()).expect("loaded");
        let golden = bundle.golden().expect("golden");
        assert_eq!(support::run(&mut *model, golden.inputs()), golden.outputs());
    }
}

#[test]
fn one_flipped_byte_anywhere_is_found() {
    for file in FILES {
        let message = fault(|dir| {
            let mut content = fs::read(dir.join(file)).expect("a file");
            let middle = content.len() / 2;
            content[middle] ^= 1;
            fs::write(dir.join(file), content).expect("written");
        });
        assert_says(&message, &[file, "SHA-256"]);
    }
}

#[test]
fn a_missing_a_truncated_and_an_unlisted_file_are_found() {
    for file in FILES {
        let message = fault(|dir| fs::remove_file(dir.join(file)).expect("removed"));
        assert_says(&message, &[file]);
        let message = fault(|dir| {
            fs::remove_file(dir.join(file)).expect("removed");
            reseal(dir);
        });
        assert_says(&message, &[file]);
        let message = fault(|dir| {
            let content = fs::read(dir.join(file)).expect("a file");
            fs::write(dir.join(file), &content[..content.len() - 1]).expect("written");
        });
        assert_says(&message, &[file, "bytes"]);
    }
    assert_says(
        &fault(|dir| fs::remove_file(dir.join("manifest.json")).expect("removed")),
        &["manifest.json"],
    );
    assert_says(&fault(|dir| fs::write(dir.join("x.bin"), "x").expect("written")), &["x.bin", "not listed"]);
    assert_says(&fault(|dir| fs::create_dir(dir.join("sub")).expect("made")), &["sub", "not listed"]);
    assert_says(
        &fault(|dir| fs::write(dir.join("manifest.json"), "{").expect("written")),
        &["manifest.json"],
    );
}

#[test]
fn what_lies_behind_the_hashes_is_checked_too() {
    let write = |file: &'static str, content: &'static str| {
        fault(move |dir| {
            fs::write(dir.join(file), content).expect("written");
            reseal(dir);
        })
    };
    assert_says(&write("model.toml", "name = "), &["model.toml", "line 1"]);
    assert_says(&write("model.toml", "colour = 1"), &["model.toml"]);
    assert_says(&write("calibration.json", "{"), &["calibration.json"]);
    assert_says(&write("card.md", " \n"), &["card.md", "empty"]);
    assert_says(&write("weights.safetensors", "short"), &["weights.safetensors"]);
    for file in ["weights.safetensors", "golden.safetensors"] {
        let message = fault(|dir| {
            let content = fs::read(dir.join(file)).expect("a file");
            fs::write(dir.join(file), &content[..content.len() - 4]).expect("written");
            reseal(dir);
        });
        assert_says(&message, &[file]);
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let spoilt = |change: &dyn Fn(&mut Named)| fault(|dir| edit(dir, "weights.safetensors", change));
    for value in [f32::NAN, f32::INFINITY] {
        let message = spoilt(&|tensors| first_value(tensors, "body.1.weight", value));
        assert_says(&message, &["weights.safetensors", "body.1.weight", "not finite at element 0"]);
    }
    let message = spoilt(&|tensors| tensors.retain(|(name, _)| name != "skip.weight"));
    assert_says(&message, &["weights.safetensors", "skip.weight", "no tensor"]);
    let message = spoilt(&|tensors| tensors.push(("other".into(), tensors[0].1.clone())));
    assert_says(&message, &["weights.safetensors", "other", "does not know"]);
    let message = spoilt(&|tensors| {
        let body = tensors.iter_mut().find(|(name, _)| name == "body.0.bias").expect("a bias");
        body.1 = Tensor::from_f32(vec![2], &[0.0; 2]).expect("a tensor");
    });
    assert_says(&message, &["weights.safetensors", "body.0.bias", "[2]"]);
    let message = spoilt(&|tensors| first_value(tensors, "standardise.scale", 0.0));
    assert_says(&message, &["weights.safetensors", "standardise.scale", "above 0"]);
}

#[test]
fn golden_outputs_must_come_again() {
    let spoilt = |change: &dyn Fn(&mut Named)| fault(|dir| edit(dir, "golden.safetensors", change));
    let message = spoilt(&|tensors| first_value(tensors, "out.output0", 7.0));
    assert_says(&message, &["golden.safetensors", "output0", "element 0", "expected 7", "apart"]);
    let message = spoilt(&|tensors| first_value(tensors, "out.output0", f32::NAN));
    assert_says(&message, &["golden.safetensors", "output0", "not finite"]);
    let message = spoilt(&|tensors| tensors.retain(|(name, _)| name != "in.present"));
    assert_says(&message, &["golden.safetensors", "in.present"]);
    let message = spoilt(&|tensors| tensors.push(("in.more".into(), tensors[0].1.clone())));
    assert_says(&message, &["golden.safetensors", "in.more"]);
    // Other weights of the right form: only the golden outputs can tell.
    let message =
        fault(|dir| edit(dir, "weights.safetensors", |tensors| first_value(tensors, "body.0.bias", 9.0)));
    assert_says(&message, &["golden.safetensors", "output0"]);
}

#[test]
fn a_signature_is_asked_for_when_there_is_a_key() {
    let key = |digit: &str| SecretKey::from_hex(&digit.repeat(64)).expect("64 digits");
    let parent = tempfile::tempdir().expect("a temporary folder");
    let (signed, unsigned) = (parent.path().join("signed"), parent.path().join("unsigned"));
    writer(&networks()[0]).sign(key("a")).write(&signed).expect("written");
    bundle_at(&unsigned);
    let trust = |digits: &str, signed_only| {
        let keys = digits.chars().map(|digit| key(&digit.to_string()).public()).collect();
        Trust::new(keys, signed_only)
    };
    let is_signed = |dir: &Path, digits: &str, only| {
        Bundle::open_trusted(dir, &trust(digits, only)).expect("trusted").signed()
    };
    assert!(is_signed(&signed, "a", true) && is_signed(&signed, "ba", false));
    assert!(!Bundle::open(&signed).expect("nobody asked").signed());
    assert!(!is_signed(&unsigned, "a", false) && !is_signed(&unsigned, "", false));
    let message = |dir: &Path, digits: &str, only| {
        Bundle::open_trusted(dir, &trust(digits, only)).expect_err("not signed by it").to_string()
    };
    assert_says(&message(&signed, "b", false), &["manifest.sig", "not made for this manifest"]);
    assert_says(&message(&signed, "bc", false), &["manifest.sig", "any of the trusted keys"]);
    assert_says(&message(&signed, "", false), &["manifest.sig", "no trusted key"]);
    assert_says(&message(&unsigned, "a", true), &["manifest.sig", "is missing"]);
    reseal(&signed);
    assert_says(&message(&signed, "a", false), &["manifest.sig"]);
    sign(&signed, &key("a")).expect("signed anew");
    assert!(is_signed(&signed, "a", true));
    fs::write(signed.join("manifest.sig"), "zz").expect("written");
    assert_says(&message(&signed, "a", false), &["manifest.sig", "is not a signature"]);
}

#[test]
fn a_bundle_appears_whole_or_not_at_all() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let dir = parent.path().join("bundle");
    let config = || support::config(&networks()[0]);
    let lacking = [
        (BundleWriter::new(config()).calibration("{}").card("x"), "golden.safetensors"),
        (BundleWriter::new(config()).file("golden.safetensors", "x").card("x"), "calibration.json"),
        (BundleWriter::new(config()).file("golden.safetensors", "x").calibration("{}"), "card.md"),
        (BundleWriter::new(config()).file("golden.safetensors", "x").calibration("{}").card("x"), "weights"),
        (writer(&networks()[0]).calibration("{"), "calibration.json"),
        (writer(&networks()[0]).file("../outside", "x"), "../outside"),
        (writer(&networks()[0]).file("golden.safetensors", "x"), "golden.safetensors"),
    ];
    for (writer, file) in lacking {
        assert_says(&writer.write(&dir).expect_err(file).to_string(), &[file]);
        assert_eq!(fs::read_dir(parent.path()).expect("a folder").count(), 0, "{file} left something behind");
    }
    let first = bundle_at(&dir);
    assert_says(&writer(&networks()[1]).write(&dir).expect_err("there").to_string(), &["already there"]);
    assert_eq!(Bundle::open(&dir).expect("untouched").digest(), first.digest());
    let second = writer(&networks()[1]).replace().write(&dir).expect("replaced");
    assert_ne!(second.digest(), first.digest());
    assert_eq!(fs::read_dir(parent.path()).expect("a folder").count(), 1);
}

#[test]
fn the_wrong_or_an_absent_engine_says_so() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let bundle = bundle_at(&parent.path().join("bundle"));
    let load = |name| bundle.load(&UnavailableEngine::new(name, "no library; run `make setup`"));
    let message = load("onnx").map(|_| ()).expect_err("another engine").to_string();
    assert_says(&message, &["model.toml", "candle", "onnx"]);
    let message = load("candle").map(|_| ()).expect_err("absent").to_string();
    assert_says(&message, &["`candle` is unavailable", "make setup"]);
}

#[test]
fn what_a_replacement_that_was_cut_short_left_behind_is_not_in_the_way() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let dir = parent.path().join("bundle");
    bundle_at(&dir);
    // A process that ended between its last rename and the removal of the old folder leaves this.
    let left = parent.path().join(".bundle.old");
    fs::create_dir(&left).expect("made");
    fs::write(left.join("card.md"), "old").expect("written");
    let second = writer(&networks()[1]).replace().write(&dir).expect("replaced");
    assert_eq!(Bundle::open(&dir).expect("whole").digest(), second.digest());
}
