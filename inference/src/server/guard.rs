//! Who may come in. The port asks before a call reaches its service, and remembers who calls for as long as it is
//! answered. Other ways of showing who one is, such as signed tokens or client certificates, are other guards.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{
    body::{Body, Frame, SizeHint},
    http::HeaderMap,
};
use registry::Principal;
use tonic::{Status, async_trait};

use crate::InferError;

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

/// Refuses a caller whose token is for other models than `model`.
pub(crate) fn check(model: &str) -> Result<(), InferError> {
    match caller() {
        Some(caller) if !caller.models.has(model) => {
            Err(InferError::NotAllowed { caller: caller.name.clone(), model: model.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a list of models has `model` for who calls.
pub(crate) fn lists(model: &str) -> bool {
    check(model).is_ok()
}

/// An answer that is made while it is sent, for `caller` to its end.
pub struct Answering<B> {
    caller: Arc<Principal>,
    body: B,
}

impl<B> Answering<B> {
    /// `body`, made for `caller`.
    pub fn new(caller: Arc<Principal>, body: B) -> Self {
        Self { caller, body }
    }
}

impl<B: Body + Unpin> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let caller = Arc::clone(&self.caller);
        CALLER.sync_scope(caller, || Pin::new(&mut self.body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
