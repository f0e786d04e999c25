//! Sections of the configuration about callers, and about what is kept of what they asked.

use serde::{Deserialize, Serialize};

use crate::{config::Config, secret::Secret};

/// Fewest cases of a window of drift.
const DRIFT_ROWS_MIN: u64 = 100;
/// Longest that a revoked token may count.
const TOKEN_CACHE_MS_MAX: u64 = 60_000;

/// Who may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    /// Whether every call shows a token (`manpasik tokens create`). On an address beyond loopback it always does.
    pub(crate) required: bool,
    /// How long the holder of a token is remembered: within it a token that was revoked still counts.
    pub(crate) token_cache_ms: u64,
    pub(crate) jwt: Jwt,
}

/// Tokens that an identity provider has signed (JSON Web Tokens, by EdDSA or RS256). They count beside the registry's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jwt {
    /// Where the provider lists its keys (JWKS), an `https://` address or a file; empty: signed tokens do not count.
    pub(crate) keys: String,
    /// Who must have issued a token (`iss`).
    pub(crate) issuer: String,
    /// For whom a token must be (`aud`).
    pub(crate) audience: String,
    /// The claim with the roles, a list or words with spaces between.
    pub(crate) roles_claim: String,
    /// The claim with the models that the token is for, the same way; one without it is for every model.
    pub(crate) models_claim: String,
    /// Age at which the keys are asked for again; a token that names an unknown one has them asked for at once.
    pub(crate) keys_ms: u64,
}

/// How long the registry keeps what it keeps; 0: for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    /// Days after which the files of a rejected or archived version go; its record stays.
    pub(crate) files_days: u32,
    /// Days after which predictions, their payloads and windows of drift go.
    pub(crate) predictions_days: u32,
}

/// What is written down of answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Predictions {
    /// Whether model, version, output and interval of every answer are.
    pub(crate) traced: bool,
    /// Whether request and answer are too, encrypted, so that an answer can be reproduced.
    pub(crate) payload_logging: bool,
    /// Key of the payloads, 64 hexadecimal digits, for example from `openssl rand -hex 32`.
    pub(crate) payload_key: Secret,
}

/// When what is asked and answered no longer looks like training. Cases are compared window by window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drift {
    /// Cases of a window.
    pub(crate) rows: u64,
    /// Largest population stability index that is no alarm.
    pub(crate) stability_index_max: f64,
    /// Largest Kolmogorov-Smirnov distance that is no alarm.
    pub(crate) distance_max: f64,
}

impl Default for Auth {
    fn default() -> Self {
        Self { required: false, token_cache_ms: 1_000, jwt: Jwt::default() }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            keys: String::new(),
            issuer: String::new(),
            audience: String::new(),
            roles_claim: "roles".into(),
            models_claim: "models".into(),
            keys_ms: 300_000,
        }
    }
}

impl Default for Predictions {
    fn default() -> Self {
        Self { traced: true, payload_logging: false, payload_key: Secret::default() }
    }
}

impl Default for Drift {
    fn default() -> Self {
        Self { rows: 1_000, stability_index_max: 0.25, distance_max: 0.15 }
    }
}

impl Jwt {
    fn check(&self, faults: &mut Vec<String>) {
        if self.keys.is_empty() {
            return;
        }
        for (key, value) in [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("roles_claim", &self.roles_claim),
            ("models_claim", &self.models_claim),
        ] {
            if value.is_empty() {
                faults.push(format!("auth.jwt.{key}: is empty; with auth.jwt.keys it must be said"));
            }
        }
        // Whoever can change the answer on its way chooses who comes in.
        let host = self.keys.strip_prefix("http://").and_then(|rest| rest.split(['/', ':']).next());
        if host.is_some_and(|host| host != "localhost" && host != "127.0.0.1") {
            faults
                .push("auth.jwt.keys: must be https:// (http:// is for this machine only), or a file".into());
        }
    }
}

impl Config {
    /// Adds what is wrong with these sections.
    pub(crate) fn check_keeping(&self, faults: &mut Vec<String>) {
        if self.auth.token_cache_ms > TOKEN_CACHE_MS_MAX {
            faults.push(format!("auth.token_cache_ms: must be at most {TOKEN_CACHE_MS_MAX}"));
        }
        self.auth.jwt.check(faults);
        if self.drift.rows < DRIFT_ROWS_MIN {
            faults.push(format!("drift.rows: must be at least {DRIFT_ROWS_MIN}"));
        }
        let key = self.predictions.payload_key.reveal();
        let needed = self.predictions.payload_logging || !key.is_empty();
        if let (true, Err(error)) = (needed, registry::predictions::Cipher::from_hex(key)) {
            faults.push(error.to_string());
        }
    }

    /// What payloads of predictions are encrypted with.
    pub(crate) fn cipher(&self) -> anyhow::Result<registry::predictions::Cipher> {
        Ok(registry::predictions::Cipher::from_hex(self.predictions.payload_key.reveal())?)
    }

    /// Whether a port can be reached from other machines.
    pub(crate) fn is_open(&self) -> bool {
        self.server.is_open()
    }

    /// Whether every call shows a token.
    pub(crate) fn asks_for_tokens(&self) -> bool {
        self.auth.required || self.is_open()
    }
}
