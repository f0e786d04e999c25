//! Keeps what this process serves in step with the registry: a version that passed its gates answers by its number,
//! the live one also for the model's name. It looks four times a second, and at once where the database brings word of
//! a change.

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
use tokio::sync::watch;

use super::{drift, gates, models::Shelf, release::Releases};
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

/// Begins the names of folders that a version is laid out in.
const PART: &str = ".part";

/// Runs the gates, follows the registry and moves releases until it is dropped: side by side, so that neither an
/// examination of minutes nor a model that takes long to load holds up a rollback.
pub(super) async fn follow(config: Config, registry: Registry, handle: Handle, shelf: Arc<Shelf>) {
    if let Err(error) = gates::recover(&config, &registry).await {
        tracing::error!(error = format!("{error:#}"), "interrupted examinations were not put back");
    }
    let (word, heard) = watch::channel(());
    let listening = async {
        let mut changes = registry.changes();
        loop {
            changes.next().await;
            word.send_replace(());
        }
    };
    let serving = async {
        let (mut done, mut rest) = (Done::new(), Rest::new(&heard));
        loop {
            let step = serve(&config, &registry, &handle, &shelf, &mut done).await;
            rest.after(step, "the registry cannot be followed").await;
        }
    };
    let examining = async {
        let mut rest = Rest::new(&heard);
        loop {
            let step = gates::run_waiting(&config, &registry).await;
            rest.after(step, "uploads cannot be examined").await;
        }
    };
    let releasing = async {
        let (mut releases, mut rest) = (Releases::default(), Rest::new(&heard));
        loop {
            let step = async {
                releases.look(&registry, &handle).await?;
                drift::set_thresholds(&config.drift, &registry, &handle).await
            };
            let step = step.await;
            rest.after(step, "releases cannot be followed").await;
        }
    };
    tokio::join!(listening, serving, examining, releasing);
}

/// The time between two looks.
struct Rest {
    heard: watch::Receiver<()>,
    /// Whether it was said that the last look failed.
    told: bool,
}

impl Rest {
    fn new(heard: &watch::Receiver<()>) -> Self {
        Self { heard: heard.clone(), told: false }
    }

    /// Waits for the next look, or for word of a change. A failure is said once and not four times a second, until a step
    /// succeeds again.
    async fn after(&mut self, step: anyhow::Result<()>, what: &str) {
        if let Err(error) = &step
            && !self.told
        {
            tracing::error!(error = format!("{error:#}"), "{what}");
        }
        self.told = step.is_err();
        if self.told {
            return tokio::time::sleep(LOOK).await;
        }
        let _ = tokio::time::timeout(LOOK, self.heard.changed()).await;
    }
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
        // Nobody else lays out here: it is what a killed process left.
        gates::remove_begun(&parent, PART)?;
        let part = tempfile::Builder::new().prefix(PART).tempdir_in(&parent)?;
        registry.version_bundle(version, part.path()).await?;
        tokio::fs::rename(part.keep(), &folder).await.with_context(|| folder.display().to_string())?;
    }
    let trust = config.trust();
    let opened = tokio::task::spawn_blocking(move || Bundle::open_trusted(&folder, &trust)).await?;
    Ok(Arc::new(opened?))
}
