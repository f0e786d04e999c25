//! `manpasik backup` and `manpasik restore`: the registry, rows and artifacts, as one folder.

use registry::{Kept, Registry};
use serde_json::json;

use super::registered::Session;
use crate::{
    cli,
    commands::{print, print_json, runtime},
    config::Config,
};

/// Copies the registry while it is in use.
pub(crate) fn backup(
    config: &Config,
    backup: &cli::Backup,
    token: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let session = session(config, token).await?;
        let kept = session.registry.backup(session.act(""), &backup.out).await;
        session.registry.close().await?;
        tell("kept", &kept?, json)
    })
}

/// Puts a backup back; servers on the same registry should be stopped.
pub(crate) fn restore(
    config: &Config,
    restore: &cli::Restore,
    token: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let session = session(config, token).await?;
        let kept = session.registry.restore(session.act(""), &restore.from, restore.force).await;
        session.registry.close().await?;
        tell("restored and verified", &kept?, json)
    })
}

/// Like the session of other commands, with time for long transactions. Who restores an empty registry has no token in
/// it yet.
async fn session(config: &Config, token: Option<&str>) -> anyhow::Result<Session> {
    let session = Session::at_hand(config, token).await?;
    let Session { registry, caller } = session;
    registry.close().await?;
    let registry = Registry::open_for_keeping(&config.registry_url()?, &config.artifacts()?).await?;
    Ok(Session { registry, caller })
}

fn tell(done: &str, kept: &Kept, json: bool) -> anyhow::Result<()> {
    let Kept { rows, files, bytes, audit: (links, head) } = kept;
    if json {
        return print_json(&json!({
            "rows": rows, "artifacts": files, "bytes": bytes, "audit_links": links, "audit_head": head,
        }));
    }
    print(&format!(
        "{done}: {rows} rows, {files} artifacts of {bytes} bytes; the audit chain is whole to link {links}, head {head}"
    ))
}
