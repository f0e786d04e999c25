//! `manpasik bench`: speed of the server on this machine, as ratios measured in one run.

mod load;
mod peers;
mod registry;
mod slow;
mod vectors;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clinical::{
    Biomarker,
    cartridge::Cartridge,
    simulator::{Simulator, SimulatorConfig},
};

use crate::{
    app::engines,
    cli::{BenchCommand, BenchServe, BenchSoak},
    commands::{print, print_json, runtime},
    config::Config,
};

/// Runs a benchmark and prints what it found.
pub(crate) fn run(config: &Config, command: &BenchCommand, json: bool) -> anyhow::Result<()> {
    match command {
        BenchCommand::Serve(options) => serve(config, options, json),
        BenchCommand::Peers(options) => peers::run(config, options, json),
        BenchCommand::Load(options) => load::run(options, json),
        BenchCommand::Soak(options) => soak(config, options, json),
        BenchCommand::Vectors(options) => vectors::run(options, json),
        BenchCommand::Registry(options) => registry::run(options, json),
        BenchCommand::Slow => runtime()?.block_on(slow::serve()),
        BenchCommand::Two => runtime()?.block_on(slow::serve_two()),
        BenchCommand::Echo => runtime()?.block_on(benches::echo::serve(|address| {
            // The harness waits for this line; without it, it reports that the echo ended early.
            let _ = print(&format!("listening grpc={address}"));
        })),
    }
}

fn serve(config: &Config, options: &BenchServe, json: bool) -> anyhow::Result<()> {
    let (bare, full, traced) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let options = benches::Options {
        server: server_arguments(full.path(), &config.bundle_dirs()),
        bare: server_arguments(bare.path(), &shipped(config)),
        traced: traced_arguments(traced.path(), server_arguments(traced.path(), &shipped(config))),
        echo: vec!["bench".into(), "echo".into()],
        slow: vec!["bench".into(), "slow".into()],
        two: vec!["bench".into(), "two".into()],
        only: options.only.clone(),
        phase: Duration::try_from_secs_f64(options.seconds)?,
        pairs: options.pairs.max(1),
        food_instances: crate::app::models::image_instances(config),
        food: engines::newest_bundle(config, "food"),
        sweep: sweep()?,
    };
    let onnx = engines::onnx(config).ok();
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let progress = |step: &str| bar.set_message(step.to_owned());
    let report = runtime()?.block_on(benches::run(
        &options,
        onnx.as_ref().map(|engine| engine as &dyn models::Engine),
        progress,
    ));
    bar.finish_and_clear();
    let report = report?;
    if json { print_json(&report) } else { print(&report.markdown()) }
}

fn soak(config: &Config, options: &BenchSoak, json: bool) -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let print_of_sweep = models::family::sensor::print(&sweep()?)?;
    let shape = [1, i64::try_from(print_of_sweep.len())?];
    let options = benches::soak::Options {
        server: server_arguments(data.path(), &shipped(config)),
        duration: Duration::try_from_secs_f64(options.seconds)?,
        swap_every: Duration::try_from_secs_f64(options.swap_every)?,
        request: benches::load::request(benches::serve::TINY_MODEL, "print", &shape, &print_of_sweep),
    };
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let report = runtime()?.block_on(benches::soak::run(&options, |step| bar.set_message(step.to_owned())));
    bar.finish_and_clear();
    let report = report?;
    if json { print_json(&report) } else { print(&report.markdown()) }?;
    benches::soak::judge(&report)
}

/// The same with a configuration that names a collector.
fn traced_arguments(folder: &Path, arguments: Vec<String>) -> benches::serve::Traced {
    let file = folder.join("traced.toml");
    Box::new(move |collector| {
        std::fs::write(&file, format!("[telemetry]\notlp_endpoint = \"{collector}\"\n"))?;
        let named = ["--config".to_owned(), file.display().to_string()];
        Ok(arguments.iter().cloned().chain(named).collect())
    })
}

/// Arguments that start a server like this one on free ports.
fn server_arguments(data_dir: &Path, bundles: &[PathBuf]) -> Vec<String> {
    let folder = |path: &Path| path.display().to_string();
    let mut arguments: Vec<String> =
        ["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"].map(String::from).into();
    arguments.extend(["--data-dir".into(), folder(data_dir)]);
    for bundles in bundles {
        arguments.extend(["--bundles".into(), folder(bundles)]);
    }
    arguments
}

/// Bundle folders but the one of the data folder, where the fetched image model lies.
fn shipped(config: &Config) -> Vec<PathBuf> {
    let fetched = config.data_dir.join("bundles");
    config.bundle_dirs().into_iter().filter(|folder| *folder != fetched).collect()
}

/// A corrected synthetic sweep of a glucose cartridge.
fn sweep() -> anyhow::Result<Vec<f32>> {
    let cartridge = Cartridge::parse("01:01")?;
    let mut simulator = Simulator::new(SimulatorConfig::default(), 1)?;
    Ok(simulator.sweep(cartridge, &[(Biomarker::Glucose, 95.0)], None)?.corrected)
}
