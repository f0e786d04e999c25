//! Measuring a bundle on frozen data: figures, their intervals, and simple methods to compare with.

pub mod baseline;
mod benchmark;
pub mod bootstrap;
pub mod metrics;
pub mod page;
pub mod plots;
mod report;

use anyhow::{Context as _, Result};
use models::Bundle;

use crate::families::{ALL, Context, report_on};

pub use benchmark::{Benchmark, Target};
pub use report::{EvalReport, Measure};

/// Measures `bundle` again, by the engine that serves it, on the test rows of its own data. Nothing in the
/// bundle but its outputs is believed; baselines are fitted anew on the training rows.
///
/// # Errors
/// A bundle of no known model, data other than the bundle's own, or data that cannot be had.
pub fn evaluate(bundle: &Bundle, context: &Context) -> Result<EvalReport> {
    let name = &bundle.config().name;
    let family = ALL.iter().find(|family| family.name == *name);
    let family = family.with_context(|| format!("no family makes `{name}`, so its test data is unknown"))?;
    report_on(family.recipe(), bundle, context)
}
