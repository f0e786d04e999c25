//! The command line as a person or a script meets it: what it teaches, what it answers, what it refuses.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::{Ran, copied_bundles, run, shipped_bundles, version_dir};

/// Runs a command over the shipped bundles.
fn shipped(arguments: &[&str]) -> Ran {
    let bundles = shipped_bundles();
    run(&[arguments, &["--bundles", &bundles.to_string_lossy()]].concat())
}

/// A file of that text, and the folder that keeps it.
fn file(name: &str, text: &str) -> (PathBuf, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    (path, folder)
}

/// Predicts from a file of that text.
fn predict(model: &str, text: &str) -> Ran {
    let (rows, _folder) = file("rows.csv", text);
    shipped(&["predict", model, &rows.to_string_lossy(), "--json"])
}

#[test]
fn help_names_every_command() {
    let help = run(&["--help"]).ok().out;
    for command in
        ["serve", "demo", "train", "search", "runs", "eval", "models", "vectors", "bench", "predict"]
    {
        assert!(help.contains(command), "`{command}` is missing in\n{help}");
    }
}

#[test]
fn no_command_at_all_explains_the_program() {
    let bare = run(&[]).ok().out;
    assert!(bare.contains("Usage: manpasik") && bare.contains("loopback"), "{bare}");
}

#[test]
fn the_help_of_each_command_says_what_it_takes() {
    let taught: [(&[&str], &[&str]); 13] = [
        (&["serve"], &["--grpc", "--http", "any free one"]),
        (&["demo"], &["--once"]),
        (&["train"], &["--list", "--seed", "--out", "--all", "<name>/<version>"]),
        (&["search"], &["--trials", "--seed", "validation"]),
        (&["runs", "list"], &["--model"]),
        (&["runs", "compare"], &["IDS"]),
        (&["eval"], &["--all", "--out", "frozen", "report"]),
        (&["models", "show"], &["<NAME>", "--version <N>"]),
        (&["models", "verify"], &["bundle folder", "[NUMBER]"]),
        (&["models", "diff"], &["<NUMBER>", "[BESIDE]", "what is live"]),
        (&["models", "fetch"], &["<NAME>"]),
        (&["bench", "serve"], &["--seconds", "--pairs", "--only"]),
        (&["predict"], &["CSV", "JPEG"]),
    ];
    for (command, words) in taught {
        let help = run(&[command, &["--help"]].concat()).ok().out;
        for word in words.iter().chain(&["--config", "--json"]) {
            assert!(help.contains(word), "{command:?} does not explain `{word}`:\n{help}");
        }
    }
}

#[test]
fn what_is_typed_wrong_is_a_usage_error_with_a_hint() {
    let cases: [(&[&str], &str); 8] = [
        (&["sevre"], "serve"),
        (&["train"], "FAMILY"),
        (&["train", "thyroid", "--all"], "--all"),
        (&["train", "thyroid", "--seed", "many"], "many"),
        (&["eval"], "BUNDLE"),
        (&["predict", "thyroid"], "INPUTS"),
        (&["serve", "--grpc", "localhost"], "localhost"),
        (&["bench", "serve", "--only", "everything"], "everything"),
    ];
    for (arguments, word) in cases {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.error);
        assert!(ran.error.contains(word) && ran.out.is_empty(), "{arguments:?}: {}", ran.error);
    }
}

#[test]
fn the_version_is_that_of_the_package_on_every_command() {
    for arguments in [&["--version"][..], &["serve", "--version"], &["models", "list", "--version"]] {
        assert!(run(arguments).ok().out.contains(env!("CARGO_PKG_VERSION")), "{arguments:?}");
    }
}

#[test]
fn models_are_listed_for_people_and_for_scripts() {
    let models = shipped(&["models", "list", "--json"]).ok().json();
    let models = models.as_array().expect("an array").clone();
    let table = shipped(&["models", "list"]).ok().out;
    for model in &models {
        assert_eq!((&model["state"], &model["reason"]), (&"ready".into(), &"".into()), "{model}");
        let name = model["name"].as_str().expect("a name");
        assert!(table.contains(name), "{name} is missing in\n{table}");
        assert_eq!(model["synthetic"], name.starts_with("sensor-"), "{model}");
    }
    assert!(models.len() >= 5);
}

