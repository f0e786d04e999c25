//! Time and memory of a version on this machine beside the live one: in the same process, turn by turn, so that what
//! else the machine does meets both alike.

use std::{fs, time::Instant};

use models::{Batch, Bundle, Engine, Model, ModelError, Tensor};

use super::Gate;
use crate::policy::GateBounds;

/// Runs of each, of which the fastest counts.
const RUNS: usize = 20;
/// Bytes of a page, as the system counts resident memory.
const PAGE_BYTES: u64 = 4096;

/// A loaded model with the inputs it is timed on.
struct Loaded {
    model: Box<dyn Model>,
    inputs: Vec<Tensor>,
    bytes: u64,
    best_us: f64,
}

impl Loaded {
    /// Loads a bundle, which compares its golden outputs, and runs it once; the memory is what that took.
    fn new(bundle: &Bundle, engine: &dyn Engine) -> Result<Self, ModelError> {
        let before = resident_bytes();
        let inputs = bundle.golden()?.inputs().to_vec();
        let model = bundle.load(engine)?;
        let mut loaded = Self { model, inputs, bytes: 0, best_us: f64::INFINITY };
        loaded.run()?;
        loaded.best_us = f64::INFINITY;
        loaded.bytes = resident_bytes().saturating_sub(before);
        Ok(loaded)
    }

    fn run(&mut self) -> Result<(), ModelError> {
        let tensors = self.inputs.clone();
        let start = Instant::now();
        self.model.run(Batch { tensors })?;
        self.best_us = self.best_us.min(start.elapsed().as_secs_f64() * 1e6);
        Ok(())
    }

    fn rows(&self) -> usize {
        self.inputs.first().map_or(0, Tensor::rows)
    }
}

/// Loads the version, then the live one, and measures both. An error is the version's own.
pub(super) fn gates(
    (bundle, engine): (&Bundle, &dyn Engine),
    live: Option<(&Bundle, &dyn Engine)>,
    bounds: &GateBounds,
) -> Result<[Gate; 2], ModelError> {
    let mut own = Loaded::new(bundle, engine)?;
    // A live version that no longer loads says nothing of this one.
    let mut live = live.and_then(|(bundle, engine)| Loaded::new(bundle, engine).ok());
    if let Some(live) = &mut live {
        // The same rows, where both take them.
        if bundle.signature().inputs.len() == live.inputs.len()
            && live.model.run(Batch { tensors: own.inputs.clone() }).is_ok()
        {
            live.inputs.clone_from(&own.inputs);
        }
    }
    for _ in 0..RUNS {
        own.run()?;
        if let Some(live) = &mut live {
            live.run()?;
        }
    }
    let per_row = |loaded: &Loaded| loaded.best_us / loaded.rows().max(1) as f64;
    let live = live.as_ref().map(|live| (per_row(live) * own.rows() as f64, live.bytes));
    Ok([
        latency(own.best_us, own.rows(), live.map(|live| live.0), bounds),
        memory(own.bytes, live.map(|live| live.1), bounds),
    ])
}

fn latency(own_us: f64, rows: usize, live_us: Option<f64>, bounds: &GateBounds) -> Gate {
    let told = format!("{own_us:.0} us for {rows} rows, the fastest of {RUNS} runs");
    let Some(live_us) = live_us else { return Gate::passed("latency", told) };
    let ratio = own_us / live_us.max(1e-3);
    let told = format!("{told}; {ratio:.2} times the live version's {live_us:.0} us");
    if own_us > bounds.latency_us_free && ratio > bounds.latency_ratio_max {
        return Gate::failed("latency", format!("{told}, more than {}", bounds.latency_ratio_max));
    }
    Gate::passed("latency", told)
}

fn memory(own: u64, live: Option<u64>, bounds: &GateBounds) -> Gate {
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let told = format!("{:.1} MB resident once loaded", megabytes(own));
    let Some(live) = live else { return Gate::passed("memory", told) };
    let ratio = own as f64 / live.max(1) as f64;
    let told = format!("{told}, the live version {:.1} MB", megabytes(live));
    if own > bounds.memory_bytes_free && ratio > bounds.memory_ratio_max {
        return Gate::failed(
            "memory",
            format!("{told}: more than {} times as much", bounds.memory_ratio_max),
        );
    }
    Gate::passed("memory", told)
}

/// Memory of this process; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::Outcome;

    #[test]
    fn what_is_slow_or_large_beside_the_live_version_fails_and_says_by_how_much() {
        let bounds = GateBounds::default();
        let failed = latency(5_000.0, 8, Some(2_000.0), &bounds);
        assert_eq!(failed.outcome, Outcome::Failed);
        assert!(
            failed.detail.contains("2.50 times the live version's 2000 us, more than 2"),
            "{}",
            failed.detail
        );
        assert_eq!(latency(900.0, 8, Some(2.0), &bounds).outcome, Outcome::Passed, "quick enough anyway");
        assert_eq!(latency(5_000.0, 8, None, &bounds).outcome, Outcome::Passed);
        assert_eq!(memory(500 << 20, Some(100 << 20), &bounds).outcome, Outcome::Failed);
        assert_eq!(memory(60 << 20, Some(1), &bounds).outcome, Outcome::Passed);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes() > 1 << 20);
    }
}
