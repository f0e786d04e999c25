//! Tests of the crate through its public face: what a bundle promises, what networks compute,
//! what both engines have in common, what tensors make of arbitrary bytes, and what the
//! families answer through real networks.
//! `reference` and `uncertainty` work the same numbers out a second way.

mod bundle;
mod bundles;
mod config;
mod dtypes;
mod engines;
mod families;
mod limits;
mod monotone;
mod network;
mod reference;
mod series;
mod support;
mod tensor;
mod uncertainty;
