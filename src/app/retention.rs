//! What nobody needs any more goes after its time: files of rejected and archived versions, predictions. Each sweep is
//! bounded, so that a year of arrears holds nobody up, and stands in the audit.

use std::time::Duration;

use registry::{Act, Principal, Registry};

use super::recorder::now_ms;
use crate::keeping::Retention;

/// Time between two sweeps.
const STEP: Duration = Duration::from_secs(600);
/// Rows and versions of one sweep.
const PREDICTIONS_MAX: u64 = 20_000;
const VERSIONS_MAX: u64 = 100;
const DAY_MS: i64 = 86_400_000;
/// Name that the audit gives the sweeper.
const SWEEPER: &str = "retention";

/// Sweeps until it is dropped.
pub(super) async fn run(retention: Retention, registry: Registry) {
    loop {
        if let Err(error) = sweep(&retention, &registry, now_ms()).await {
            tracing::error!(error = format!("{error:#}"), "what is kept too long was not swept");
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn sweep(retention: &Retention, registry: &Registry, now_ms: i64) -> anyhow::Result<()> {
    let who = Principal { name: SWEEPER.to_owned(), ..Principal::local() };
    let act = Act { by: &who, at_ms: now_ms, why: "" };
    let before = |days: u32| (days > 0).then(|| now_ms - i64::from(days) * DAY_MS);
    if let Some(before_ms) = before(retention.predictions_days) {
        let rows = registry.predictions_forget(act, before_ms, PREDICTIONS_MAX).await?;
        if rows > 0 {
            tracing::info!(rows, "predictions were forgotten");
        }
    }
    if let Some(before_ms) = before(retention.files_days) {
        let versions = registry.versions_forget(act, before_ms, VERSIONS_MAX).await?;
        if versions > 0 {
            tracing::info!(versions, "files of rejected and archived versions were removed");
        }
    }
    let (blobs, bytes) = registry.artifacts().sweep(now_ms).await?;
    if blobs > 0 {
        tracing::info!(blobs, bytes, "bytes that no path names were removed");
    }
    Ok(())
}
