//! Public keys of an identity provider (JSON Web Key Set, RFC 7517): fetched, remembered, and asked for again when they
//! are old or a token names one that is not among them, which is how providers change their keys.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

/// Largest set of keys that is read.
const SET_BYTES_MAX: usize = 1 << 20;
/// Longest wait for the provider.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest pause between two requests for keys, whatever tokens name.
const PAUSE: Duration = Duration::from_secs(5);
/// How long keys count while the provider cannot be reached: a key it has withdrawn may count for so long.
const STALE_MAX: Duration = Duration::from_secs(3_600);

/// A key that verifies signatures of one kind only, so that no token can choose another kind for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// Ed25519, for `EdDSA` (RFC 8037).
    Ed25519(Vec<u8>),
    /// RSA of at least 2,048 bits, for `RS256` (RFC 7518).
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl Key {
    /// Whether `signature` by the algorithm `alg` is this key's, over `message`.
    pub(super) fn verifies(&self, alg: &str, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => {
                alg == "EdDSA" && UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
            Self::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                alg == "RS256" && key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
        }
    }
}

/// Where a set is.
#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    Url(String, reqwest::Client),
}

#[derive(Default)]
struct Held {
    keys: HashMap<String, Arc<Key>>,
    /// When they were read.
    read: Option<Instant>,
    /// When they were last asked for, whatever came of it.
    asked: Option<Instant>,
}

/// The keys of a provider. Clones share them.
#[derive(Clone)]
pub(super) struct Keys(Arc<Provider>);

struct Provider {
    place: Place,
    patience: Duration,
    held: RwLock<Held>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
}

impl Keys {
    /// Of the set at `place`, an address or a file, asked for again after `patience`.
    pub(super) fn new(place: &str, patience: Duration) -> anyhow::Result<Self> {
        let place = if place.starts_with("https://") || place.starts_with("http://") {
            // Another part of the program may have said so before.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().timeout(FETCH_TIMEOUT).build();
            let client = client.context("no connection can be made to the provider of keys")?;
            Place::Url(place.to_owned(), client)
        } else {
            Place::File(place.into())
        };
        let (held, asking) = (RwLock::default(), tokio::sync::Mutex::default());
        Ok(Self(Arc::new(Provider { place, patience, held, asking })))
    }

    /// The key `kid`; the only one there is where a token names none.
    ///
    /// Fails when there are no keys because they cannot be had.
    pub(super) async fn of(&self, kid: Option<&str>) -> anyhow::Result<Option<Arc<Key>>> {
        match self.0.remembered(kid) {
            (Some(key), true) => return Ok(Some(key)),
            // Calls do not wait for a provider that may be down.
            (Some(key), false) => {
                if self.0.is_due() {
                    let keys = self.clone();
                    tokio::spawn(async move { keys.0.refresh().await });
                }
                return Ok(Some(key));
            }
            (None, _) => {}
        }
        let refreshed = self.0.refresh().await;
        match self.0.remembered(kid) {
            (Some(key), _) => Ok(Some(key)),
            (None, _) => refreshed.map(|()| None),
        }
    }
}

impl Provider {
    /// Whether the set may be asked for: it was not a moment ago.
    fn is_due(&self) -> bool {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.asked.is_none_or(|asked| asked.elapsed() >= PAUSE)
    }

    /// Whether there are keys that may still count.
    fn is_stocked(&self) -> bool {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.read.is_some_and(|read| read.elapsed() <= STALE_MAX.max(self.patience))
    }

    /// The key, and whether the set is young enough.
    fn remembered(&self, kid: Option<&str>) -> (Option<Arc<Key>>, bool) {
        if !self.is_stocked() {
            return (None, false);
        }
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let found = match kid {
            Some(kid) => held.keys.get(kid).cloned(),
            None if held.keys.len() == 1 => held.keys.values().next().cloned(),
            None => None,
        };
        (found, held.read.is_some_and(|read| read.elapsed() <= self.patience))
    }

