//! `golden.safetensors`: a few inputs and the outputs the model gave for them when it was made.
//! A loaded model that does not give them again is not the model that was measured.

use std::collections::BTreeMap;

use super::safetensors::{from_safetensors, to_safetensors};
use super::{GOLDEN_FILE, LengthConfig};
use crate::{Batch, Model, ModelError, Signature, Tensor, TensorSpec};

/// Most rows of a golden file; every load runs them.
pub const GOLDEN_ROWS_MAX: usize = 64;

/// Inputs and the outputs expected for them, each in signature order.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

impl Golden {
    /// Runs `model` on `inputs` and keeps what it gives.
    pub fn record(
        model: &mut dyn Model,
        signature: &Signature,
        inputs: Vec<Tensor>,
    ) -> Result<Self, ModelError> {
        let rows = signature.check_inputs(&inputs)?;
        if rows > GOLDEN_ROWS_MAX {
            return Err(ModelError::input("golden", format!("has {rows} rows, at most {GOLDEN_ROWS_MAX}")));
        }
        let outputs = model.run(Batch { tensors: inputs.clone() })?.tensors;
        let golden = Self { inputs, outputs };
        golden.check(signature)?;
        Ok(golden)
    }

    /// Outputs that are known from elsewhere, for example from the program that the weights were published with.
    pub fn new(signature: &Signature, inputs: Vec<Tensor>, outputs: Vec<Tensor>) -> Result<Self, ModelError> {
        let golden = Self { inputs, outputs };
        golden.check(signature)?;
        Ok(golden)
    }

    /// Inputs in signature order.
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// Expected outputs in signature order.
    pub fn outputs(&self) -> &[Tensor] {
        &self.outputs
    }

    /// Content of `golden.safetensors`.
    pub fn to_bytes(&self, signature: &Signature) -> Result<Vec<u8>, ModelError> {
        let named = |prefix: &'static str, specs: &[TensorSpec]| {
            specs.iter().map(move |spec| format!("{prefix}.{}", spec.name)).collect::<Vec<_>>()
        };
        let inputs = named("in", &signature.inputs).into_iter().zip(&self.inputs);
        let outputs = named("out", &signature.outputs).into_iter().zip(&self.outputs);
        to_safetensors(inputs.chain(outputs))
    }

    /// Reads `golden.safetensors` and checks it against the signature.
    pub fn from_bytes(content: &[u8], signature: &Signature) -> Result<Self, ModelError> {
        let mut tensors = from_safetensors(GOLDEN_FILE, content)?;
        let inputs = take(&mut tensors, "in", &signature.inputs)?;
        let outputs = take(&mut tensors, "out", &signature.outputs)?;
        if let Some(name) = tensors.keys().next() {
            let reason = format!("has tensor `{name}`, which is not in the signature");
            return Err(ModelError::invalid(GOLDEN_FILE, reason));
        }
        let golden = Self { inputs, outputs };
        golden.check(signature)?;
        Ok(golden)
    }

    fn check(&self, signature: &Signature) -> Result<(), ModelError> {
        let fault = |error: ModelError| ModelError::invalid(GOLDEN_FILE, error.to_string());
        let rows = signature.check_inputs(&self.inputs).map_err(fault)?;
        if rows > GOLDEN_ROWS_MAX {
            let reason = format!("has {rows} rows, at most {GOLDEN_ROWS_MAX}");
            return Err(ModelError::invalid(GOLDEN_FILE, reason));
        }
        signature.check_outputs(&self.outputs, rows).map_err(fault)?;
        let tensors = self.inputs.iter().chain(&self.outputs);
        let specs = signature.inputs.iter().chain(&signature.outputs);
        for (tensor, spec) in tensors.zip(specs) {
            if let Some(at) = tensor.first_non_finite() {
                let reason = format!("`{}` is not finite at element {at}", spec.name);
                return Err(ModelError::invalid(GOLDEN_FILE, reason));
            }
        }
        Ok(())
    }

    /// Runs `model` and compares: no element may differ by more than
    /// `tolerance × max(1, |expected|)`.
    pub fn verify(
        &self,
        model: &mut dyn Model,
        signature: &Signature,
        tolerance: f64,
    ) -> Result<(), ModelError> {
        let got = model.run(Batch { tensors: self.inputs.clone() })?;
        self.compare(&got.tensors, signature, tolerance, "")
    }

    /// The same with the inputs filled up to a longer length, where there is one: what a model says must not depend
    /// on who stood beside it in a batch.
    pub fn verify_filled(
        &self,
        model: &mut dyn Model,
        signature: &Signature,
        lengths: &LengthConfig,
        tolerance: f64,
    ) -> Result<(), ModelError> {
        let Some((tensors, length)) = lengths.overfill(signature, self.inputs.clone())? else {
            return Ok(());
        };
        let got = model.run(Batch { tensors })?;
        let got = lengths.cut(signature, got.tensors, length)?;
        self.compare(&got, signature, tolerance, " with its input filled up")
    }

    fn compare(
        &self,
        got: &[Tensor],
        signature: &Signature,
        tolerance: f64,
        how: &str,
    ) -> Result<(), ModelError> {
        let fault = |reason: String| ModelError::invalid(GOLDEN_FILE, reason);
        if got.len() != self.outputs.len() {
            return Err(fault(format!("model gave {} outputs", got.len())));
        }
        for ((got, want), spec) in got.iter().zip(&self.outputs).zip(&signature.outputs) {
            compare(got, want, tolerance)
                .map_err(|reason| fault(format!("output `{}`{how} {reason}", spec.name)))?;
        }
        Ok(())
    }
}

fn take(
    tensors: &mut BTreeMap<String, Tensor>,
    prefix: &str,
    specs: &[TensorSpec],
) -> Result<Vec<Tensor>, ModelError> {
    let take = |spec: &TensorSpec| {
        let name = format!("{prefix}.{}", spec.name);
        tensors
            .remove(&name)
            .ok_or_else(|| ModelError::invalid(GOLDEN_FILE, format!("has no tensor `{name}`")))
    };
    specs.iter().map(take).collect()
}

fn compare(got: &Tensor, want: &Tensor, tolerance: f64) -> Result<(), String> {
    if (got.dtype(), got.shape()) != (want.dtype(), want.shape()) {
        return Err(format!("has shape {:?}, expected {:?}", got.shape(), want.shape()));
    }
    let (Some(got), Some(want)) = (got.to_f64(), want.to_f64()) else {
        return if got.data() == want.data() { Ok(()) } else { Err("differs".to_owned()) };
    };
    for (at, (got, want)) in got.iter().zip(&want).enumerate() {
        let distance = (got - want).abs() / want.abs().max(1.0);
        // Written so that a distance that is not a number fails.
        let near = distance <= tolerance;
        if !near {
            return Err(format!(
                "is {got} at element {at}, expected {want}: {distance:.3e} apart, tolerance {tolerance:.3e}"
            ));
        }
    }
    Ok(())
}
