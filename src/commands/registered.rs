//! `manpasik models push|versions|diff|report|approve|promote|rollback|policy|pin|audit`: the registry from the command line. It works on
//! the registry's database itself, so it needs no server; a running one follows within a second.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use models::Bundle;
use registry::{
    Act, Pin, Principal, Registry, RegistryError,
    artifacts::{self, PUSHED},
    audit::Link,
    search::{Condition, Of, Op, Value},
    versions::{NewVersion, Query, Version},
};
use serde_json::json;

use crate::{
    app::{self, recorder::now_ms},
    cli::RegistryCommand,
    commands::{print, print_json, release, runtime, table, versions},
    config::Config,
    registrar::{self, told},
};

/// Most rows of a listing.
const ROWS_MAX: u64 = 10_000;

/// The registry, and who asks.
pub(super) struct Session {
    pub(super) registry: Registry,
    pub(super) caller: Principal,
}

impl Session {
    /// Opens the registry for the holder of `token`, or for whoever sits here, where no token is asked for.
    pub(super) async fn open(config: &Config, token: Option<&str>) -> anyhow::Result<Self> {
        if token.is_none() && config.asks_for_tokens() {
            bail!("this registry asks for a token (auth.required): give --token or MANPASIK_TOKEN");
        }
        Self::at_hand(config, token).await
    }

    /// The same for who holds the database in hand, and so may make the first token.
    pub(super) async fn at_hand(config: &Config, token: Option<&str>) -> anyhow::Result<Self> {
        let registry = app::open_registry(config).await?;
        let caller = match token {
            None => Principal::local(),
            Some(token) => registry
                .token_holder(token, now_ms())
                .await?
                .context("the token is not one of this registry, or it has ended (`manpasik tokens list`)")?,
        };
        Ok(Self { registry, caller })
    }

    /// The caller acts, now.
    pub(super) fn act<'a>(&'a self, why: &'a str) -> Act<'a> {
        Act { by: &self.caller, at_ms: now_ms(), why }
    }
}

/// Runs one of the registry commands.
pub(crate) fn run(
    config: &Config,
    command: &RegistryCommand,
    token: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    with(config, token, async |session| answer(config, session, command, json).await)
}

/// Asks the registry, and closes it whatever came of it.
pub(super) fn with<T>(
    config: &Config,
    token: Option<&str>,
    ask: impl AsyncFnOnce(&Session) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    runtime()?.block_on(async {
        let session = Session::open(config, token).await?;
        let answer = ask(&session).await;
        session.registry.close().await?;
        answer
    })
}

async fn answer(
    config: &Config,
    session: &Session,
    command: &RegistryCommand,
    json: bool,
) -> anyhow::Result<()> {
    let registry = &session.registry;
    match command {
        RegistryCommand::Push { folder, why } => show(&push(session, folder, why).await?, json),
        RegistryCommand::Versions { name } => versions(registry, name.as_deref(), json).await,
        RegistryCommand::Diff { name, number, beside } => {
            versions::diff(config, registry, (name, *number), *beside, json).await
        }
        RegistryCommand::Report { name, number } => report(registry, name, *number, json).await,
        RegistryCommand::Approve { name, number, why } => {
            registry.approve(session.act(why), name, *number).await?;
            show(&registry.version(name, *number).await?, json)
        }
        RegistryCommand::Promote { name, number, way, why } => {
            let act = session.act(why);
            show(&registrar::promote(config, registry, act, (name, *number), way.state()).await?, json)
        }
        RegistryCommand::Rollback { name, why } => {
            show(&registry.take_back(session.act(why), name).await?, json)
        }
        RegistryCommand::Policy { name, set, why } => {
            let policy = release::policy(session, name, set.as_deref(), why).await?;
            if json { print_json(&policy) } else { print(policy.to_toml().trim_end()) }
        }
        RegistryCommand::Pin { name, number, cartridge, why } => {
            let pin = Pin { model: name.clone(), cartridge: cartridge.clone(), number: *number };
            registry.pin(session.act(why), &pin).await?;
            release::pins(registry, name, json).await
        }
        RegistryCommand::Unpin { name, cartridge, why } => {
            registry.unpin(session.act(why), name, cartridge).await?;
            release::pins(registry, name, json).await
        }
        RegistryCommand::Audit { name: _, verify: true } => verify(registry, json).await,
        RegistryCommand::Audit { name, verify: false } => audit(registry, name.as_deref(), json).await,
    }
}

