//! What a caller asks of a model and what it gets.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use models::Tensor;

use crate::{Caller, SequenceStep, TraceContext};

/// How urgent a request is. Within one priority, first come is first served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Someone's health depends on the answer now.
    Critical,
    /// Someone waits for the answer.
    #[default]
    Interactive,
    /// Nobody waits: may queue longer than the others, up to the depth of the queue.
    Bulk,
}

impl Priority {
    /// Every priority, most urgent first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Interactive, Self::Bulk];

    /// Place in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Critical => 0,
            Self::Interactive => 1,
            Self::Bulk => 2,
        }
    }

    /// Priority for the number that the Open Inference Protocol carries: 0 is the default,
    /// otherwise a smaller number is more urgent.
    pub fn from_level(level: u64) -> Self {
        match level {
            1 => Self::Critical,
            0 | 2 => Self::Interactive,
            _ => Self::Bulk,
        }
    }
}

/// On what terms an answer is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// How urgent it is.
    pub priority: Priority,
    /// When the answer is worthless; the server's own limit applies besides.
    pub deadline: Option<Instant>,
    /// How long it may wait, where the model's policy lets a request say so. Once it runs it has no meaning.
    pub timeout: Option<Duration>,
    /// Who asks, as far as it matters which version answers.
    pub caller: Caller,
    /// For whom; none: nobody's share of the server is used.
    pub tenant: Option<Arc<str>>,
    /// Where in a recorded trace it stands, if in one.
    pub trace: Option<TraceContext>,
    /// Its place in a sequence, where one was named; it matters to models that remember.
    pub sequence: Option<SequenceStep>,
}

/// Rows for one model.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Model name.
    pub model: String,
    /// Version, or the one that serves.
    pub version: Option<String>,
    /// Inputs in signature order, all with the same first dimension.
    pub tensors: Vec<Tensor>,
    /// On what terms.
    pub terms: Terms,
}

impl Request {
    /// An interactive request to the version of `model` that serves.
    pub fn new(model: impl Into<String>, tensors: Vec<Tensor>) -> Self {
        Self { model: model.into(), tensors, ..Self::default() }
    }

    /// The same with another priority.
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.terms.priority = priority;
        self
    }

    /// The same with a deadline.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.terms.deadline = Some(deadline);
        self
    }
}

/// What the model said, and how long that took.
#[derive(Debug, Clone)]
pub struct Response {
    /// Model name.
    pub model: Arc<str>,
    /// Version that answered.
    pub version: Arc<str>,
    /// Outputs in signature order, as many rows as the request had.
    pub tensors: Vec<Tensor>,
    /// Microseconds from admission to the start of the batch.
    pub queue_us: u64,
    /// Microseconds the batch ran.
    pub compute_us: u64,
}
