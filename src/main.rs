//! The `manpasik` binary: reads the command line and the configuration, then runs one command.

mod access;
mod app;
mod cli;
mod commands;
mod config;
mod ensembles;
mod gateway;
mod keeping;
mod listening;
mod logging;
mod mlflow;
mod paths;
mod registrar;
mod scheduling;
mod secret;
mod telemetry;
mod trail;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tikv_jemallocator::Jemalloc;

use crate::{
    cli::{Cli, Command},
    config::Config,
};

/// A request takes and gives back some sixty pieces of memory; the system's own allocator is the slower for it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    one_thread_for_matrix_products();
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let config = Config::load(&cli.overrides())?;
    if cli.global.dump_config {
        return commands::print(&config.dump()?);
    }
    logging::start(&config.log)?;
    let (json, token) = (cli.global.json, cli.global.token.as_deref());
    match &cli.command {
        None => commands::print(&Cli::command().render_long_help().to_string()),
        Some(Command::Serve(_)) => commands::serve::run(&config),
        Some(Command::Demo(demo)) => commands::demo::run(&config, demo, token, json),
        Some(Command::Train(train)) => commands::train::run(&config, train, json),
        Some(Command::Search(search)) => commands::search::run(&config, search, json),
        Some(Command::Gate(gate)) => commands::gate::run(&config, gate),
        Some(Command::Runs(runs)) => commands::runs::run(&config, runs, json),
        Some(Command::Eval(eval)) => commands::eval::run(&config, eval, json),
        Some(Command::Models(models)) => commands::models::run(&config, models, token, json),
        Some(Command::Tokens(tokens)) => commands::tokens::run(&config, tokens, token, json),
        Some(Command::Predictions(command)) => commands::predictions::run(&config, command, token, json),
        Some(Command::Replay(replay)) => commands::replay::run(&config, replay, token, json),
        Some(Command::Backup(backup)) => commands::backup::backup(&config, backup, token, json),
        Some(Command::Restore(restore)) => commands::backup::restore(&config, restore, token, json),
        Some(Command::Foods(foods)) => commands::foods::run(&config, foods, token, json),
        Some(Command::Vectors(vectors)) => commands::vectors::run(&config, vectors, json),
        Some(Command::Bench(bench)) => commands::bench::run(&config, bench, json),
        Some(Command::Predict(predict)) => commands::predict::run(&config, predict, json),
    }
}

/// Each model instance computes on its own thread; a thread pool underneath makes products of
/// small matrices ten times slower. The library reads this setting from the environment only.
#[allow(unsafe_code)]
fn one_thread_for_matrix_products() {
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // SAFETY: this is the first statement of the program; no other thread exists yet.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", "1") };
    }
}
