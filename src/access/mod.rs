//! Who may call: where tokens are asked for, every call on either port shows one before it reaches its service.
//!
//! `needs` is the table of what each call takes, `holders` knows whose a token is, and [`Access`] joins them. A [`Door`]
//! stands before each port: as the guard of gRPC and as a layer over the routes of HTTP. Calls inside the process, such as
//! the gateway's, are not asked again. Tokens are the registry's own, or those that an identity provider has `signed` with
//! one of its `keys`.

mod holders;
mod keys;
mod needs;
mod signed;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{MatchedPath, State},
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use inference::server::guard::{Answering, Guard, answering};
use registry::{Principal, Registry};
use serde_json::json;
use tonic::{Status, async_trait};

use self::{holders::Holders, needs::Need, signed::Signed};
use crate::{gateway, keeping::Auth, mlflow};

/// Where a caller's token stands.
const ASK: &str = "this server asks for a token: send the header `authorization: Bearer TOKEN` \
                   (an admin makes one with `manpasik tokens create`)";

/// The one who decides. Clones share everything.
#[derive(Clone)]
pub(crate) struct Access(Arc<Holders>);

/// Why a call does not come in.
#[derive(Debug)]
enum Refusal {
    /// Nobody that is known.
    Unknown(&'static str),
    /// Somebody who may not.
    Forbidden(String),
    /// On this port nobody may.
    Elsewhere(String),
    /// It cannot be told at the moment.
    Failed,
}

impl Access {
    /// Over the tokens of `registry` and of the provider that is configured, if one is.
    pub(crate) fn new(registry: &Registry, auth: &Auth) -> anyhow::Result<Self> {
        let patience = Duration::from_millis(auth.token_cache_ms);
        Ok(Self(Arc::new(Holders::new(registry.clone(), Signed::new(&auth.jwt)?, patience))))
    }

    /// Who calls, if that is enough for `need`; `what` is the call's name.
    async fn admit(
        &self,
        need: Need,
        headers: &HeaderMap,
        what: &str,
    ) -> Result<Option<Arc<Principal>>, Refusal> {
        let roles = match need {
            Need::Nothing => return Ok(None),
            Need::Token => None,
            Need::Role(roles) => Some(roles),
        };
        let caller = self.caller(headers).await?;
        match roles {
            Some(roles) if !caller.is_any(roles) => {
                let names: Vec<&str> = roles.iter().map(|role| role.code()).collect();
                let text = format!(
                    "{} may not call {what}: that takes the role {}",
                    caller.name,
                    names.join(" or ")
                );
                Err(Refusal::Forbidden(text))
            }
            Some(_) | None => Ok(Some(caller)),
        }
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Refusal> {
        let given = headers.get(header::AUTHORIZATION).ok_or(Refusal::Unknown(ASK))?;
        let token = given.to_str().ok().and_then(mlflow::token).ok_or(Refusal::Unknown(ASK))?;
        match self.0.of(&token).await {
            Ok(Ok(holder)) => Ok(holder),
            Ok(Err(why)) => Err(Refusal::Unknown(why)),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "tokens cannot be looked up");
                Err(Refusal::Failed)
            }
        }
    }
}

/// What one port lets in.
#[derive(Clone)]
pub(crate) struct Door {
    access: Option<Access>,
    /// Whether what changes or watches the server is let in too.
    is_admins: bool,
}

impl Door {
    /// To everything there is.
    pub(crate) fn to_all(access: Option<Access>) -> Self {
        Self { access, is_admins: true }
    }

    /// To what has no business with the server itself: that has a port of its own.
    pub(crate) fn to_data(access: Option<Access>) -> Self {
        Self { access, is_admins: false }
    }

    /// The guard of a gRPC port; `None` where nobody is stopped.
    pub(crate) fn guard(&self) -> Option<Arc<dyn Guard>> {
        let stops = self.access.is_some() || !self.is_admins;
        stops.then(|| Arc::new(self.clone()) as Arc<dyn Guard>)
    }

