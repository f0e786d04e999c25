//! `manpasik bench peers`: this server and others side by side.

use std::time::Duration;

use anyhow::Context;
use benches::peers::{self, Options};

use crate::{
    app::engines,
    cli::BenchPeers,
    commands::{print, print_json, runtime},
    config::Config,
};

/// Measures, and prints the table.
pub(super) fn run(config: &Config, options: &BenchPeers, json: bool) -> anyhow::Result<()> {
    // The others change their folder before they look for it.
    let models = options.models.canonicalize().with_context(|| {
        format!("`{}` is not there; benches/peers/README.md says how it is made", options.models.display())
    })?;
    let bundles = models.join("bundle");
    let data = tempfile::tempdir()?;
    let food = engines::newest_bundle(config, "food");
    let mut ours: Vec<String> = ["serve", "--data-dir"].map(String::from).into();
    ours.push(data.path().display().to_string());
    // The folder of a bundle is named after its version and lies in one of its name, in a folder of bundles.
    let installed = food.as_deref().and_then(|version| version.parent()?.parent());
    for folder in [Some(bundles.as_path()), installed].into_iter().flatten() {
        ours.extend(["--bundles".into(), folder.display().to_string()]);
    }
    let options = Options {
        peers: options.peers.clone(),
        models,
        ours,
        image: food.is_some().then(|| "food".to_owned()),
        only: options.only.clone(),
        rounds: options.rounds.max(1),
        phase: Duration::try_from_secs_f64(options.seconds)?,
        row: models::family::sensor::print(&super::sweep()?)?,
    };
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let table = runtime()?.block_on(peers::run(&options, |step| bar.set_message(step.to_owned())));
    bar.finish_and_clear();
    let table = table?;
    if json { print_json(&table) } else { print(&table.markdown()) }
}
