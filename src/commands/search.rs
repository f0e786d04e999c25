//! `manpasik search`: other settings of a model, judged on its validation rows, each trial a run of its own.
//!
//! A search is known by its model, seed, network and data. Started again, it goes on with the trials that its record
//! does not hold; asked for more trials, it adds them.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use registry::runs::{DEFAULT_EXPERIMENT, Filter, NewRun, PARENT_TAG, Run, RunStatus};
use serde::Serialize;
use training::{
    families::{Context, Family, Search},
    optimise::{Journal, Tuning},
};

use super::{
    runs::{
        settings::{self, HEADLINE_TAG, Pairs},
        short,
    },
    train,
};
use crate::{
    app::recorder::{Ending, Recorded, Recorder},
    cli,
    commands::{print, print_json, table},
    config::Config,
};

/// Tag of a search: what makes it the same search.
const SEARCH_TAG: &str = "manpasik.search";
/// Tag of a trial: its number.
const TRIAL_TAG: &str = "manpasik.trial";
/// Metric that judges a trial.
const JUDGE: &str = "validation";

/// One trial of the record.
#[derive(Debug, Clone, Serialize)]
struct Judged {
    number: u64,
    run_id: String,
    /// Lower is better; absent where training went astray.
    validation: Option<f64>,
    params: Pairs,
}

/// Runs the trials that are missing and tells the best.
pub(crate) fn run(config: &Config, search: &cli::Search, json: bool) -> anyhow::Result<()> {
    let family = train::family(&search.family)?;
    let context = train::context(config, search.seed, search.trial, None, json)?;
    let recorder = Recorder::open(config)?;
    let prepared = family.search(&context)?;
    let key = key_of(family, &prepared, search)?;
    let parent = parent(&recorder, family, &key, &prepared, &context)?;
    let id = parent.id().to_owned();
    let done = missing(&recorder, &prepared, &context, family, &id, search);
    let status = if done.is_ok() { RunStatus::Finished } else { RunStatus::Failed };
    parent.end(status, &Ending::default())?;
    done?;
    let trials: Vec<Judged> = trials(&recorder, &id)?.into_values().collect();
    tell(&id, &trials, json)
}

/// Runs the trials that the record does not hold.
fn missing(
    recorder: &Recorder,
    prepared: &Search<'_>,
    context: &Context,
    family: &Family,
    parent: &str,
    asked: &cli::Search,
) -> anyhow::Result<()> {
    let known = trials(recorder, parent)?;
    let missing: Vec<u64> = (0..asked.trials).filter(|number| !known.contains_key(number)).collect();
    let bar = context.progress.bar(&format!("search {}", family.name), missing.len());
    for number in missing {
        one(recorder, prepared, context, family, parent, (asked.seed, number))
            .with_context(|| format!("trial {number}"))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Everything that decides what a trial comes to: model, seed, effort, network, data.
fn key_of(family: &Family, search: &Search<'_>, asked: &cli::Search) -> anyhow::Result<String> {
    let data: Vec<&str> = search.provenance().iter().map(|source| source.sha256.as_str()).collect();
    let network = serde_json::to_string(&search.network())?;
    let effort = if asked.trial { "trial" } else { "full" };
    Ok(format!("{} seed {} {effort} {network} {}", family.name, asked.seed, data.join(" ")))
}

/// The run that all trials belong to: the one of the same search, or a new one. Its epochs are those of the trials.
fn parent<'a>(
    recorder: &'a Recorder,
    family: &Family,
    key: &str,
    search: &Search<'_>,
    context: &Context,
) -> anyhow::Result<Recorded<'a>> {
    let filter = Filter { tags: tagged(SEARCH_TAG, key), ..Filter::default() };
    let earlier = recorder.ask(|runs| async move { runs.list(&filter).await })?;
    if let Some(run) = earlier.into_iter().find(|run| !run.tags.contains_key(PARENT_TAG)) {
        return recorder.resume(run.id, &Journal::default());
    }
    let mut tags = settings::tags(family.name, "search");
    let sources = search.provenance().iter().map(|source| (source.source.clone(), source.sha256.clone()));
    tags.extend(settings::data(sources));
    tags.extend(tagged(SEARCH_TAG, key));
    let new = NewRun {
        experiment: DEFAULT_EXPERIMENT,
        name: format!("search {}", family.name),
        params: tagged("seed", &context.seed.to_string()),
        tags,
        ..NewRun::default()
    };
    recorder.begin(new, &Journal::default())
}

fn tagged(key: &str, value: &str) -> Pairs {
    Pairs::from([(key.to_owned(), value.to_owned())])
}

/// Trials that have ended, well or badly, by number; one that was killed is missing.
fn trials(recorder: &Recorder, parent: &str) -> anyhow::Result<BTreeMap<u64, Judged>> {
    let filter = Filter { tags: tagged(PARENT_TAG, parent), ..Filter::default() };
    let runs = recorder.ask(|runs| async move { runs.list(&filter).await })?;
    let ended = runs.into_iter().filter(|run| matches!(run.status, RunStatus::Finished | RunStatus::Failed));
    Ok(ended.filter_map(judged).map(|trial| (trial.number, trial)).collect())
}

