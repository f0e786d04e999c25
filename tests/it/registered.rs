//! Registered versions from upload to live and back, on the command line and over REST: what each shows, and whom each
//! refuses.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Ran, Server,
    http::{self, Answer, bearing},
    run_over, shipped_bundles, version_dir,
};

const REQUIRED: (&str, &str) = ("MANPASIK__AUTH__REQUIRED", "true");
const MODEL: &str = "/v1/registry/models/sensor-quality";

/// A server that asks for tokens, with people who have one.
struct House {
    server: Server,
    bundles: TempDir,
}

/// Somebody with a token.
struct Person {
    token: String,
}

impl House {
    fn open() -> Self {
        // Without the bundles shipped nothing answers for the name until a version is live.
        let bundles = TempDir::new().expect("a folder");
        Self { server: Server::with(bundles.path(), &[REQUIRED]), bundles }
    }

    fn person(&self, name: &str, role: &str) -> Person {
        let ran = run_over(
            self.server.data_dir(),
            &["tokens", "create", name, "--role", role, "--json"],
            &[REQUIRED],
        );
        Person { token: ran.ok().json()["token"].as_str().expect("a token").to_owned() }
    }

    fn cli(&self, person: &Person, arguments: &[&str]) -> Ran {
        let none = self.bundles.path().to_string_lossy();
        let all =
            [&["models"], arguments, &["--bundles", &none, "--token", &person.token, "--json"]].concat();
        run_over(self.server.data_dir(), &all, &[REQUIRED])
    }

    fn rest(&self, person: &Person, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        bearing(self.server.http, method, path, &format!("Bearer {}", person.token), &body)
    }

