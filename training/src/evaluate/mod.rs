//! Measuring a bundle on frozen data: figures, their intervals, and simple methods to compare with.

pub mod baseline;
pub mod bootstrap;
pub mod metrics;
mod report;

pub use report::{EvalReport, Measure};
