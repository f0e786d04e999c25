//! Who may come in. The port asks before a call reaches its service, and remembers who calls for as long as it is
//! answered. Other ways of showing who one is, such as signed tokens or client certificates, are other guards.

use std::sync::Arc;

use hyper::http::HeaderMap;
use registry::Principal;
use tonic::{Status, async_trait};

/// Decides who may call what.
#[async_trait]
pub trait Guard: Send + Sync + 'static {
    /// Who calls `path` (`/service/method`) with these headers; nobody where none has to say.
    ///
    /// # Errors
    /// Nobody that is known, or somebody who may not.
    async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Option<Arc<Principal>>, Status>;
}

tokio::task_local! {
    static CALLER: Arc<Principal>;
}

/// Answers for `caller`: code below finds it by [`caller`].
pub async fn answering<F: Future>(caller: Arc<Principal>, answer: F) -> F::Output {
    CALLER.scope(caller, answer).await
}

/// For whom this task answers; nobody in particular while no token is asked for.
#[must_use]
pub fn caller() -> Option<Arc<Principal>> {
    CALLER.try_with(Arc::clone).ok()
}
