//! Signed tokens of an identity provider (JSON Web Token, RFC 7519, as RFC 8725 advises): the key decides the algorithm,
//! issuer, audience and end are looked at always, and what cannot be read does not count.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use registry::{Principal, Role, Scope};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::keys::Keys;
use crate::keeping::Jwt;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Longest name of a caller.
const NAME_BYTES_MAX: usize = 200;
/// How far the provider's clock may be from ours, in seconds.
const LEEWAY_S: f64 = 30.0;

/// Why a token does not count.
type Refused = &'static str;

/// Reads signed tokens.
pub(super) struct Signed {
    keys: Keys,
    settings: Jwt,
}

/// What stands before the claims.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

/// What a token says (RFC 7519 §4.1); times are seconds since 1970.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Signed {
    /// As the configuration says; nothing where it names no keys.
    pub(super) fn new(settings: &Jwt) -> anyhow::Result<Option<Self>> {
        if settings.keys.is_empty() {
            return Ok(None);
        }
        let keys = Keys::new(&settings.keys, Duration::from_millis(settings.keys_ms))?;
        Ok(Some(Self { keys, settings: settings.clone() }))
    }

    /// Whether `token` has the form of a signed one.
    pub(super) fn is_one(token: &str) -> bool {
        token.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Who shows `token` at `now_s`. Fails when the provider's keys cannot be had.
    pub(super) async fn of(
        &self,
        token: &str,
        now_s: f64,
    ) -> anyhow::Result<Result<Arc<Principal>, Refused>> {
        const FORM: Refused = "the token is no JSON Web Token";
        let parts = token.rsplit_once('.').filter(|_| token.len() <= TOKEN_BYTES_MAX);
        let Some((message, signature)) = parts else { return Ok(Err(FORM)) };
        let Some((header, claims)) = message.split_once('.') else { return Ok(Err(FORM)) };
        let (Some(header), Ok(signature)) =
            (part::<Header>(header), BASE64_URL_SAFE_NO_PAD.decode(signature))
        else {
            return Ok(Err(FORM));
        };
        if header.crit.is_some() {
            return Ok(Err("the token asks for extensions that this server does not know (crit)"));
        }
        let Some(key) = self.keys.of(header.kid.as_deref()).await? else {
            return Ok(Err("the token is signed by a key that its provider does not list"));
        };
        if !key.verifies(&header.alg, message.as_bytes(), &signature) {
            return Ok(Err("the token's signature is not that of its provider by EdDSA or RS256"));
        }
        Ok(part::<Claims>(claims)
            .ok_or("the token lacks one of the claims iss, sub, aud, exp, or it is of another type")
            .and_then(|claims| self.principal(&claims, now_s)))
    }

    /// Who the claims are about, if they hold here and now.
    fn principal(&self, claims: &Claims, now_s: f64) -> Result<Arc<Principal>, Refused> {
        if claims.iss != self.settings.issuer {
            return Err("the token is of another issuer than auth.jwt.issuer");
        }
        let is_for_us = match &claims.aud {
            Audience::One(one) => *one == self.settings.audience,
            Audience::Several(all) => all.contains(&self.settings.audience),
        };
        if !is_for_us {
            return Err("the token is for another audience than auth.jwt.audience");
        }
        if now_s >= claims.exp + LEEWAY_S {
            return Err("the token has ended: ask its provider for a new one");
        }
        if claims.nbf.is_some_and(|from| now_s < from - LEEWAY_S) {
            return Err("the token does not count yet: is a clock wrong?");
        }
        let is_name = !claims.sub.is_empty() && claims.sub.len() <= NAME_BYTES_MAX;
        if !is_name || claims.sub.chars().any(char::is_control) {
            return Err("the token's sub is no name of at most 200 bytes");
        }
        let roles = claims.others.get(&self.settings.roles_claim).map(roles).unwrap_or_default();
        let models = claims.others.get(&self.settings.models_claim).map_or(Ok(Scope::default()), models)?;
        Ok(Arc::new(Principal::of_token(&claims.sub, roles).within(models)))
    }
}

/// A part of a token.
fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Models as a list or as words with spaces between. One that names none, or cannot be read, is for none.
fn models(claim: &Value) -> Result<Scope, Refused> {
    const UNREAD: Refused = "the token's claim of models is no list of names";
    let entries: Vec<&str> = match claim {
        Value::String(text) => text.split_whitespace().collect(),
        Value::Array(all) => all.iter().map(Value::as_str).collect::<Option<_>>().ok_or(UNREAD)?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(UNREAD),
    };
    if entries.is_empty() {
        return Err("the token is for no model");
    }
    Scope::of(entries).map_err(|_| UNREAD)
}

