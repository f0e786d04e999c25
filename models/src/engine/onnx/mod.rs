//! The engine for ONNX graphs: ONNX Runtime as a shared library, found when the server starts.

mod inspect;
mod library;
mod session;
mod values;

use std::path::{Path, PathBuf};

use ort::environment::Environment;

pub use library::VARIABLES;

use super::{Device, Engine, Model};
use crate::bundle::BundleConfig;
use crate::{Bundle, ModelError, Signature};

/// How sessions run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnnxOptions {
    /// Threads that share one operator; instances × threads should not exceed the cores.
    pub intra_threads: usize,
    /// Where sessions compute; a card needs the library's build for CUDA.
    pub device: Device,
}

impl Default for OnnxOptions {
    fn default() -> Self {
        Self { intra_threads: 1, device: Device::Cpu }
    }
}

/// ONNX Runtime, loaded.
#[derive(Debug, Clone)]
pub struct OnnxEngine {
    environment: &'static Environment,
    options: OnnxOptions,
}

impl OnnxEngine {
    /// Finds the library and loads it: the place `configured`, else the one the environment
    /// names ([`VARIABLES`]), else the newest in `folders`.
    ///
    /// # Errors
    /// [`ModelError::EngineUnavailable`] with the places tried and the command that fixes it.
    pub fn find(
        configured: Option<&Path>,
        folders: &[PathBuf],
        options: OnnxOptions,
    ) -> Result<Self, ModelError> {
        let path = library::find(configured, folders)?;
        Ok(Self { environment: library::load(&path)?, options })
    }

    /// A model from the bytes of `model.onnx`, before or without a bundle. Names, datatypes and dimensions of the graph are
    /// checked against the signature; weights that are not finite show when the golden outputs
    /// are compared, since the graph is not read here.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] naming `model.onnx` when the graph is malformed or does not fit.
    pub fn open(&self, config: &BundleConfig, graph: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        session::open(self.environment, self.options, &config.name, &config.signature()?, graph)
    }

    /// What a graph says it takes and gives.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] naming `model.onnx` when the graph is malformed or has a tensor that cannot be served.
    pub fn inspect(&self, graph: &[u8]) -> Result<Signature, ModelError> {
        inspect::inspect(self.environment, self.options, graph)
    }
}

impl Engine for OnnxEngine {
    fn name(&self) -> &'static str {
        library::ENGINE
    }

    fn load(&self, bundle: &Bundle) -> Result<Box<dyn Model>, ModelError> {
        self.open(bundle.config(), &bundle.weights()?)
    }
}
