//! The engine that stands in for one that is not there: every load is refused with the reason,
//! so that nobody who uses engines has to ask whether one exists.

use super::{Engine, Model};
use crate::{Bundle, ModelError};

/// Answers every load with the same reason.
#[derive(Debug, Clone)]
pub struct UnavailableEngine {
    name: &'static str,
    reason: String,
}

impl UnavailableEngine {
    /// Stands in for the engine `name`; `reason` says what is missing and how to fix it.
    pub fn new(name: &'static str, reason: impl Into<String>) -> Self {
        Self { name, reason: reason.into() }
    }
}

impl Engine for UnavailableEngine {
    fn name(&self) -> &'static str {
        self.name
    }

    fn load(&self, _: &Bundle) -> Result<Box<dyn Model>, ModelError> {
        Err(ModelError::EngineUnavailable { engine: self.name, reason: self.reason.clone() })
    }
}
