//! Which version serves, and which runs there were: the catalogue of bundles, and the run table.
//!
//! For now the catalogue is what lies in folders, `<folder>/<name>/<version>/`, and of each
//! model the highest sound version is live. Approval, canary and audit come with the registry
//! proper, behind the same questions: what is there, and which version serves.

mod catalogue;
pub mod runs;

pub use catalogue::{Catalogue, Entry};
