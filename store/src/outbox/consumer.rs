//! What takes events: named, so that its progress outlives the process, and idempotent, because it may see one again.

use async_trait::async_trait;

use super::Event;

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not now: the same event can be taken later, as when something needed is down.
    #[error("{0}")]
    Retry(String),
    /// Never: no repeat can change it. The event is kept for a person to look at.
    #[error("{0}")]
    Reject(String),
}

/// Takes the events of some topics.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// What its progress is kept under; never changed once it has run.
    fn name(&self) -> &'static str;

    /// Topics whose events it takes.
    fn topics(&self) -> &'static [&'static str];

    /// Takes one event. It is asked again, with the same event, after a failure, a deadline, a panic or a crash;
    /// several events of different keys are in hand at a time.
    ///
    /// # Errors
    /// [`Failure`], which says whether trying again can help.
    async fn handle(&self, event: &Event) -> Result<(), Failure>;
}
