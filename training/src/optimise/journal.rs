//! What training tells while it goes on: with which plan each network was trained, and how each epoch went.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Plan;

/// One pass over the training rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Epoch {
    /// Which network, where a model has several; the name of the model else.
    pub name: String,
    /// From 1.
    pub epoch: usize,
    /// Mean loss of its mini-batches.
    pub loss: f64,
    /// Figure on the validation rows, lower is better.
    pub validation: f64,
    /// When it ended, ms since the Unix epoch.
    pub at_ms: i64,
}

/// Plans and epochs in the order they came; cheap to clone, all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    plans: Vec<(String, Plan)>,
    epochs: Vec<Epoch>,
}

impl Journal {
    fn with<T>(&self, of: impl FnOnce(&mut Pages) -> T) -> T {
        of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Training of `name` begins.
    pub(super) fn begins(&self, name: &str, plan: Plan) {
        self.with(|pages| pages.plans.push((name.to_owned(), plan)));
    }

    /// An epoch ended.
    pub(super) fn epoch(&self, name: &str, epoch: usize, loss: f64, validation: f64) {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        self.with(|pages| pages.epochs.push(Epoch { name: name.to_owned(), epoch, loss, validation, at_ms }));
    }

    /// The plans since this was last asked.
    #[must_use]
    pub fn take_plans(&self) -> Vec<(String, Plan)> {
        self.with(|pages| std::mem::take(&mut pages.plans))
    }

    /// The epochs since this was last asked.
    #[must_use]
    pub fn take_epochs(&self) -> Vec<Epoch> {
        self.with(|pages| std::mem::take(&mut pages.epochs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_once_by_whoever_holds_a_clone() {
        let journal = Journal::default();
        let reader = journal.clone();
        journal.begins("thyroid", Plan::default());
        journal.epoch("thyroid", 1, 0.5, 0.4);
        let epochs = reader.take_epochs();
        assert_eq!((epochs[0].epoch, epochs[0].validation), (1, 0.4));
        assert!(epochs[0].at_ms > 1_735_689_600_000, "{}", epochs[0].at_ms);
        assert!(journal.take_epochs().is_empty());
        assert_eq!(reader.take_plans(), [("thyroid".to_owned(), Plan::default())]);
    }
}
