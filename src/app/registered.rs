//! Keeps what this process serves in step with the registry: a version that passed its gates answers by its number,
//! the live one also for the model's name.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use inference::Handle;
use models::Bundle;
use registry::{Registry, State, versions::Version};

use super::{gates, models::Shelf, release::Releases};
use crate::config::Config;

/// Time between two looks at the registry.
const LOOK: Duration = Duration::from_millis(250);
/// States whose versions are loaded.
const SERVED: [State; 6] =
    [State::Staged, State::Shadow, State::Canary, State::Live, State::Deprecated, State::RolledBack];

/// What was done about a version.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Loaded {
    /// As the live one.
    live: bool,
    /// Whether it could be.
    sound: bool,
}

type Done = BTreeMap<(String, i64), Loaded>;

/// Runs the gates, follows the registry and moves releases until it is dropped: side by side, so that neither an
/// examination of minutes nor a model that takes long to load holds up a rollback.
pub(super) async fn follow(config: Config, registry: Registry, handle: Handle, shelf: Arc<Shelf>) {
    if let Err(error) = gates::recover(&registry).await {
        tracing::error!(error = format!("{error:#}"), "interrupted examinations were not put back");
    }
    let serving = async {
        let (mut done, mut told) = (Done::new(), false);
        loop {
            let step = serve(&config, &registry, &handle, &shelf, &mut done).await;
            rest(step, "the registry cannot be followed", &mut told).await;
        }
    };
    let examining = async {
        let mut told = false;
        loop {
            let step = gates::run_waiting(&config, &registry).await;
            rest(step, "uploads cannot be examined", &mut told).await;
        }
    };
    let releasing = async {
        let (mut releases, mut told) = (Releases::default(), false);
        loop {
            let step = releases.look(&registry, &handle).await;
            rest(step, "releases cannot be followed", &mut told).await;
        }
    };
    tokio::join!(serving, examining, releasing);
}

/// Waits for the next look. A failure is said once and not four times a second, until a step succeeds again.
async fn rest(step: anyhow::Result<()>, what: &str, told: &mut bool) {
    if let Err(error) = &step
        && !*told
    {
        tracing::error!(error = format!("{error:#}"), "{what}");
    }
    *told = step.is_err();
    tokio::time::sleep(LOOK).await;
}

async fn serve(
    config: &Config,
    registry: &Registry,
    handle: &Handle,
    shelf: &Arc<Shelf>,
    done: &mut Done,
) -> anyhow::Result<()> {
    let versions = registry.versions_in(&SERVED).await?;
    let wanted: BTreeSet<_> =
        versions.iter().map(|version| (version.model.clone(), version.number)).collect();
    for ((model, number), _) in done.extract_if(.., |key, _| !wanted.contains(key)) {
        handle.forget(&model, &number.to_string());
        tracing::info!(model, version = number, "serves no more");
    }
    for version in versions {
        let (key, live) = ((version.model.clone(), version.number), version.state == State::Live);
        let before = done.get(&key).copied();
        if before.is_some_and(|before| before.live == live) {
            continue;
        }
        let is_loaded = before.is_some_and(|before| before.sound);
        let sound = if is_loaded {
            // The one that was live answers its name until the one that is takes it over.
            !live || handle.flip(&version.model, &version.number.to_string())
        } else {
            install(config, registry, handle, shelf, &version).await?
        };
        done.insert(key, Loaded { live, sound });
    }
    Ok(())
}

/// Loads a version; whether it serves.
async fn install(
    config: &Config,
    registry: &Registry,
    handle: &Handle,
    shelf: &Arc<Shelf>,
    version: &Version,
) -> anyhow::Result<bool> {
    let live = version.state == State::Live;
    let bundle = match load(config, registry, version).await {
        Ok(bundle) => bundle,
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(version = version.subject(), error, "cannot be laid out");
            return Ok(false);
        }
    };
    let candidate = shelf.registered(&bundle, version.number, live);
    let handle = handle.clone();
    let installed = tokio::task::spawn_blocking(move || handle.install(candidate)).await?;
    match &installed {
        Ok(()) => tracing::info!(version = version.subject(), live, "serves"),
        Err(error) => tracing::error!(version = version.subject(), %error, "does not serve"),
    }
    Ok(installed.is_ok())
}

/// The bundle of a version in the data folder; laid out there once, whole or not at all.
async fn load(config: &Config, registry: &Registry, version: &Version) -> anyhow::Result<Arc<Bundle>> {
    let folder = config.data_dir.join("registered").join(&version.model).join(version.number.to_string());
    if !folder.is_dir() {
        let parent = folder.parent().map_or_else(PathBuf::new, PathBuf::from);
        tokio::fs::create_dir_all(&parent).await?;
        let part = tempfile::Builder::new().prefix(".part").tempdir_in(&parent)?;
        registry.version_bundle(version, part.path()).await?;
        tokio::fs::rename(part.keep(), &folder).await.with_context(|| folder.display().to_string())?;
    }
    let trust = config.trust();
    let opened = tokio::task::spawn_blocking(move || Bundle::open_trusted(&folder, &trust)).await?;
    Ok(Arc::new(opened?))
}
