//! Who asks a typed question, carried along with it: a question is several models away from the message.
//!
//! A family reads answers with the tables of the version that gave them. So what a version on trial fails is not run
//! again; the whole question is asked again, of live versions alone. Tenant, deadline and trace go along as well.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tonic::{Request, Response, Status};

use super::{
    AiService, Inner, named,
    trace::{self, Answers, Asks},
};
use crate::{
    Caller, ErrorCode, Handle, InferError, Route, Terms,
    server::{
        caller,
        requests::{self, Noted, Times},
        terms,
    },
};

/// Metadata key by which a caller names a typed question.
const REQUEST_ID: &str = "x-request-id";

tokio::task_local! {
    static ASKING: Arc<Asking>;
    static TERMS: Terms;
}

/// One question.
struct Asking {
    caller: Mutex<Caller>,
    /// Whether versions on trial take part.
    tries: bool,
    /// Those that failed.
    failed: Mutex<Vec<Route>>,
}

impl Asking {
    fn new(caller: Caller, tries: bool) -> Arc<Self> {
        Arc::new(Self { caller: Mutex::new(caller), tries, failed: Mutex::default() })
    }

    fn caller(&self) -> Caller {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl AiService {
    /// Asks `question`, and traces its answer.
    pub(super) async fn ask<Q: Asks, A: Answers, F: Future<Output = Result<A, Status>>>(
        &self,
        rpc: &'static str,
        request: Request<Q>,
        question: impl Fn(Arc<Inner>, Q) -> F,
    ) -> Result<Response<A>, Status> {
        let terms = terms::of_metadata(request.metadata())?;
        let (began, trace) = (Instant::now(), terms.trace);
        let id = request.metadata().get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let result = TERMS.scope(terms, self.traced(rpc, request, question)).await;
        let noted = Noted { rpc, id: id.as_deref().unwrap_or_default(), model: "", trace, began };
        let error = result.as_ref().err().map(|status| ErrorCode::from(status.code()));
        requests::ended(&noted, error, &Times::default());
        result
    }

    async fn traced<Q: Asks, A: Answers, F: Future<Output = Result<A, Status>>>(
        &self,
        rpc: &'static str,
        request: Request<Q>,
        question: impl Fn(Arc<Inner>, Q) -> F,
    ) -> Result<Response<A>, Status> {
        let place = self.0.place(rpc, request.get_ref());
        if !request.get_ref().names_measurement() {
            return Ok(trace::told(place, self.answer(request, question).await?, None));
        }
        let (answer, measurement) = named::about(None, self.answer(request, question)).await;
        Ok(trace::told(place, answer?, measurement))
    }

    /// The answer; while no model has a version on trial or a pin, nothing else happens.
    async fn answer<Q: Clone, A, F: Future<Output = Result<A, Status>>>(
        &self,
        request: Request<Q>,
        question: impl Fn(Arc<Inner>, Q) -> F,
    ) -> Result<A, Status> {
        let ask = |request| question(Arc::clone(&self.0), request);
        if !self.0.handle.is_split() {
            return ask(request.into_inner()).await;
        }
        let first = Asking::new(caller::of_metadata(request.metadata()), true);
        let request = request.into_inner();
        let answer = ASKING.scope(Arc::clone(&first), ask(request.clone())).await;
        let failed = std::mem::take(&mut *first.failed.lock().unwrap_or_else(PoisonError::into_inner));
        if failed.is_empty() {
            return answer;
        }
        let answer = ASKING.scope(Asking::new(first.caller(), false), ask(request)).await?;
        failed.iter().for_each(Route::failed);
        Ok(answer)
    }
}

/// On what terms the question is to be answered; each model that it asks takes a place of its tenant's.
pub(super) fn terms() -> Terms {
    TERMS.try_with(Clone::clone).unwrap_or_default()
}

/// Where a question to a model leads; outside of a question, to the live version.
pub(super) fn route(handle: &Handle, model: &str) -> Result<Route, InferError> {
    let asked = |asking: &Arc<Asking>| {
        let route = handle.route(model, None, &asking.caller(), "")?;
        Ok(if asking.tries { route } else { route.live().unwrap_or(route) })
    };
    ASKING.try_with(asked).unwrap_or_else(|_| handle.model(model, None).map(Route::to))
}

/// The question is about a sweep of this cartridge.
pub(super) fn of_cartridge(code: &impl fmt::Display) {
    let note = |asking: &Arc<Asking>| {
        asking.caller.lock().unwrap_or_else(PoisonError::into_inner).cartridge = code.to_string();
    };
    // Outside of a question nobody asks for the cartridge.
    let _ = ASKING.try_with(note);
}

/// The question comes from this person, unless a header said who asks.
pub(super) fn of_user(user: &str) {
    let note = |asking: &Arc<Asking>| {
        let mut caller = asking.caller.lock().unwrap_or_else(PoisonError::into_inner);
        if caller.user.is_empty() {
            user.clone_into(&mut caller.user);
        }
    };
    let _ = ASKING.try_with(note);
}

/// The first version on the route failed.
pub(super) fn failed(route: &Route) {
    if route.is_on_trial() {
        let note = |asking: &Arc<Asking>| {
            asking.failed.lock().unwrap_or_else(PoisonError::into_inner).push(route.clone());
        };
        let _ = ASKING.try_with(note);
    }
}

/// Finds something for the first message of a stream, which then keeps what was found.
pub(super) fn once<T>(caller: Caller, find: impl FnOnce() -> T) -> T {
    ASKING.sync_scope(Asking::new(caller, true), find)
}
