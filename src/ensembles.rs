//! `[ensembles.NAME]`: models that hand their outputs to each other and answer under a name of their own.

use std::collections::BTreeMap;

use inference::{Ensemble, EnsembleStep, Handle};
use serde::{Deserialize, Serialize};

/// What is said of one ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declared {
    /// Its version; another number for every change, so that an answer says what gave it.
    #[serde(default = "first")]
    version: String,
    /// Tensors that callers get.
    outputs: Vec<String>,
    /// Its models.
    #[serde(rename = "step")]
    steps: Vec<Step>,
}

/// `[[ensembles.NAME.step]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    model: String,
    /// Without one, the live version answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// For each input of the model the tensor it takes.
    inputs: BTreeMap<String, String>,
    /// What outputs of the model are called.
    outputs: BTreeMap<String, String>,
}

fn first() -> String {
    "1".to_owned()
}

impl Declared {
    fn ensemble(&self, name: &str) -> Ensemble {
        let Self { version, outputs, steps } = self.clone();
        let step =
            |Step { model, version, inputs, outputs }| EnsembleStep { model, version, inputs, outputs };
        let steps = steps.into_iter().map(step).collect();
        Ensemble { name: name.to_owned(), version, steps, outputs }
    }

    /// Adds what is wrong under `[ensembles.name]`, whatever models there will be.
    pub(crate) fn check(&self, name: &str, faults: &mut Vec<String>) {
        if let Err(error) = self.ensemble(name).check() {
            faults.push(format!("ensembles.{name}: {error}"));
        }
    }
}

/// Declares every ensemble of the configuration; each serves as soon as its models do.
pub(crate) fn declare(handle: &Handle, declared: &BTreeMap<String, Declared>) -> anyhow::Result<()> {
    for (name, declared) in declared {
        handle.declare(declared.ensemble(name))?;
    }
    Ok(())
}
