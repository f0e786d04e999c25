//! The registry as JSON and over HTTP, `/v1/registry/...`: models, versions, what the gates found, approval, release,
//! policies, pins and the audit. The command line does and shows the same; who may what is decided by the registry alone.

mod described;
mod said;
pub(crate) mod told;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{
        Path, Query, State as Of,
        rejection::{PathRejection, QueryRejection},
    },
    http::HeaderMap,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use models::Bundle;
use registry::{
    Act, Pin, Principal, Registry, RegistryError, State,
    diff::{Diff, Side},
    versions::{LIVE, Version},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::Status;

pub(crate) use self::described::described;
use self::said::{Approval, Asked, Pinned, Policy, Promotion, Reason};
use crate::{
    app::{engines, recorder::now_ms},
    config::Config,
    gateway::{Body, Failure, read},
    mlflow, trail,
};

/// Most rows of an answer.
pub(crate) const ROWS_MAX: u64 = 10_000;

/// What the routes are over.
pub(crate) struct Desk {
    registry: Registry,
    config: Config,
}

type AtDesk = Of<Arc<Desk>>;
type Caller = Option<Extension<Principal>>;
type Named = Result<Path<String>, PathRejection>;
type Numbered = Result<Path<(String, i64)>, PathRejection>;
type Answer = Result<Json<Value>, Failure>;

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self(trail::status(&error))
    }
}

/// Every route, for callers with or without a token.
pub(crate) fn router(registry: &Registry, config: &Config) -> Router {
    let desk = Arc::new(Desk { registry: registry.clone(), config: config.clone() });
    let routes = described::routes().into_iter();
    let router = routes.fold(Router::new(), |router, (told, answers)| router.route(told.path, answers));
    router.with_state(Arc::clone(&desk)).layer(from_fn_with_state(desk, identify))
}

/// Names the caller by the token shown, where the port has not done so.
async fn identify(
    Of(desk): AtDesk,
    headers: HeaderMap,
    mut request: axum::extract::Request,
    next: Next,
) -> Result<Response, Failure> {
    if request.extensions().get::<Principal>().is_none()
        && let Some(caller) = mlflow::holder(&desk.registry, &headers).await?
    {
        let nobody = || Failure(Status::unauthenticated(mlflow::NOBODY));
        request.extensions_mut().insert(caller.ok_or_else(nobody)?);
    }
    Ok(next.run(request).await)
}

/// What stands in the path.
fn place<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Failure> {
    let refused =
        |refused: PathRejection| Failure(Status::invalid_argument(format!("path: {}", refused.body_text())));
    path.map(|Path(place)| place).map_err(refused)
}

/// What stands in the query string.
fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Failure> {
    let refused = |refused: QueryRejection| {
        Failure(Status::invalid_argument(format!("query: {}", refused.body_text())))
    };
    query.map(|Query(asked)| asked).map_err(refused)
}

