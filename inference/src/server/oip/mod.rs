//! The Open Inference Protocol, version 2, over gRPC and REST, as unmodified clients of
//! Triton and KServe speak it.

mod body;
mod decode;
mod elements;
#[cfg(test)]
mod fuzz;
mod grpc;
mod outputs;
mod parameters;
mod rest;
mod typed;

pub use grpc::{OipService, grpc};
pub use rest::rest;

/// Name in the server metadata.
const SERVER: &str = "manpasik";
/// Protocol extensions that this server offers, in the names the protocol gives them.
const EXTENSIONS: [&str; 3] = ["schedule_policy", "binary_tensor_data", "parameters"];
