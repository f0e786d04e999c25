//! Everything that can go wrong with a model, as one closed list.

use std::path::PathBuf;

/// Why a bundle cannot be used or a batch cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A bundle file is absent or unreadable.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// File that was asked for.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A bundle cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// File or folder that was to be written.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A bundle file does not have the content its manifest promises, or cannot be understood.
    #[error("`{file}` of the bundle is invalid: {reason}")]
    Invalid {
        /// File name inside the bundle.
        file: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// The engine that the bundle asks for cannot run here.
    #[error("engine `{engine}` is unavailable: {reason}")]
    EngineUnavailable {
        /// `candle` or `onnx`.
        engine: &'static str,
        /// What is missing and the command that fixes it.
        reason: String,
    },
    /// The caller's tensors or values do not fit the model.
    #[error("{field}: {reason}")]
    Input {
        /// Input or field that is wrong.
        field: String,
        /// What was expected and what was got.
        reason: String,
    },
    /// The engine failed while running a valid batch.
    #[error("model `{model}` failed to run: {reason}")]
    Run {
        /// Model name.
        model: String,
        /// What the engine said.
        reason: String,
    },
}

impl ModelError {
    /// A caller's mistake in `field`.
    pub fn input(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Input { field: field.into(), reason: reason.into() }
    }

    /// A fault in a file of a bundle.
    pub fn invalid(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { file: file.into(), reason: reason.into() }
    }
}
