//! `manpasik train`: from pinned data to a bundle, with its figures and a record of the run.

use std::path::PathBuf;

use anyhow::Context as _;
use models::Bundle;
use registry::runs::{DEFAULT_EXPERIMENT, NewRun, RunStatus};
use serde::Serialize;
use training::{
    data::Store,
    evaluate::EvalReport,
    families::{ALL, Context, Effort, Family, TrainReport},
    optimise::{Progress, device_name},
};

use super::runs::{
    self,
    settings::{self, HEADLINE_TAG},
};
use crate::{
    app::recorder::{Ending, Recorder},
    cli,
    commands::{eval, print, print_json, table},
    config::Config,
};

/// Trains one family or all of them.
pub(crate) fn run(config: &Config, train: &cli::Train, json: bool) -> anyhow::Result<()> {
    if train.list {
        return list(json);
    }
    let context = context(config, train.seed, train.trial, train.out.clone(), json)?;
    let recorder = Recorder::open(config)?;
    let mut made = Vec::new();
    let families = chosen(train)?;
    tracing::info!("training {} on {}", families.len(), device_name());
    let bar = context.progress.bar("families", families.len());
    for family in families {
        bar.set_message(format!("now {}", family.name));
        let (run_id, report) = recorded(&recorder, family, &context)?;
        let line = Made {
            run_id,
            folder: report.dir.display().to_string(),
            bytes: report.bytes,
            seconds: report.wall.as_secs_f64(),
            report: report.report,
        };
        if !json {
            print(&format!(
                "\n{} ({:.0} kB, {:.0} s, run {})\n{}",
                line.folder,
                line.bytes as f64 / 1000.0,
                line.seconds,
                runs::short(&line.run_id),
                eval::text(&line.report)
            ))?;
        }
        made.push(line);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if json { print_json(&made) } else { Ok(()) }
}

/// One trained bundle, for scripts.
#[derive(Serialize)]
struct Made {
    run_id: String,
    folder: String,
    bytes: u64,
    seconds: f64,
    report: EvalReport,
}

/// Trains `family` and keeps a record of it, also when it fails.
fn recorded(
    recorder: &Recorder,
    family: &Family,
    context: &Context,
) -> anyhow::Result<(String, TrainReport)> {
    let effort = match context.effort {
        Effort::Full => "full",
        Effort::Trial => "trial",
    };
    let new = NewRun {
        experiment: DEFAULT_EXPERIMENT,
        name: family.name.into(),
        params: [("seed".to_owned(), context.seed.to_string()), ("effort".to_owned(), effort.to_owned())]
            .into(),
        tags: settings::tags(family.name, "train"),
        ..NewRun::default()
    };
    let journal = context.progress.journal();
    let run = recorder.begin(new, journal)?;
    let id = run.id().to_owned();
    let trained = family.train(context).with_context(|| format!("training `{}`", family.name));
    let plans = settings::plans(family.name, &journal.take_plans());
    match trained.and_then(|report| Ok((ending(&report)?, report))) {
        Ok((mut ending, report)) => {
            ending.params.extend(plans);
            run.end(RunStatus::Finished, &ending)?;
            Ok((id, report))
        }
        Err(error) => {
            let tags = [("manpasik.error".to_owned(), format!("{error:#}"))].into();
            let ending = Ending { params: plans, tags, ..Ending::default() };
            // What went wrong first is what is told.
            if let Err(unrecorded) = run.end(RunStatus::Failed, &ending) {
                tracing::warn!("{unrecorded:#}");
            }
            Err(error)
        }
    }
}

/// What the bundle that was written says of its making.
fn ending(report: &TrainReport) -> anyhow::Result<Ending> {
    let bundle = Bundle::open(&report.dir)?;
    let config = bundle.config();
    let mut tags = settings::data(config.lineage.datasets.iter().map(settings::source));
    tags.insert("manpasik.bundle.version".to_owned(), config.version.to_string());
    tags.extend(settings::headline(&report.report).map(|key| (HEADLINE_TAG.to_owned(), key)));
    let mut metrics = settings::figures(&report.report);
    metrics.push(("epochs".to_owned(), report.outcome.epochs as f64));
    metrics.push(("best_epoch".to_owned(), report.outcome.best_epoch as f64));
    metrics.push(("validation".to_owned(), report.outcome.best));
    Ok(Ending { params: config.network.as_ref().map(settings::network).unwrap_or_default(), tags, metrics })
}

fn list(json: bool) -> anyhow::Result<()> {
    let families: Vec<(&str, &str)> = ALL.iter().map(|family| (family.name, family.description)).collect();
    if json {
        return print_json(&families);
    }
    let rows = families.iter().map(|(name, description)| vec![(*name).into(), (*description).into()]);
    print(&table(&["family", "answers"], rows))
}

fn chosen(train: &cli::Train) -> anyhow::Result<Vec<&'static Family>> {
    match &train.family {
        Some(name) => Ok(vec![family(name)?]),
        None => Ok(ALL.iter().collect()),
    }
}

/// The family of that name.
pub(crate) fn family(name: &str) -> anyhow::Result<&'static Family> {
    ALL.iter().find(|family| family.name == name).with_context(|| {
        let names: Vec<&str> = ALL.iter().map(|family| family.name).collect();
        format!("no family `{name}`; there are {}", names.join(", "))
    })
}

/// How to train: `trial` does only enough to see that every step works.
pub(crate) fn context(
    config: &Config,
    seed: u64,
    trial: bool,
    out: Option<PathBuf>,
    json: bool,
) -> anyhow::Result<Context> {
    Ok(Context {
        store: Store::open(&config.data_dir)?,
        out: out.unwrap_or_else(|| config.data_dir.join("bundles")),
        seed,
        progress: if json { Progress::hidden() } else { Progress::visible() },
        effort: if trial { Effort::Trial } else { Effort::Full },
    })
}
