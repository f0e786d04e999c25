//! The sessions that are running, in memory, and what a session is before and after.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clinical::gate::Quality;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::rules::{Environment, GateNote, NewSession, Status};
use super::running::Running;
use crate::kernel::ServiceError;

/// A session that was opened.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Session {
    pub(super) id: Uuid,
    pub(super) new: NewSession,
    pub(super) started_ms: i64,
}

/// How a session ended; everything but the status of an aborted one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) status: Status,
    pub(super) ended_ms: i64,
    pub(super) packets: u64,
    pub(super) quality: Quality,
    pub(super) gates: Vec<GateNote>,
    /// Mean corrected sweep, ohm.
    pub(super) channels: Vec<f32>,
    pub(super) environment: Option<Environment>,
    pub(super) digest: String,
    pub(super) values: Vec<Value>,
    /// The analysis as it was answered, in its wire form; empty without one.
    pub(super) analysis: Vec<u8>,
}

/// A predicted value; only [`super::convert`] makes one, and only with a unit and a model version.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) code: String,
    pub(super) loinc: String,
    pub(super) value: f64,
    pub(super) unit: String,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) coverage: Option<f64>,
    pub(super) model: String,
    pub(super) version: String,
}

/// A finished session.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measurement {
    pub(super) session: Session,
    pub(super) ended: Ended,
}

/// A running session.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) session: Session,
    pub(super) status: Status,
    pub(super) running: Running,
    /// When the reader was last heard, milliseconds since the Unix epoch.
    pub(super) seen_ms: i64,
    /// Packets since the last write.
    pub(super) unsaved: u64,
    /// Highest sequence on disk.
    pub(super) stored: Option<u64>,
    /// Ends the stream that feeds this session.
    pub(super) stream: CancellationToken,
}

impl Live {
    /// A session without a stream.
    pub(super) fn new(session: Session, running: Running, seen_ms: i64, stored: Option<u64>) -> Self {
        let (status, stream) = (Status::Active, CancellationToken::new());
        Self { session, status, running, seen_ms, unsaved: 0, stored, stream }
    }

    /// Takes the session over for a new stream; the one before ends.
    pub(super) fn attach(&mut self, now_ms: i64) -> Result<CancellationToken, ServiceError> {
        self.check_active()?;
        self.stream.cancel();
        self.stream = CancellationToken::new();
        self.seen_ms = now_ms;
        Ok(self.stream.clone())
    }

    /// Refuses a session that has ended.
    pub(super) fn check_active(&self) -> Result<(), ServiceError> {
        if self.status == Status::Active { Ok(()) } else { Err(self.status.refusal()) }
    }

    /// How the session ends now, before any analysis.
    pub(super) fn end(&self, end: Status, now_ms: i64) -> Result<Ended, ServiceError> {
        let report = self.running.report();
        Ok(Ended {
            status: self.status.become_ended(end)?,
            ended_ms: now_ms,
            packets: self.running.packets(),
            quality: report.quality,
            gates: report.outcomes.iter().map(GateNote::from).collect(),
            channels: self.running.mean(),
            environment: self.running.environment(),
            digest: self.running.digest(),
            values: Vec::new(),
            analysis: Vec::new(),
        })
    }
}

/// One running session, shared between its stream and its calls.
pub(super) type Shared = Arc<tokio::sync::Mutex<Live>>;

/// Every running session, at most as many as the limit says.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: Mutex<HashMap<Uuid, Shared>>,
}

impl Sessions {
    /// Adds a session, unless there are `limit` already.
    pub(super) fn add(&self, live: Live, limit: usize) -> Result<(), ServiceError> {
        let mut sessions = self.lock();
        if sessions.len() >= limit {
            return Err(ServiceError::Exhausted {
                what: "running sessions (try again later)",
                limit: limit as u64,
            });
        }
        sessions.insert(live.session.id, Arc::new(tokio::sync::Mutex::new(live)));
        Ok(())
    }

    /// The running session with this identifier.
    pub(super) fn get(&self, id: Uuid) -> Option<Shared> {
        self.lock().get(&id).cloned()
    }

    /// Forgets a session.
    pub(super) fn remove(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    /// Every running session.
    pub(super) fn all(&self) -> Vec<Shared> {
        self.lock().values().cloned().collect()
    }

    /// No step under this lock can leave the map half changed, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Shared>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
