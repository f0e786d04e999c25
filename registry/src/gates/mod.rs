//! What stands between an upload and traffic, and the report of it.
//!
//! [`examine`] looks at the files of a version and makes the bundle that serves. It runs foreign bytes, so it is called
//! in a process of its own under limits of time and memory; the report is all that comes back.

pub(crate) mod change;
mod checker;
mod contract;
mod examine;
mod figures;
mod machine;
mod mlmodel;
mod onnx;

use serde_json::{Value, json};

pub(crate) use self::change::CHANGE;
pub use self::examine::{Examined, GRAPH, Subject, examine};
pub use self::figures::{Figure, accuracy};
use crate::error::RegistryError;

/// What became of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It says nothing about this version, for the reason given.
    Skipped,
}

impl Outcome {
    /// The word in reports.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    fn read(code: &str) -> Option<Self> {
        [Self::Passed, Self::Failed, Self::Skipped].into_iter().find(|outcome| outcome.code() == code)
    }
}

/// One gate with what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Its name, such as `golden`.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What was found, with numbers: by how much it failed.
    pub detail: String,
}

impl Gate {
    /// One that holds.
    pub fn passed(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Passed, detail: detail.into() }
    }

    /// One that does not.
    pub fn failed(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Failed, detail: detail.into() }
    }

    /// One that says nothing here.
    pub fn skipped(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Skipped, detail: detail.into() }
    }
}

/// What the gates found in a version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Digest of the files they looked at.
    pub digest: String,
    /// ms since the Unix epoch.
    pub at_ms: i64,
    /// In the order they were asked.
    pub gates: Vec<Gate>,
}

impl Report {
    /// Whether no gate failed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        !self.gates.is_empty() && self.gates.iter().all(|gate| gate.outcome != Outcome::Failed)
    }

    /// The word for that.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        if self.has_passed() { Outcome::Passed.code() } else { Outcome::Failed.code() }
    }

    /// Gates that failed with what they found, in one line.
    #[must_use]
    pub fn failures(&self) -> String {
        let failed = self.gates.iter().filter(|gate| gate.outcome == Outcome::Failed);
        let lines: Vec<String> = failed.map(|gate| format!("{}: {}", gate.name, gate.detail)).collect();
        lines.join("; ")
    }

    /// The gates as the table keeps them.
    #[must_use]
    pub fn to_json(&self) -> String {
        let gate =
            |gate: &Gate| json!({"name": gate.name, "outcome": gate.outcome.code(), "detail": gate.detail});
        Value::Array(self.gates.iter().map(gate).collect()).to_string()
    }

    /// Reads what [`Report::to_json`] wrote.
    ///
    /// # Errors
    /// A text that is none.
    pub fn from_json(digest: String, at_ms: i64, text: &str) -> Result<Self, RegistryError> {
        let fault = || RegistryError::invalid("gate report", "cannot be read");
        let list: Vec<Value> = serde_json::from_str(text).map_err(|_| fault())?;
        let gate = |value: &Value| {
            Some(Gate {
                name: value["name"].as_str()?.to_owned(),
                outcome: Outcome::read(value["outcome"].as_str()?)?,
                detail: value["detail"].as_str()?.to_owned(),
            })
        };
        let gates: Option<Vec<Gate>> = list.iter().map(gate).collect();
        Ok(Self { digest, at_ms, gates: gates.ok_or_else(fault)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_back_and_fails_with_its_first_failure() {
        let mut report =
            Report { digest: "d".into(), at_ms: 7, gates: vec![Gate::passed("golden", "8 rows")] };
        assert!(report.has_passed());
        report.gates.push(Gate::skipped("latency", "nothing is live"));
        assert!(report.has_passed());
        report.gates.push(Gate::failed("accuracy", "AUROC .81 is .02 below the bound .83"));
        assert_eq!(report.outcome(), "failed");
        assert_eq!(report.failures(), "accuracy: AUROC .81 is .02 below the bound .83");
        let read = Report::from_json("d".into(), 7, &report.to_json()).expect("readable");
        assert_eq!(read, report);
        assert!(!Report::default().has_passed(), "nothing looked at is nothing passed");
    }
}
