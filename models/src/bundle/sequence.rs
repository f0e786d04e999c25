//! `[batching.sequence]` of `model.toml`: a model that remembers, from one request of a sequence to the next.
//!
//! What it remembers are inputs that callers do not see: the server gives it what it has put out for the request before,
//! zeros for the first. Sequences therefore share batches and instances like any requests.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{ModelError, Signature, Tensor, TensorSpec};

/// Bounds on what a bundle may ask for.
const SEQUENCES_MAX: usize = 65_536;
const IDLE_MS_MAX: u64 = 3_600_000;
const STATES_MAX: usize = 16;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceConfig {
    /// Milliseconds after its last request that a sequence is forgotten.
    #[serde(default = "idle_ms")]
    pub idle_ms_max: u64,
    /// Sequences that are remembered at once.
    #[serde(default = "sequences")]
    pub sequences_max: usize,
    /// What is carried from one request to the next.
    #[serde(rename = "state")]
    pub states: Vec<StateConfig>,
}

/// `[[batching.sequence.state]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// Input that takes it.
    pub input: String,
    /// Output that gives it on; same datatype and dimensions.
    pub output: String,
}

fn idle_ms() -> u64 {
    60_000
}

fn sequences() -> usize {
    1_024
}

impl SequenceConfig {
    /// One that carries `states`, with the usual bounds.
    pub fn new(states: Vec<StateConfig>) -> Self {
        Self { idle_ms_max: idle_ms(), sequences_max: sequences(), states }
    }

    /// Checks the values against the tensors of the model.
    pub fn check(&self, signature: &Signature) -> Result<(), String> {
        let Self { idle_ms_max, sequences_max, states } = self;
        if !(1..=IDLE_MS_MAX).contains(idle_ms_max) {
            return Err(format!(
                "batching.sequence.idle_ms_max is {idle_ms_max}, expected 1 to {IDLE_MS_MAX}"
            ));
        }
        if !(1..=SEQUENCES_MAX).contains(sequences_max) {
            return Err(format!(
                "batching.sequence.sequences_max is {sequences_max}, expected 1 to {SEQUENCES_MAX}"
            ));
        }
        if !(1..=STATES_MAX).contains(&states.len()) {
            return Err(format!(
                "there are {} states of a sequence, expected 1 to {STATES_MAX}",
                states.len()
            ));
        }
        states.iter().try_for_each(|state| state.check(signature))?;
        let distinct =
            |names: BTreeSet<&String>, total: usize| names.len() == states.len() && names.len() < total;
        let inputs = distinct(states.iter().map(|state| &state.input).collect(), signature.inputs.len());
        let outputs = distinct(states.iter().map(|state| &state.output).collect(), signature.outputs.len());
        if inputs && outputs {
            Ok(())
        } else {
            Err("states of a sequence must differ, and leave an input and an output to callers".to_owned())
        }
    }

    /// What callers see of `signature`.
    pub fn visible(&self, signature: &Signature) -> Signature {
        let inputs = signature.inputs.iter().filter(|spec| !self.takes(&spec.name));
        let outputs = signature.outputs.iter().filter(|spec| !self.gives(&spec.name));
        Signature { inputs: inputs.cloned().collect(), outputs: outputs.cloned().collect() }
    }

    /// Bytes that are remembered of a sequence of `rows` rows; none when that is beyond what a machine can hold.
    pub fn bytes(&self, signature: &Signature, rows: usize) -> Option<usize> {
        let own = signature.inputs.iter().filter(|spec| self.takes(&spec.name));
        own.map(|spec| size(spec, rows)).try_fold(0usize, |sum, bytes| sum.checked_add(bytes?))
    }

    /// What a sequence of `rows` rows begins with, in the order of the states.
    ///
    /// # Errors
    /// The size is beyond what a machine can hold.
    pub fn zeros(&self, signature: &Signature, rows: usize) -> Result<Vec<Tensor>, ModelError> {
        let spec = |state: &StateConfig| signature.inputs.iter().find(|spec| spec.name == state.input);
        self.states.iter().filter_map(spec).map(|spec| zeros(spec, rows)).collect()
    }

    /// The inputs of the model: what a caller sent, in the order callers see, with `states` between.
    pub fn join(&self, signature: &Signature, given: Vec<Tensor>, states: &[Tensor]) -> Vec<Tensor> {
        let mut given = given.into_iter();
        let take = |spec: &TensorSpec| match self.states.iter().position(|state| state.input == spec.name) {
            Some(at) => states.get(at).cloned(),
            None => given.next(),
        };
        signature.inputs.iter().filter_map(take).collect()
    }

    /// What a caller gets, and what the next request of the sequence takes.
    pub fn split(&self, signature: &Signature, outputs: Vec<Tensor>) -> (Vec<Tensor>, Vec<Tensor>) {
        let named: Vec<(&TensorSpec, Tensor)> = signature.outputs.iter().zip(outputs).collect();
        let of = |state: &StateConfig| {
            named.iter().find(|(spec, _)| spec.name == state.output).map(|(_, tensor)| tensor.clone())
        };
        let states = self.states.iter().filter_map(of).collect();
        let seen = named.into_iter().filter(|(spec, _)| !self.gives(&spec.name));
        (seen.map(|(_, tensor)| tensor).collect(), states)
    }

