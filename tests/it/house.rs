//! The house rules of ARCHITECTURE.md as tests, so that a rule lives as long as its check passes.
//!
//! The rules are absences ("models knows no tokio"), which no compiler message guards: a manifest line
//! or a `use` would break them silently. They read manifests and sources as text and take milliseconds;
//! only the transitive rules ask cargo for its tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

/// Who may import whom among our crates; a crate that is missing here may not exist.
const ARROWS: &[(&str, &[&str])] = &[
    ("benches", &["clinical", "embeddings", "models", "proto"]),
    ("clinical", &[]),
    ("console", &["proto"]),
    ("embeddings", &["store"]),
    ("inference", &["clinical", "embeddings", "models", "proto", "registry"]),
    ("models", &["clinical"]),
    ("proto", &[]),
    ("registry", &["models", "store"]),
    ("services", &["clinical", "proto", "store"]),
    ("store", &[]),
    ("training", &["clinical", "models", "registry"]),
];

/// Crates that may never be compiled into a crate of ours, however deep.
const NEVER_BELOW: &[(&str, &[&str])] = &[
    ("clinical", &["serde", "tokio", "tracing"]),
    ("embeddings", &["candle-core", "ort"]),
    ("models", &["axum", "hyper", "reqwest", "sea-orm", "sqlx", "tokio", "tonic"]),
    ("registry", &["axum", "tonic"]),
    ("services", &["candle-core", "ort"]),
    ("store", &["axum", "candle-core", "ort", "tonic"]),
    ("training", &["axum", "tonic"]),
];

const ENGINE_CRATES: &[&str] = &["candle-core", "candle-nn", "candle-transformers", "ort"];
const INDEX_CRATES: &[&str] = &["hnsw_rs", "qdrant-client", "usearch"];
const SQL_CRATES: &[&str] = &["sea-orm", "sea-orm-migration", "sqlx"];
const FILE_LINES_MAX: usize = 500;
const ARCHITECTURE_LINES_MAX: usize = 300;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(folder: &str) -> Table {
    let path = root().join(folder).join("Cargo.toml");
    read(&path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn members() -> Vec<String> {
    let members = manifest("")["workspace"]["members"].as_array().expect("members are a list").clone();
    members.iter().map(|member| member.as_str().expect("a member is a folder name").to_owned()).collect()
}

/// Folder and manifest of every member and, with an empty folder name, of the root package.
fn manifests() -> Vec<(String, Table)> {
    let folders = members().into_iter().chain([String::new()]);
    folders.map(|folder| (folder.clone(), manifest(&folder))).collect()
}

/// Every dependency line of a manifest as (table, name, value), target-specific tables included.
fn dependencies(manifest: &Table) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (key, value) in manifest {
        match value.as_table() {
            Some(table) if key.ends_with("dependencies") => {
                found.extend(table.iter().map(|(name, value)| (key.clone(), name.clone(), value.clone())));
            }
            Some(targets) if key == "target" => {
                found.extend(targets.values().filter_map(Value::as_table).flat_map(dependencies));
            }
            Some(_) | None => {}
        }
    }
    found
}

/// Whether `value` is `true` or a table with `workspace = true`.
fn is_inherited(value: &Value) -> bool {
    value.as_bool().or_else(|| value.get("workspace")?.as_bool()) == Some(true)
}

/// Every file git would carry; without git (a source archive) every file outside the build folders.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files = Vec::new();
    match listed {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
            files.extend(names.split_terminator('\0').map(PathBuf::from));
        }
        Ok(_) | Err(_) => walk(root(), &mut files),
    }
    files.retain(|file| root().join(file).is_file());
    files
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace is readable") {
        let path = entry.expect("a folder entry is readable").path();
        let built = path.file_name().is_some_and(|name| {
            name == "target" || name == ".git" || name.to_string_lossy().starts_with(".venv")
        });
        if path.is_dir() && !built {
            walk(&path, files);
        } else if path.is_file() {
            files.push(path.strip_prefix(root()).expect("the walk starts at the root").to_owned());
        }
    }
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let is_rust = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "rs");
    files().into_iter().filter(is_rust).map(|file| (file.clone(), read(&root().join(&file)))).collect()
}

/// Whether code (comments left out) names a crate as the head of a path or in a bare `use`.
fn names_crate(source: &str, package: &str) -> bool {
    let name = package.replace('-', "_");
    let continues = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).any(|line| {
        line.match_indices(&name).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            let used = before.ends_with("use ") && (after.starts_with(';') || after.starts_with(" as "));
            !before.ends_with(continues) && (after.starts_with("::") || used)
        })
    })
}

