//! Engines as configured, and where bundles are.

use std::path::{Path, PathBuf};

use models::{
    Engine, ModelError,
    engine::{CandleEngine, Device, OnnxEngine, OnnxOptions, UnavailableEngine},
};
use registry::Catalogue;

use crate::config::Config;

/// ONNX Runtime, or why it is not there.
pub(crate) fn onnx(config: &Config) -> Result<OnnxEngine, ModelError> {
    onnx_on(config, Device::Cpu, config.models.onnx_threads)
}

fn onnx_on(config: &Config, device: Device, intra_threads: usize) -> Result<OnnxEngine, ModelError> {
    let folders = [config.data_dir.join("lib")];
    let options = OnnxOptions { intra_threads, device };
    OnnxEngine::find(config.onnxruntime(), &folders, options)
}

/// Every engine on the processor; one that cannot run here refuses each load with the reason.
pub(crate) fn all(config: &Config) -> Vec<Box<dyn Engine>> {
    on(config, Device::Cpu, config.models.onnx_threads)
}

/// The same on `device`, where so many threads share one answer of ONNX Runtime.
pub(crate) fn on(config: &Config, device: Device, onnx_threads: usize) -> Vec<Box<dyn Engine>> {
    vec![engine("candle", CandleEngine::on(device)), engine("onnx", onnx_on(config, device, onnx_threads))]
}

fn engine<E: Engine + 'static>(name: &'static str, found: Result<E, ModelError>) -> Box<dyn Engine> {
    match found {
        Ok(engine) => Box::new(engine),
        Err(ModelError::EngineUnavailable { engine, reason }) => {
            Box::new(UnavailableEngine::new(engine, reason))
        }
        Err(other) => Box::new(UnavailableEngine::new(name, other.to_string())),
    }
}

/// Folder of the bundle of `name` that serves.
pub(crate) fn newest_bundle(config: &Config, name: &str) -> Option<PathBuf> {
    let catalogue = Catalogue::scan(&config.bundle_dirs(), &config.trust());
    catalogue.live(name).map(|entry| entry.folder().to_path_buf())
}

/// Folders of every bundle, damaged ones too.
pub(crate) fn all_bundles(config: &Config) -> Vec<PathBuf> {
    let catalogue = Catalogue::scan(&config.bundle_dirs(), &config.trust());
    catalogue.entries().iter().map(|entry| Path::to_path_buf(entry.folder())).collect()
}
