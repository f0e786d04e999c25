//! The command line as a person or a script meets it.

use tempfile::TempDir;

use crate::support::{copied_bundles, program, shipped_bundles, version_dir};

fn run(arguments: &[&str]) -> (bool, String, String) {
    let data = TempDir::new().expect("a temporary folder");
    let output = program(data.path()).args(arguments).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_names_every_command() {
    let (ok, out, _) = run(&["--help"]);
    assert!(ok);
    for command in ["serve", "demo", "train", "eval", "models", "vectors", "bench", "predict"] {
        assert!(out.contains(command), "`{command}` is missing in\n{out}");
    }
}

#[test]
fn the_configuration_can_be_printed_and_faults_come_together() {
    let (ok, out, _) = run(&["--dump-config"]);
    assert!(ok && out.contains("[server]"), "{out}");
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("faulty.toml");
    std::fs::write(&file, "colour = 1\n[server]\nport = 2\n").expect("written");
    let (ok, _, error) = run(&["--config", &file.to_string_lossy(), "--dump-config"]);
    assert!(!ok && error.contains("colour") && error.contains("server.port"), "{error}");
}

#[test]
fn models_are_listed_and_verified() {
    let bundles = shipped_bundles();
    let bundles = bundles.to_string_lossy();
    let (ok, out, error) = run(&["models", "list", "--json", "--bundles", &bundles]);
    assert!(ok, "{error}");
    let models: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(models.as_array().is_some_and(|models| models.len() >= 5), "{out}");
    let (ok, out, error) = run(&["models", "verify", "--bundles", &bundles]);
    assert!(ok, "{out}{error}");
}

#[test]
fn verification_fails_on_a_damaged_bundle_and_names_the_file() {
    let bundles = copied_bundles();
    let card = version_dir(bundles.path(), "thyroid").join("card.md");
    std::fs::write(&card, "nothing to see").expect("written");
    let (ok, out, error) = run(&["models", "verify", "--bundles", &bundles.path().to_string_lossy()]);
    assert!(!ok && format!("{out}{error}").contains("card.md"), "{out}{error}");
}

#[test]
fn predict_answers_a_file_of_rows_offline() {
    let folder = TempDir::new().expect("a temporary folder");
    let rows = folder.path().join("rows.csv");
    std::fs::write(&rows, "age,sex,tsh,t3,total_t4\n47,male,80,26,0.7\n30,female,1.5,120,8\n")
        .expect("written");
    let bundles = shipped_bundles();
    let arguments = ["predict", "thyroid", "--json", "--bundles", &bundles.to_string_lossy()];
    let (ok, out, error) = run(&[&arguments[..], &[&rows.to_string_lossy()]].concat());
    assert!(ok, "{error}");
    let answers: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(answers.as_array().map(Vec::len), Some(2), "{out}");
}

#[test]
fn an_empty_vector_store_is_sound_and_a_store_is_not_copied_onto_itself() {
    for command in ["stats", "verify", "rebuild"] {
        let (ok, out, error) = run(&["vectors", command, "--json"]);
        assert!(ok && out.trim() == "[]", "{command}: {out}{error}");
    }
    let (ok, _, error) = run(&["vectors", "verify", "nothing"]);
    assert!(!ok && error.contains("no collection 'nothing'"), "{error}");
    let (ok, _, error) = run(&["vectors", "migrate", "--to", "embedded"]);
    assert!(!ok && error.contains("already"), "{error}");
    let (ok, _, error) = run(&["vectors", "migrate", "--to", "qdrant"]);
    assert!(!ok && error.contains("vectors.qdrant_url is empty"), "{error}");
    let (ok, out, _) = run(&["vectors", "migrate", "--help"]);
    assert!(ok && out.contains("qdrant"), "{out}");
}