#[test]
fn a_damaged_bundle_is_listed_with_the_file_that_is_wrong() {
    let bundles = copied_bundles();
    let version = version_dir(bundles.path(), "thyroid");
    std::fs::remove_file(version.join("calibration.json")).expect("removed");
    let ran = run(&["models", "list", "--json", "--bundles", &bundles.path().to_string_lossy()]).ok();
    let models = ran.json();
    let thyroid = models.as_array().expect("an array").iter().find(|model| model["name"] == "thyroid");
    let thyroid = thyroid.expect("listed all the same");
    assert_eq!(thyroid["state"], "unavailable");
    assert!(thyroid["reason"].as_str().is_some_and(|text| text.contains("calibration.json")), "{thyroid}");
}

#[test]
fn a_signed_bundle_is_believed_by_those_who_trust_its_key() {
    let bundles = copied_bundles();
    let key = bundles.path().join("maker.key");
    let (root, key) = (bundles.path().to_string_lossy(), key.to_string_lossy());
    let folder = version_dir(bundles.path(), "thyroid");
    let folder = folder.to_string_lossy();
    run(&["models", "sign", &folder, "--key", &key]).refused(&["maker.key", "--new-key"]);
    let signed = run(&["models", "sign", &folder, "--key", &key, "--new-key", "--json"]).ok().json();
    let public = signed["public_key"].as_str().expect("the key to trust").to_owned();
    run(&["models", "sign", &folder, "--key", &key, "--new-key"]).refused(&["maker.key"]);
    let unknown = run(&["models", "verify", &folder, "--json"]);
    assert_eq!(unknown.code, Some(1), "{}", unknown.out);
    assert!(
        unknown.error.contains("manifest.sig") && unknown.error.contains("no trusted key"),
        "{}",
        unknown.error
    );
    let config = bundles.path().join("trust.toml");
    let write = |key: &str| {
        std::fs::write(&config, format!("[models]\nsigned_only = true\ntrusted_keys = [\"{key}\"]\n"))
            .expect("writable");
    };
    let config = config.to_string_lossy();
    write(&public);
    run(&["models", "verify", &folder, "--config", &config]).ok();
    let listed = run(&["models", "list", "--json", "--bundles", &root, "--config", &config]).ok().json();
    let ready: Vec<&str> = listed
        .as_array()
        .expect("an array")
        .iter()
        .filter(|model| model["state"] == "ready")
        .filter_map(|model| model["name"].as_str())
        .collect();
    assert_eq!(ready, ["thyroid"], "the others are not signed");
    write("12");
    run(&["models", "list", "--config", &config])
        .refused(&["models.trusted_keys[0]", "64 hexadecimal digits"]);
}

#[test]
fn a_model_is_shown_with_its_card_or_as_json() {
    let text = shipped(&["models", "show", "thyroid"]).ok().out;
    for part in ["intended_use", "[[input]]", "## Data", "not for diagnosis"] {
        assert!(text.contains(part), "`{part}` is missing");
    }
    let json = shipped(&["models", "show", "thyroid", "--json"]).ok().json();
    assert_eq!((&json["name"], &json["family"]), (&"thyroid".into(), &"biomarker".into()));
    assert_eq!(json["input"].as_array().map(Vec::len), Some(2), "values and marks of presence");
    let folder = shipped_bundles();
    shipped(&["models", "show", "nope"]).refused(&[
        "`nope`",
        &folder.to_string_lossy(),
        "manpasik models list",
    ]);
}

#[test]
fn verification_counts_what_it_checked_and_takes_a_name_or_a_folder() {
    let all = shipped(&["models", "verify", "--json"]).ok().json();
    assert!(all["checked"].as_u64().is_some_and(|count| count >= 5), "{all}");
    assert_eq!(all["faults"], serde_json::json!([]));
    let one = shipped(&["models", "verify", "thyroid", "--json"]).ok().json();
    assert_eq!(one["checked"], 1);
    let folder = version_dir(&shipped_bundles(), "diabetes");
    let text = run(&["models", "verify", &folder.to_string_lossy()]).ok().out;
    assert!(text.starts_with("ok") && text.contains(&*folder.to_string_lossy()), "{text}");
    shipped(&["models", "verify", "nope"]).refused(&["`nope`", "manpasik models list"]);
    shipped(&["models", "quantise", "nope"]).refused(&["`nope`", "manpasik models list"]);
}

