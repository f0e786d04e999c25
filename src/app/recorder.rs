//! Keeps a record of a run while it goes on: signs of life, each epoch as it ends, and how it came out.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use registry::runs::{Metric, NewRun, RunStatus, Runs, SIGN_MS};
use tokio::{runtime::Runtime, task::JoinHandle};
use training::optimise::Journal;

use crate::{commands, config::Config};

/// The run table, for commands that do not wait for anything else.
pub(crate) struct Recorder {
    runtime: Runtime,
    runs: Runs,
}

/// A run that goes on.
pub(crate) struct Recorded<'a> {
    recorder: &'a Recorder,
    id: String,
    journal: Journal,
    signs: JoinHandle<()>,
}

/// What a run ended with.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) metrics: Vec<(String, f64)>,
}

impl Recorder {
    /// Opens the run table of the data folder; runs that were killed are marked as such.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let url = config.registry_url()?;
        let runtime = commands::runtime()?;
        let runs = runtime.block_on(async {
            let runs = Runs::open(&url).await?;
            runs.sweep(now_ms()).await?;
            anyhow::Ok(runs)
        });
        Ok(Self { runtime, runs: runs.with_context(|| format!("cannot open `{url:?}`"))? })
    }

    /// Asks the run table.
    pub(crate) fn ask<T, F>(&self, question: impl FnOnce(Runs) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, registry::runs::RunError>>,
    {
        Ok(self.runtime.block_on(question(self.runs.clone()))?)
    }

    /// Writes a run that begins now and follows it by its journal.
    pub(crate) fn begin(&self, new: NewRun, journal: &Journal) -> anyhow::Result<Recorded<'_>> {
        let new = NewRun { started_ms: now_ms(), watched: true, ..new };
        let id = self.runtime.block_on(self.runs.start(&new)).context("the run could not be recorded")?;
        Ok(self.follow(id, journal))
    }

    /// Takes up a run that had ended or was killed.
    pub(crate) fn resume(&self, id: String, journal: &Journal) -> anyhow::Result<Recorded<'_>> {
        let resumed = self.runtime.block_on(self.runs.resume(&id, now_ms()));
        resumed.with_context(|| format!("run {id} could not be taken up again"))?;
        Ok(self.follow(id, journal))
    }

    fn follow(&self, id: String, journal: &Journal) -> Recorded<'_> {
        let signs = self.runtime.spawn(watch(self.runs.clone(), id.clone(), journal.clone()));
        Recorded { recorder: self, id, journal: journal.clone(), signs }
    }
}

impl Recorded<'_> {
    /// 32 hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Writes how it came out.
    pub(crate) fn end(self, status: RunStatus, ending: &Ending) -> anyhow::Result<()> {
        let Self { recorder, id, journal, signs } = self;
        let at_ms = now_ms();
        let runs = &recorder.runs;
        recorder
            .runtime
            .block_on(async {
                signs.abort();
                // Ended or not, nothing of it runs after this.
                let _ = signs.await;
                runs.log_params(&id, &ending.params).await?;
                runs.set_tags(&id, &ending.tags).await?;
                runs.log_metrics(&id, &epochs(&journal)).await?;
                let last =
                    |(key, value): &(String, f64)| Metric { key: key.clone(), value: *value, step: 0, at_ms };
                runs.log_metrics(&id, &ending.metrics.iter().map(last).collect::<Vec<_>>()).await?;
                runs.end(&id, status, at_ms).await
            })
            .with_context(|| format!("the end of run {id} could not be recorded"))
    }
}

/// Writes signs of life and what the journal holds until it is aborted.
async fn watch(runs: Runs, id: String, journal: Journal) {
    loop {
        tokio::time::sleep(Duration::from_millis(SIGN_MS)).await;
        let written = async {
            runs.alive(&id, now_ms()).await?;
            runs.log_metrics(&id, &epochs(&journal)).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, run = id, "the run goes on, but its record does not");
        }
    }
}

/// Two figures for each epoch.
fn epochs(journal: &Journal) -> Vec<Metric> {
    let figures = |epoch: training::optimise::Epoch| {
        let figure = |what: &str, value: f64| Metric {
            key: format!("{what}/{}", epoch.name),
            value,
            step: epoch.epoch as i64,
            at_ms: epoch.at_ms,
        };
        [figure("loss", epoch.loss), figure("validation", epoch.validation)]
    };
    journal.take_epochs().into_iter().flat_map(figures).collect()
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