fn judged(run: Run) -> Option<Judged> {
    let number = run.tags.get(TRIAL_TAG)?.parse().ok()?;
    let validation = run.metrics.get(JUDGE).copied().filter(|value| value.is_finite());
    Some(Judged { number, run_id: run.id, validation, params: run.params })
}

/// Trains one trial and records it. One that goes astray is recorded as failed, and the search goes on.
fn one(
    recorder: &Recorder,
    search: &Search<'_>,
    context: &Context,
    family: &Family,
    parent: &str,
    (seed, number): (u64, u64),
) -> anyhow::Result<()> {
    let tuning = Tuning::of_trial(seed, number);
    let mut tags = settings::tags(family.name, "search");
    tags.extend([
        (PARENT_TAG.to_owned(), parent.to_owned()),
        (TRIAL_TAG.to_owned(), number.to_string()),
        (HEADLINE_TAG.to_owned(), JUDGE.to_owned()),
    ]);
    let new = NewRun {
        experiment: DEFAULT_EXPERIMENT,
        name: format!("{} trial {number}", family.name),
        params: settings::network(&tuning.network(search.network())),
        tags,
        ..NewRun::default()
    };
    let recorded = recorder.begin(new, context.progress.journal())?;
    let (status, ending) = match search.run(tuning) {
        Ok(trial) => {
            let plan: Vec<_> = trial.plan.map(|plan| (family.name.to_owned(), plan)).into_iter().collect();
            let metrics = vec![
                (JUDGE.to_owned(), trial.outcome.best),
                ("epochs".to_owned(), trial.outcome.epochs as f64),
            ];
            let params = settings::plans(family.name, &plan);
            (RunStatus::Finished, Ending { params, metrics, ..Ending::default() })
        }
        Err(error) => {
            tracing::warn!(trial = number, "{error:#}");
            let tags = tagged("manpasik.error", &format!("{error:#}"));
            (RunStatus::Failed, Ending { tags, ..Ending::default() })
        }
    };
    recorded.end(status, &ending)
}

/// The trials from the best to the worst, and what the best would change.
fn tell(parent: &str, trials: &[Judged], json: bool) -> anyhow::Result<()> {
    let mut ranked: Vec<&Judged> = trials.iter().collect();
    let place = |trial: &Judged| trial.validation.unwrap_or(f64::INFINITY);
    ranked.sort_by(|a, b| place(a).total_cmp(&place(b)));
    let Some(best) = ranked.first().filter(|best| best.validation.is_some()) else {
        bail!("no trial came to its end; `manpasik runs list` shows how they failed")
    };
    let own = trials.iter().find(|trial| trial.number == 0);
    let changes = own.map(|own| changes(own, best)).unwrap_or_default();
    if json {
        return print_json(&serde_json::json!({
            "run_id": parent, "best": best, "changes": changes, "trials": ranked,
        }));
    }
    let of = |trial: &Judged, key: &str| trial.params.get(key).cloned().unwrap_or_default();
    let row = |trial: &&Judged| {
        let validation = trial.validation.map_or_else(|| "failed".to_owned(), |value| format!("{value:.5}"));
        let number = if trial.number == 0 { "0 (as it is)".to_owned() } else { trial.number.to_string() };
        let settings = ["learning_rate", "weight_decay", "network.body.hidden", "network.body.members"];
        let cells = settings.map(|key| of(trial, key));
        [number, validation, short(&trial.run_id).to_owned()].into_iter().chain(cells).collect()
    };
    let header = ["trial", "validation", "run", "learning rate", "weight decay", "hidden", "members"];
    print(&table(&header, ranked.iter().map(row)))?;
    if changes.is_empty() {
        return print("The settings of the recipe are the best of these.");
    }
    let lines: Vec<String> =
        changes.iter().map(|(key, (from, to))| format!("  {key}: {from} -> {to}")).collect();
    print(&format!("The best would change (judged on validation rows only):\n{}", lines.join("\n")))
}

/// Settings in which the best trial differs from the recipe.
fn changes(own: &Judged, best: &Judged) -> BTreeMap<String, (String, String)> {
    let other = best.params.iter().filter_map(|(key, to)| {
        let from = own.params.get(key).filter(|from| *from != to)?;
        Some((key.clone(), (from.clone(), to.clone())))
    });
    other.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_the_recipe_is_a_change() {
        let trial = |number, rate: &str| Judged {
            number,
            run_id: String::new(),
            validation: Some(1.0),
            params: Pairs::from([("learning_rate".into(), rate.into()), ("batch_rows".into(), "256".into())]),
        };
        assert!(changes(&trial(0, "0.1"), &trial(0, "0.1")).is_empty());
        let changed = changes(&trial(0, "0.1"), &trial(3, "0.2"));
        assert_eq!(changed, BTreeMap::from([("learning_rate".into(), ("0.1".into(), "0.2".into()))]));
    }
}
