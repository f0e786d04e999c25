//! From bundles on disk to models that serve.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    sync::Arc,
    thread,
};

use axum::body::Bytes;
use inference::{Candidate, Limits, ModelSource, ModelState, ModelStatus, Repository, Server};
use models::{
    Bundle, Engine,
    bundle::{EngineKind, Family},
    engine::Device,
};
use registry::{Catalogue, Entry};

use super::{engines, overridden::Overridden};
use crate::{config::Config, scheduling::Scheduling};

/// Instances of one small model that are worth their memory.
const SMALL_INSTANCES_MAX: usize = 4;
/// A graph of so many bytes at most is small: its layers are done before a second thread is awake.
const SMALL_GRAPH_BYTES: u64 = 2 << 20;

/// Scans the bundle folders, loads what is sound and lists the rest with its reason. The folders stay there for
/// clients that ask for a model to be loaded.
pub(crate) async fn start(config: &Config) -> anyhow::Result<(Server, Arc<Shelf>)> {
    let config = config.clone();
    Ok(tokio::task::spawn_blocking(move || load(config)).await?)
}

fn load(config: Config) -> (Server, Arc<Shelf>) {
    let engines = placed(&config);
    let overridden = Overridden::new(&config);
    let shelf = Shelf { config, engines, overridden };
    let catalogue = shelf.scan();
    let (sound, refused): (Vec<_>, Vec<_>) =
        catalogue.entries().iter().partition(|entry| entry.bundle().is_some());
    let candidates = sound.into_iter().filter_map(|entry| shelf.candidate(&catalogue, entry)).collect();
    let refused = refused.into_iter().map(refusal).collect();
    let server = &shelf.config.server;
    let limits = Limits {
        tenant_requests_max: server.tenant_requests_max,
        tenant_requests_per_s_max: server.tenant_requests_per_s_max,
        ..Limits::default()
    };
    (Server::serve(limits, Vec::new(), candidates, refused), Arc::new(shelf))
}

/// The engines on each device that a model is to compute on, by the threads that share one answer.
type Engines = BTreeMap<(Device, usize), Vec<Arc<dyn Engine>>>;

fn placed(config: &Config) -> Engines {
    let named = config.scheduling.values().map(Scheduling::device);
    let places =
        named.chain([Device::Cpu]).flat_map(|device| [(device, 1), (device, config.models.onnx_threads)]);
    let on = |(device, threads)| {
        ((device, threads), engines::on(config, device, threads).into_iter().map(Arc::from).collect())
    };
    BTreeSet::from_iter(places).into_iter().map(on).collect()
}

/// The bundle folders and the engines that run what lies there.
pub(crate) struct Shelf {
    config: Config,
    engines: Engines,
    overridden: Overridden,
}

impl Shelf {
    fn scan(&self) -> Catalogue {
        Catalogue::scan(&self.config.bundle_dirs(), &self.config.trust())
    }

    /// A sound entry as something to be served; live when it is the version that serves its name.
    fn candidate(&self, catalogue: &Catalogue, entry: &Entry) -> Option<Candidate> {
        let live = catalogue.live(entry.name()).is_some_and(|live| live.version() == entry.version());
        Some(Candidate { source: source(entry.bundle()?, &self.engines, &self.config), live })
    }
}

impl Shelf {
    /// A bundle as the version that answers for its name.
    pub(crate) fn as_live(&self, bundle: &Arc<Bundle>) -> Candidate {
        Candidate { source: source(bundle, &self.engines, &self.config), live: true }
    }

    /// A version of the registry as something to be served under its number.
    pub(crate) fn registered(&self, bundle: &Arc<Bundle>, number: i64, live: bool) -> Candidate {
        let source = source(bundle, &self.engines, &self.config);
        Candidate { source: ModelSource { version: number.to_string(), ..source }, live }
    }
}

impl Repository for Shelf {
    /// Looks into the folders anew, so that a bundle added since the start is found.
    fn find(&self, model: &str) -> Result<Vec<Candidate>, String> {
        let catalogue = self.scan();
        let entries: Vec<&Entry> = catalogue.entries().iter().filter(|entry| entry.name() == model).collect();
        let sound = entries.iter().filter_map(|entry| self.candidate(&catalogue, entry)).collect::<Vec<_>>();
        match entries.iter().find_map(|entry| entry.reason()) {
            Some(reason) if sound.is_empty() => Err(reason.to_owned()),
            _ => Ok(sound),
        }
    }

    fn make(&self, model: &str, version: u64, graph: &Bytes, taken: bool) -> Result<Candidate, String> {
        let made = self.overridden.make(&self.config, (model, version), graph, taken);
        let (bundle, folder) = made.map_err(|error| format!("{error:#}"))?;
        let source = source(&bundle, &self.engines, &self.config);
        let load = source.load;
        // The folder goes when nothing can be loaded from it any more.
        let load = Box::new(move || {
            let _kept = &folder;
            load()
        });
        let source = ModelSource { version: version.to_string(), load, ..source };
        Ok(Candidate { source, live: true })
    }
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
fn source(bundle: &Arc<Bundle>, engines: &Engines, config: &Config) -> ModelSource {
    let device = config.scheduling.get(&bundle.config().name).map(Scheduling::device).unwrap_or_default();
    let threads = threads(bundle, config);
    let source =
        ModelSource::from_bundle(bundle, engines.get(&(device, threads)).map_or(&[][..], Vec::as_slice));
    let instances = match bundle.config().engine {
        EngineKind::Onnx if threads > 1 => image_instances(config),
        EngineKind::Onnx => cores().min(SMALL_INSTANCES_MAX),
        // The encoder takes milliseconds, which no caller's thread gives, and a hundred megabytes.
        EngineKind::Candle if source.family == Family::Encoder.name() => 1,
        EngineKind::Candle => cores().min(SMALL_INSTANCES_MAX),
    };
    let source = ModelSource { instances, threads, ..source };
    match config.scheduling.get(&source.name) {
        Some(scheduling) => scheduling.apply(source),
        None => source,
    }
}

/// Threads that share one answer: several only where a graph is large enough to be worth waking them.
fn threads(bundle: &Bundle, config: &Config) -> usize {
    let kind = bundle.config().engine;
    let size = bundle.manifest().files().get(kind.weights_file()).map_or(0, |file| file.size);
    match kind {
        EngineKind::Onnx if size > SMALL_GRAPH_BYTES => config.models.onnx_threads,
        EngineKind::Onnx | EngineKind::Candle => 1,
    }
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