    /// `routes` for those who may.
    pub(crate) fn over(&self, routes: Router) -> Router {
        if self.access.is_none() && self.is_admins {
            return routes;
        }
        routes.layer(axum::middleware::from_fn_with_state(self.clone(), at_the_door))
    }

    async fn opens(
        &self,
        need: Need,
        headers: &HeaderMap,
        what: &str,
    ) -> Result<Option<Arc<Principal>>, Refusal> {
        if need.is_admins() && !self.is_admins {
            let text = format!("{what} is served on the admin port only (server.admin)");
            return Err(Refusal::Elsewhere(text));
        }
        match &self.access {
            Some(access) => access.admit(need, headers, what).await,
            None => Ok(None),
        }
    }
}

#[async_trait]
impl Guard for Door {
    async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Option<Arc<Principal>>, Status> {
        let need = needs::of_rpc(path).unwrap_or(Need::UNLISTED);
        self.opens(need, headers, path).await.map_err(|refusal| refusal.status())
    }
}

/// What a route needs: that of its RPC, where it has one.
fn need(path: &str, method: &Method) -> Option<Need> {
    let reads = method == Method::GET || method == Method::HEAD;
    match gateway::rpc(path, method) {
        Some((service, rpc)) => needs::of_rpc(&format!("/{service}/{rpc}")),
        None => needs::of_route(path, reads),
    }
}

async fn at_the_door(State(door): State<Door>, mut request: Request<Body>, next: Next) -> Response {
    let need = match request.extensions().get::<MatchedPath>() {
        Some(path) => need(path.as_str(), request.method()).unwrap_or(Need::UNLISTED),
        // Only who has a token is told that there is nothing.
        None => Need::Token,
    };
    let what = format!("{} {}", request.method(), request.uri().path());
    match door.opens(need, request.headers(), &what).await {
        Ok(None) => next.run(request).await,
        Ok(Some(caller)) => {
            request.extensions_mut().insert(Principal::clone(&caller));
            let response = answering(Arc::clone(&caller), next.run(request)).await;
            response.map(|body| Body::new(Answering::new(caller, body)))
        }
        Err(refusal) => refusal.response(request.uri().path()),
    }
}

impl Refusal {
    fn status(self) -> Status {
        match self {
            Self::Unknown(text) => Status::unauthenticated(text),
            Self::Forbidden(text) | Self::Elsewhere(text) => Status::permission_denied(text),
            Self::Failed => Status::unavailable("tokens cannot be looked up at the moment: try again"),
        }
    }

    /// In the words of the face that was called: the typed services', or the one body that clients of MLflow and of the
    /// Open Inference Protocol both read.
    fn response(self, path: &str) -> Response {
        let (http, code) = match &self {
            Self::Unknown(_) => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            Self::Forbidden(_) | Self::Elsewhere(_) => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            Self::Failed => (StatusCode::SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE"),
        };
        let status = self.status();
        let mut response = if path.starts_with("/v1/") {
            gateway::refusal(status)
        } else {
            let text = status.message();
            (http, Json(json!({ "error": text, "error_code": code, "message": text }))).into_response()
        };
        if http == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Paths of the assembled HTTP port that say nothing of what they need.
#[cfg(test)]
pub(crate) fn unlisted(routes: &Router) -> (usize, Vec<String>) {
    // The router lists its paths nowhere but in what it shows for debugging.
    let shown = format!("{routes:?}");
    let paths = shown.split("RouteId(").filter_map(|part| part.split_once("): \"")?.1.split('"').next());
    let mut paths: Vec<&str> = paths.filter(|path| !path.contains("__private__")).collect();
    paths.sort_unstable();
    paths.dedup();
    let listed = |path: &str| {
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let rpc = methods.iter().any(|method| gateway::rpc(path, method).is_some());
        let is_listed = |method: &Method| need(path, method).is_some();
        if rpc {
            methods.iter().filter(|method| gateway::rpc(path, method).is_some()).all(is_listed)
        } else {
            methods.iter().all(is_listed)
        }
    };
    (paths.len(), paths.iter().filter(|path| !listed(path)).map(|path| (*path).to_owned()).collect())
}