/// Whether `path` is in a module called `store`: the store crate, a `store` folder or a `store.rs`.
fn is_store(path: &Path) -> bool {
    path.iter().any(|part| part == "store" || part == "store.rs")
}

/// A path in `line` that only makes sense on the machine it was written on.
fn machine_path(line: &str) -> Option<&'static str> {
    const HOMES: &[&str] = &["/root/", "/home/", "/Users/"];
    HOMES.iter().copied().find(|home| {
        line.match_indices(home).any(|(at, _)| {
            // A longer path, a URL or a shell variable in front: `$BASE/home/`, `example.org/home/`.
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-/}~$".contains(c))
        })
    })
}

fn cargo_tree(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p} [{f}]"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("crate names are UTF-8")
}

/// Each package of a tree with its feature sets: one for the host, one for the target, often the same.
fn features(tree: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (package, features) in tree.lines().filter_map(|line| line.split_once(" [")) {
        found.entry(package).or_default().insert(features.trim_end_matches(" (*)"));
    }
    found
}

fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}\n  {}", faults.join("\n  "));
}

#[test]
fn every_member_inherits_the_shared_lints_and_package_keys() {
    let mut faults = Vec::new();
    for (folder, manifest) in manifests() {
        let inherits = |table: &str, key: &str| manifest.get(table)?.get(key).map(is_inherited);
        if inherits("lints", "workspace") != Some(true) {
            faults.push(format!("{folder}/Cargo.toml: [lints] workspace = true is missing"));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if inherits("package", key) != Some(true) {
                faults.push(format!("{folder}/Cargo.toml: {key}.workspace = true is missing"));
            }
        }
        if !folder.is_empty() && manifest["package"]["name"].as_str() != Some(&folder) {
            faults.push(format!("{folder}/Cargo.toml: the package is not named as its folder"));
        }
    }
    assert_none(&faults, "every member takes its lints and package keys from the workspace");
}

#[test]
fn every_dependency_version_is_written_once() {
    let mut faults = Vec::new();
    for (folder, manifest) in manifests() {
        for (table, name, value) in dependencies(&manifest) {
            if !is_inherited(&value) {
                faults.push(format!("{folder}/Cargo.toml: [{table}] {name} does not say workspace = true"));
            }
        }
    }
    assert_none(&faults, "versions stand in [workspace.dependencies] of the root manifest and nowhere else");
}

#[test]
fn every_workspace_dependency_is_taken_by_a_crate() {
    let lines = manifests().into_iter().flat_map(|(_, manifest)| dependencies(&manifest));
    let taken: BTreeSet<String> = lines.map(|(_, name, _)| name).collect();
    let declared = manifest("")["workspace"]["dependencies"].as_table().expect("a table").clone();
    let faults: Vec<String> = declared.keys().filter(|name| !taken.contains(*name)).cloned().collect();
    assert_none(&faults, "a dependency that no crate takes is deleted from [workspace.dependencies]");
}

#[test]
fn arrows_point_only_where_the_architecture_allows() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let members = members();
    let mut faults = Vec::new();
    for member in &members {
        let Some(allowed) = allowed.get(member.as_str()) else {
            faults.push(format!("{member} has no line in ARROWS: decide what it may import"));
            continue;
        };
        for (table, name, _) in dependencies(&manifest(member)) {
            // Tests may look sideways, but services stay blind even there.
            let judged = table == "dependencies" || member == "services";
            if judged && members.contains(&name) && !allowed.contains(&name.as_str()) {
                faults.push(format!("{member} -> {name} ({table})"));
            }
        }
    }
    assert_none(&faults, "these imports are not in the table of ARCHITECTURE.md");
}

#[test]
fn only_models_and_training_depend_on_an_engine() {
    let mut faults = Vec::new();
    for (folder, manifest) in manifests() {
        for (table, name, _) in dependencies(&manifest) {
            if ENGINE_CRATES.contains(&name.as_str()) && folder != "models" && folder != "training" {
                faults.push(format!("{folder}/Cargo.toml: [{table}] {name}"));
            }
        }
    }
    assert_none(&faults, "only models and training name candle or ort");
}

