//! `manpasik predictions` and `manpasik models accuracy|drift`: what was answered, how it came out, and whether it still
//! looks like training. They read the registry's database, so they need no server.

use anyhow::bail;
use chrono::{DateTime, Utc};
use models::Bundle;
use registry::predictions::{DriftWindow, Prediction};
use serde_json::{Value, json};

use super::registered::{Session, with};
use crate::{
    app::engines,
    cli::{PredictionsCommand, WatchCommand},
    commands::{print, print_json, table},
    config::Config,
    trail,
};

/// Runs one of the prediction commands.
pub(crate) fn run(
    config: &Config,
    command: &PredictionsCommand,
    token: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    with(config, token, async |session| answer(session, command, json).await)
}

async fn answer(session: &Session, command: &PredictionsCommand, json: bool) -> anyhow::Result<()> {
    let registry = &session.registry;
    match command {
        PredictionsCommand::List { model, limit } => {
            show(&registry.predictions(model.as_deref(), *limit).await?, json)
        }
        PredictionsCommand::Show { id } => show(&registry.prediction(id).await?, json),
        PredictionsCommand::Label { id, outcome, model, why } => {
            let act = session.act(why);
            show(&[registry.prediction_label(act, id, model.as_deref(), outcome).await?], json)
        }
    }
}

fn show(found: &[Prediction], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&found.iter().map(trail::prediction).collect::<Vec<_>>());
    }
    let row = |of: &Prediction| {
        let at = DateTime::<Utc>::from_timestamp_millis(of.at_ms);
        let at = at.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default();
        let within = match of.interval {
            Some((low, high)) => format!("{low:.3} to {high:.3}"),
            None => of.classes.join(", "),
        };
        let (outcome, cohort) = (of.outcome.clone().unwrap_or_default(), of.cohort.clone());
        vec![
            of.id.clone(),
            at,
            of.model.clone(),
            of.version.clone(),
            of.output.clone(),
            within,
            cohort,
            outcome,
        ]
    };
    let header = ["id", "when (UTC)", "model", "version", "answer", "interval or set", "cohort", "outcome"];
    print(&table(&header, found.iter().map(row)))
}

/// Runs one of the commands that look at models that serve.
pub(crate) fn watch(
    config: &Config,
    command: &WatchCommand,
    token: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    with(config, token, async |session| match command {
        WatchCommand::Accuracy { name } => accuracy(session, name, json).await,
        WatchCommand::Drift { name } => drift(config, session, name, json).await,
    })
}

async fn accuracy(session: &Session, name: &str, json: bool) -> anyhow::Result<()> {
    let found = session.registry.accuracy(name).await?;
    if json {
        return print_json(&json!({ "model": name, "figures": trail::figures(&found) }));
    }
    if found.is_empty() {
        return print(&format!(
            "no outcome of `{name}` is known yet: `manpasik predictions label ID --outcome ...`"
        ));
    }
    let number = |value: Option<f64>| value.map(|value| format!("{value:.3}")).unwrap_or_default();
    let rows = found.iter().map(|((version, cohort), figures)| {
        let cohort = trail::cohort_name(cohort).to_owned();
        let shares =
            [figures.accuracy(), figures.calibration_error(), figures.coverage(), figures.mean_error()]
                .map(number);
        [version.clone(), cohort, figures.labelled.to_string()].into_iter().chain(shares).collect()
    });
    print(&table(
        &["version", "cohort", "outcomes", "accuracy", "calibration error", "coverage", "mean error"],
        rows,
    ))
}

async fn drift(config: &Config, session: &Session, name: &str, json: bool) -> anyhow::Result<()> {
    let windows = trail::last_windows(session.registry.drift(name, trail::WINDOWS_MAX).await?);
    if windows.is_empty() {
        bail!("{}", nothing_yet(config, name));
    }
    if json {
        let windows: Vec<Value> = windows.iter().map(trail::window).collect();
        return print_json(&json!({ "model": name, "windows": windows }));
    }
    let header =
        ["version", "cohort", "cases", "feature", "stability index", "distance", "training", "now", ""];
    print(&table(&header, windows.iter().flat_map(rows)))
}

fn rows(window: &DriftWindow) -> Vec<Vec<String>> {
    let figures: Vec<Value> = serde_json::from_str(&window.figures).unwrap_or_default();
    let number =
        |figure: &Value, key: &str| figure[key].as_f64().map(|of| format!("{of:.3}")).unwrap_or_default();
    let row = |figure: &Value| {
        let feature = figure["feature"].as_str().unwrap_or_default().to_owned();
        let alarm = if figure["alarm"] == true { "ALARM" } else { "" };
        let head = [&window.version, trail::cohort_name(&window.cohort), &window.rows.to_string(), &feature];
        let keys = ["stability_index", "distance", "training_median", "median"];
        let figures = keys.map(|key| number(figure, key));
        head.map(str::to_owned).into_iter().chain(figures).chain([alarm.to_owned()]).collect()
    };
    figures.iter().map(row).collect()
}

/// Why there is no window to show.
fn nothing_yet(config: &Config, name: &str) -> String {
    let bundle = engines::newest_bundle(config, name).and_then(|folder| Bundle::open(folder).ok());
    match bundle {
        Some(bundle) if bundle.reference().is_none() => format!(
            "no reference: the bundle of `{name}` does not say what its training looked like, so drift is not measured \
             (`manpasik models reference {name}` adds it)"
        ),
        Some(_) | None => format!(
            "no window of `{name}` is closed yet: that takes {} answered cases of a running server",
            config.drift.rows
        ),
    }
}
