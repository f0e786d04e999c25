//! The Open Inference Protocol, version 2, over gRPC and REST, as unmodified clients of
//! Triton and KServe speak it.

mod body;
mod classify;
mod config;
mod decode;
mod describe;
mod elements;
#[cfg(test)]
mod fuzz;
mod grpc;
mod infer;
mod log;
mod memory;
mod outputs;
mod overridden;
mod parameters;
mod repository;
mod rest;
mod state;
mod stream;
mod trace;
mod typed;

pub use grpc::{OipService, grpc};
pub use log::{LogControl, LogSettings};
pub use rest::rest;
pub(super) use rest::{direct, target};
pub use state::{Oip, OipOptions};

/// Name in the server metadata.
const SERVER: &str = "manpasik";