#[test]
fn only_embeddings_depends_on_a_vector_index() {
    let mut faults = Vec::new();
    for (folder, manifest) in manifests() {
        for (table, name, _) in dependencies(&manifest) {
            // The benches measure the store beside the bare index.
            if INDEX_CRATES.contains(&name.as_str()) && folder != "embeddings" && folder != "benches" {
                faults.push(format!("{folder}/Cargo.toml: [{table}] {name}"));
            }
        }
    }
    assert_none(&faults, "only embeddings names a vector index, and benches to measure beside it");
}

#[test]
fn forbidden_crates_are_not_even_below() {
    let members = members();
    let mut faults = Vec::new();
    for (member, forbidden) in NEVER_BELOW.iter().filter(|(name, _)| members.iter().any(|m| m == name)) {
        let tree = cargo_tree(&["--package", member, "--edges", "normal"]);
        let below: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        for name in forbidden.iter().filter(|name| below.contains(**name)) {
            faults.push(format!("{member} reaches {name}: see cargo tree -p {member} -e normal -i {name}"));
        }
    }
    assert_none(&faults, "these crates must not be compiled into these members");
}

#[test]
fn run_and_test_compile_the_same_dependencies() {
    let run = cargo_tree(&["--workspace", "--edges", "normal,build"]);
    let test = cargo_tree(&["--workspace", "--edges", "normal,build,dev"]);
    let (run, test) = (features(&run), features(&test));
    let differs = run.iter().filter(|(package, features)| test.get(*package) != Some(*features));
    let faults: Vec<String> = differs
        .map(|(package, features)| format!("{package}: {features:?} against {:?}", test.get(package)))
        .collect();
    assert_none(&faults, "a dev-dependency changes these features, so all above them is compiled twice");
}

#[test]
fn engines_are_named_only_inside_the_engine_module() {
    let mut faults = Vec::new();
    for (file, source) in rust_files() {
        let inside = file.starts_with("models/src/engine")
            // Tests of the networks build them as training does.
            || file.starts_with("models/tests")
            || file.starts_with("training");
        if !inside && let Some(name) = ENGINE_CRATES.iter().find(|name| names_crate(&source, name)) {
            faults.push(format!("{} names {name}", file.display()));
        }
    }
    assert_none(&faults, "candle and ort are named only below models/src/engine and in training");
}

#[test]
fn sql_stands_only_in_modules_called_store() {
    let mut faults = Vec::new();
    for (file, source) in rust_files() {
        if !is_store(&file)
            && let Some(name) = SQL_CRATES.iter().find(|name| names_crate(&source, name))
        {
            faults.push(format!("{} names {name}", file.display()));
        }
    }
    assert_none(&faults, "SQL stands only in modules called store");
}

#[test]
fn every_source_file_says_what_it_is_and_stays_short() {
    let mut faults = Vec::new();
    for (file, source) in rust_files() {
        if !source.starts_with("//!") {
            faults.push(format!("{} does not start with a `//!` head doc", file.display()));
        }
        let lines = source.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{} has {lines} lines, the most is {FILE_LINES_MAX}", file.display()));
        }
    }
    assert_none(&faults, "every source file has a head doc and one subject");
}

#[test]
fn the_architecture_can_be_read_in_one_sitting() {
    let lines = read(&root().join("ARCHITECTURE.md")).lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md has {lines} lines");
}

#[test]
fn no_file_speaks_of_the_machine_it_was_written_on() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| !file.ends_with("tests/it/house.rs")) {
        // Images and weights are not text.
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(path) = machine_path(line) {
                faults.push(format!("{}:{}: {path}", file.display(), number + 1));
            }
        }
    }
    assert_none(&faults, "a tracked file names a path of one machine");
}

#[test]
fn the_scanners_see_what_they_look_for() {
    // A made-up crate, so that this file does not trip its own rule.
    assert!(names_crate("use oak_core::leaf::Leaf;", "oak-core"));
    assert!(names_crate("    pub use oak;", "oak"));
    assert!(names_crate("use oak as tree;", "oak"));
    assert!(names_crate("fn f(x: &oak_core::Leaf) {}", "oak-core"));
    assert!(!names_crate("// oak::Leaf is not named in a comment", "oak"));
    assert!(!names_crate("soak::long(); crate::oak::load(); let oak = 1;", "oak"));
    assert!(is_store(Path::new("services/src/measurement/store.rs")));
    assert!(is_store(Path::new("store/src/lib.rs")));
    assert!(!is_store(Path::new("services/src/measurement/rules.rs")));
    assert_eq!(machine_path("cd /root/x"), Some("/root/"));
    assert_eq!(machine_path("see https://example.org/home/page and $BASE/home/x"), None);
}
