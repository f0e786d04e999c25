//! Progress bars on standard error, with the time that is left; nothing is drawn where there is no terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where long work reports to.
#[derive(Debug, Clone)]
pub struct Progress {
    bars: MultiProgress,
}

impl Progress {
    /// Bars on standard error, if it is a terminal.
    #[must_use]
    pub fn visible() -> Self {
        Self { bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()) }
    }

    /// No bars at all.
    #[must_use]
    pub fn hidden() -> Self {
        Self { bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()) }
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
