//! `manpasik train`: from pinned data to a bundle, with its figures.

use anyhow::{Context as _, bail};
use serde::Serialize;
use training::{
    data::Store,
    evaluate::EvalReport,
    families::{ALL, Context, Effort, Family},
    optimise::Progress,
};

use crate::{
    cli,
    commands::{eval, print, print_json, table},
    config::Config,
};

/// Trains one family or all of them.
pub(crate) fn run(config: &Config, train: &cli::Train, json: bool) -> anyhow::Result<()> {
    if train.list {
        return list(json);
    }
    let context = context(config, train, json)?;
    let mut made = Vec::new();
    for family in chosen(train)? {
        let report = family.train(&context).with_context(|| format!("training `{}`", family.name))?;
        let line = Made {
            folder: report.dir.display().to_string(),
            bytes: report.bytes,
            seconds: report.wall.as_secs_f64(),
            report: report.report,
        };
        if !json {
            print(&format!(
                "\n{} ({:.0} kB, {:.0} s)\n{}",
                line.folder,
                line.bytes as f64 / 1000.0,
                line.seconds,
                eval::text(&line.report)
            ))?;
        }
        made.push(line);
    }
    if json { print_json(&made) } else { Ok(()) }
}

/// One trained bundle, for scripts.
#[derive(Serialize)]
struct Made {
    folder: String,
    bytes: u64,
    seconds: f64,
    report: EvalReport,
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
    let Some(name) = &train.family else { return Ok(ALL.iter().collect()) };
    match ALL.iter().find(|family| family.name == *name) {
        Some(family) => Ok(vec![family]),
        None => {
            let names: Vec<&str> = ALL.iter().map(|family| family.name).collect();
            bail!("no family `{name}`; there are {}", names.join(", "))
        }
    }
}

fn context(config: &Config, train: &cli::Train, json: bool) -> anyhow::Result<Context> {
    Ok(Context {
        store: Store::open(&config.data_dir)?,
        out: train.out.clone().unwrap_or_else(|| config.data_dir.join("bundles")),
        seed: train.seed,
        progress: if json { Progress::hidden() } else { Progress::visible() },
        effort: Effort::Full,
    })
}
