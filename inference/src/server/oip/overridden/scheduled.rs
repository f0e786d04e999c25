//! What a configuration says of sequences and ensembles.

use std::collections::BTreeMap;

use models::bundle::{BatchingConfig, SequenceConfig, StateConfig};
use serde::Deserialize;

use super::{refused, said::Whole};
use crate::{Ensemble, EnsembleStep, InferError};

/// `sequence_batching`. Control inputs are not offered: they are refused as a field that is not known.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sequences {
    max_sequence_idle_microseconds: Whole,
    /// Either strategy: any sequence may be in any batch here.
    #[allow(dead_code, reason = "read to be passed over")]
    direct: Direct,
    oldest: Oldest,
    state: Vec<State>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Direct {}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Oldest {
    max_candidate_sequences: Whole,
    preferred_batch_size: Vec<Whole>,
    max_queue_delay_microseconds: Whole,
}

/// A state begins with zeros; one that begins otherwise is refused as a field that is not known.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct State {
    input_name: String,
    output_name: String,
    /// Those of the tensors hold.
    #[allow(dead_code, reason = "read to be passed over")]
    data_type: String,
    #[allow(dead_code, reason = "read to be passed over")]
    dims: Vec<Whole>,
}

impl Sequences {
    /// Adds what is said to `batching`.
    pub(super) fn over(&self, batching: &mut BatchingConfig) -> Result<(), InferError> {
        let field = |name: &str| format!("config.sequence_batching.{name}");
        if self.state.is_empty() {
            return Err(refused(&field("state"), "must name what is carried from request to request"));
        }
        let states = self
            .state
            .iter()
            .map(|state| StateConfig { input: state.input_name.clone(), output: state.output_name.clone() });
        let mut sequence = SequenceConfig::new(states.collect());
        let idle = self.max_sequence_idle_microseconds.said(&field("max_sequence_idle_microseconds"))?;
        if let Some(micros) = idle {
            sequence.idle_ms_max = (micros as u64).div_ceil(1_000);
        }
        let most = self.oldest.max_candidate_sequences.said(&field("oldest.max_candidate_sequences"))?;
        batching.rows_max = most.map_or(batching.rows_max, |most| most.min(batching.rows_max));
        let linger = self.oldest.max_queue_delay_microseconds;
        if let Some(micros) = linger.said(&field("oldest.max_queue_delay_microseconds"))? {
            batching.linger_us = micros as u64;
        }
        let sizes = self.oldest.preferred_batch_size.iter();
        let sizes = sizes.map(|rows| rows.said(&field("oldest.preferred_batch_size")));
        let sizes: Vec<usize> = sizes.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        if !sizes.is_empty() {
            batching.preferred_rows = sizes;
        }
        batching.sequence = Some(sequence);
        Ok(())
    }
}

/// `ensemble_scheduling`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Steps {
    step: Vec<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Step {
    model_name: String,
    model_version: Whole,
    input_map: BTreeMap<String, String>,
    output_map: BTreeMap<String, String>,
}

impl Steps {
    /// Names of its models.
    pub(super) fn models(&self) -> impl Iterator<Item = &str> {
        self.step.iter().map(|step| step.model_name.as_str())
    }

    /// The ensemble of that name, which gives these outputs.
    pub(super) fn ensemble(&self, name: &str, outputs: Vec<String>) -> Result<Ensemble, InferError> {
        if outputs.is_empty() {
            return Err(refused("config.output", "must name the outputs of an ensemble"));
        }
        let step = |step: &Step| EnsembleStep {
            model: step.model_name.clone(),
            version: (step.model_version.0 > 0).then(|| step.model_version.0.to_string()),
            inputs: step.input_map.clone(),
            outputs: step.output_map.clone(),
        };
        let steps = self.step.iter().map(step).collect();
        Ok(Ensemble { name: name.to_owned(), version: "1".to_owned(), steps, outputs })
    }
}