    /// Asks for the set, unless that was done a moment ago. Fails when there is none that may count.
    async fn refresh(&self) -> anyhow::Result<()> {
        let _turn = self.asking.lock().await;
        if !self.is_due() {
            return if self.is_stocked() { Ok(()) } else { bail!("asked a moment ago, in vain") };
        }
        let now = Instant::now();
        self.held.write().unwrap_or_else(PoisonError::into_inner).asked = Some(now);
        match self.fetch().await {
            Ok(keys) => {
                let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
                (held.keys, held.read) = (keys, Some(now));
                Ok(())
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "keys of signed tokens cannot be had");
                if self.is_stocked() { Ok(()) } else { Err(error) }
            }
        }
    }

    async fn fetch(&self) -> anyhow::Result<HashMap<String, Arc<Key>>> {
        let text = match &self.place {
            Place::File(path) => {
                tokio::fs::read(path).await.with_context(|| format!("cannot read `{}`", path.display()))?
            }
            Place::Url(url, client) => {
                let mut answer = client.get(url).send().await?.error_for_status()?;
                let mut text = Vec::new();
                while let Some(part) = answer.chunk().await? {
                    text.extend_from_slice(&part);
                    if text.len() > SET_BYTES_MAX {
                        bail!("{url} answers more than {SET_BYTES_MAX} bytes");
                    }
                }
                text
            }
        };
        read(&text)
    }
}

/// A set as it is written (RFC 7517 §5).
#[derive(Deserialize)]
struct Set {
    keys: Vec<Written>,
}

/// A key as it is written; members that are not needed are left out.
#[derive(Deserialize)]
struct Written {
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The keys of a set that this server can use; others are left out, as the standard asks.
fn read(text: &[u8]) -> anyhow::Result<HashMap<String, Arc<Key>>> {
    let set: Set = serde_json::from_slice(text).context("what is there is no JSON Web Key Set")?;
    let signs = |key: &Written| key.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
    let keys = set.keys.into_iter().filter(signs);
    let keys: HashMap<_, _> =
        keys.filter_map(|key| Some((key.kid.clone(), Arc::new(usable(&key)?)))).collect();
    if keys.is_empty() {
        bail!("the JSON Web Key Set holds no key for EdDSA or RS256");
    }
    Ok(keys)
}

fn usable(key: &Written) -> Option<Key> {
    let bytes = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    match (key.kty.as_str(), key.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => Some(Key::Ed25519(bytes(&key.x)?)),
        ("RSA", _) => Some(Key::Rsa { n: bytes(&key.n)?, e: bytes(&key.e)? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7515, appendix A.2.
    const RSA: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"other"},{"kty":"RSA","kid":"a",
        "n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "e":"AQAB"}]}"#;
    const SIGNED: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

    #[test]
    fn the_example_of_the_standard_verifies_by_its_own_algorithm_only() {
        let keys = read(RSA.as_bytes()).expect("a set");
        let signature = BASE64_URL_SAFE_NO_PAD.decode(SIGNATURE).expect("bytes");
        let key = &keys["a"];
        assert_eq!(keys.len(), 1, "a kind that is not used here is left out");
        assert!(key.verifies("RS256", SIGNED.as_bytes(), &signature));
        for wrong in ["none", "HS256", "EdDSA", "rs256"] {
            assert!(!key.verifies(wrong, SIGNED.as_bytes(), &signature), "{wrong}");
        }
        assert!(!key.verifies("RS256", b"another text", &signature));
    }

    #[test]
    fn what_is_no_set_of_keys_is_refused_with_the_reason() {
        for (text, word) in [("<html>", "Key Set"), (r#"{"keys":[]}"#, "EdDSA or RS256")] {
            let error = read(text.as_bytes()).expect_err("no keys").to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[tokio::test]
    async fn a_new_key_is_found_and_an_old_set_lasts_while_none_can_be_had() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        let keys = Keys::new(&path.to_string_lossy(), Duration::ZERO).expect("a place");
        keys.of(Some("a")).await.expect_err("there is no file");
        std::fs::write(&path, RSA).expect("writes");
        keys.0.held.write().expect("no panic").asked = None;
        assert!(keys.of(Some("a")).await.expect("read").is_some());
        assert!(keys.of(None).await.expect("the only one").is_some());
        std::fs::write(&path, RSA.replace(r#""kid":"a""#, r#""kid":"b""#)).expect("writes");
        assert!(keys.of(Some("b")).await.expect("asked a moment ago").is_none());
        keys.0.held.write().expect("no panic").asked = None;
        assert!(keys.of(Some("b")).await.expect("asked again").is_some());
        std::fs::remove_file(&path).expect("removes");
        keys.0.held.write().expect("no panic").asked = None;
        assert!(keys.of(Some("b")).await.expect("what there was").is_some());
        assert!(keys.of(Some("a")).await.expect("withdrawn").is_none());
    }
}
