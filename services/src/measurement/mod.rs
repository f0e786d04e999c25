//! Measurement sessions: raw packets of a reader in, gates and differential correction on the server, analysis by the
//! inference service, one stored measurement out. This module is the pattern the other services copy.
//!
//! A session lives in memory while it runs and is written every few packets; after a crash it resumes from the last
//! write, and the reader, told in every answer what is on disk, sends the rest again. One process owns the running
//! sessions of its database.
//!
//! A session that was analysed is stored together with an event (`events`); a consumer of it (`recorder`) gives the
//! shape of the sweep to the vector service, where `similar` finds it.

mod analyst;
mod calls;
mod convert;
mod events;
mod fingerprints;
mod grpc;
mod history;
mod recorder;
mod rules;
mod running;
mod sequence;
mod session;
mod similar;
mod statistics;
mod store;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use ::store::outbox::{Consumer, Dispatcher};
use proto::manpasik::v1::ai_inference_service_client::AiInferenceServiceClient;
use proto::manpasik::v1::measurement_service_server::MeasurementServiceServer;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::calls::Core;
use self::fingerprints::Fingerprints;
pub use self::grpc::MeasurementGrpc;
use self::recorder::Recorder;
use self::session::Sessions;
use self::store::Store;
use crate::kernel::{Clock, GrpcService, Limits, ServiceError, SystemClock};

/// What the service is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its database is.
    pub database: ::store::Url,
    /// Bounds of the database.
    pub database_limits: ::store::Limits,
    /// Bounds of the service.
    pub limits: Limits,
}

impl Config {
    /// Default bounds over a database.
    #[must_use]
    pub fn new(database: ::store::Url) -> Self {
        Self { database, database_limits: ::store::Limits::default(), limits: Limits::default() }
    }
}

/// The running service. Dropped without [`stop`](Self::stop) it ends its streams and writes what they had; what was
/// not written is lost as in a crash.
pub struct MeasurementModule {
    core: Arc<Core>,
    sweeper: JoinHandle<()>,
    dispatcher: Dispatcher,
    stopped: DropGuard,
}

impl MeasurementModule {
    /// Opens the database, resumes the sessions that were running, begins to look for silent ones and to hand on
    /// what was stored. `ai` reaches the inference service and `vectors` the vector service, in this process or over
    /// the network (see [`crate::kernel::in_process`] and [`crate::kernel::remote`]).
    ///
    /// # Errors
    /// [`ServiceError::Store`] when the database cannot be opened or read.
    pub async fn start(config: &Config, ai: GrpcService, vectors: GrpcService) -> Result<Self, ServiceError> {
        Self::start_with_clock(config, ai, vectors, Arc::new(SystemClock)).await
    }

    /// As [`start`](Self::start), by another clock.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with_clock(
        config: &Config,
        ai: GrpcService,
        vectors: GrpcService,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ServiceError> {
        let core = Core {
            store: Store::open(&config.database, config.database_limits, Arc::clone(&clock)).await?,
            sessions: Sessions::default(),
            ai: AiInferenceServiceClient::new(ai),
            fingerprints: Fingerprints::new(vectors, &config.limits),
            clock,
            limits: config.limits,
            stopped: CancellationToken::new(),
        };
        let stopped = core.stopped.clone().drop_guard();
        core.resume().await?;
        let recorder = Recorder::new(core.store.clone(), core.fingerprints.clone());
        let recorder: Arc<dyn Consumer> = Arc::new(recorder);
        let dispatcher = Dispatcher::start(core.store.outbox(), vec![recorder]).await?;
        let core = Arc::new(core);
        let sweeper = tokio::spawn(sweep(Arc::clone(&core)));
        Ok(Self { core, sweeper, dispatcher, stopped })
    }

    /// The gRPC face; cheap to clone.
    #[must_use]
    pub fn service(&self) -> MeasurementServiceServer<MeasurementGrpc> {
        MeasurementServiceServer::new(MeasurementGrpc::new(Arc::clone(&self.core)))
            .max_decoding_message_size(self.core.limits.message_bytes_max)
    }

    /// Stops: ends the streams, writes every running session, closes the database. Sessions stay open and go on
    /// after the next start.
    pub async fn stop(self) {
        drop(self.stopped);
        // The sweeper only logs; that it has ended is all there is to know.
        let _ = self.sweeper.await;
        self.dispatcher.stop().await;
        for session in self.core.sessions.all() {
            let mut live = session.lock().await;
            self.core.save(&mut live).await;
        }
        if let Err(error) = self.core.store.clone().close().await {
            tracing::error!(%error, "the measurement database was not closed cleanly");
        }
    }
}

/// Ends silent sessions until the service stops. A look that takes long only delays the next.
async fn sweep(core: Arc<Core>) {
    let mut tick = tokio::time::interval(Duration::from_millis(core.limits.sweep_ms.max(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = core.stopped.cancelled() => return,
            _ = tick.tick() => core.time_out_silent().await,
        }
    }
}