    fn takes(&self, input: &str) -> bool {
        self.states.iter().any(|state| state.input == input)
    }

    fn gives(&self, output: &str) -> bool {
        self.states.iter().any(|state| state.output == output)
    }
}

impl StateConfig {
    fn check(&self, signature: &Signature) -> Result<(), String> {
        let Self { input, output } = self;
        let find = |specs: &[TensorSpec], name: &str, side: &str| {
            let spec = specs.iter().find(|spec| spec.name == *name).cloned();
            spec.ok_or_else(|| format!("batching.sequence has the state `{name}`, which is no {side}"))
        };
        let from = find(&signature.inputs, input, "input")?;
        let to = find(&signature.outputs, output, "output")?;
        let fixed = from.dims.iter().skip(1).all(|dim| *dim >= 1);
        if from.dtype != to.dtype || from.dims != to.dims || !fixed || from.dtype.size().is_none() {
            return Err(format!(
                "state `{input}` ({} {:?}) and `{output}` ({} {:?}) must be numbers of one type and one fixed size",
                from.dtype.oip(),
                from.dims,
                to.dtype.oip(),
                to.dims
            ));
        }
        Ok(())
    }
}

fn zeros(spec: &TensorSpec, rows: usize) -> Result<Tensor, ModelError> {
    let bytes = size(spec, rows).ok_or_else(|| ModelError::input(&spec.name, "has too many elements"))?;
    Tensor::new(spec.dtype, shape(spec, rows).collect(), Bytes::from(vec![0; bytes]))
}

fn shape(spec: &TensorSpec, rows: usize) -> impl Iterator<Item = usize> {
    let inner = spec.dims.iter().skip(1).map(|dim| usize::try_from(*dim).unwrap_or(1));
    std::iter::once(rows).chain(inner)
}

fn size(spec: &TensorSpec, rows: usize) -> Option<usize> {
    shape(spec, rows).try_fold(spec.dtype.size()?, usize::checked_mul)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    fn spec(name: &str, dims: &[i64]) -> TensorSpec {
        TensorSpec { name: name.into(), dtype: DType::F32, dims: dims.to_vec(), unit: None, loinc: None }
    }

    fn signature() -> Signature {
        Signature {
            inputs: vec![spec("h", &[-1, 2]), spec("x", &[-1, 1])],
            outputs: vec![spec("y", &[-1, 1]), spec("h2", &[-1, 2])],
        }
    }

    fn config(input: &str, output: &str) -> SequenceConfig {
        SequenceConfig::new(vec![StateConfig { input: input.into(), output: output.into() }])
    }

    #[test]
    fn states_are_there_and_alike_and_leave_something_to_callers() {
        assert_eq!(config("h", "h2").check(&signature()), Ok(()));
        for (input, output, word) in [
            ("z", "h2", "`z`"),
            ("h", "z", "`z`"),
            ("h", "y", "one fixed size"),
            ("x", "h2", "one fixed size"),
        ] {
            let reason = config(input, output).check(&signature()).expect_err("must be refused");
            assert!(reason.contains(word), "{reason}");
        }
        let mut open = signature();
        open.inputs[0].dims[1] = -1;
        open.outputs[1].dims[1] = -1;
        assert!(config("h", "h2").check(&open).is_err());
        let alone = Signature { inputs: vec![spec("h", &[-1, 2])], outputs: vec![spec("h2", &[-1, 2])] };
        assert!(config("h", "h2").check(&alone).is_err());
        let never = SequenceConfig { idle_ms_max: 0, ..config("h", "h2") };
        assert!(never.check(&signature()).is_err_and(|text| text.contains("idle_ms_max")));
    }

    #[test]
    fn callers_see_neither_side_of_the_state() {
        let (config, signature) = (config("h", "h2"), signature());
        let seen = config.visible(&signature);
        assert_eq!((&seen.inputs[..], &seen.outputs[..]), (&signature.inputs[1..], &signature.outputs[..1]));
        let tensor = |values: &[f32]| Tensor::from_f32(vec![1, values.len()], values).expect("shape");
        let zeros = config.zeros(&signature, 1).expect("small");
        assert_eq!(zeros, [tensor(&[0.0, 0.0])]);
        assert_eq!((config.bytes(&signature, 3), config.bytes(&signature, usize::MAX)), (Some(24), None));
        assert_eq!(
            config.join(&signature, vec![tensor(&[5.0])], &zeros),
            [tensor(&[0.0, 0.0]), tensor(&[5.0])]
        );
        let (answer, states) = config.split(&signature, vec![tensor(&[9.0]), tensor(&[1.0, 2.0])]);
        assert_eq!((answer, states), (vec![tensor(&[9.0])], vec![tensor(&[1.0, 2.0])]));
    }
}
