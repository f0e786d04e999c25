//! Run it: scheduler, router, monitors and the wire servers.
//!
//! [`Handle`] is the only way in. A request is routed to a model version ([`Served`]), joins
//! its queue, is batched with its neighbours and runs on a thread that owns an instance; a
//! quick model that is idle runs on the caller's own task. Nothing here knows what a model
//! means, except the `ai` server, which speaks the language of the model families.

mod batcher;
mod cache;
mod cores;
mod cost;
pub mod drift;
mod ensemble;
mod error;
mod handle;
mod limits;
mod measurement;
pub mod monitor;
mod pool;
mod queue;
mod queues;
mod release;
mod request;
mod router;
mod sequences;
mod served;
pub mod server;
mod source;
pub mod spans;
mod start;
mod tenants;
mod traceparent;
mod warm;
mod worker;

pub use ensemble::{Ensemble, EnsembleStep};
pub use error::{ErrorCode, InferError};
pub use handle::{Handle, Readiness};
pub use limits::Limits;
pub use measurement::MeasurementSource;
pub use release::{Caller, Figures, Route, Stage, Trial};
pub use request::{Priority, Request, Response, Terms};
pub use sequences::{SequenceId, SequenceStep};
pub use served::{ModelState, ModelStatus, Served};
pub use source::{Loader, ModelSource, Repository};
pub use start::{Candidate, Server};
pub use traceparent::{TraceContext, TraceId};
