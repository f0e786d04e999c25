//! Releasing, policies and pins from the command line; what carries a release on is a running server.

use std::path::Path;

use anyhow::Context;
use registry::{
    Registry, State,
    policy::Policy,
    versions::{LIVE, Version},
};
use serde_json::json;

use super::registered::Session;
use crate::{
    cli::Way,
    commands::{print, print_json, table},
};

/// Moves a version on. Without a word which way, the careful one: callers are moved step by step where they have a
/// version to be moved from.
pub(super) async fn promote(
    session: &Session,
    (name, number): (&str, i64),
    way: Way,
    why: &str,
) -> anyhow::Result<()> {
    let registry = &session.registry;
    let has_live = registry.model(name).await?.aliases.contains_key(LIVE);
    let next = match way {
        Way { shadow: true, .. } => State::Shadow,
        Way { canary: true, .. } => State::Canary,
        Way { now: true, .. } => State::Live,
        Way { .. } if has_live => State::Canary,
        Way { .. } => State::Live,
    };
    Ok(registry.step(session.act(why), name, number, next, "promoted").await?)
}

/// Takes back what is being released, or else the live version; gives back the version of which that tells most.
pub(super) async fn back(session: &Session, name: &str, why: &str) -> anyhow::Result<Version> {
    let registry = &session.registry;
    if let Some(release) = registry.release(name).await? {
        return Ok(registry.release_back(session.act(why), &release).await?);
    }
    Ok(registry.rollback(session.act(why), name).await?.1)
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
    let pins = registry.pins().await?.into_iter().filter(|pin| pin.model == name);
    if json {
        let pin = |pin: registry::Pin| json!({"cartridge": pin.cartridge, "version": pin.number});
        return print_json(&pins.map(pin).collect::<Vec<_>>());
    }
    print(&table(&["cartridge", "version"], pins.map(|pin| vec![pin.cartridge, pin.number.to_string()])))
}
