//! The composition root: everything is built here, in order, and stopped in the reverse one.
//!
//! `build` binds the ports and starts inference and the services; `run` serves until the
//! given future ends, then drains. Tests and the demonstration use the same two calls.

mod drift;
pub(crate) mod engines;
mod gates;
mod keeper;
mod measurements;
pub(crate) mod models;
mod overridden;
mod ports;
pub(crate) mod recorder;
mod registered;
mod release;
mod retention;
mod signals;
pub(crate) mod vectors;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use embeddings::VectorStore;
use inference::server::{
    self,
    oip::{Oip, OipOptions},
};
use proto::manpasik::v1::{
    ai_inference_service_client::AiInferenceServiceClient,
    ai_inference_service_server::AiInferenceServiceServer, food_service_client::FoodServiceClient,
    food_service_server::FoodServiceServer, knowledge_service_client::KnowledgeServiceClient,
    knowledge_service_server::KnowledgeServiceServer, measurement_service_client::MeasurementServiceClient,
    vector_service_client::VectorServiceClient, vector_service_server::VectorServiceServer,
};
use registry::Registry;
use services::{
    kernel::{GrpcService, in_process, remote},
    measurement::MeasurementModule,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub(crate) use signals::Signals;

use self::{
    keeper::Keeper,
    ports::{Addresses, Ports, Served},
};
use crate::{
    access::Access,
    commands,
    config::Config,
    ensembles,
    gateway::{self, Clients},
    logging, mlflow, registrar,
    telemetry::{self, Exporting},
    trail,
};

/// Largest gRPC message of the typed services: a photo and its frame, or a batch of vectors.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Where the system keeps shared memory objects.
const SHARED_MEMORY: &str = "/dev/shm";
/// Longest wait for a remote inference server to answer a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything built and bound, not yet serving.
pub(crate) struct App {
    inference: inference::Server,
    measurement: Option<MeasurementModule>,
    registry: Registry,
    keeper: Keeper,
    swept: JoinHandle<()>,
    followed: JoinHandle<()>,
    vectors: Arc<dyn VectorStore>,
    preparing: JoinHandle<()>,
    ports: Ports,
    served: Served,
    addresses: (Addresses, Option<Addresses>),
    grace: Duration,
    exporting: Option<Exporting>,
}

impl App {
    /// Binds the ports, loads the models, opens the databases.
    pub(crate) async fn build(config: &Config) -> anyhow::Result<Self> {
        let ports = Ports::bind(&config.server).await?;
        let addresses = ports.addresses()?;
        std::fs::create_dir_all(&config.data_dir)
            .with_context(|| format!("cannot create the data folder `{}`", config.data_dir.display()))?;
        let exporting = telemetry::start(&config.telemetry)?;
        let registry = open_registry(config).await?;
        overridden::clear(config);
        let (inference, shelf) = models::start(config).await?;
        let handle = inference.handle();
        ensembles::declare(&handle, &config.ensembles)?;
        let oip = oip(config, handle.clone(), &shelf);
        let followed = tokio::spawn(registered::follow(
            config.clone(),
            registry.clone(),
            handle.clone(),
            Arc::clone(&shelf),
        ));
        let ai = server::ai::AiService::new(handle.clone());
        let keeper = watch(config, &registry, &handle, &ai)?;
        let swept = tokio::spawn(retention::run(config.registry.retention.clone(), registry.clone()));
        let local = AiInferenceServiceServer::new(ai.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let vectors = vectors::open(config, config.vectors.store).await?;
        let vector_service = vectors::service(&vectors);
        let measurement =
            measurement(config, in_process(local.clone()), in_process(vector_service.clone())).await?;
        let client =
            measurement.as_ref().map(|module| MeasurementServiceClient::new(in_process(module.service())));
        if let Some(client) = &client {
            ai.set_measurements(Arc::new(measurements::Client::new(client.clone())));
        }
        let knowledge = server::knowledge::KnowledgeService::new(ai.clone());
        let preparing = tokio::spawn(vectors::prepare(knowledge.clone(), Arc::clone(&vectors)));
        let knowledge = KnowledgeServiceServer::new(knowledge);
        let food = server::foods::FoodService::new(ai);
        food.connect(Arc::clone(&vectors));
        let food = FoodServiceServer::new(food).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut grpc_routes = server::grpc_routes(&handle)
            .add_service(local.clone())
            .add_service(vector_service.clone())
            .add_service(knowledge.clone())
            .add_service(food.clone());
        if let Some(module) = &measurement {
            grpc_routes = grpc_routes.add_service(module.service());
        }
        let clients = clients(local, knowledge, food, client, vector_service);
        let access = access(config, &registry).await?;
        let http_routes = http_routes(config, &oip, &registry, clients);
        Ok(Self {
            inference,
            measurement,
            registry,
            keeper,
            swept,
            followed,
            vectors,
            preparing,
            ports,
            served: Served { oip, grpc: grpc_routes, http: http_routes, access },
            addresses,
            grace: Duration::from_millis(config.server.shutdown_grace_ms),
            exporting,
        })
    }

    /// Where gRPC is served.
    pub(crate) fn grpc_address(&self) -> SocketAddr {
        self.addresses.0.0
    }

    /// Where HTTP is served.
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.addresses.0.1
    }

    /// Where what changes and watches the server is served, if not there: gRPC and HTTP.
    pub(crate) fn admin_addresses(&self) -> Option<Addresses> {
        self.addresses.1
    }

    /// Serves until `shutdown` ends; then takes no more requests, finishes those it has, stops
    /// the services and closes, all within the grace period.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let closing = CancellationToken::new();
        let handle = self.inference.handle();
        let mut serving = self.ports.serve(self.served, handle.limits(), &closing);
        tokio::select! {
            () = shutdown => {}
            broken = serving.broken() => return Err(broken),
        }
        tracing::info!("shutting down: finishing the requests under way");
        let stopping = async {
            closing.cancel();
            // Requests of several steps need inference until they are answered; open streams end with
            // their service.
            let _ = tokio::time::timeout(self.grace / 2, serving.finish()).await;
            if let Some(measurement) = self.measurement {
                measurement.stop().await;
            }
            self.preparing.abort();
            self.followed.abort();
            self.swept.abort();
            let drained = self.inference.drain().await;
            self.keeper.finish().await;
            if let Err(error) = self.vectors.close().await {
                tracing::error!(%error, "the vector store was not closed cleanly");
            }
            if let Err(error) = self.registry.close().await {
                tracing::error!(%error, "the registry was not closed cleanly");
            }
            if let Some(exporting) = self.exporting {
                let _ = tokio::task::spawn_blocking(move || exporting.finish()).await;
            }
            drained
        };
        match tokio::time::timeout(self.grace, stopping).await {
            Ok(true) => tracing::info!("stopped"),
            Ok(false) | Err(_) => tracing::warn!("stopped before every request was finished"),
        }
        Ok(())
    }
}