/// Roles as a list or as words with spaces between; what is no role here is the provider's own business.
fn roles(claim: &Value) -> BTreeSet<Role> {
    let of = |text: &str| text.split(' ').filter_map(Role::read).collect::<Vec<_>>();
    match claim {
        Value::String(text) => of(text).into_iter().collect(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).flat_map(of).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{Ed25519KeyPair, KeyPair},
    };
    use serde_json::json;

    use super::*;

    const NOW_S: f64 = 1_800_000_000.0;

    struct Provider {
        pair: Ed25519KeyPair,
        _folder: tempfile::TempDir,
        signed: Signed,
    }

    impl Provider {
        fn new() -> Self {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
            let folder = tempfile::tempdir().expect("a folder");
            let place = folder.path().join("keys.json");
            let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
            let set =
                json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x, "use": "sig" }] });
            std::fs::write(&place, set.to_string()).expect("writes");
            let settings = Jwt {
                keys: place.to_string_lossy().into_owned(),
                issuer: "https://id.example.org".into(),
                audience: "manpasik".into(),
                ..Jwt::default()
            };
            let signed = Signed::new(&settings).expect("settings").expect("keys are named");
            Self { pair, _folder: folder, signed }
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", encoded(header), encoded(claims));
            let signature = BASE64_URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
            format!("{message}.{signature}")
        }

        async fn says(&self, header: &Value, claims: &Value) -> Result<Arc<Principal>, Refused> {
            self.signed.of(&self.token(header, claims), NOW_S).await.expect("keys are there")
        }
    }

    fn header() -> Value {
        json!({ "alg": "EdDSA", "kid": "k", "typ": "JWT" })
    }

    fn claims() -> Value {
        json!({
            "iss": "https://id.example.org", "sub": "mina", "aud": ["other", "manpasik"], "exp": NOW_S + 60.0,
            "roles": ["data_scientist", "gardener"],
        })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[key] = value;
        claims
    }

    #[tokio::test]
    async fn who_is_named_by_the_provider_comes_in_with_the_roles_there_are() {
        let provider = Provider::new();
        let mina = provider.says(&header(), &claims()).await.expect("counts");
        assert_eq!((mina.name.as_str(), mina.authenticated), ("mina", true));
        assert_eq!(mina.roles, BTreeSet::from([Role::DataScientist]));
        let words = provider.says(&header(), &with("roles", json!("admin user"))).await.expect("counts");
        assert_eq!(words.roles, BTreeSet::from([Role::Admin, Role::User]));
        let none = provider.says(&header(), &with("roles", json!(7))).await.expect("counts");
        assert!(none.roles.is_empty());
        assert!(provider.says(&header(), &with("aud", json!("manpasik"))).await.is_ok());
    }

    #[tokio::test]
    async fn a_token_that_names_models_is_for_these_only() {
        let provider = Provider::new();
        let all = provider.says(&header(), &claims()).await.expect("counts");
        assert!(all.models.is_all());
        for claim in [json!(["thyroid", "glucose-*"]), json!("thyroid glucose-*")] {
            let some = provider.says(&header(), &with("models", claim)).await.expect("counts");
            assert!(some.models.has("glucose-trend") && !some.models.has("diabetes"));
        }
        for claim in [json!([]), json!(""), json!(7), json!([7]), json!(["a,b"]), Value::Null] {
            let refused =
                provider.says(&header(), &with("models", claim.clone())).await.expect_err("refused");
            assert!(refused.contains("model"), "{claim}: {refused}");
        }
    }

    #[tokio::test]
    async fn every_claim_is_looked_at() {
        let provider = Provider::new();
        for (key, value, word) in [
            ("iss", json!("https://elsewhere"), "another issuer"),
            ("aud", json!("shop"), "another audience"),
            ("aud", json!([]), "another audience"),
            ("exp", json!(NOW_S - 31.0), "has ended"),
            ("exp", json!("4000000000"), "of another type"),
            ("exp", Value::Null, "of another type"),
            ("nbf", json!(NOW_S + 31.0), "not count yet"),
            ("nbf", json!("soon"), "of another type"),
            ("sub", json!(""), "no name"),
            ("sub", json!("a\nb"), "no name"),
        ] {
            let refused = provider.says(&header(), &with(key, value.clone())).await.expect_err("refused");
            assert!(refused.contains(word), "{key} = {value}: {refused}");
        }
    }

    #[tokio::test]
    async fn no_token_chooses_its_algorithm_or_its_key() {
        let provider = Provider::new();
        for (header, word) in [
            (json!({ "alg": "none", "kid": "k" }), "signature"),
            (json!({ "alg": "RS256", "kid": "k" }), "signature"),
            (json!({ "alg": "HS256", "kid": "k" }), "signature"),
            (json!({ "alg": "EdDSA", "kid": "z" }), "does not list"),
            (json!({ "alg": "EdDSA", "kid": "k", "crit": ["exp"] }), "crit"),
        ] {
            let refused = provider.says(&header, &claims()).await.expect_err("refused");
            assert!(refused.contains(word), "{header}: {refused}");
        }
        let token = provider.token(&header(), &claims());
        let other = provider.token(&header(), &with("sub", json!("admin")));
        let (message, _) = other.rsplit_once('.').expect("three parts");
        let (_, signature) = token.rsplit_once('.').expect("three parts");
        for broken in [format!("{message}.{signature}"), format!("{message}."), "a.b.c".into(), "..".into()] {
            assert!(provider.signed.of(&broken, NOW_S).await.expect("keys").is_err(), "{broken}");
        }
    }
}
