//! How a run is followed and steered from outside: bars with the time that is left, a journal, other settings.
//!
//! Bars are drawn on standard error; nothing is drawn where there is no terminal.

use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Journal, Tuning};

/// Where long work reports to.
#[derive(Debug, Clone)]
pub struct Progress {
    bars: MultiProgress,
    journal: Journal,
    tuning: Arc<Mutex<Tuning>>,
}

impl Progress {
    /// Bars on standard error, if it is a terminal.
    #[must_use]
    pub fn visible() -> Self {
        Self::drawn(ProgressDrawTarget::stderr())
    }

    /// No bars at all.
    #[must_use]
    pub fn hidden() -> Self {
        Self::drawn(ProgressDrawTarget::hidden())
    }

    fn drawn(target: ProgressDrawTarget) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        Self { bars, journal: Journal::default(), tuning: Arc::default() }
    }

    /// A bar of `steps` that goes away when it is finished.
    #[must_use]
    pub fn bar(&self, name: &str, steps: usize) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(steps as u64));
        if let Ok(style) =
            ProgressStyle::with_template("{prefix:20} {bar:30} {pos}/{len} {eta:>5} left {msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar
    }

    /// What training tells.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Changes what is trained from now on.
    pub(crate) fn tune(&self, tuning: Tuning) {
        *self.tuning.lock().unwrap_or_else(PoisonError::into_inner) = tuning;
    }

    /// What is changed.
    pub(super) fn tuning(&self) -> Tuning {
        *self.tuning.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_bar_still_counts() {
        let bar = Progress::hidden().bar("thyroid", 10);
        bar.inc(3);
        assert_eq!((bar.position(), bar.length()), (3, Some(10)));
    }
}