fn show(version: &Version, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&told::version(version));
    }
    print(&format!("{} is {}: {}", version.subject(), version.state.code(), version.reason))
}

/// Puts a bundle folder into the artifact tree and registers it; the copy in the tree goes again.
async fn push(session: &Session, folder: &Path, why: &str) -> anyhow::Result<Version> {
    let bundle =
        Bundle::open(folder).with_context(|| format!("`{}` is no sound bundle", folder.display()))?;
    let (registry, name) = (&session.registry, bundle.config().name.clone());
    match registry.model(&name).await {
        Err(RegistryError::NotFound(_)) => {
            registry.model_create(session.act(why), &name, "", &BTreeMap::new()).await?;
        }
        other => drop(other?),
    }
    let place = format!("{PUSHED}/{}", bundle.digest());
    let copied = copy(registry, &bundle, &place).await;
    let new = NewVersion {
        model: name,
        source: format!("pushed: {}", bundle.config().version),
        folder: place.clone(),
        ..NewVersion::default()
    };
    let version = match copied {
        Ok(()) => registry.version_create(session.act(why), &new).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    registry.artifacts().delete(&place).await?;
    version
}

/// The files of a bundle, to `place` of the artifact tree.
async fn copy(registry: &Registry, bundle: &Bundle, place: &str) -> anyhow::Result<()> {
    let mut entries = tokio::fs::read_dir(bundle.dir()).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let body = artifacts::bytes_of(&entry.path()).await?;
        registry.artifacts().put(&format!("{place}/{name}"), body, None, now_ms()).await?;
    }
    Ok(())
}

async fn versions(registry: &Registry, name: Option<&str>, json: bool) -> anyhow::Result<()> {
    let named = |name: &str| Condition {
        of: Of::Attribute("name".into()),
        op: Op::Equal,
        value: Value::Text(name.to_owned()),
    };
    let query =
        Query { conditions: name.map(named).into_iter().collect(), limit: ROWS_MAX, ..Query::default() };
    let found = registry.versions(&query).await?;
    if json {
        return print_json(&found.iter().map(told::version).collect::<Vec<_>>());
    }
    let row = |version: &Version| {
        let number = version.number.to_string();
        let id = version.version_id.clone().unwrap_or_default();
        let (state, aliases) = (version.state.code().to_owned(), version.aliases.join(", "));
        vec![version.model.clone(), number, id, state, aliases, version.user.clone(), version.reason.clone()]
    };
    let header = ["model", "version", "id", "state", "aliases", "maker", "why"];
    print(&table(&header, found.iter().map(row)))
}

async fn report(registry: &Registry, name: &str, number: i64, json: bool) -> anyhow::Result<()> {
    registry.version(name, number).await?;
    let Some(report) = registry.report(name, number).await? else {
        bail!(
            "the gates have not looked at version {name}/{number} yet: a running server does (`manpasik serve`)"
        );
    };
    if json {
        return print_json(&told::report(&report));
    }
    let row = |gate: &registry::gates::Gate| {
        vec![gate.name.clone(), gate.outcome.code().to_owned(), gate.detail.clone()]
    };
    print(&table(&["gate", "outcome", "what was found"], report.gates.iter().map(row)))
}

async fn audit(registry: &Registry, name: Option<&str>, json: bool) -> anyhow::Result<()> {
    let links = registry.audit(0, name, ROWS_MAX).await?;
    if json {
        return print_json(&links.iter().map(told::link).collect::<Vec<_>>());
    }
    let row = |link: &Link| {
        let at = DateTime::<Utc>::from_timestamp_millis(link.event.at_ms);
        let at = at.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default();
        let event = &link.event;
        let texts = [&event.who, &event.action, &event.subject, &event.why].map(String::clone);
        [link.position.to_string(), at].into_iter().chain(texts).collect()
    };
    print(&table(&["link", "when (UTC)", "who", "what", "to what", "why"], links.iter().map(row)))
}

async fn verify(registry: &Registry, json: bool) -> anyhow::Result<()> {
    match registry.audit_verify().await? {
        Ok((position, hash)) if json => print_json(&json!({"links": position, "head": hash})),
        Ok((position, hash)) => print(&format!(
            "the chain is whole: {position} links, head {hash}\nkeep the head elsewhere and compare it with the next one"
        )),
        Err(broken) => bail!("the audit is broken: {broken}"),
    }
}
