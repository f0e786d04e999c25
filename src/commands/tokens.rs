//! `manpasik tokens`: who may do what. A token is shown once; the registry keeps its hash.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use registry::{Scope, TokenInfo};
use serde_json::json;

use super::registered::Session;
use crate::{
    app::recorder::now_ms,
    cli::TokensCommand,
    commands::{print, print_json, runtime, table},
    config::Config,
};

const DAY_MS: i64 = 86_400_000;

/// Runs one of the token commands.
pub(crate) fn run(
    config: &Config,
    command: &TokensCommand,
    token: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let session = Session::at_hand(config, token).await?;
        let answer = answer(&session, command, json).await;
        session.registry.close().await?;
        answer
    })
}

async fn answer(session: &Session, command: &TokensCommand, json: bool) -> anyhow::Result<()> {
    match command {
        TokensCommand::Create { name, roles, models, days } => {
            let ends = days.map(|days| now_ms() + i64::from(days) * DAY_MS);
            let roles = BTreeSet::from_iter(roles.iter().copied());
            let models = Scope::of(models).map_err(|reason| anyhow::anyhow!("--model: {reason}"))?;
            let made = session.registry.token_create(session.act(""), name, &roles, &models, ends).await?;
            if json {
                return print_json(&json!({"name": name, "token": made.secret}));
            }
            print(&format!(
                "{}\nshown this once; clients of MLflow send it as MLFLOW_TRACKING_TOKEN, `manpasik` as MANPASIK_TOKEN",
                made.secret
            ))
        }
        TokensCommand::List => list(&session.registry.tokens().await?, json),
        TokensCommand::Revoke { name } => {
            session.registry.token_revoke(session.act(""), name).await?;
            print(&format!("the token of {name} has ended"))
        }
    }
}

fn list(tokens: &[TokenInfo], json: bool) -> anyhow::Result<()> {
    let roles = |token: &TokenInfo| token.roles.iter().map(|role| role.code().to_owned()).collect::<Vec<_>>();
    let models = |token: &TokenInfo| token.models.entries().map(str::to_owned).collect::<Vec<_>>();
    if json {
        let token = |token: &TokenInfo| {
            json!({
                "name": token.name, "id": token.id, "roles": roles(token), "models": models(token), "created_ms": token.created_ms,
                "expires_ms": token.expires_ms, "revoked_ms": token.revoked_ms,
            })
        };
        return print_json(&tokens.iter().map(token).collect::<Vec<_>>());
    }
    let day = |at_ms: Option<i64>| {
        let at = at_ms.and_then(DateTime::<Utc>::from_timestamp_millis);
        at.map(|at| at.format("%Y-%m-%d").to_string()).unwrap_or_default()
    };
    let row = |token: &TokenInfo| {
        let made = day(Some(token.created_ms));
        let models = if token.models.is_all() { "all".to_owned() } else { models(token).join(", ") };
        let (ends, revoked) = (day(token.expires_ms), day(token.revoked_ms));
        vec![token.name.clone(), roles(token).join(", "), models, made, ends, revoked]
    };
    print(&table(&["holder", "roles", "models", "made", "ends", "revoked"], tokens.iter().map(row)))
}
