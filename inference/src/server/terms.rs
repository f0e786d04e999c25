//! On what terms an answer is wanted, as the headers of a call say it, whatever its protocol.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tonic::metadata::MetadataMap;

use crate::{InferError, Terms, TraceContext, traceparent::TRACEPARENT};

/// Header and metadata key that names the tenant.
pub(super) const TENANT: &str = "x-tenant-id";
/// Longest name of a tenant.
const TENANT_BYTES_MAX: usize = 128;

/// What the metadata of a call say.
pub(super) fn of_metadata(metadata: &MetadataMap) -> Result<Terms, InferError> {
    let mut terms = Terms::default();
    let timeout = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok());
    if let Some(timeout) = timeout.and_then(grpc_timeout) {
        terms.limit(timeout);
    }
    terms.tenant = metadata.get(TENANT).map(|name| tenant(name.as_bytes())).transpose()?;
    terms.trace =
        TraceContext::of(metadata.get(TRACEPARENT).map(|header| header.to_str().unwrap_or_default()));
    Ok(terms)
}

/// The tenant a header names.
pub(super) fn tenant(value: &[u8]) -> Result<Arc<str>, InferError> {
    let name = std::str::from_utf8(value).ok().map(str::trim);
    let name = name.filter(|name| !name.is_empty() && name.len() <= TENANT_BYTES_MAX);
    let reason = || format!("must be 1 to {TENANT_BYTES_MAX} bytes of text");
    name.map(Arc::from).ok_or_else(|| InferError::input(TENANT, reason()))
}

impl Terms {
    /// Answers are worthless after `timeout` from now.
    pub(super) fn limit(&mut self, timeout: Duration) {
        let until = Instant::now().checked_add(timeout);
        self.deadline = match (self.deadline, until) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
    }
}

/// The value of a `grpc-timeout` header: up to eight digits and a unit.
pub(super) fn grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_specification_says() {
        assert_eq!(grpc_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(grpc_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "m", "1", "1x", "-1S", "999999999S", "1é"] {
            assert_eq!(grpc_timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_tenant_is_a_short_text() {
        assert_eq!(tenant(b" clinic-7 ").as_deref(), Ok("clinic-7"));
        for bad in [&b""[..], b"  ", b"\xff", &[b'a'; 129]] {
            assert!(tenant(bad).is_err_and(|error| error.to_string().starts_with("x-tenant-id: ")));
        }
    }
}