#[test]
fn verification_fails_on_a_damaged_bundle_and_names_the_file() {
    let bundles = copied_bundles();
    let card = version_dir(bundles.path(), "thyroid").join("card.md");
    std::fs::write(&card, "nothing to see").expect("written");
    let ran = run(&["models", "verify", "--json", "--bundles", &bundles.path().to_string_lossy()]);
    assert_eq!(ran.code, Some(1), "{}", ran.error);
    let faults = ran.json()["faults"].clone();
    let faults = faults.as_array().expect("an array");
    assert_eq!(faults.len(), 1, "the others are sound: {faults:?}");
    assert!(faults[0].as_str().is_some_and(|fault| fault.contains("thyroid") && fault.contains("card.md")));
    assert!(ran.error.contains("1 of"), "{}", ran.error);
}

#[test]
fn verifying_where_there_is_nothing_is_not_a_success() {
    let empty = TempDir::new().expect("a temporary folder");
    let folder = empty.path().to_string_lossy();
    run(&["models", "verify", "--bundles", &folder]).refused(&[&folder, "no bundle"]);
}

#[test]
fn only_what_is_fetched_can_be_fetched() {
    run(&["models", "fetch", "thyroid"]).refused(&["`thyroid`", "food"]);
}

#[test]
fn families_are_named_where_one_is_asked_for_that_is_not() {
    let families = run(&["train", "--list", "--json"]).ok().json();
    let names: Vec<&str> =
        families.as_array().expect("pairs").iter().filter_map(|pair| pair[0].as_str()).collect();
    assert!(names.contains(&"thyroid") && names.contains(&"sensor-value"), "{names:?}");
    run(&["train", "nope"]).refused(&[&["`nope`"], &names[..]].concat());
    run(&["eval", "nope"]).refused(&["`nope`", "manpasik models list"]);
}

