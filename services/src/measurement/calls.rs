//! What the calls of this service do, in the order they do it; the rules decide, the store keeps.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use proto::manpasik::v1::ai_inference_service_client::AiInferenceServiceClient;
use proto::manpasik::v1::{AnalyzeMeasurementRequest, AnalyzeMeasurementResponse};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status as GrpcStatus};
use uuid::Uuid;

use super::analyst::can_recover;
use super::convert;
use super::events;
use super::fingerprints::Fingerprints;
use super::history::{HistoryQuery, Series, series};
use super::rules::{NewSession, Status};
use super::running::Running;
use super::session::{Ended, Live, Measurement, Session, Sessions, Shared};
use super::store::{Found, Page, Store};
use crate::kernel::{Clock, GrpcService, Limits, ServiceError};

/// Everything the calls share.
pub(super) struct Core {
    pub(super) store: Store,
    pub(super) sessions: Sessions,
    pub(super) ai: AiInferenceServiceClient<GrpcService>,
    pub(super) fingerprints: Fingerprints,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    /// Cancelled when the service stops.
    pub(super) stopped: CancellationToken,
}

impl Core {
    /// Takes up the sessions that were running when the process ended. Their silence begins now: it may have been
    /// ours.
    pub(super) async fn resume(&self) -> Result<(), ServiceError> {
        for (session, running) in self.store.running().await? {
            let stored = (running.packets() > 0).then_some(running.kept().sequences.highest);
            self.sessions.add(Live::new(session, running, self.clock.now_ms(), stored), usize::MAX)?;
        }
        Ok(())
    }

    /// Opens a session.
    pub(super) async fn start(&self, new: NewSession) -> Result<Session, ServiceError> {
        let started_ms = self.clock.now_ms();
        let session = Session { id: Uuid::now_v7(), new, started_ms };
        let running = Running::new(session.id, session.new.cartridge);
        let live = Live::new(session.clone(), running, started_ms, None);
        self.sessions.add(live, self.limits.sessions_active_max)?;
        if let Err(error) = self.store.begin(&session).await {
            self.sessions.remove(session.id);
            return Err(error);
        }
        Ok(session)
    }

    /// The running session with this identifier, or why there is none.
    pub(super) async fn session(&self, id: Uuid) -> Result<Shared, ServiceError> {
        match self.sessions.get(id) {
            Some(session) => Ok(session),
            None => Err(self.finished(id).await?.ended.status.refusal()),
        }
    }

    /// Ends a session: analyses and stores it once, answers the same on a repeat.
    pub(super) async fn end(&self, id: Uuid) -> Result<Measurement, ServiceError> {
        let Some(shared) = self.sessions.get(id) else { return self.answered(id).await };
        let mut live = shared.lock().await;
        if live.status != Status::Active {
            drop(live);
            return self.answered(id).await;
        }
        let empty = live.running.packets() == 0;
        let mut ended =
            live.end(if empty { Status::Aborted } else { Status::Completed }, self.clock.now_ms())?;
        if !empty {
            let analysis = self.analyse(&live.session, &ended).await;
            // The wait is ours, not the reader's silence.
            live.seen_ms = self.clock.now_ms();
            ended.ended_ms = live.seen_ms;
            let analysis = analysis?;
            ended.values = convert::values(&analysis)?;
            ended.analysis = convert::encode_analysis(&analysis);
        }
        self.close(&mut live, ended).await
    }

