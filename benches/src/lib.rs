//! The load generator and the side-by-side harness behind `manpasik bench`.
//!
//! Every speed figure is a ratio of two servers measured in turn (A B A B …) in one run on
//! one machine: the server under test, and a bare tonic echo that takes the same bytes. Both
//! run as child processes of the harness, so that neither shares a runtime with the load.

pub mod child;
mod collector;
pub mod echo;
pub mod fairness;
pub mod http;
mod lane;
pub mod load;
pub mod overload;
pub mod peers;
pub mod report;
pub mod serve;
pub mod soak;
pub mod stats;
pub mod streams;
mod telemetry;
pub mod vectors;

pub use report::{Report, Row};
pub use serve::{Options, PARTS, run};
