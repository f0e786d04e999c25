//! Records of training and search as a person meets them: what was done is listed, shown, compared and taken up again.

use tempfile::TempDir;

use crate::support::{Ran, run_over, shipped_bundles, version_dir};

fn over(data: &TempDir, arguments: &[&str]) -> Ran {
    run_over(data.path(), arguments, &[])
}

fn data() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

/// Trains the quickest model with little effort; its run.
fn train(data: &TempDir, seed: &str) -> String {
    let out = data.path().join("out");
    let out = out.to_string_lossy();
    let made =
        over(data, &["train", "sensor-quality", "--trial", "--seed", seed, "--out", &out, "--json"]).ok();
    made.json()[0]["run_id"].as_str().expect("an id").to_owned()
}

#[test]
fn training_leaves_a_record_that_is_listed_shown_and_compared() {
    let data = data();
    let (first, second) = (train(&data, "1"), train(&data, "2"));
    let listed = over(&data, &["runs", "list", "--model", "sensor-quality", "--json"]).ok().json();
    let ids: Vec<&str> =
        listed.as_array().expect("runs").iter().filter_map(|run| run["run_id"].as_str()).collect();
    assert_eq!(ids, [&second, &first], "the newest first");
    assert_eq!(over(&data, &["runs", "list", "--model", "thyroid", "--json"]).ok().out.trim(), "[]");

    let shown = over(&data, &["runs", "show", &first[..12], "--json"]).ok().json();
    let run = &shown["run"];
    assert_eq!((&run["status"], &run["params"]["seed"]), (&"FINISHED".into(), &"1".into()));
    assert_eq!(run["params"]["network.kind"], "classifier");
    assert!(run["params"]["learning_rate"].is_string(), "{run}");
    assert_eq!(run["tags"]["manpasik.model"], "sensor-quality");
    let hash = run["tags"]["data.simulator.sha256"].as_str().expect("the data's hash");
    assert_eq!(hash.len(), 64);
    assert!(run["metrics"]["test/macro_f1"].is_number(), "{run}");
    let epochs = shown["history"]["validation/sensor-quality"].as_array().expect("epochs");
    assert_eq!(epochs[0][0], 1, "from the first epoch: {epochs:?}");

    let table = over(&data, &["runs", "compare", &first, &second]).ok().out;
    for word in [&first[..8], &second[..8], "param seed", "metric test/macro_f1"] {
        assert!(table.contains(word), "`{word}` is missing in\n{table}");
    }
    assert!(!table.contains("param network.kind"), "what is alike is left out:\n{table}");
    over(&data, &["runs", "show", "ffffffffffff"]).refused(&["ffffffffffff", "manpasik runs list"]);
}

#[test]
fn a_failed_training_is_recorded_as_failed() {
    let data = data();
    // A file where bundles would go: the model cannot be written.
    let out = data.path().join("out");
    std::fs::write(&out, "").expect("written");
    let ran = over(&data, &["train", "sensor-quality", "--trial", "--out", &out.to_string_lossy()]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    let listed = over(&data, &["runs", "list", "--json"]).ok().json();
    assert_eq!(listed[0]["status"], "FAILED");
    assert!(listed[0]["tags"]["manpasik.error"].as_str().is_some_and(|text| text.contains("sensor-quality")));
}

#[test]
fn a_search_goes_on_where_it_stopped() {
    let data = data();
    let search = |trials: &str, seed: &str| {
        over(&data, &["search", "sensor-quality", "--trial", "--trials", trials, "--seed", seed, "--json"])
            .ok()
            .json()
    };
    let first = search("2", "5");
    assert_eq!(first["trials"].as_array().map(Vec::len), Some(2));
    let more = search("3", "5");
    assert_eq!(more["run_id"], first["run_id"], "the same search");
    let ids = |answer: &serde_json::Value| -> std::collections::BTreeSet<String> {
        let trials = answer["trials"].as_array().expect("trials");
        trials.iter().filter_map(|trial| trial["run_id"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(
        (ids(&more).len(), ids(&more).intersection(&ids(&first)).count()),
        (3, 2),
        "one trial was new"
    );
    let best = more["best"]["validation"].as_f64().expect("a figure");
    let figures: Vec<f64> =
        more["trials"].as_array().expect("trials").iter().filter_map(|t| t["validation"].as_f64()).collect();
    assert!(figures.len() == 3 && figures.iter().all(|figure| best <= *figure), "{figures:?}");
    assert_ne!(search("1", "6")["run_id"], first["run_id"], "another seed is another search");
}

#[test]
fn a_bundle_is_reported_on_as_a_page_and_as_numbers() {
    let data = data();
    let bundles = shipped_bundles();
    let version = version_dir(&bundles, "sensor-quality");
    let reports = data.path().join("elsewhere");
    let arguments = [
        "eval",
        "sensor-quality",
        "--bundles",
        &bundles.to_string_lossy(),
        "--out",
        &reports.to_string_lossy(),
    ];
    let told = over(&data, &arguments).ok().out;
    let version = version.file_name().expect("a version");
    let page = reports.join("sensor-quality").join(version).join("report.html");
    assert!(told.contains(&*page.to_string_lossy()), "{told}");
    let page = std::fs::read_to_string(&page).expect("written");
    for part in ["Confusion", "Calibration", "ROC", "boosted trees", "Synthetic"] {
        assert!(page.contains(part), "`{part}` is missing");
    }
    let answer = over(&data, &[&arguments[..4], &["--json"]].concat()).ok().json();
    let json = answer["models"][0]["json"].as_str().expect("a file").to_owned();
    assert!(json.starts_with(&*data.path().join("reports").to_string_lossy()), "{json}");
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).expect("written")).expect("JSON");
    assert!(json["plots"].as_array().is_some_and(|plots| plots.len() > 3));
}
