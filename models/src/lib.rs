//! What a model is: tensors, signature, bundle, engines and the model families.
//!
//! The crate is synchronous and works on whole batches. It does no I/O except reading
//! bundles, and knows neither the network nor the scheduler.

pub mod bundle;
pub mod calibration;
pub mod engine;
mod error;
pub mod explain;
pub mod family;
pub mod reference;
pub mod signature;
pub mod tensor;

pub use bundle::Bundle;
pub use calibration::Calibration;
pub use engine::{Batch, Engine, Model};
pub use error::ModelError;
pub use signature::{Signature, TensorSpec};
pub use tensor::{DType, Tensor};
