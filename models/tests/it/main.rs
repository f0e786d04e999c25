//! Tests of the crate through its public face: what a bundle promises, what networks compute,
//! what both engines have in common, and what tensors make of arbitrary bytes.

mod bundle;
mod config;
mod engines;
mod network;
mod support;
mod tensor;
