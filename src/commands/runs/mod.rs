//! `manpasik runs`: what was trained and searched, with which settings, on which data, and what came of it.

pub(crate) mod settings;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use registry::runs::{Filter, Metric, PARENT_TAG, Run};
use serde::Serialize;

use self::settings::{HEADLINE_TAG, MODEL_TAG, Pairs};
use crate::{
    app::recorder::Recorder,
    cli::RunsCommand,
    commands::{print, print_json, table},
    config::Config,
};

/// Digits of an id that people read.
const DIGITS: usize = 8;

/// Runs one of the run commands.
pub(crate) fn run(config: &Config, command: &RunsCommand, json: bool) -> anyhow::Result<()> {
    let recorder = Recorder::open(config)?;
    match command {
        RunsCommand::List { model, limit } => list(&recorder, model.as_deref(), *limit, json),
        RunsCommand::Show { id } => show(&recorder, id, json),
        RunsCommand::Compare { ids } => compare(&recorder, ids, json),
    }
}

/// A run for scripts.
#[derive(Serialize)]
struct Listed<'a> {
    run_id: &'a str,
    name: &'a str,
    status: &'static str,
    started_ms: i64,
    ended_ms: Option<i64>,
    params: &'a Pairs,
    tags: &'a Pairs,
    metrics: &'a std::collections::BTreeMap<String, f64>,
}

impl<'a> Listed<'a> {
    fn of(run: &'a Run) -> Self {
        Self {
            run_id: &run.id,
            name: &run.name,
            status: run.status.code(),
            started_ms: run.started_ms,
            ended_ms: run.ended_ms,
            params: &run.params,
            tags: &run.tags,
            metrics: &run.metrics,
        }
    }
}

fn list(recorder: &Recorder, model: Option<&str>, limit: u64, json: bool) -> anyhow::Result<()> {
    let tags = model.map(|model| (MODEL_TAG.to_owned(), model.to_owned())).into_iter().collect();
    let filter = Filter { tags, limit: Some(limit), ..Filter::default() };
    let runs = recorder.ask(|runs| async move { runs.list(&filter).await })?;
    if json {
        return print_json(&runs.iter().map(Listed::of).collect::<Vec<_>>());
    }
    let row = |run: &Run| {
        let key = run.tags.get(HEADLINE_TAG);
        let headline = key.and_then(|key| Some(format!("{key} {}", number(*run.metrics.get(key)?))));
        let parent = run.tags.get(PARENT_TAG).map(|id| format!("trial of {}", short(id)));
        vec![
            short(&run.id).to_owned(),
            run.name.clone(),
            run.status.code().to_owned(),
            time(run.started_ms),
            run.ended_ms.map(|end| seconds(end - run.started_ms)).unwrap_or_default(),
            headline.unwrap_or_default(),
            parent.unwrap_or_default(),
        ]
    };
    let header = ["run", "name", "status", "started (UTC)", "took", "figure", "part of"];
    print(&table(&header, runs.iter().map(row)))
}

fn show(recorder: &Recorder, id: &str, json: bool) -> anyhow::Result<()> {
    let run = recorder.ask(|runs| async move { runs.get(id).await })?;
    let mut histories = Vec::new();
    for key in run.metrics.keys() {
        let id = &run.id;
        let history = recorder.ask(|runs| async move { runs.history(id, key).await })?;
        histories.extend((history.len() > 1).then_some((key, history)));
    }
    if json {
        let points = |history: &[Metric]| -> Vec<(i64, f64)> {
            history.iter().map(|metric| (metric.step, metric.value)).collect()
        };
        let histories: std::collections::BTreeMap<_, _> =
            histories.iter().map(|(key, history)| (key, points(history))).collect();
        return print_json(&serde_json::json!({ "run": Listed::of(&run), "history": histories }));
    }
    let took = run.ended_ms.map(|end| seconds(end - run.started_ms)).unwrap_or_default();
    print(&format!(
        "{} {} {} {took}\nstarted {} UTC",
        run.id,
        run.name,
        run.status.code(),
        time(run.started_ms)
    ))?;
    let rows = |kind: &'static str, pairs: &Pairs| -> Vec<Vec<String>> {
        pairs.iter().map(|(key, value)| vec![kind.to_owned(), key.clone(), value.clone()]).collect()
    };
    let metrics = run.metrics.iter().map(|(key, value)| vec!["metric".into(), key.clone(), number(*value)]);
    let all = rows("param", &run.params).into_iter().chain(rows("tag", &run.tags)).chain(metrics);
    print(&table(&["kind", "name", "value"], all))?;
    for (key, history) in histories {
        let values: Vec<String> = history.iter().map(|metric| number(metric.value)).collect();
        print(&format!("{key}: {}", values.join(" ")))?;
    }
    Ok(())
}

/// One column for each run: every figure, and of the settings and tags those that differ.
fn compare(recorder: &Recorder, ids: &[String], json: bool) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for id in ids {
        found.push(recorder.ask(|runs| async move { runs.get(id).await })?);
    }
    if json {
        return print_json(&found.iter().map(Listed::of).collect::<Vec<_>>());
    }
    let mut rows = differing("param", &found, |run| &run.params);
    rows.extend(differing("tag", &found, |run| &run.tags));
    let keys: BTreeSet<&String> = found.iter().flat_map(|run| run.metrics.keys()).collect();
    for key in keys {
        let values =
            found.iter().map(|run| run.metrics.get(key).map(|value| number(*value)).unwrap_or_default());
        rows.push([format!("metric {key}")].into_iter().chain(values).collect());
    }
    let heads: Vec<String> = found.iter().map(|run| format!("{} {}", short(&run.id), run.name)).collect();
    let header: Vec<&str> = [""].into_iter().chain(heads.iter().map(String::as_str)).collect();
    print(&table(&header, rows))
}

fn differing<'a>(kind: &str, runs: &'a [Run], of: impl Fn(&'a Run) -> &'a Pairs) -> Vec<Vec<String>> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| of(run).keys()).collect();
    let mut rows = Vec::new();
    for key in keys {
        let values: Vec<Option<&String>> = runs.iter().map(|run| of(run).get(key)).collect();
        if values.iter().any(|value| *value != values[0]) {
            let cells = values.into_iter().map(|value| value.cloned().unwrap_or_default());
            rows.push([format!("{kind} {key}")].into_iter().chain(cells).collect());
        }
    }
    rows
}

/// The first digits of an id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..DIGITS).unwrap_or(id)
}

fn time(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

fn seconds(ms: i64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

/// Five digits that count.
fn number(value: f64) -> String {
    let digits = (4.0 - value.abs().max(1e-9).log10().floor()).clamp(0.0, 8.0);
    format!("{value:.*}", digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_written_for_people() {
        assert_eq!(time(1_700_000_000_000), "2023-11-14 22:13:20");
        assert_eq!((seconds(1_540), short("0123456789"), short("01")), ("1.5 s".into(), "01234567", "01"));
        assert_eq!([number(0.912_345_6), number(1_234.56), number(f64::NAN)], ["0.91235", "1234.6", "NaN"]);
    }
}
