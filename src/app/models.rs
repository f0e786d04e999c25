//! From bundles on disk to models that serve.

use std::{num::NonZero, sync::Arc, thread};

use inference::{Candidate, Limits, ModelSource, ModelState, ModelStatus, Server};
use models::{
    Bundle, Engine,
    bundle::{EngineKind, Family},
};
use registry::{Catalogue, Entry};

use super::engines;
use crate::config::Config;

/// Instances of one small model that are worth their memory.
const CANDLE_INSTANCES_MAX: usize = 4;

/// Scans the bundle folders, loads what is sound and lists the rest with its reason.
pub(crate) async fn start(config: &Config) -> anyhow::Result<Server> {
    let config = config.clone();
    Ok(tokio::task::spawn_blocking(move || load(&config)).await?)
}

fn load(config: &Config) -> Server {
    let catalogue = Catalogue::scan(&config.bundle_dirs(), &config.trust());
    let engines: Vec<Arc<dyn Engine>> = engines::all(config).into_iter().map(Arc::from).collect();
    let mut candidates = Vec::new();
    let mut refused = Vec::new();
    for entry in catalogue.entries() {
        match entry.bundle() {
            Some(bundle) => {
                let live = catalogue.live(entry.name()).is_some_and(|live| live.version() == entry.version());
                candidates.push(Candidate { source: source(bundle, &engines, config), live });
            }
            None => refused.push(refusal(entry)),
        }
    }
    Server::serve(Limits::default(), Vec::new(), candidates, refused)
}

/// Models on ONNX Runtime get as many instances as the cores hold of the threads each one uses.
pub(crate) fn image_instances(config: &Config) -> usize {
    (cores() / config.models.onnx_threads).max(1)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The other models take microseconds on the caller's own thread, and with as many instances as threads
/// that answer requests none waits for another.
fn source(bundle: &Arc<Bundle>, engines: &[Arc<dyn Engine>], config: &Config) -> ModelSource {
    let source = ModelSource::from_bundle(bundle, engines);
    let instances = match bundle.config().engine {
        EngineKind::Onnx => image_instances(config),
        // The encoder takes milliseconds, which no caller's thread gives, and a hundred megabytes.
        EngineKind::Candle if source.family == Family::Encoder.name() => 1,
        EngineKind::Candle => cores().min(CANDLE_INSTANCES_MAX),
    };
    ModelSource { instances, ..source }
}

fn refusal(entry: &Entry) -> ModelStatus {
    ModelStatus {
        name: entry.name().to_owned(),
        version: entry.version().to_owned(),
        family: String::new(),
        task: String::new(),
        platform: String::new(),
        live: false,
        state: ModelState::Unavailable { reason: entry.reason().unwrap_or_default().to_owned() },
    }
}