    /// Ends a session by silence, unless it has been heard meanwhile.
    pub(super) async fn time_out_silent(&self) {
        for shared in self.sessions.all() {
            // A session in use is not silent.
            let Ok(mut live) = shared.try_lock() else { continue };
            let now_ms = self.clock.now_ms();
            if live.status != Status::Active || now_ms - live.seen_ms < self.limits.session_idle_ms_max {
                continue;
            }
            let closed = match live.end(Status::TimedOut, now_ms) {
                Ok(ended) => self.close(&mut live, ended).await.map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = closed {
                tracing::error!(session = %live.session.id, %error, "a silent session could not be ended");
            }
        }
    }

    /// Stores the end of a session; the session stays open when that fails.
    async fn close(&self, live: &mut Live, ended: Ended) -> Result<Measurement, ServiceError> {
        let measurement = Measurement { session: live.session.clone(), ended };
        let Measurement { session, ended } = &measurement;
        self.store.end(session.id, ended, events::ended(&measurement)).await?;
        live.status = ended.status;
        live.stream.cancel();
        self.sessions.remove(session.id);
        Ok(measurement)
    }

    /// Asks for the full analysis. A refusal that no repeat can change ends the session without values and says so;
    /// anything else leaves it open.
    async fn analyse(
        &self,
        session: &Session,
        ended: &Ended,
    ) -> Result<AnalyzeMeasurementResponse, ServiceError> {
        let mut request =
            Request::new(convert::analysis_request(session, ended, self.earlier(session).await));
        let deadline = Duration::from_millis(self.limits.ai_call_ms_max);
        request.set_timeout(deadline);
        let answer = within(deadline, self.ask(request)).await;
        match answer {
            Ok(analysis) => {
                Ok(AnalyzeMeasurementResponse { measurement_id: session.id.to_string(), ..analysis })
            }
            Err(status) if !can_recover(status.code()) => Ok(convert::refused_analysis(session.id, &status)),
            Err(status) => {
                let reason =
                    "the analysis is not available; the session stays open: call EndSession again".to_owned();
                Err(ServiceError::Unavailable { reason, source: Some(Box::new(status)) })
            }
        }
    }

    /// Earlier values of the user, for the trend; without them there is still everything else.
    async fn earlier(&self, session: &Session) -> Vec<Series> {
        let NewSession { user_id, cartridge, .. } = &session.new;
        let codes = cartridge.analytes.iter().map(|analyte| analyte.code());
        match self.store.earlier(user_id, codes, self.limits.history_values_max).await {
            Ok(earlier) => series(earlier),
            Err(error) => {
                tracing::warn!(session = %session.id, %error, "analysed without earlier values");
                Vec::new()
            }
        }
    }

    async fn ask(
        &self,
        request: Request<AnalyzeMeasurementRequest>,
    ) -> Result<AnalyzeMeasurementResponse, GrpcStatus> {
        Ok(self.ai.clone().analyze_measurement(request).await?.into_inner())
    }

    /// A finished session; a running one is refused.
    pub(super) async fn finished(&self, id: Uuid) -> Result<Measurement, ServiceError> {
        match self.store.find(id).await? {
            Some(Found::Ended(measurement)) => Ok(*measurement),
            Some(Found::Running) => Err(Status::Active.refusal()),
            None => Err(ServiceError::NotFound { what: format!("session {id}") }),
        }
    }

    /// What EndSession answered before; a session that ended otherwise is refused.
    async fn answered(&self, id: Uuid) -> Result<Measurement, ServiceError> {
        let measurement = self.finished(id).await?;
        match measurement.ended.status {
            Status::Completed | Status::Aborted => Ok(measurement),
            status @ (Status::Active | Status::TimedOut) => Err(status.refusal()),
        }
    }

    /// A page of finished sessions.
    pub(super) async fn history(&self, query: &HistoryQuery) -> Result<Page, ServiceError> {
        self.store.history(query).await
    }

    /// Writes a running session; a failure is only logged, as the packets are still in memory and the reader is told
    /// which of them are on disk.
    pub(super) async fn save(&self, live: &mut Live) {
        if live.status != Status::Active || live.unsaved == 0 {
            return;
        }
        match self.store.save(live.session.id, live.running.kept()).await {
            Ok(()) => {
                live.unsaved = 0;
                live.stored = Some(live.running.kept().sequences.highest);
            }
            Err(error) => tracing::error!(session = %live.session.id, %error, "a session could not be saved"),
        }
    }
}

/// The answer, or that it did not come in time.
async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, GrpcStatus>>,
) -> Result<T, GrpcStatus> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer,
        Err(_) => Err(GrpcStatus::deadline_exceeded(format!("no answer within {} ms", deadline.as_millis()))),
    }
}
