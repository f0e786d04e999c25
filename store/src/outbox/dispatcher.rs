//! Hands events to the consumers of this process: one task for each, woken by an append and looking again now and
//! then for what it was not told of.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::metrics::ConsumerMetrics;
use super::table::{self, Due, Outcome};
use super::{Consumer, Event, Failure, Outbox};
use crate::{Limits, StoreError};

/// The running tasks. Dropped without [`stop`](Self::stop) they end at once, as in a crash.
pub struct Dispatcher {
    stopped: DropGuard,
    tasks: JoinSet<()>,
}

impl Dispatcher {
    /// Subscribes the consumers and begins to hand out. One seen for the first time is given every event of its
    /// topics that is still there; parked events are given their tries again.
    ///
    /// # Errors
    /// [`StoreError`] when the consumers cannot be written down.
    pub async fn start(outbox: &Outbox, consumers: Vec<Arc<dyn Consumer>>) -> Result<Self, StoreError> {
        subscribe(outbox, &consumers).await?;
        let stopped = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for consumer in consumers {
            let metrics = ConsumerMetrics::new(consumer.name());
            let lane = Lane { outbox: outbox.clone(), consumer, metrics };
            tasks.spawn(lane.run(stopped.clone()));
        }
        Ok(Self { stopped: stopped.drop_guard(), tasks })
    }

    /// Takes up no more events and waits until those in hand are settled, at most as long as one may take.
    pub async fn stop(self) {
        let Self { stopped, tasks } = self;
        drop(stopped);
        tasks.join_all().await;
    }
}

async fn subscribe(outbox: &Outbox, consumers: &[Arc<dyn Consumer>]) -> Result<(), StoreError> {
    let names: Vec<_> = consumers.iter().map(|consumer| (consumer.name(), consumer.topics())).collect();
    outbox
        .database
        .transaction(|open| {
            Box::pin(async move {
                for (name, topics) in names {
                    for topic in topics {
                        table::subscribe(open, name, topic).await?;
                    }
                    let unparked = table::unpark(open, name).await?;
                    if unparked > 0 {
                        tracing::info!(consumer = name, unparked, "parked events are tried again");
                    }
                }
                Ok(())
            })
        })
        .await
}

/// One consumer and what it needs.
struct Lane {
    outbox: Outbox,
    consumer: Arc<dyn Consumer>,
    metrics: ConsumerMetrics,
}

impl Lane {
    async fn run(self, stopped: CancellationToken) {
        let poll = Duration::from_millis(self.limits().outbox_poll_ms.max(1));
        let mut appended = self.outbox.appended.subscribe();
        while !stopped.is_cancelled() {
            // Before the look, so that an append during it is not missed.
            appended.mark_unchanged();
            if self.round().await {
                continue;
            }
            self.report().await;
            tokio::select! {
                () = stopped.cancelled() => return,
                _ = appended.changed() => {}
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    /// Hands out what is due and settles it; whether there was anything.
    async fn round(&self) -> bool {
        let (name, limits) = (self.consumer.name(), self.limits());
        let (now_ms, limit) = ((self.outbox.now)(), limits.outbox_batch_max.max(1));
        let due = self.outbox.database.call(|database| table::due(database, name, now_ms, limit)).await;
        let settled = match due {
            Ok(due) if due.is_empty() => return false,
            Ok(due) => self.settle(self.hand_out(due).await).await,
            Err(error) => Err(error),
        };
        // Unsettled events are handed out again; not at once, or a broken database would be asked without end.
        settled.inspect_err(|error| tracing::error!(consumer = name, %error, "the outbox failed")).is_ok()
    }

    /// Hands events of different keys out at the same time.
    async fn hand_out(&self, due: Vec<Due>) -> Vec<(i64, Outcome)> {
        let tries = due.into_iter().map(|Due { position, event }| async move {
            let answer = self.handle(&event).await;
            (position, self.judge(&event, answer))
        });
        join_all(tries).await
    }

    /// The answer of the consumer; a panic or silence is a failed try.
    async fn handle(&self, event: &Event) -> Result<(), Failure> {
        let deadline = Duration::from_millis(self.limits().outbox_handle_ms_max);
        let call = AssertUnwindSafe(self.consumer.handle(event)).catch_unwind();
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Failure::Retry("the consumer panicked".to_owned())),
            Err(_) => Err(Failure::Retry(format!("no answer within {} ms", deadline.as_millis()))),
        }
    }

    /// What follows from an answer, counted and logged.
    fn judge(&self, event: &Event, answer: Result<(), Failure>) -> Outcome {
        let (consumer, limits, attempts) = (self.consumer.name(), self.limits(), event.attempt);
        let Event { id, topic, key, .. } = event;
        match answer {
            Ok(()) => {
                self.metrics.done.increment(1);
                Outcome::Done
            }
            Err(Failure::Reject(reason)) => {
                self.metrics.rejected.increment(1);
                tracing::error!(consumer, %id, topic, key, reason, "an event was rejected; it is kept");
                Outcome::Rejected { attempts, reason }
            }
            Err(Failure::Retry(reason)) if attempts >= limits.outbox_attempts_max => {
                self.metrics.parked.increment(1);
                tracing::error!(consumer, %id, topic, key, attempts, reason, "an event is parked until a restart");
                Outcome::Parked { attempts, reason }
            }
            Err(Failure::Retry(reason)) => {
                self.metrics.retried.increment(1);
                tracing::warn!(consumer, %id, topic, key, attempts, reason, "an event is tried again later");
                let available_ms = (self.outbox.now)().saturating_add(pause_ms(limits, attempts));
                Outcome::Again { attempts, available_ms, reason }
            }
        }
    }

    /// One write for the whole batch.
    async fn settle(&self, outcomes: Vec<(i64, Outcome)>) -> Result<(), StoreError> {
        let consumer = self.consumer.name();
        self.outbox
            .database
            .transaction(|open| {
                Box::pin(async move {
                    for (position, outcome) in outcomes {
                        table::settle(open, consumer, position, outcome).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn report(&self) {
        match self.outbox.backlog(self.consumer.name()).await {
            Ok(backlog) => self.metrics.backlog(backlog),
            Err(error) => {
                tracing::warn!(consumer = self.consumer.name(), %error, "the backlog cannot be counted");
            }
        }
    }

    const fn limits(&self) -> &Limits {
        self.outbox.database.limits()
    }
}

/// The pause after failed try number `attempts`.
fn pause_ms(limits: &Limits, attempts: u32) -> i64 {
    let doubled = 1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
    let pause = limits.outbox_retry_ms_min.saturating_mul(doubled).min(limits.outbox_retry_ms_max);
    i64::try_from(pause.max(1)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_pauses_of_all_tries_are_about_an_hour() {
        let limits = Limits::default();
        let total: i64 = (1..limits.outbox_attempts_max).map(|attempts| pause_ms(&limits, attempts)).sum();
        assert!((3_000_000..5_000_000).contains(&total), "{total} ms");
        assert_eq!((pause_ms(&limits, 1), pause_ms(&limits, 2), pause_ms(&limits, 3)), (1_000, 2_000, 4_000));
    }

    proptest! {
        #[test]
        fn a_pause_grows_within_its_bounds(attempts in 0_u32..u32::MAX, min in 0_u64.., max in 0_u64..) {
            let limits = Limits { outbox_retry_ms_min: min, outbox_retry_ms_max: max, ..Limits::default() };
            let pause = pause_ms(&limits, attempts);
            prop_assert!(pause >= 1 && pause <= pause_ms(&limits, attempts + 1));
        }
    }
}