#[test]
fn rows_are_answered_in_order_without_a_server() {
    let answers =
        predict("thyroid", "age,sex,tsh,t3,total_t4\n47,male,80,26,0.7\n30,female,1.5,120,8\n").ok().json();
    let label =
        |row: usize| answers[row]["classifications"][0]["label"].as_str().unwrap_or_default().to_owned();
    assert_eq!(answers.as_array().map(Vec::len), Some(2), "{answers}");
    assert!(label(0).contains("hypo") && !label(1).contains("hypo"), "{} {}", label(0), label(1));
    for answer in answers.as_array().expect("an array") {
        let models = answer["classifications"].as_array().into_iter().flatten();
        assert!(models.clone().count() > 0 && models.clone().all(|item| item["model"]["name"] == "thyroid"));
        assert!(answer["disclaimer"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

#[test]
fn a_unit_in_the_header_is_converted() {
    let usual = predict("diabetes", "age,sex,hba1c,bmi\n50,female,8.2,31\n").ok().json();
    let other = predict("diabetes", "age,sex,hba1c [mmol/mol],bmi\n50,female,66.12,31\n").ok().json();
    let p = |answer: &serde_json::Value| answer[0]["classifications"][0]["probability"].as_f64();
    let (usual, other) = (p(&usual).expect("a probability"), p(&other).expect("a probability"));
    assert!((usual - other).abs() < 0.02, "{usual} {other}");
}

#[test]
fn a_series_is_forecast_and_a_health_score_given() {
    let values: String = (0..40).map(|i| format!("{}\n", 100 + i % 5)).collect();
    let forecast = predict("glucose-trend", &format!("glucose\n{values}")).ok().json();
    let points = forecast[0]["forecast"].as_array().expect("points");
    assert!(!points.is_empty());
    for point in points {
        let (low, high) = (&point["interval"]["low"], &point["interval"]["high"]);
        let value = point["quantity"]["value"].as_f64();
        assert!(low.as_f64() <= value && value <= high.as_f64(), "{point}");
    }
    let score = predict("health-score", "age,sex,bmi,systolic_bp,smoker\n55,male,27,135,no\n").ok().json();
    let points = score[0]["score"]["value"].as_f64().expect("a score");
    assert!((0.0..=100.0).contains(&points), "{score}");
}

/// Scores of these rows of `age,sex,bmi,hdl_cholesterol,systolic_bp,diabetes_diagnosed,smoker`, as JSON.
fn scores(rows: &str) -> serde_json::Value {
    let text = format!("age,sex,bmi,hdl_cholesterol,systolic_bp,diabetes_diagnosed,smoker\n{rows}");
    predict("health-score", &text).ok().json()
}

#[test]
fn who_does_not_smoke_scores_no_worse_than_an_unknown_and_an_unknown_no_worse_than_a_smoker() {
    for person in
        ["35,female,22,60,", "55,male,27,45,135,no", "62,female,,,150,yes", "74,male,31,38,,", "50,,,,120,"]
    {
        let commas = person.matches(',').count();
        let person = format!("{person}{}", ",".repeat(5 - commas));
        let answers = scores(&["no", "", "yes"].map(|smoker| format!("{person},{smoker}\n")).concat());
        let points = |row: usize| answers[row]["score"]["value"].as_f64().expect("a score");
        assert!(points(0) >= points(1) && points(1) >= points(2), "{person}: {answers}");
        assert!(points(0) > points(2), "smoking counts: {person}");
        let width = |row: usize| {
            let interval = &answers[row]["interval"];
            // A number that is 0 is left out.
            interval["high"].as_f64().expect("an end") - interval["low"].as_f64().unwrap_or_default()
        };
        assert!(width(1) > width(0) || width(0) >= 100.0, "an unknown widens the interval: {person}");
    }
}

#[test]
fn a_health_score_of_somebody_unlike_all_who_were_measured_is_withheld() {
    let answers = scores("55,male,27,45,135,no,no\n55,male,70,140,200,no,no\n");
    let warned = |row: usize| {
        let warnings = answers[row]["warnings"].as_array();
        warnings.is_some_and(|all| all.iter().any(|warning| warning["code"] == "out_of_distribution"))
    };
    assert_eq!((warned(0), warned(1)), (false, true), "{answers}");
    let interval = &answers[1]["interval"];
    let ends = (interval["low"].as_f64().unwrap_or_default(), interval["high"].as_f64());
    assert_eq!(ends, (0.0, Some(100.0)));
    let verdict = answers[1]["safety"]["verdict"].as_str().unwrap_or_default();
    assert!(["VERDICT_UNCERTAIN", "VERDICT_ALERT", "VERDICT_CRITICAL"].contains(&verdict), "{answers}");
}

#[test]
fn a_mistake_in_the_rows_is_told_with_file_row_and_cell() {
    let cases: [(&str, &str, &[&str]); 7] = [
        ("thyroid", "age,colour\n1,red\n", &["rows.csv", "`colour`", "biomarker"]),
        ("thyroid", "age,tsh\n40,1\n40,plenty\n", &["rows.csv", "row 2", "`plenty`"]),
        ("thyroid", "age,sex,tsh\n40,both,1\n", &["rows.csv", "row 1", "`both`"]),
        ("thyroid", "age,smoker,tsh\n40,maybe,1\n", &["row 1", "smoker", "`maybe`"]),
        ("thyroid", "age,tsh\n40\n", &["rows.csv", "row 1"]),
        ("thyroid", "age,tsh [furlong]\n40,1\n", &["row 1", "furlong"]),
        ("glucose-trend", "time_unix_ms,glucose\n0,90\n300000,high\n", &["rows.csv", "row 2", "`high`"]),
    ];
    for (model, text, parts) in cases {
        predict(model, text).refused(parts);
    }
}

#[test]
fn a_series_is_one_column_or_two() {
    predict("glucose-trend", "a,b,glucose\n1,2,3\n").refused(&["rows.csv", "time_unix_ms", "has 3"]);
    predict("glucose-trend", "age\n40\n").refused(&["`age`", "not a biomarker"]);
    predict("glucose-trend", "time_unix_ms,glucose\nnoon,90\n").refused(&["row 1", "time_unix_ms"]);
}

#[test]
fn a_model_that_is_not_there_or_takes_no_rows_says_what_to_do() {
    predict("nope", "age\n1\n").refused(&["nope"]);
    predict("sensor-fingerprint", "age\n1\n").refused(&["sensor-fingerprint", "manpasik serve"]);
    shipped(&["predict", "thyroid", "/nonexistent/rows.csv"]).refused(&["/nonexistent/rows.csv"]);
}

#[test]
fn an_empty_vector_store_is_sound_and_a_store_is_not_copied_onto_itself() {
    for command in ["stats", "verify", "rebuild"] {
        assert_eq!(run(&["vectors", command, "--json"]).ok().out.trim(), "[]", "{command}");
    }
    run(&["vectors", "verify", "nothing"]).refused(&["no collection 'nothing'"]);
    run(&["vectors", "migrate", "--to", "embedded"]).refused(&["already"]);
    run(&["vectors", "migrate", "--to", "qdrant"]).refused(&["vectors.qdrant_url is empty"]);
    assert!(run(&["vectors", "migrate", "--help"]).ok().out.contains("qdrant"));
}
