//! The routes with what `/openapi.json` says of them: one table, so that none is there without a description.

use std::sync::Arc;

use axum::routing::{MethodRouter, delete, get, post, put};
use serde_json::{Map, Value, json};

use super::Desk;

/// What is said of a route.
pub(super) struct Told {
    method: &'static str,
    pub(super) path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// Schema of the answer.
    answer: &'static str,
    /// Names in the query string.
    query: &'static [(&'static str, &'static str)],
    /// Schema of the body.
    body: Option<&'static str>,
}

impl Told {
    const fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        answer: &'static str,
        summary: &'static str,
    ) -> Self {
        Self { method, path, id, summary, answer, query: &[], body: None }
    }

    const fn asking(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    const fn taking(self, body: &'static str) -> Self {
        Self { body: Some(body), ..self }
    }
}

const VERSION: &str = "/v1/registry/models/{name}/versions/{number}";

type Routes = Vec<(Told, MethodRouter<Arc<Desk>>)>;

/// Every route.
pub(super) fn routes() -> Routes {
    let mut all = looks();
    all.extend(steps());
    all
}

/// What only reads.
#[rustfmt::skip]
fn looks() -> Routes {
    const DIFF: &str = "/v1/registry/models/{name}/versions/{number}/diff";
    const BESIDE: &[(&str, &str)] = &[("beside", "integer")];
    const AUDIT: &[(&str, &str)] = &[("after", "integer"), ("model", "string"), ("limit", "integer")];
    let told = |path, id, answer, summary| Told::new("get", path, id, answer, summary);
    vec![
        (told("/v1/registry/models", "ListRegisteredModels", "RegistryModels", "Registered models."), get(super::models)),
        (told("/v1/registry/models/{name}", "GetRegisteredModel", "RegistryModel", "A registered model."), get(super::model)),
        (told("/v1/registry/models/{name}/versions", "ListVersions", "RegistryVersions", "Versions of a model, the oldest first."), get(super::versions)),
        (told(VERSION, "GetVersion", "RegistryVersion", "A version with its approvals and files."), get(super::version)),
        (told("/v1/registry/models/{name}/versions/{number}/report", "GetReport", "RegistryReport", "What the gates found, and by how much it failed."), get(super::report)),
        (told(DIFF, "DiffVersions", "RegistryDiff", "A version beside another one, or beside what is live.").asking(BESIDE), get(super::differences)),
        (told("/v1/registry/models/{name}/versions/{number}/verify", "VerifyVersion", "RegistryVerified", "Reads the files of a version again and compares their hashes."), get(super::verify)),
        (told("/v1/registry/models/{name}/policy", "GetPolicy", "RegistryPolicy", "What the gates ask, and how versions are released and taken back."), get(super::policy)),
        (told("/v1/registry/models/{name}/pins", "ListPins", "RegistryPins", "Versions that answer for a type of cartridge."), get(super::pins)),
        (told("/v1/registry/releases", "ListReleases", "RegistryReleases", "Releases under way."), get(super::releases)),
        (told("/v1/registry/audit", "ListAudit", "RegistryAudit", "Who did what to which version, when and why.").asking(AUDIT), get(super::audit)),
        (told("/v1/registry/audit/verify", "VerifyAudit", "RegistryAuditEnd", "Walks the whole chain of the audit."), get(super::verify_audit)),
    ]
}

/// What changes something.
#[rustfmt::skip]
fn steps() -> Routes {
    const PIN: &str = "/v1/registry/models/{name}/pins/{cartridge}";
    const WHY: &[(&str, &str)] = &[("why", "string")];
    vec![
        (Told::new("post", "/v1/registry/models/{name}/versions/{number}/approve", "ApproveVersion", "RegistryVersion", "Says yes to a version that somebody else made.").taking("RegistryReason"), post(super::approve)),
        (Told::new("post", "/v1/registry/models/{name}/versions/{number}/promote", "PromoteVersion", "RegistryVersion", "Releases an approved version: step by step where another one answers, at once where none does, or as far as `to` says.").taking("RegistryPromotion"), post(super::promoted)),
        (Told::new("post", "/v1/registry/models/{name}/rollback", "RollBack", "RegistryVersion", "Takes back the release under way, or else the live version.").taking("RegistryReason"), post(super::rollback)),
        (Told::new("put", "/v1/registry/models/{name}/policy", "SetPolicy", "RegistryPolicy", "Gives a model another policy; takes an admin.").taking("RegistryNewPolicy"), put(super::set_policy)),
        (Told::new("put", PIN, "PinVersion", "RegistryPins", "Lets an approved version answer for a type of cartridge.").taking("RegistryNewPin"), put(super::pin)),
        (Told::new("delete", PIN, "UnpinVersion", "RegistryPins", "Lets the live version answer for a type of cartridge again.").asking(WHY), delete(super::unpin)),
    ]
}