/// The version that answers for a model's name: the registry's, or else a shipped bundle.
///
/// # Errors
/// Nothing is live, a bundle that cannot be read, or the database.
pub(crate) async fn live(config: &Config, registry: &Registry, model: &str) -> Result<Side, RegistryError> {
    match registry.alias(model, LIVE).await {
        Ok(version) => return registry.side(&version).await,
        Err(RegistryError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    let (config, name) = (config.clone(), model.to_owned());
    let found = tokio::task::spawn_blocking(move || {
        engines::newest_bundle(&config, &name).and_then(|folder| Bundle::open(folder).ok())
    });
    let missing =
        || RegistryError::NotFound(format!("a live version of `{model}` (name one to compare with)"));
    found.await.ok().flatten().map(|bundle| Side::of(&bundle)).ok_or_else(missing)
}

/// A version beside another, or beside what is live.
///
/// # Errors
/// Versions that are not there, nothing live, or the database.
pub(crate) async fn diff(
    config: &Config,
    registry: &Registry,
    (model, number): (&str, i64),
    beside: Option<i64>,
) -> Result<Diff, RegistryError> {
    let to = registry.side(&registry.version(model, number).await?).await?;
    let from = match beside {
        Some(number) => registry.side(&registry.version(model, number).await?).await?,
        None => live(config, registry, model).await?,
    };
    Diff::between(&from, &to, &registry.policy(model).await?.changes)
}

async fn models(Of(desk): AtDesk) -> Answer {
    let query = registry::versions::Query { limit: ROWS_MAX, ..Default::default() };
    let found = desk.registry.models(&query).await?;
    Ok(Json(json!({ "models": found.iter().map(told::model).collect::<Vec<_>>() })))
}

async fn model(Of(desk): AtDesk, path: Named) -> Answer {
    Ok(Json(told::model(&desk.registry.model(&place(path)?).await?)))
}

async fn versions(Of(desk): AtDesk, path: Named) -> Answer {
    let name = place(path)?;
    desk.registry.model(&name).await?;
    let found = desk.registry.versions_of(&name).await?;
    Ok(Json(json!({ "versions": found.iter().map(told::version).collect::<Vec<_>>() })))
}

async fn version(Of(desk): AtDesk, path: Numbered) -> Answer {
    let (name, number) = place(path)?;
    Ok(Json(told::whole(&desk.registry, &desk.registry.version(&name, number).await?).await?))
}

async fn report(Of(desk): AtDesk, path: Numbered) -> Answer {
    let (name, number) = place(path)?;
    desk.registry.version(&name, number).await?;
    let missing = || RegistryError::NotFound(format!("report of version {name}/{number} (not examined yet)"));
    let report = desk.registry.report(&name, number).await?.ok_or_else(missing)?;
    Ok(Json(told::report(&report)))
}

#[derive(Debug, Deserialize)]
struct Beside {
    beside: Option<i64>,
}

async fn differences(
    Of(desk): AtDesk,
    path: Numbered,
    asked: Result<Query<Beside>, QueryRejection>,
) -> Answer {
    let (name, number) = place(path)?;
    let beside = query(asked)?.beside;
    Ok(Json(told::diff(&diff(&desk.config, &desk.registry, (&name, number), beside).await?)))
}

async fn verify(Of(desk): AtDesk, path: Numbered) -> Answer {
    let (name, number) = place(path)?;
    let faults = desk.registry.version_verify(&name, number).await?;
    Ok(Json(json!({ "sound": faults.is_empty(), "faults": faults })))
}

async fn approve(Of(desk): AtDesk, caller: Caller, path: Numbered, Body(body): Body) -> Answer {
    let ((name, number), Approval { why }) = (place(path)?, read(&body)?);
    let caller = mlflow::principal(caller);
    desk.registry.approve(act(&caller, &why), &name, number).await?;
    Ok(Json(told::whole(&desk.registry, &desk.registry.version(&name, number).await?).await?))
}

/// Releases a version. Where nobody says how far and a shipped bundle answers for the name, of which the registry knows
/// nothing, its callers are moved step by step as well.
///
/// # Errors
/// What the registry says.
pub(crate) async fn promote(
    config: &Config,
    registry: &Registry,
    act: Act<'_>,
    (name, number): (&str, i64),
    to: Option<State>,
) -> Result<Version, RegistryError> {
    let to = match to {
        Some(to) => Some(to),
        None => {
            let (config, name) = (config.clone(), name.to_owned());
            let shipped = tokio::task::spawn_blocking(move || engines::newest_bundle(&config, &name));
            shipped.await.ok().flatten().map(|_| State::Canary)
        }
    };
    registry.promote(act, name, number, to).await
}

async fn promoted(Of(desk): AtDesk, caller: Caller, path: Numbered, Body(body): Body) -> Answer {
    let ((name, number), Promotion { to, why }) = (place(path)?, read(&body)?);
    let caller = mlflow::principal(caller);
    let to = to.map(said::Step::state);
    let Desk { registry, config } = &*desk;
    Ok(Json(told::version(&promote(config, registry, act(&caller, &why), (&name, number), to).await?)))
}

async fn rollback(Of(desk): AtDesk, caller: Caller, path: Named, Body(body): Body) -> Answer {
    let (name, Approval { why }) = (place(path)?, read(&body)?);
    let caller = mlflow::principal(caller);
    Ok(Json(told::version(&desk.registry.take_back(act(&caller, &why), &name).await?)))
}

async fn policy(Of(desk): AtDesk, path: Named) -> Answer {
    Ok(Json(json!({ "policy": desk.registry.policy(&place(path)?).await? })))
}

async fn set_policy(Of(desk): AtDesk, caller: Caller, path: Named, Body(body): Body) -> Answer {
    let (name, Policy { toml, why }) = (place(path)?, read(&body)?);
    let caller = mlflow::principal(caller);
    Ok(Json(json!({ "policy": desk.registry.policy_set(act(&caller, &why), &name, &toml).await? })))
}

async fn pins(Of(desk): AtDesk, path: Named) -> Answer {
    Ok(Json(told::pins(desk.registry.pins().await?, &place(path)?)))
}

async fn pin(
    Of(desk): AtDesk,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    Body(body): Body,
) -> Answer {
    let ((model, cartridge), Pinned { version, why }) = (place(path)?, read(&body)?);
    let caller = mlflow::principal(caller);
    let pin = Pin { model, cartridge, number: version };
    desk.registry.pin(act(&caller, &why), &pin).await?;
    Ok(Json(told::pins(desk.registry.pins().await?, &pin.model)))
}

async fn unpin(
    Of(desk): AtDesk,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    asked: Result<Query<Reason>, QueryRejection>,
) -> Answer {
    let ((model, cartridge), Reason { why }) = (place(path)?, query(asked)?);
    let caller = mlflow::principal(caller);
    desk.registry.unpin(act(&caller, &why), &model, &cartridge).await?;
    Ok(Json(told::pins(desk.registry.pins().await?, &model)))
}

async fn releases(Of(desk): AtDesk) -> Answer {
    let releases = desk.registry.releases().await?;
    Ok(Json(json!({ "releases": releases.iter().map(told::release).collect::<Vec<_>>() })))
}

async fn audit(Of(desk): AtDesk, asked: Result<Query<Asked>, QueryRejection>) -> Answer {
    let Asked { after, model, limit } = query(asked)?;
    let links = desk.registry.audit(after, model.as_deref(), limit.min(ROWS_MAX)).await?;
    Ok(Json(json!({ "links": links.iter().map(told::link).collect::<Vec<_>>() })))
}

async fn verify_audit(Of(desk): AtDesk) -> Answer {
    Ok(Json(match desk.registry.audit_verify().await? {
        Ok((links, head)) => json!({ "whole": true, "links": links, "head": head }),
        Err(broken) => json!({ "whole": false, "broken": broken.to_string() }),
    }))
}

fn act<'a>(caller: &'a Principal, why: &'a str) -> Act<'a> {
    Act { by: caller, at_ms: now_ms(), why }
}
