//! The crate's face: one suite over every implementation of the trait, and what only one of them promises.
//!
//! `suite` and `isolation` hold for each implementation; `embedded` is about snapshots, crashes, damage and load;
//! `remote` about what may happen between us and a server.

mod embedded;
mod isolation;
mod remote;
mod suite;
mod support;
