//! Logs go to standard error; standard output belongs to answers.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Starts logging as configured.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter)
        .with_context(|| format!("log.filter: `{}` is not a list of target=level", log.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = if log.json { builder.json().try_init() } else { builder.with_target(false).try_init() };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// Prints an error and its causes, each once.
#[allow(clippy::print_stderr)]
pub(crate) fn report(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
