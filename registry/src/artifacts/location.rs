//! Where the bytes of artifacts are kept: a folder, or a bucket of an S3 server.

use std::{fmt, fs, path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt;
use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    prefix::PrefixStore,
};

use crate::error::RegistryError;

/// The settings that say where.
const KEY: &str = "registry.artifacts";
const ENDPOINT_KEY: &str = "registry.artifacts_endpoint";
/// What begins the URL of a bucket.
const SCHEME: &str = "s3://";
/// Tries of one call to an S3 server, after the first, and the time they may take together.
const RETRIES_MAX: usize = 5;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest that a call may last, and that its answer may stand still: a large file is one answer.
const CALL_TIMEOUT: &str = "1 day";
const READ_TIMEOUT: &str = "30 seconds";

/// Where artifacts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder, made when absent.
    Folder(PathBuf),
    /// Below `prefix` in a bucket that is there.
    Bucket {
        /// Its name.
        bucket: String,
        /// What the keys begin with; may be empty.
        prefix: String,
        /// Address of the server; absent: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, or else Amazon's.
        endpoint: Option<String>,
    },
}

impl Location {
    /// Reads `s3://bucket/prefix` or the path of a folder. An empty `endpoint` is none.
    ///
    /// # Errors
    /// A URL of something else or without a bucket; an endpoint that is no URL, or has no bucket to serve.
    pub fn read(text: &str, endpoint: &str) -> Result<Self, RegistryError> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            if text.contains("://") {
                let reason = format!("`{text}` is neither a folder nor s3://bucket/prefix");
                return Err(RegistryError::invalid(KEY, reason));
            }
            if !endpoint.is_empty() {
                let reason = format!("is for a bucket, and {KEY} is a folder");
                return Err(RegistryError::invalid(ENDPOINT_KEY, reason));
            }
            return Ok(Self::Folder(text.into()));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(RegistryError::invalid(KEY, format!("`{text}` names no bucket: s3://bucket/prefix")));
        }
        let endpoint = (!endpoint.is_empty()).then(|| endpoint.to_owned());
        endpoint.iter().try_for_each(|endpoint| secured(endpoint, ENDPOINT_KEY).map(drop))?;
        Ok(Self::Bucket { bucket: bucket.into(), prefix: prefix.trim_matches('/').into(), endpoint })
    }

    /// Opens the store behind it. A bucket is asked for its first object, so that one that cannot be reached or read
    /// is found here. Credentials and region of a bucket come from the variables `AWS_*`.
    ///
    /// # Errors
    /// A folder that cannot be made, or a bucket that does not answer.
    pub async fn open(&self) -> Result<Arc<dyn ObjectStore>, RegistryError> {
        let refused = |error: &dyn fmt::Display| RegistryError::invalid(KEY, format!("{self}: {error}"));
        match self {
            Self::Folder(folder) => {
                fs::create_dir_all(folder).map_err(|error| refused(&error))?;
                // A row that names a blob is on the disk, so the blob has to be too.
                Ok(Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true)))
            }
            Self::Bucket { bucket, prefix, endpoint } => {
                let store = PrefixStore::new(client(bucket, endpoint.as_deref())?, prefix.as_str());
                if let Some(Err(error)) = store.list(None).next().await {
                    return Err(refused(&error));
                }
                Ok(Arc::new(store))
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket { bucket, prefix, endpoint } => {
                write!(f, "{SCHEME}{bucket}/{prefix}")?;
                endpoint.iter().try_for_each(|endpoint| write!(f, " on {endpoint}"))
            }
        }
    }
}

fn client(bucket: &str, endpoint: Option<&str>) -> Result<AmazonS3, RegistryError> {
    // Another part of the process may have chosen already; there is one provider to choose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(endpoint) = endpoint {
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    let used = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let used = used.iter().find_map(|key| builder.get_config_value(key));
    // Unencrypted on this machine only, whatever AWS_ALLOW_HTTP says.
    let plain = used.map_or(Ok(false), |used| secured(&used, "AWS_ENDPOINT_URL"))?;
    let retry =
        RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    Ok(builder
        .with_allow_http(plain)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), CALL_TIMEOUT)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ReadTimeout), READ_TIMEOUT)
        .with_retry(retry)
        .build()?)
}

/// Whether `endpoint` is reached without encryption, which it is on this machine only.
fn secured(endpoint: &str, key: &str) -> Result<bool, RegistryError> {
    let refuse = |reason: &str| Err(RegistryError::invalid(key, format!("`{endpoint}` {reason}")));
    if endpoint.starts_with("https://") {
        return Ok(false);
    }
    let Some(rest) = endpoint.strip_prefix("http://") else {
        return refuse("does not begin with https:// (or http:// on this machine)");
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        return Ok(true);
    }
    refuse("is not encrypted: http:// is for servers on this machine, others need https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(bucket: &str, prefix: &str, endpoint: Option<&str>) -> Location {
        let endpoint = endpoint.map(str::to_owned);
        Location::Bucket { bucket: bucket.into(), prefix: prefix.into(), endpoint }
    }

    #[test]
    fn folders_and_buckets_are_told_apart() {
        assert_eq!(Location::read("a/b", "").expect("a folder"), Location::Folder("a/b".into()));
        assert_eq!(Location::read("s3://models", "").expect("a bucket"), bucket("models", "", None));
        for near in
            ["http://127.0.0.1:9000", "http://localhost:9", "http://[::1]:9", "https://s3.example.org"]
        {
            let found = Location::read("s3://models/a/b/", near).expect("a bucket of a server");
            assert_eq!(found, bucket("models", "a/b", Some(near)));
        }
    }

    #[test]
    fn what_is_neither_or_would_travel_unencrypted_is_refused_by_its_key() {
        for (text, endpoint, words) in [
            ("s3:///x", "", ["registry.artifacts: ", "names no bucket"]),
            ("gs://models", "", ["registry.artifacts: ", "neither a folder nor s3://"]),
            ("folder", "https://s3.example.org", ["registry.artifacts_endpoint: ", "is a folder"]),
            ("s3://m", "s3.example.org", ["registry.artifacts_endpoint: ", "https://"]),
            ("s3://m", "http://127.0.0.1.example.org", ["registry.artifacts_endpoint: ", "not encrypted"]),
        ] {
            let refused = Location::read(text, endpoint).expect_err("refused").to_string();
            assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let nobody = bucket("models", "x", Some("http://127.0.0.1:1"));
        let error = nobody.open().await.expect_err("nobody listens").to_string();
        assert!(error.starts_with("registry.artifacts: s3://models/x on http://127.0.0.1:1: "), "{error}");
    }
}
