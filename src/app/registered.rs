//! Keeps what this process serves in step with the registry: a version that passed its gates answers by its number,
//! the live one also for the model's name.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use inference::Handle;
use models::Bundle;
use registry::{Registry, State, versions::Version};

use super::{gates, models::Shelf};
use crate::config::Config;

/// Time between two looks at the registry.
const LOOK: Duration = Duration::from_millis(250);
/// States whose versions are loaded.
const SERVED: [State; 6] =
    [State::Staged, State::Shadow, State::Canary, State::Live, State::Deprecated, State::RolledBack];

/// What was done about a version: whether as live, and whether it could be.
type Done = BTreeMap<(String, i64), bool>;

/// Runs the gates and follows the registry until it is dropped.
pub(super) async fn follow(config: Config, registry: Registry, handle: Handle, shelf: Arc<Shelf>) {
    let mut done = Done::new();
    let mut quiet = true;
    if let Err(error) = gates::recover(&registry).await {
        tracing::error!(error = format!("{error:#}"), "interrupted examinations were not put back");
    }
    loop {
        let step = async {
            serve(&config, &registry, &handle, &shelf, &mut done).await?;
            gates::run_waiting(&config, &registry).await
        };
        match step.await {
            Ok(()) => quiet = true,
            // Said once, not four times a second.
            Err(error) if quiet => {
                quiet = false;
                tracing::error!(error = format!("{error:#}"), "the registry cannot be followed");
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn serve(
    config: &Config,
    registry: &Registry,
    handle: &Handle,
    shelf: &Arc<Shelf>,
    done: &mut Done,
) -> anyhow::Result<()> {
    for version in registry.versions_in(&SERVED).await? {
        let (key, live) = ((version.model.clone(), version.number), version.state == State::Live);
        if done.get(&key) == Some(&live) {
            continue;
        }
        let loaded = load(config, registry, &version).await;
        done.insert(key, live);
        let bundle = match loaded {
            Ok(bundle) => bundle,
            Err(error) => {
                tracing::error!(
                    version = version.subject(),
                    error = format!("{error:#}"),
                    "cannot be laid out"
                );
                continue;
            }
        };
        let candidate = shelf.registered(&bundle, version.number, live);
        let handle = handle.clone();
        let installed = tokio::task::spawn_blocking(move || handle.install(candidate)).await?;
        match installed {
            Ok(()) => tracing::info!(version = version.subject(), live, "serves"),
            Err(error) => tracing::error!(version = version.subject(), %error, "does not serve"),
        }
    }
    Ok(())
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
