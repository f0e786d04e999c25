//! The gates of the registry: each waiting version is examined by a child of this process, under limits, and what it
//! found decides whether the version is staged or rejected.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use registry::{
    Act, Identity, Principal, Registry, RegistryError, State,
    gates::{Gate, Report},
    versions::{LIVE, Version},
};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use super::{engines, recorder::now_ms};
use crate::{commands::gate, config::Config};

/// Longest examination.
const EXAMINE_TIMEOUT: Duration = Duration::from_secs(600);
/// Name that the audit gives the gates.
pub(super) const GATES: &str = "gates";

/// What the child says.
#[derive(Debug, Deserialize)]
struct Answer {
    gates: serde_json::Value,
    version_id: Option<String>,
    family: Option<String>,
}

/// Examines every version that waits; an error of one never holds up the others.
pub(super) async fn run_waiting(config: &Config, registry: &Registry) -> anyhow::Result<()> {
    for version in registry.versions_in(&[State::Draft]).await? {
        let subject = version.subject();
        if let Err(error) = run(config, registry, &version).await {
            tracing::error!(
                version = subject,
                error = format!("{error:#}"),
                "the gates could not look at a version"
            );
        }
    }
    Ok(())
}

/// Puts back what a process that is no more had in its gates.
pub(super) async fn recover(registry: &Registry) -> anyhow::Result<()> {
    for version in registry.versions_in(&[State::Validating]).await? {
        let who = principal();
        let act = Act { by: &who, at_ms: now_ms(), why: "the examination was interrupted" };
        registry.step(act, &version.model, version.number, State::Draft, "waits for its gates again").await?;
    }
    Ok(())
}

fn principal() -> Principal {
    Principal { name: GATES.to_owned(), ..Principal::local() }
}

async fn run(config: &Config, registry: &Registry, version: &Version) -> anyhow::Result<()> {
    let who = principal();
    let act = |why| Act { by: &who, at_ms: now_ms(), why };
    let (model, number) = (version.model.as_str(), version.number);
    registry.gates_begin(act(""), model, number).await?;
    let scratch = tempfile::Builder::new().prefix(".gates").tempdir_in(&config.data_dir)?;
    let (mut report, identity) = match examine(config, registry, version, &scratch).await {
        Ok(found) => found,
        Err(error) => (
            Report { gates: vec![Gate::failed("examination", format!("{error:#}"))], ..Report::default() },
            None,
        ),
    };
    report.digest.clone_from(&version.digest);
    report.at_ms = now_ms();
    if identity.is_some() && report.has_passed() {
        registry.keep_bundle(version, &scratch.path().join("bundle"), now_ms()).await?;
    }
    let after = registry.gates_end(act(""), model, number, &report, identity.as_ref()).await?;
    tracing::info!(version = after.subject(), state = after.state.code(), reason = after.reason, "gates");
    Ok(())
}

async fn examine(
    config: &Config,
    registry: &Registry,
    version: &Version,
    scratch: &TempDir,
) -> anyhow::Result<(Report, Option<Identity>)> {
    let (files, out) = (scratch.path().join("files"), scratch.path().join("bundle"));
    registry.version_files(version, &files).await?;
    let settings = scratch.path().join("config.toml");
    tokio::fs::write(&settings, gate::settings(config).dump()?).await?;
    let policy = scratch.path().join("policy.toml");
    tokio::fs::write(&policy, registry.policy(&version.model).await?.to_toml()).await?;
    let mut child = Command::new(std::env::current_exe().context("this program cannot be found again")?);
    child.arg("--config").arg(&settings);
    child.args(["gate", "--model", &version.model, "--number", &version.number.to_string()]);
    child.arg("--files").arg(&files).arg("--out").arg(&out).arg("--policy").arg(&policy);
    if let Some(live) = live(config, registry, &version.model, scratch.path()).await? {
        child.arg("--live").arg(live);
    }
    let answer = answer(child).await?;
    let report = Report::from_json(String::new(), 0, &answer.gates.to_string())?;
    let identity = answer.version_id.zip(answer.family);
    Ok((report, identity.map(|(version_id, family)| Identity { version_id, family })))
}

/// The bundle that answers for a model's name: the live version's, or else a shipped one's.
async fn live(
    config: &Config,
    registry: &Registry,
    model: &str,
    scratch: &Path,
) -> anyhow::Result<Option<PathBuf>> {
    let version = match registry.alias(model, LIVE).await {
        Ok(version) => version,
        Err(RegistryError::NotFound(_)) => return Ok(engines::newest_bundle(config, model)),
        Err(error) => return Err(error.into()),
    };
    let folder = scratch.join("live");
    registry.version_bundle(&version, &folder).await?;
    Ok(Some(folder))
}

async fn answer(mut child: Command) -> anyhow::Result<Answer> {
    let child = child.stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(EXAMINE_TIMEOUT, child).await;
    let Ok(ended) = ended else { bail!("took longer than {} s and was stopped", EXAMINE_TIMEOUT.as_secs()) };
    let ended = ended.context("the examination could not be started")?;
    if !ended.status.success() {
        let log = String::from_utf8_lossy(&ended.stderr);
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing was said");
        bail!("the examination ended with {}: {last}", ended.status);
    }
    serde_json::from_slice(&ended.stdout).context("the examination gave no report")
}
