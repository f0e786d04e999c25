//! What the registry holds as JSON, for routes and for scripts of the command line alike.

use registry::{
    Pin, Registry, RegistryError, Release,
    artifacts::Artifact,
    audit::Link,
    diff::{Diff, Row},
    gates::Report,
    versions::{Approval, Model, Version},
};
use serde_json::{Value, json};

/// A registered model.
pub(crate) fn model(of: &Model) -> Value {
    let Model { name, description, user, policy: _, created_ms, updated_ms, tags, aliases } = of;
    json!({
        "name": name, "description": description, "user": user, "created_ms": created_ms, "updated_ms": updated_ms,
        "tags": tags, "aliases": aliases,
    })
}

/// A version.
pub(crate) fn version(of: &Version) -> Value {
    let Version {
        model,
        number,
        version_id,
        family,
        state,
        reason,
        source,
        run_id,
        logged_id,
        user,
        description,
        digest,
        created_ms,
        updated_ms,
        tags,
        aliases,
    } = of;
    json!({
        "name": model, "version": number, "version_id": version_id, "family": family, "state": state.code(),
        "reason": reason, "source": source, "run_id": run_id, "logged_id": logged_id, "user": user,
        "description": description, "digest": digest, "created_ms": created_ms, "updated_ms": updated_ms,
        "tags": tags, "aliases": aliases,
    })
}

/// A version with its approvals and files.
pub(crate) async fn whole(registry: &Registry, of: &Version) -> Result<Value, RegistryError> {
    let approvals = registry.approvals(&of.model, of.number).await?;
    let folder = of.folder();
    let file = |file: Artifact| {
        let name = file.path.get(folder.len() + 1..).unwrap_or(&file.path).to_owned();
        json!({ "path": name, "size": file.size, "sha256": file.sha256 })
    };
    let files: Value = registry.artifacts().below(&folder).await?.into_iter().map(file).collect();
    let mut told = version(of);
    told["approvals"] = approvals.iter().map(approval).collect();
    told["files"] = files;
    Ok(told)
}

fn approval(of: &Approval) -> Value {
    let Approval { who, why, digest: _, at_ms } = of;
    json!({ "who": who, "why": why, "at_ms": at_ms })
}

/// What the gates found.
pub(crate) fn report(of: &Report) -> Value {
    let gate = |gate: &registry::gates::Gate| json!({ "name": gate.name, "outcome": gate.outcome.code(), "detail": gate.detail });
    let gates: Value = of.gates.iter().map(gate).collect();
    json!({ "outcome": of.outcome(), "digest": of.digest, "at_ms": of.at_ms, "gates": gates })
}

/// Two versions beside each other.
pub(crate) fn diff(of: &Diff) -> Value {
    let Diff { from, to, change, rows } = of;
    let row = |row: &Row| {
        let Row { part, name, from, to, difference } = row;
        json!({ "part": part.code(), "name": name, "from": from, "to": to, "difference": difference })
    };
    json!({ "from": from, "to": to, "change": change, "rows": rows.iter().map(row).collect::<Vec<_>>() })
}

/// A link of the audit.
pub(crate) fn link(of: &Link) -> Value {
    let Link { position, event, previous: _, hash } = of;
    json!({
        "position": position, "at_ms": event.at_ms, "who": event.who, "action": event.action,
        "subject": event.subject, "digest": event.digest, "why": event.why, "hash": hash,
    })
}

/// A release under way.
pub(crate) fn release(of: &Release) -> Value {
    let Release { model, number, share, since_ms } = of;
    json!({ "model": model, "version": number, "share_percent": share, "since_ms": since_ms })
}

/// The pins of a model.
pub(crate) fn pins(all: Vec<Pin>, model: &str) -> Value {
    let own = all.into_iter().filter(|pin| pin.model == model);
    let pin = |pin: Pin| json!({ "cartridge": pin.cartridge, "version": pin.number });
    json!({ "pins": own.map(pin).collect::<Vec<_>>() })
}
