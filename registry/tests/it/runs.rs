//! The run table over SQLite: what is written comes back, a silent run is found out, a client's run is left alone.

use std::collections::BTreeMap;

use registry::runs::{DEFAULT_EXPERIMENT, Filter, Metric, NewRun, RunStatus, Runs, SILENCE_MS_MAX};
use store::Url;

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn new(name: &str, started_ms: i64) -> NewRun {
    NewRun {
        experiment: DEFAULT_EXPERIMENT,
        name: name.into(),
        params: pairs(&[("learning_rate", "0.001")]),
        tags: pairs(&[("manpasik.model", name)]),
        started_ms,
        watched: true,
        user: "ann".into(),
    }
}

fn metric(key: &str, value: f64, step: i64) -> Metric {
    Metric { key: key.into(), value, step, at_ms: 1_000 + step }
}

async fn memory() -> Runs {
    Runs::open(&Url::SqliteMemory).await.expect("opened")
}

#[tokio::test]
async fn what_is_written_comes_back_after_the_table_was_closed() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let url = Url::file(&folder.path().join("registry.sqlite"));
    let runs = Runs::open(&url).await.expect("opened");
    let id = runs.start(&new("thyroid", 10)).await.expect("started");
    assert!(id.len() == 32 && id.chars().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    runs.log_params(&id, &pairs(&[("members", "8"), ("learning_rate", "0.001")])).await.expect("params");
    runs.set_tags(&id, &pairs(&[("mlflow.source.git.commit", "abc")])).await.expect("tags");
    let losses: Vec<Metric> = (0..1_200).map(|step| metric("loss", 1.0 / (step + 1) as f64, step)).collect();
    runs.log_metrics(&id, &losses).await.expect("many at once");
    runs.log_metrics(&id, &[metric("auroc", f64::NAN, 0)]).await.expect("no number");
    runs.end(&id, RunStatus::Finished, 99).await.expect("ended");
    runs.close().await.expect("closed");

    let runs = Runs::open(&url).await.expect("opened again");
    let run = runs.get(&id[..8]).await.expect("by the first digits");
    assert_eq!((run.status, run.started_ms, run.ended_ms), (RunStatus::Finished, 10, Some(99)));
    assert_eq!(run.params, pairs(&[("learning_rate", "0.001"), ("members", "8")]));
    assert_eq!(run.tags["mlflow.source.git.commit"], "abc");
    assert_eq!(run.metrics["loss"], 1.0 / 1_200.0);
    assert!(run.metrics["auroc"].is_nan());
    assert_eq!(runs.history(&id, "loss").await.expect("history"), losses);
}

#[tokio::test]
async fn the_last_value_of_a_figure_is_that_of_the_highest_step() {
    let runs = memory().await;
    let id = runs.start(&new("m", 1)).await.expect("started");
    for (value, step) in [(1.0, 5), (2.0, 3), (3.0, 5)] {
        runs.log_metrics(&id, &[metric("loss", value, step)]).await.expect("written");
    }
    assert_eq!(runs.get(&id).await.expect("found").metrics["loss"], 3.0);
}

#[tokio::test]
async fn a_param_is_written_once_and_a_tag_may_change() {
    let runs = memory().await;
    let id = runs.start(&new("m", 1)).await.expect("started");
    let error = runs.log_params(&id, &pairs(&[("learning_rate", "0.1")])).await.expect_err("another value");
    let text = error.to_string();
    assert!(["learning_rate", "0.001", "0.1"].iter().all(|word| text.contains(word)), "{text}");
    runs.set_tags(&id, &pairs(&[("note", "first")])).await.expect("set");
    runs.set_tags(&id, &pairs(&[("note", "second")])).await.expect("set again");
    assert_eq!(runs.get(&id).await.expect("found").tags["note"], "second");
}

#[tokio::test]
async fn a_run_that_fell_silent_was_killed_and_one_that_never_spoke_was_not() {
    let runs = memory().await;
    let silent = runs.start(&new("silent", 0)).await.expect("started");
    let lively = runs.start(&new("lively", 0)).await.expect("started");
    let client = runs.start(&NewRun { watched: false, ..new("client", 0) }).await.expect("started");
    let ended = runs.start(&new("ended", 0)).await.expect("started");
    runs.end(&ended, RunStatus::Failed, 5).await.expect("ended");
    runs.alive(&silent, 100).await.expect("a sign");
    runs.alive(&lively, SILENCE_MS_MAX).await.expect("a sign");
    let now_ms = 101 + SILENCE_MS_MAX;
    assert_eq!(runs.sweep(now_ms).await.expect("swept"), 1);
    let run = runs.get(&silent).await.expect("found");
    assert_eq!((run.status, run.ended_ms), (RunStatus::Killed, Some(100)), "at its last sign of life");
    for (id, status) in
        [(&lively, RunStatus::Running), (&client, RunStatus::Running), (&ended, RunStatus::Failed)]
    {
        assert_eq!(runs.get(id).await.expect("found").status, status);
    }
    assert_eq!(runs.sweep(now_ms).await.expect("swept"), 0);
    runs.resume(&silent, now_ms).await.expect("taken up again");
    let run = runs.get(&silent).await.expect("found");
    assert_eq!((run.status, run.ended_ms), (RunStatus::Running, None));
    assert_eq!(
        runs.sweep(now_ms + SILENCE_MS_MAX + 1).await.expect("swept"),
        2,
        "silent again, and the lively one"
    );
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_their_tags() {
    let runs = memory().await;
    for (name, started_ms) in [("a", 1), ("b", 3), ("a", 2)] {
        runs.start(&new(name, started_ms)).await.expect("started");
    }
    let times =
        |listed: Vec<registry::runs::Run>| listed.iter().map(|run| run.started_ms).collect::<Vec<_>>();
    let all = runs.list(&Filter::default()).await.expect("listed");
    assert_eq!(times(all), [3, 2, 1]);
    let of_a = Filter { tags: pairs(&[("manpasik.model", "a")]), ..Filter::default() };
    assert_eq!(times(runs.list(&of_a).await.expect("listed")), [2, 1]);
    let one = Filter { limit: Some(1), ..of_a };
    assert_eq!(times(runs.list(&one).await.expect("listed")), [2]);
}

#[tokio::test]
async fn an_id_that_is_none_or_not_the_only_one_is_refused() {
    let runs = memory().await;
    for id in ["", "zz", "%", "0123"] {
        let error = runs.get(id).await.expect_err("no such run").to_string();
        assert!(error.contains("0 runs") && error.contains("manpasik runs list"), "{error}");
    }
    for started_ms in 0..40 {
        runs.start(&new("m", started_ms)).await.expect("started");
    }
    let first = runs.list(&Filter::default()).await.expect("listed")[0].id.clone();
    let shared = runs.list(&Filter::default()).await.expect("listed");
    let shared = shared.iter().filter(|run| run.id.starts_with(&first[..1])).count();
    assert_eq!(runs.get(&first[..1]).await.is_ok(), shared == 1);
}
