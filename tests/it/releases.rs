//! Releases of a bundle over the real program: what the policy of its model asks, of the upload and of its figures.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tonic::metadata::MetadataValue;

use crate::{
    predictions::{ask, eventually, thyroid, with_reference},
    support::{Server, http, run_over, version_dir},
};

/// What a command says over the data of a server, as JSON.
fn said(server: &Server, arguments: &[&str]) -> Value {
    run_over(server.data_dir(), &[arguments, &["--json"]].concat(), &[]).ok().json()
}

/// Version 1 of thyroid, pushed from `bundles` under `policy`, once the gates have looked at it.
fn pushed(server: &Server, bundles: &Path, policy: &str) -> Value {
    let made = http::post(server.http, "/api/2.0/mlflow/registered-models/create", r#"{"name": "thyroid"}"#);
    assert_eq!(made.status, 200);
    let file = server.data_dir().join("policy.toml");
    fs::write(&file, policy).expect("written");
    said(server, &["models", "policy", "thyroid", "--set", &file.to_string_lossy()]);
    said(server, &["models", "push", &version_dir(bundles, "thyroid").to_string_lossy()]);
    becomes(server, &["staged", "rejected"])
}

/// A version of thyroid, once it is in one of these states.
fn becomes(server: &Server, states: &[&str]) -> Value {
    eventually(&format!("version 1 is {states:?}"), || {
        let versions = said(server, &["models", "versions", "thyroid"]);
        let is_it = |version: &&Value| version["version"] == 1;
        let version = versions.as_array()?.iter().find(is_it)?.clone();
        states.iter().any(|state| version["state"] == *state).then_some(version)
    })
}

fn canary(server: &Server) {
    said(server, &["models", "approve", "thyroid", "1", "--why", "read the report"]);
    let promoted = said(server, &["models", "promote", "thyroid", "1"]);
    assert_eq!(promoted["state"], "canary", "the careful way: a shipped bundle answers for the name");
}

/// Asks, a score of questions at a time, until version 1 is taken back.
async fn asked_until_rolled_back(server: &Server, mut ask: impl AsyncFnMut(u32)) -> Value {
    // How many answers that takes is the server's affair: it looks at its figures by the clock.
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        for at in 0..20 {
            ask(at).await;
        }
        let versions = said(server, &["models", "versions", "thyroid"]);
        let found = versions.as_array().and_then(|all| all.iter().find(|one| one["version"] == 1));
        if let Some(version) = found.filter(|version| version["state"] == "rolled_back") {
            return version.clone();
        }
    }
    panic!("version 1 is not taken back")
}

fn actions(server: &Server) -> Vec<(String, String)> {
    let links = said(server, &["models", "audit", "thyroid"]);
    let text = |link: &Value, key: &str| link[key].as_str().unwrap_or_default().to_owned();
    let links = links.as_array().expect("links").iter();
    links.map(|link| (text(link, "action"), text(link, "why"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_drifts_is_taken_back_and_the_audit_says_by_what() {
    let bundles = with_reference();
    let server = Server::with(bundles.path(), &[]);
    let policy = "[canary]\nsteps = [100]\n[drift]\nrows = 50\n[rollback]\nagreement_min = 0.0\n";
    assert_eq!(pushed(&server, bundles.path(), policy)["state"], "staged");
    canary(&server);
    let back = asked_until_rolled_back(&server, async |at| {
        ask(&server, 6.0 + f64::from(at) / 100.0).await;
    })
    .await;
    let reason = back["reason"].as_str().expect("a reason");
    assert!(reason.contains("drift") && reason.contains("tsh"), "{reason}");
    let actions = actions(&server);
    assert!(
        actions.iter().any(|(action, why)| action == "drift.alarm" && why.contains("tsh")),
        "{actions:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_slower_than_the_policy_allows_is_taken_back() {
    let bundles = with_reference();
    let server = Server::with(bundles.path(), &[]);
    let rollback = "[rollback]\nanswers_min = 20\nlatency_ratio_max = 0.0\nlatency_us_free = 0\n";
    let policy = format!("[canary]\nsteps = [50, 100]\n{rollback}");
    assert_eq!(pushed(&server, bundles.path(), &policy)["state"], "staged");
    canary(&server);
    let mut client = server.ai().await;
    let back = asked_until_rolled_back(&server, async |at| {
        let mut request = tonic::Request::new(thyroid(2.0));
        let user = MetadataValue::try_from(format!("caller {at}")).expect("ascii");
        request.metadata_mut().insert("x-user-id", user);
        client.analyze_measurement(request).await.expect("nobody is failed");
    })
    .await;
    assert!(back["reason"].as_str().is_some_and(|reason| reason.contains("latency")), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_signed_is_refused_where_the_policy_says_so() {
    let bundles = with_reference();
    let server = Server::with(bundles.path(), &[]);
    let refused = pushed(&server, bundles.path(), "[gates]\nunsigned = false\n");
    assert_eq!(refused["state"], "rejected");
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("gates.unsigned")), "{refused}");
}