/// What both faces of the inference protocol share.
fn oip(config: &Config, handle: inference::Handle, shelf: &Arc<models::Shelf>) -> Oip {
    let options = OipOptions {
        repository: Some(Arc::clone(shelf) as Arc<dyn inference::Repository>),
        override_bytes_max: config.server.load_override_bytes_max,
        shared_memory: config.server.shared_memory.then(|| SHARED_MEMORY.into()),
        log: Some(logging::control()),
    };
    Oip::new(handle, options)
}

/// The services as the gateway calls them.
fn clients(
    ai: AiInferenceServiceServer<server::ai::AiService>,
    knowledge: KnowledgeServiceServer<server::knowledge::KnowledgeService>,
    food: FoodServiceServer<server::foods::FoodService>,
    measurement: Option<MeasurementServiceClient<GrpcService>>,
    vectors: VectorServiceServer<server::vectors::Vectors>,
) -> Clients {
    Clients {
        ai: AiInferenceServiceClient::new(in_process(ai)),
        knowledge: KnowledgeServiceClient::new(in_process(knowledge)),
        food: FoodServiceClient::new(in_process(food)),
        measurement,
        vectors: VectorServiceClient::new(in_process(vectors))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX),
    }
}

/// Everything the HTTP ports carry.
fn http_routes(config: &Config, oip: &Oip, registry: &Registry, clients: Clients) -> Router {
    server::http_routes(oip)
        .merge(mlflow::router(registry))
        .merge(trail::router(registry))
        .merge(registrar::router(registry, config))
        .merge(gateway::router(clients, registrar::described()))
}

