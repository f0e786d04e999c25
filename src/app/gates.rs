//! The gates of the registry: each waiting version is examined by a child of this process, under limits, and what it
//! found decides whether the version is staged or rejected.

use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use registry::{
    Act, Identity, Principal, Registry, RegistryError, State,
    gates::{Gate, Report},
    policy::GateBounds,
    versions::{LIVE, Version},
};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use super::{engines, recorder::now_ms};
use crate::{commands::gate, config::Config};

/// Least time on the clock for an examination, whatever its processor time.
const EXAMINE_SECONDS_MIN: u64 = 60;
/// Signal to a process whose processor time is over, as Linux and macOS number it.
const SIGXCPU: i32 = 24;
/// Begins the names of folders that examinations work in.
const SCRATCH: &str = ".gates";
/// Begin the names of environment variables that say more than an examination may know.
const SECRETS: [&str; 3] = ["AWS_", "MANPASIK__", "MANPASIK_TOKEN"];
/// Name that the audit gives the gates.
pub(super) const GATES: &str = "gates";

/// Folder of what is examined, and of the bundle that is made of it, below a folder for both.
pub(super) const FILES: &str = "files";
pub(super) const BUNDLE: &str = "bundle";

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

/// Puts back what a process that is no more had in its gates, and removes what it worked in.
pub(super) async fn recover(config: &Config, registry: &Registry) -> anyhow::Result<()> {
    remove_begun(&config.data_dir, SCRATCH)?;
    for version in registry.versions_in(&[State::Validating]).await? {
        let who = principal();
        let act = Act { by: &who, at_ms: now_ms(), why: "the examination was interrupted" };
        registry.step(act, &version.model, version.number, State::Draft, "waits for its gates again").await?;
    }
    Ok(())
}

/// Removes the folders directly in `folder` whose names begin so.
pub(super) fn remove_begun(folder: &Path, prefix: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            std::fs::remove_dir_all(entry.path())?;
        }
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
    let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(&config.data_dir)?;
    let (mut report, identity) = match examine(config, registry, version, &scratch).await {
        Ok(found) => found,
        Err(error) => (
            Report { gates: vec![Gate::failed("examination", format!("{error:#}"))], ..Report::default() },
            None,
        ),
    };
    if let Some(identity) = &identity {
        report.gates.push(registry.twin_gate(version, identity).await?);
    }
    report.digest.clone_from(&version.digest);
    report.at_ms = now_ms();
    if identity.is_some() && report.has_passed() {
        registry.keep_bundle(version, &scratch.path().join(BUNDLE), now_ms()).await?;
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
    registry.version_files(version, &scratch.path().join(FILES)).await?;
    let policy = registry.policy(&version.model).await?;
    let file = scratch.path().join("policy.toml");
    tokio::fs::write(&file, policy.to_toml()).await?;
    let mut child = child(config, (&version.model, version.number), scratch.path()).await?;
    child.arg("--policy").arg(&file);
    if let Some(live) = live(config, registry, &version.model, scratch.path()).await? {
        child.arg("--live").arg(live);
    }
    found(answer(child, policy.gates.cpu_seconds_max).await?)
}

fn found(answer: Answer) -> anyhow::Result<(Report, Option<Identity>)> {
    let report = Report::from_json(String::new(), 0, &answer.gates.to_string())?;
    let identity = answer.version_id.zip(answer.family);
    Ok((report, identity.map(|(version_id, family)| Identity { version_id, family })))
}

/// Examines a graph that a client sent along, in [`FILES`] of `scratch`, and makes its bundle in [`BUNDLE`].
pub(super) async fn examine_graph(
    config: &Config,
    model: &str,
    number: i64,
    scratch: &Path,
) -> anyhow::Result<()> {
    let mut child = child(config, (model, number), scratch).await?;
    child.arg("--bare");
    match found(answer(child, GateBounds::default().cpu_seconds_max).await?)? {
        (_, Some(_)) => Ok(()),
        (report, None) => bail!("{}", report.failures()),
    }
}

/// The process that examines the files in [`FILES`] of `scratch`.
async fn child(config: &Config, (model, number): (&str, i64), scratch: &Path) -> anyhow::Result<Command> {
    let settings = scratch.join("config.toml");
    tokio::fs::write(&settings, gate::settings(config).dump()?).await?;
    let mut child = Command::new(std::env::current_exe().context("this program cannot be found again")?);
    child.arg("--config").arg(&settings);
    child.args(["gate", "--model", model, "--number", &number.to_string()]);
    child.arg("--files").arg(scratch.join(FILES)).arg("--out").arg(scratch.join(BUNDLE));
    // What it examines must not find out what only this process may know.
    for (name, _) in std::env::vars_os() {
        if SECRETS.iter().any(|of| name.to_string_lossy().starts_with(of)) {
            child.env_remove(name);
        }
    }
    Ok(child)
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

async fn answer(mut child: Command, cpu_seconds_max: u64) -> anyhow::Result<Answer> {
    let child = child.stdin(Stdio::null()).kill_on_drop(true).output();
    let most = Duration::from_secs(cpu_seconds_max.saturating_mul(2).max(EXAMINE_SECONDS_MIN));
    let ended = tokio::time::timeout(most, child).await;
    let Ok(ended) = ended else { bail!("took longer than {} s and was stopped", most.as_secs()) };
    let ended = ended.context("the examination could not be started")?;
    if ended.status.signal() == Some(SIGXCPU) {
        bail!("took more than {cpu_seconds_max} s of processor time (gates.cpu_seconds_max) and was stopped");
    }
    if !ended.status.success() {
        let log = String::from_utf8_lossy(&ended.stderr);
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing was said");
        bail!("the examination ended with {}: {last}", ended.status);
    }
    serde_json::from_slice(&ended.stdout).context("the examination gave no report")
}
