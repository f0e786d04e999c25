//! One line of the log for a request: whose, of which model, how it ended and where the time went. Never what was sent.
//!
//! Requests that end well or by their caller's fault are told at the level `debug`, which is off unless asked for; those
//! that the server fails, always.

use std::{sync::Arc, time::Instant};

use crate::{ErrorCode, Response, TraceContext, server::guard};

/// Target of these lines, for a filter of the log.
pub const REQUESTS: &str = "request";

/// What a request was.
pub(super) struct Noted<'a> {
    /// Its procedure.
    pub(super) rpc: &'static str,
    /// The id its caller gave it; may be empty.
    pub(super) id: &'a str,
    /// The model it named; may be empty.
    pub(super) model: &'a str,
    pub(super) trace: Option<TraceContext>,
    pub(super) began: Instant,
}

/// What a model said of its answer.
#[derive(Debug, Default)]
pub(super) struct Times {
    version: Option<Arc<str>>,
    queue_us: u64,
    compute_us: u64,
}

impl Times {
    /// Those of `answer`.
    pub(super) fn of(&mut self, answer: &Response) {
        let Response { version, queue_us, compute_us, .. } = answer;
        *self = Self { version: Some(Arc::clone(version)), queue_us: *queue_us, compute_us: *compute_us };
    }
}

/// Whether a request that ends well leaves a line.
pub(super) fn is_on() -> bool {
    tracing::enabled!(target: REQUESTS, tracing::Level::DEBUG)
}

/// Writes the line of a request that has ended, where one is wanted.
pub(super) fn ended(noted: &Noted<'_>, error: Option<ErrorCode>, times: &Times) {
    let is_ours = error.is_some_and(is_ours);
    if !is_ours && !is_on() {
        return;
    }
    let Noted { rpc, id, model, trace, began } = *noted;
    let Times { version, queue_us, compute_us } = times;
    let (outcome, version) = (error.map_or("ok", ErrorCode::as_str), version.as_deref().unwrap_or_default());
    let trace = trace.map(|trace| trace.id.to_string()).unwrap_or_default();
    let caller = guard::caller().map(|caller| caller.name.clone()).unwrap_or_default();
    let total_us = began.elapsed().as_micros() as u64;
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: REQUESTS,
                request_id = id, rpc, model, version, outcome, total_us, queue_us, compute_us, trace, caller
            )
        };
    }
    if is_ours { line!(warn) } else { line!(debug) }
}

/// Whether a failure is the server's own.
fn is_ours(code: ErrorCode) -> bool {
    match code {
        ErrorCode::Internal => true,
        ErrorCode::InvalidArgument
        | ErrorCode::NotFound
        | ErrorCode::PayloadTooLarge
        | ErrorCode::ResourceExhausted
        | ErrorCode::DeadlineExceeded
        | ErrorCode::PermissionDenied
        | ErrorCode::Unavailable
        | ErrorCode::Unimplemented => false,
    }
}
