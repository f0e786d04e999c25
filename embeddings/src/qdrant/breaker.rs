//! A circuit breaker: after several failures in a row nobody asks for a while, then one may try.
//!
//! Without it every caller waits out a deadline of its own for a server that is known to be down.
//! The libraries for it either have been quiet for years or bring a whole tower stack for what is a
//! small state machine; this one takes the time as an argument, so its tests need no waiting.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
enum State {
    /// Calls pass; so many have failed in a row.
    Closed { failures: u32 },
    /// Calls are refused until then, when one may try.
    Open { until: Instant },
}

/// Decides who may call and learns from how the calls ended.
#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    failures_max: u32,
    open: Duration,
}

impl Breaker {
    /// Opens after `failures_max` failures in a row, for `open` each time.
    pub(super) fn new(failures_max: u32, open: Duration) -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }), failures_max, open }
    }

    /// Lets a call pass, or tells how long to stay away.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Closed { .. } => Ok(()),
            State::Open { until } if now < until => Err(until - now),
            State::Open { .. } => {
                // This caller tries. Should it never report, the next may try one period later.
                *state = State::Open { until: now + self.open };
                Ok(())
            }
        }
    }

    /// The server answered, be it with a refusal.
    pub(super) fn succeeded(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Closed { failures: 0 };
    }

    /// The server did not answer.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = match *state {
            State::Closed { failures } => failures + 1,
            State::Open { .. } => self.failures_max,
        };
        *state = if failures >= self.failures_max {
            State::Open { until: now + self.open }
        } else {
            State::Closed { failures }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(5);

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(3, OPEN);
        for _ in 0..3 {
            assert!(breaker.admit(now).is_ok());
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_starts_anew() {
        let now = Instant::now();
        let breaker = Breaker::new(3, OPEN);
        for _ in 0..10 {
            breaker.failed(now);
            breaker.failed(now);
            breaker.succeeded();
        }
        assert!(breaker.admit(now).is_ok());
        assert_eq!(opened(now).admit(now + OPEN / 5), Err(OPEN * 4 / 5), "it says how long to wait");
    }

    #[test]
    fn after_the_wait_one_call_tries_and_the_others_stay_away() {
        let now = Instant::now();
        let breaker = opened(now);
        assert!(breaker.admit(now + OPEN).is_ok());
        assert!(breaker.admit(now + OPEN).is_err());
        breaker.succeeded();
        assert!(breaker.admit(now + OPEN).is_ok());
        assert!(breaker.admit(now + OPEN).is_ok());
    }

    #[test]
    fn a_failed_try_opens_it_again_at_once() {
        let now = Instant::now();
        let breaker = opened(now);
        assert!(breaker.admit(now + OPEN).is_ok());
        breaker.failed(now + OPEN);
        assert_eq!(breaker.admit(now + OPEN), Err(OPEN));
    }

    #[test]
    fn a_try_that_was_never_reported_does_not_close_the_door_for_ever() {
        let now = Instant::now();
        let breaker = opened(now);
        assert!(breaker.admit(now + OPEN).is_ok());
        assert!(breaker.admit(now + OPEN * 2).is_ok());
    }
}
