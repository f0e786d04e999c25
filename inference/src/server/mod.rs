//! The wire: everything that speaks gRPC or HTTP. Handlers translate and call the handle.

pub mod ai;
mod encoding;
pub mod health;
pub mod metrics;
pub mod oip;
pub mod reflection;
mod transport;

pub use transport::serve;