    fn get(&self, person: &Person, path: &str) -> Value {
        let answer = self.rest(person, "GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// A refusal of REST, as code and message.
    fn refused(&self, person: &Person, (method, path): (&str, &str), body: &Value, status: u16) -> String {
        let answer = self.rest(person, method, path, body);
        assert_eq!(answer.status, status, "{path}: {}", String::from_utf8_lossy(&answer.body));
        let error = &answer.json()["error"];
        format!(
            "{} {}",
            error["code"].as_str().expect("a code"),
            error["message"].as_str().expect("a message")
        )
    }

    /// Uploads a bundle and waits for its gates.
    fn staged(&self, maker: &Person, bundle: &Path, number: i64) -> Value {
        let pushed = self.cli(maker, &["push", &bundle.to_string_lossy()]).ok().json();
        assert_eq!((&pushed["version"], &pushed["state"]), (&json!(number), &json!("draft")));
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let version = self.get(maker, &format!("{MODEL}/versions/{number}"));
            let state = version["state"].as_str().expect("a state").to_owned();
            if state != "draft" && state != "validating" {
                assert_eq!(state, "staged", "{version}");
                return version;
            }
            assert!(Instant::now() < deadline, "{version}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A shipped bundle, and the same with another sentence and another figure in it.
fn two_bundles() -> (PathBuf, TempDir) {
    let shipped = version_dir(&shipped_bundles(), "sensor-quality");
    let bundle = models::Bundle::open(&shipped).expect("sound");
    let mut config = bundle.config().clone();
    config.version = "MPS-SENSOR-QUALITY-v1.9.0-FP32".parse().expect("a version");
    config.lineage.trained_with = "another program".into();
    let figure = config.metrics.first_mut().expect("figures");
    figure.value += 0.25;
    let other = TempDir::new().expect("a folder");
    let mut writer = models::bundle::BundleWriter::new(config);
    for name in bundle.manifest().files().keys().filter(|name| *name != models::bundle::CONFIG_FILE) {
        writer = writer.file(name, bundle.file(name).expect("there"));
    }
    writer.write(other.path().join("bundle")).expect("written");
    (shipped, other)
}

#[test]
fn a_version_is_shown_compared_and_verified() {
    let house = House::open();
    let ann = house.person("ann", "data_scientist");
    let (one, other) = two_bundles();
    house.staged(&ann, &one, 1);
    let none = house.cli(&ann, &["diff", "sensor-quality", "1"]);
    none.refused(&["a live version of `sensor-quality`"]);
    house.staged(&ann, &other.path().join("bundle"), 2);

    let diff = house.cli(&ann, &["diff", "sensor-quality", "2", "1"]).ok().json();
    assert!(diff["change"].as_str().is_some_and(|change| change.starts_with("none, pre-approved")), "{diff}");
    let row = |part: &str, name: &str| {
        let rows = diff["rows"].as_array().expect("rows");
        rows.iter().find(|row| row["part"] == part && row["name"] == name).cloned()
    };
    assert_eq!(row("config", "lineage.trained_with").expect("it differs")["to"], "another program");
    assert_eq!(row("config", "lineage.seed"), None, "what is alike is not told");
    let weights = row("weights", "weights.safetensors").expect("always told");
    assert_eq!(weights["from"], weights["to"]);
    assert!(row("file", "model.toml").is_some() && row("file", "card.md").is_none());
    let rows = diff["rows"].as_array().expect("rows");
    let rose = rows.iter().filter_map(|row| row["difference"].as_f64()).fold(0.0, f64::max);
    assert!((rose - 0.25).abs() < 1e-9, "{rose}");
    assert!(
        row("gate", "golden").expect("asked")["to"].as_str().is_some_and(|text| text.starts_with("passed"))
    );
    let rest = house.get(&ann, &format!("{MODEL}/versions/2/diff?beside=1"));
    assert_eq!(rest, diff, "both faces say the same");

    let shown = house.cli(&ann, &["show", "sensor-quality", "--version", "2"]).ok().json();
    assert_eq!((&shown["user"], &shown["config"]["name"]), (&json!("ann"), &json!("sensor-quality")));
    let listed = house.cli(&ann, &["list"]).ok().json();
    let numbers = listed.as_array().expect("a list").iter().filter_map(|one| one["registered"].as_i64());
    assert_eq!(numbers.collect::<Vec<_>>().len(), 2);
    house.cli(&ann, &["verify", "sensor-quality", "2"]).ok();
    assert_eq!(house.get(&ann, &format!("{MODEL}/versions/2/verify"))["sound"], true);
    spoil(&house.server.data_dir().join("artifacts"));
    let found = house.cli(&ann, &["verify", "sensor-quality", "2"]);
    assert!(found.code == Some(1) && found.error.contains("is not what it was"), "{}", found.error);
    assert_eq!(house.get(&ann, &format!("{MODEL}/versions/2/verify"))["sound"], false);
}

/// Changes a byte of every blob.
fn spoil(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        if entry.path().is_dir() {
            spoil(&entry.path());
        } else {
            let mut bytes = std::fs::read(entry.path()).expect("readable");
            if let Some(first) = bytes.first_mut() {
                *first ^= 1;
            }
            std::fs::write(entry.path(), bytes).expect("written");
        }
    }
}

#[test]
fn each_role_is_refused_what_is_not_its_own() {
    let house = House::open();
    let (ann, bob) = (house.person("ann", "data_scientist"), house.person("bob", "data_scientist"));
    let (root, reader, user) =
        (house.person("root", "admin"), house.person("rita", "researcher"), house.person("uma", "user"));
    let (bundle, _other) = two_bundles();
    let folder = bundle.to_string_lossy().into_owned();
    for stranger in [&reader, &user] {
        let refused = house.cli(stranger, &["push", &folder]);
        assert!(refused.code == Some(1) && refused.error.contains("data_scientist"), "{}", refused.error);
    }
    house.staged(&ann, &bundle, 1);
    let (version, yes) = (format!("{MODEL}/versions/1"), json!({ "why": "read the report" }));
    let approve = ("POST", &*format!("{version}/approve"));
    let promote = ("POST", &*format!("{version}/promote"));
    assert_eq!(house.rest(&user, "GET", &version, &Value::Null).status, 403, "a user does not look");
    assert_eq!(house.get(&reader, &version)["state"], "staged", "a researcher does");
    assert!(house.refused(&reader, approve, &yes, 403).contains("data_scientist or admin"));
    let own = house.refused(&ann, approve, &yes, 403);
    assert!(own.contains("PERMISSION_DENIED ann made version sensor-quality/1"), "{own}");
    house.cli(&ann, &["approve", "sensor-quality", "1", "--why", "mine"]).refused(&["ann made version"]);
    assert!(house.refused(&ann, promote, &json!({}), 403).contains("not been approved"));
    assert!(house.refused(&bob, approve, &json!({}), 400).contains("why"));
    let missing = ("POST", &*format!("{MODEL}/versions/9/approve"));
    assert!(house.refused(&bob, missing, &yes, 404).contains("version 9"));

    let approved = house.rest(&bob, "POST", approve.1, &yes);
    assert_eq!((approved.status, &approved.json()["approvals"][0]["who"]), (200, &json!("bob")));
    let live = house.rest(&ann, "POST", promote.1, &json!({ "why": "first" }));
    assert_eq!(
        (live.status, &live.json()["state"]),
        (200, &json!("live")),
        "the maker may release what bob approved"
    );
    let back = ("POST", &*format!("{MODEL}/rollback"));
    assert!(house.refused(&bob, back, &yes, 409).contains("no earlier version"));

    let policy = json!({ "toml": "[canary]\nstep_s = 5.0\n" });
    let at = ("PUT", &*format!("{MODEL}/policy"));
    assert!(house.refused(&ann, at, &policy, 403).contains("admin"));
    assert!(house.refused(&root, at, &json!({ "toml": "[canary]\nsteeps = 1\n" }), 400).contains("steeps"));
    assert_eq!(house.rest(&root, at.0, at.1, &policy).json()["policy"]["canary"]["step_s"], 5.0);
    let pin = format!("{MODEL}/pins/01:01");
    let pinned = house.rest(&ann, "PUT", &pin, &json!({ "version": 1 })).json();
    assert_eq!(pinned["pins"], json!([{ "cartridge": "01:01", "version": 1 }]));
    assert_eq!(house.rest(&ann, "DELETE", &pin, &Value::Null).json()["pins"], json!([]));
    assert!(house.refused(&ann, ("DELETE", &pin), &Value::Null, 404).contains("01:01"));

    let links = house.get(&reader, "/v1/registry/audit?model=sensor-quality")["links"].clone();
    let done =
        links.as_array().expect("links").iter().map(|link| (link["who"].clone(), link["action"].clone()));
    assert!(done.clone().any(|done| done == (json!("bob"), json!("version.approve"))));
    assert!(
        !done.clone().any(|done| done == (json!("ann"), json!("version.approve"))),
        "a refusal leaves no link"
    );
    assert_eq!(house.get(&reader, "/v1/registry/audit/verify")["whole"], true);
}

#[test]
fn a_token_counts_where_none_is_asked_for() {
    let server = Server::start();
    let made =
        run_over(server.data_dir(), &["tokens", "create", "rita", "--role", "researcher", "--json"], &[]);
    let token = made.ok().json()["token"].as_str().expect("a token").to_owned();
    let roll = |header: &str| {
        bearing(server.http, "PUT", "/v1/registry/models/m/pins/01:01", header, r#"{"version":1}"#).status
    };
    assert_eq!(roll(&format!("Bearer {token}")), 403, "a researcher stays one");
    assert_eq!(roll("Bearer mps_a_b"), 401);
    let answer = http::get(server.http, "/v1/registry/models/m/versions/many");
    assert_eq!((answer.status, &answer.json()["error"]["field"]), (400, &json!("path")));
}
