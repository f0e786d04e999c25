//! The wire: everything that speaks gRPC or HTTP. Handlers translate and call the handle.

pub mod ai;