/// Traces answers and watches for drift, and writes both down.
fn watch(
    config: &Config,
    registry: &Registry,
    handle: &inference::Handle,
    ai: &server::ai::AiService,
) -> anyhow::Result<Keeper> {
    let (answers, waiting) = mpsc::channel(keeper::ANSWERS_MAX);
    let cipher = config.predictions.payload_logging.then(|| config.cipher()).transpose()?.map(Arc::new);
    if config.predictions.traced {
        ai.set_trace(server::ai::trace::Trace::new(answers, cipher.is_some()));
    }
    let (windows, closed) = mpsc::channel(keeper::WINDOWS_MAX);
    let told = move |window| {
        if windows.try_send(window).is_err() {
            tracing::warn!("a window of drift was not written down: the database is behind");
        }
    };
    handle.watch_drift(drift::thresholds(&config.drift), Box::new(told)).context("cannot watch for drift")?;
    let writer = keeper::Writer::new(registry.clone(), handle.clone(), cipher);
    Ok(Keeper::start(writer, waiting, closed))
}

/// Who may call, where that is asked.
async fn access(config: &Config, registry: &Registry) -> anyhow::Result<Option<Access>> {
    if !config.asks_for_tokens() {
        return Ok(None);
    }
    if config.is_open() && config.server.tls.certificate.as_os_str().is_empty() {
        tracing::warn!(
            "reachable from other machines without encryption: set server.tls, or put a proxy with TLS in front"
        );
    }
    if registry.tokens().await?.iter().all(|token| token.revoked_ms.is_some()) {
        tracing::warn!("there is no token, so nobody can call: `manpasik tokens create NAME --role admin`");
    }
    Ok(Some(Access::new(registry, &config.auth)?))
}

/// The registry, with runs that were killed marked as such.
pub(crate) async fn open_registry(config: &Config) -> anyhow::Result<Registry> {
    let url = config.registry_url()?;
    let registry = Registry::open(&url, &config.artifacts()?).await;
    let registry = registry.with_context(|| format!("cannot open the registry at `{url:?}`"))?;
    registry.runs().sweep(recorder::now_ms()).await?;
    Ok(registry)
}

/// The server that the platform services call for inference and vectors: this process or the configured one.
fn reached(config: &Config, local: GrpcService) -> anyhow::Result<GrpcService> {
    let uri = &config.services.inference_uri;
    if uri.is_empty() {
        return Ok(local);
    }
    let endpoint = Channel::from_shared(uri.clone())
        .with_context(|| format!("services.inference_uri: `{uri}` is not a URI"))?
        .connect_timeout(CONNECT_TIMEOUT);
    commands::bearing(remote(endpoint.connect_lazy()), Some(config.services.inference_token.reveal()))
}

async fn measurement(
    config: &Config,
    ai: GrpcService,
    vectors: GrpcService,
) -> anyhow::Result<Option<MeasurementModule>> {
    if !config.mounts("measurement") {
        return Ok(None);
    }
    let database = store::Url::file(&config.data_dir.join("measurement.sqlite"));
    let settings = services::measurement::Config::new(database);
    let (ai, vectors) = (reached(config, ai)?, reached(config, vectors)?);
    let module = MeasurementModule::start(&settings, ai, vectors).await;
    Ok(Some(module.context("cannot start the measurement service")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::unlisted;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_route_says_what_it_needs() {
        let folder = tempfile::tempdir().expect("a folder");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config { data_dir: folder.path().into(), ..Config::default() };
        (config.server.grpc, config.server.http) = (any, any);
        config.models.bundles = vec![folder.path().join("none")];
        let app = App::build(&config).await.expect("built");
        let (count, without) = unlisted(&app.served.http);
        assert!(count > 80, "{count} paths are too few: how the router shows them has changed");
        assert!(without.is_empty(), "say in access::needs what these need: {without:#?}");
    }
}
