//! Engines: what turns a bundle into something that runs. Nothing outside this folder names
//! candle or ONNX Runtime.

pub mod candle;
mod device;
mod onnx;
mod unavailable;

pub use candle::CandleEngine;
pub use device::Device;
pub use onnx::{OnnxEngine, OnnxOptions, VARIABLES};
pub use unavailable::UnavailableEngine;

use crate::{Bundle, ModelError, Tensor};

/// Rows of one or several requests, ready for a model: tensors in signature order, all with
/// the same first dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Tensors in the order of the signature.
    pub tensors: Vec<Tensor>,
}

impl Batch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.tensors.first().map_or(0, Tensor::rows)
    }
}

/// Loads bundles. One engine serves any number of models.
pub trait Engine: Send + Sync {
    /// Name in `model.toml`: `candle` or `onnx`.
    fn name(&self) -> &'static str;

    /// Reads the weights of `bundle` into memory. Weights that are not finite, missing or of
    /// the wrong shape are refused with [`ModelError::Invalid`].
    fn load(&self, bundle: &Bundle) -> Result<Box<dyn Model>, ModelError>;
}

/// One loaded instance, owned by one thread.
pub trait Model: Send {
    /// Runs one batch: inputs in signature order in, outputs in signature order out, as many
    /// rows out as in. The result of a row never depends on the other rows.
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError>;
}
