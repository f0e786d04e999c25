//! How far to release, policies and pins from the command line; what carries a release on is a running server.

use std::path::Path;

use anyhow::Context;
use registry::{Registry, State, policy::Policy};

use super::registered::Session;
use crate::{
    cli::Way,
    commands::{print, print_json, table},
    registrar::told,
};

impl Way {
    /// How far; none: as is careful.
    pub(super) const fn state(self) -> Option<State> {
        match self {
            Self { shadow: true, .. } => Some(State::Shadow),
            Self { canary: true, .. } => Some(State::Canary),
            Self { now: true, .. } => Some(State::Live),
            Self { .. } => None,
        }
    }
}

/// The policy of a model, after it was set from a file.
pub(super) async fn policy(
    session: &Session,
    name: &str,
    file: Option<&Path>,
    why: &str,
) -> anyhow::Result<Policy> {
    let registry = &session.registry;
    let Some(file) = file else { return Ok(registry.policy(name).await?) };
    let text = tokio::fs::read_to_string(file).await.with_context(|| file.display().to_string())?;
    Ok(registry.policy_set(session.act(why), name, &text).await?)
}

/// What of a model is pinned.
pub(super) async fn pins(registry: &Registry, name: &str, json: bool) -> anyhow::Result<()> {
    let pins = registry.pins().await?;
    if json {
        return print_json(&told::pins(pins, name)["pins"]);
    }
    let pins = pins.into_iter().filter(|pin| pin.model == name);
    print(&table(&["cartridge", "version"], pins.map(|pin| vec![pin.cartridge, pin.number.to_string()])))
}
