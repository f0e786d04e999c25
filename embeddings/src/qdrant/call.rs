//! How a call reaches Qdrant: within a deadline, tried again with growing pauses, past a breaker.
//!
//! Every request of this module can be repeated without harm: points are written and deleted by
//! identifiers of ours, so a second arrival changes nothing.

use std::time::{Duration, Instant};

use qdrant_client::{Qdrant, QdrantError};
use tonic::{Code, Status};

use super::breaker::Breaker;
use crate::{EmbeddingError, Limits};

/// What a failed attempt means for the next one.
#[derive(Debug)]
enum Failure {
    /// Qdrant answered; asking again would bring the same answer.
    Final(EmbeddingError),
    /// Qdrant answered that it has too much to do.
    Busy(EmbeddingError),
    /// Qdrant did not answer.
    Silent(EmbeddingError),
}

/// The way to one Qdrant server.
pub(super) struct Caller {
    client: Qdrant,
    breaker: Breaker,
    limits: Limits,
}

impl Caller {
    pub(super) fn new(client: Qdrant, limits: Limits) -> Self {
        let open = Duration::from_millis(limits.breaker_open_ms);
        Self { client, breaker: Breaker::new(limits.breaker_failures_max, open), limits }
    }

    /// Makes a call on behalf of `collection`, as often as it takes and the limits allow.
    pub(super) async fn call<R: Clone, T, F>(
        &self,
        collection: &str,
        request: R,
        send: impl Fn(Qdrant, R) -> F,
    ) -> Result<T, EmbeddingError>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let deadline_ms = self.limits.call_ms_max;
        let attempts = self.attempts(collection, request, send);
        let Ok(answer) = tokio::time::timeout(Duration::from_millis(deadline_ms), attempts).await else {
            self.breaker.failed(Instant::now());
            return Err(EmbeddingError::Deadline { deadline_ms });
        };
        answer
    }

    async fn attempts<R: Clone, T, F>(
        &self,
        collection: &str,
        request: R,
        send: impl Fn(Qdrant, R) -> F,
    ) -> Result<T, EmbeddingError>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let mut attempt = 1;
        loop {
            self.breaker.admit(Instant::now()).map_err(away)?;
            let failure = match send(self.client.clone(), request.clone()).await {
                Ok(answer) => {
                    self.breaker.succeeded();
                    return Ok(answer);
                }
                Err(error) => judge(collection, &error, self.limits.call_ms_max),
            };
            let error = match failure {
                Failure::Final(error) => {
                    self.breaker.succeeded();
                    return Err(error);
                }
                Failure::Busy(error) => {
                    self.breaker.succeeded();
                    error
                }
                Failure::Silent(error) => {
                    self.breaker.failed(Instant::now());
                    error
                }
            };
            if attempt >= self.limits.attempts_max {
                return Err(error);
            }
            let pause = self.pause(attempt, rand::random());
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// The pause before the next attempt: twice as long each time, of which a random half is left
    /// out, so that callers who failed together do not come back together.
    fn pause(&self, attempt: u32, random: f64) -> Duration {
        let doubled = self.limits.retry_ms_min.saturating_mul(1 << (attempt - 1).min(16));
        Duration::from_millis(doubled.min(self.limits.retry_ms_max)).mul_f64(1.0 - random / 2.0)
    }
}

fn away(wait: Duration) -> EmbeddingError {
    let ms = wait.as_millis().max(1);
    EmbeddingError::Unavailable { reason: format!("Qdrant failed repeatedly and is asked again in {ms} ms") }
}

fn judge(collection: &str, error: &QdrantError, deadline_ms: u64) -> Failure {
    match error {
        QdrantError::ResponseError { status } => judge_status(collection, status, deadline_ms),
        QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
            Failure::Busy(EmbeddingError::Overloaded { retry_after_ms: retry_after_seconds * 1000 })
        }
        QdrantError::Io(error) => Failure::Silent(unavailable(&error.to_string())),
        QdrantError::InvalidUri(_) => Failure::Final(unavailable("its URL is not one")),
        QdrantError::ConversionError(reason) => Failure::Final(misunderstood(reason)),
        QdrantError::NoSnapshotFound(_) => Failure::Final(misunderstood("a snapshot is missing")),
    }
}

fn judge_status(collection: &str, status: &Status, deadline_ms: u64) -> Failure {
    /// When to come back where Qdrant does not say.
    const RETRY_AFTER_MS: u64 = 1_000;
    match status.code() {
        Code::NotFound => Failure::Final(EmbeddingError::UnknownCollection { name: collection.to_owned() }),
        Code::ResourceExhausted => {
            Failure::Busy(EmbeddingError::Overloaded { retry_after_ms: RETRY_AFTER_MS })
        }
        Code::DeadlineExceeded | Code::Cancelled => Failure::Silent(EmbeddingError::Deadline { deadline_ms }),
        // The client reports a refused connection as an internal error.
        Code::Unavailable | Code::Internal | Code::Unknown | Code::Aborted => {
            Failure::Silent(unavailable(status.message()))
        }
        Code::Unauthenticated | Code::PermissionDenied => {
            Failure::Final(unavailable("it refused the API key, set qdrant.api_key"))
        }
        Code::Ok
        | Code::InvalidArgument
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => Failure::Final(misunderstood(status.message())),
    }
}

fn unavailable(reason: &str) -> EmbeddingError {
    EmbeddingError::Unavailable { reason: format!("Qdrant: {}", shortened(reason)) }
}

/// An answer that says more about this module, or the server's version, than about the caller.
pub(super) fn misunderstood(reason: &str) -> EmbeddingError {
    EmbeddingError::Corrupt { what: "the exchange with Qdrant".into(), reason: shortened(reason) }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: Code) -> Failure {
        judge("c", &QdrantError::ResponseError { status: Status::new(code, "m") }, 10)
    }

    #[test]
    fn what_is_tried_again_is_what_another_attempt_can_change() {
        for code in [Code::Unavailable, Code::Internal, Code::Unknown, Code::Aborted, Code::Cancelled] {
            assert!(matches!(judged(code), Failure::Silent(error) if error.is_transient()), "{code:?}");
        }
        assert!(matches!(judged(Code::ResourceExhausted), Failure::Busy(error) if error.is_transient()));
        for code in [Code::NotFound, Code::InvalidArgument, Code::Unauthenticated, Code::Unimplemented] {
            assert!(matches!(judged(code), Failure::Final(_)), "{code:?}");
        }
    }

    #[test]
    fn a_missing_collection_is_named_as_the_caller_named_it() {
        let Failure::Final(EmbeddingError::UnknownCollection { name }) = judged(Code::NotFound) else {
            panic!("not found is final")
        };
        assert_eq!(name, "c");
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_never_vanish() {
        let limits = Limits { retry_ms_min: 10, retry_ms_max: 50, ..Limits::default() };
        let client = Qdrant::from_url("http://127.0.0.1:1").skip_compatibility_check().build();
        let caller = Caller::new(client.expect("a URL"), limits);
        let ms = |attempt, random| caller.pause(attempt, random).as_millis();
        assert_eq!([ms(1, 0.0), ms(2, 0.0), ms(3, 0.0), ms(4, 0.0), ms(40, 0.0)], [10, 20, 40, 50, 50]);
        assert_eq!(ms(1, 1.0), 5);
    }
}
