//! Logs go to standard error; standard output belongs to answers.

use std::{
    io::IsTerminal,
    sync::{Arc, OnceLock},
};

use anyhow::Context;
use inference::server::oip::{LogControl, LogSettings};
use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{FilterExt, FilterFn},
    fmt,
    layer::{Filter, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use crate::config::Log;

/// Crates whose events a client may ask to see all of.
const OURS: [&str; 8] =
    ["manpasik", "inference", "models", "registry", "services", "embeddings", "store", "clinical"];

type Switchable = Box<dyn Filter<Registry> + Send + Sync>;

/// The filter in use, and the configured list of levels it is made from.
static SWITCH: OnceLock<(reload::Handle<Switchable, Registry>, String)> = OnceLock::new();

/// Starts logging as configured.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let configured = configured(log);
    let filter = filter(&configured, &LogSettings::default())
        .with_context(|| format!("log.filter: `{}` is not a list of target=level", log.filter))?;
    let (filter, handle) = reload::Layer::new(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = if log.json { layer.json().boxed() } else { layer.with_target(false).boxed() };
    let started = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    SWITCH.get_or_init(|| (handle, configured));
    Ok(())
}

/// The list of levels, with the lines of requests where they are wanted.
fn configured(log: &Log) -> String {
    let requests = log.requests.then(|| format!("{}=debug", inference::server::REQUESTS));
    let filter = Some(log.filter.clone()).filter(|filter| !filter.is_empty());
    filter.into_iter().chain(requests).collect::<Vec<_>>().join(",")
}

/// Puts the log settings of a client into effect.
pub(crate) fn control() -> LogControl {
    Arc::new(|settings| {
        let Some((handle, configured)) = SWITCH.get() else { return };
        match filter(configured, settings).map(|filter| handle.reload(filter)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the log settings stay as they are"),
            Err(error) => tracing::error!(%error, "the log settings stay as they are"),
        }
    })
}

/// The configured levels, more of ours when a client asks for it, less the levels it has switched off.
fn filter(configured: &str, settings: &LogSettings) -> anyhow::Result<Switchable> {
    let more = match settings.verbose_level {
        0 => None,
        1 => Some("debug"),
        _ => Some("trace"),
    };
    let ours = more.into_iter().flat_map(|level| OURS.map(|name| format!("{name}={level}")));
    let directives: Vec<String> =
        (!configured.is_empty()).then(|| configured.to_owned()).into_iter().chain(ours).collect();
    let levels = EnvFilter::try_new(directives.join(","))?;
    let (info, warning, error) = (settings.info, settings.warning, settings.error);
    let wanted = move |metadata: &Metadata<'_>| match *metadata.level() {
        Level::ERROR => error,
        Level::WARN => warning,
        Level::INFO => info,
        _ => true,
    };
    let wanted = FilterFn::new(wanted).with_max_level_hint(LevelFilter::TRACE);
    Ok(Box::new(levels.and(wanted)))
}

/// Prints an error and its causes, each once.
#[allow(clippy::print_stderr)]
pub(crate) fn report(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
