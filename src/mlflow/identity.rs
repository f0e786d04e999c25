//! Who calls: a token in the header `Authorization`, as MLflow's clients send it (`MLFLOW_TRACKING_TOKEN` as a bearer,
//! `MLFLOW_TRACKING_USERNAME` and `_PASSWORD` as name and token).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, Request, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use registry::{Principal, Registry, RegistryError};

use super::{fault::Fault, now_ms};

/// Said of a token that is none.
pub(crate) const NOBODY: &str =
    "the token is not one of this registry, or it has ended: ask an admin for a new one";

/// Names the caller to what answers; a token that is none is refused, no token is whoever sits here.
pub(super) async fn identify(
    State(registry): State<Arc<Registry>>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    if request.extensions().get::<Principal>().is_some() {
        // The port has asked already.
        return next.run(request).await;
    }
    match holder(&registry, request.headers()).await {
        Ok(None) => next.run(request).await,
        Ok(Some(Some(caller))) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(Some(None)) => Fault::unauthenticated(NOBODY).into_response(),
        Err(error) => Fault::from(error).into_response(),
    }
}

/// Whose token a request shows: none where it shows none, nobody where it is none of the registry's.
pub(crate) async fn holder(
    registry: &Registry,
    headers: &HeaderMap,
) -> Result<Option<Option<Principal>>, RegistryError> {
    let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    match given.to_str().ok().and_then(token) {
        None => Ok(Some(None)),
        Some(token) => registry.token_holder(&token, now_ms()).await.map(Some),
    }
}

/// The token of a header: a bearer, or the password beside a name.
pub(crate) fn token(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain =
        String::from_utf8(base64::Engine::decode(&base64::prelude::BASE64_STANDARD, rest.trim()).ok()?)
            .ok()?;
    plain.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearers_and_passwords_are_read() {
        assert_eq!(token("Bearer mps_a_b").as_deref(), Some("mps_a_b"));
        assert_eq!(token("basic YW5uOm1wc19hX2I=").as_deref(), Some("mps_a_b"));
        for none in ["", "mps_a_b", "Digest x", "Basic !!", "Basic YW5u"] {
            assert_eq!(token(none), None, "{none}");
        }
    }
}