/// Paths and schemas as OpenAPI has them.
pub(crate) fn described() -> (Map<String, Value>, Map<String, Value>) {
    let mut paths = Map::new();
    for (told, _) in routes() {
        let entry = paths.entry(told.path).or_insert_with(|| json!({}));
        entry[told.method] = operation(&told);
    }
    (paths, schemas())
}

fn operation(told: &Told) -> Value {
    let content = |schema: &str| json!({ "application/json": { "schema": reference(schema) } });
    let named = told.path.split('{').skip(1).filter_map(|part| part.split_once('}'));
    let place = |(name, _): (&str, &str)| {
        let kind = if name == "number" { "integer" } else { "string" };
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
    };
    let asked =
        |(name, kind): &(&str, &str)| json!({ "name": name, "in": "query", "schema": { "type": kind } });
    let parameters: Value = named.map(place).chain(told.query.iter().map(asked)).collect();
    let mut operation = json!({
        "operationId": told.id,
        "summary": told.summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "The answer.", "content": content(told.answer) },
            "default": { "description": "A refusal.", "content": content("Error") },
        },
    });
    if let Some(body) = told.body {
        operation["requestBody"] = json!({ "required": true, "content": content(body) });
    }
    operation
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn schemas() -> Map<String, Value> {
    let (text, whole, yes) =
        (json!({ "type": "string" }), json!({ "type": "integer" }), json!({ "type": "boolean" }));
    let texts = json!({ "type": "object", "additionalProperties": text });
    let list = |of: Value| json!({ "type": "array", "items": of });
    let object = |fields: Value| json!({ "type": "object", "properties": fields });
    let some = json!({ "type": ["string", "null"] });
    let gate = object(json!({ "name": text, "outcome": text, "detail": text }));
    let row = object(json!({
        "part": text, "name": text, "from": some, "to": some, "difference": { "type": ["number", "null"] },
    }));
    let link = object(json!({
        "position": whole, "at_ms": whole, "who": text, "action": text, "subject": text, "digest": text, "why": text, "hash": text,
    }));
    let release =
        object(json!({ "model": text, "version": whole, "share_percent": whole, "since_ms": whole }));
    let file = object(json!({ "path": text, "size": whole, "sha256": text }));
    let approval = object(json!({ "who": text, "why": text, "at_ms": whole }));
    let named = [
        (
            "RegistryModel",
            object(json!({
                "name": text, "description": text, "user": text, "created_ms": whole, "updated_ms": whole, "tags": texts,
                "aliases": { "type": "object", "additionalProperties": whole },
            })),
        ),
        ("RegistryModels", object(json!({ "models": list(reference("RegistryModel")) }))),
        (
            "RegistryVersion",
            object(json!({
                "name": text, "version": whole, "version_id": some, "family": some, "state": text, "reason": text,
                "source": text, "run_id": some, "logged_id": some, "user": text, "description": text, "digest": text,
                "created_ms": whole, "updated_ms": whole, "tags": texts, "aliases": list(text.clone()),
                "approvals": list(approval), "files": list(file),
            })),
        ),
        ("RegistryVersions", object(json!({ "versions": list(reference("RegistryVersion")) }))),
        (
            "RegistryReport",
            object(json!({ "outcome": text, "digest": text, "at_ms": whole, "gates": list(gate) })),
        ),
        ("RegistryDiff", object(json!({ "from": text, "to": text, "change": some, "rows": list(row) }))),
        ("RegistryVerified", object(json!({ "sound": yes, "faults": list(text.clone()) }))),
        ("RegistryPolicy", object(json!({ "policy": { "type": "object" } }))),
        (
            "RegistryPins",
            object(json!({ "pins": list(object(json!({ "cartridge": text, "version": whole }))) })),
        ),
        ("RegistryReleases", object(json!({ "releases": list(release) }))),
        ("RegistryAudit", object(json!({ "links": list(link) }))),
        ("RegistryAuditEnd", object(json!({ "whole": yes, "links": whole, "head": text, "broken": text }))),
        ("RegistryReason", json!({ "type": "object", "required": ["why"], "properties": { "why": text } })),
        ("RegistryPromotion", object(json!({ "to": { "enum": ["shadow", "canary", "live"] }, "why": text }))),
        (
            "RegistryNewPolicy",
            json!({ "type": "object", "required": ["toml"], "properties": { "toml": text, "why": text } }),
        ),
        (
            "RegistryNewPin",
            json!({ "type": "object", "required": ["version"], "properties": { "version": whole, "why": text } }),
        ),
    ];
    named.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
