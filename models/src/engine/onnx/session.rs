//! One ONNX Runtime session as a model.

use std::borrow::Cow;

use ort::{
    environment::Environment,
    session::{
        Session, SessionInputValue,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
    value::Outlet,
};

use super::{OnnxOptions, values};
use crate::{Batch, Model, ModelError, Signature, TensorSpec, engine::Device};

pub(super) const FILE: &str = "model.onnx";

struct OnnxModel {
    name: String,
    session: Session,
    signature: Signature,
}

/// Builds a session over `graph` and checks that it has the tensors of `signature`.
pub(super) fn open(
    environment: &Environment,
    options: OnnxOptions,
    name: &str,
    signature: &Signature,
    graph: &[u8],
) -> Result<Box<dyn Model>, ModelError> {
    let session = build(environment, options, graph)
        .map_err(|reason| ModelError::invalid(FILE, format!("the graph cannot be loaded: {reason}")))?;
    check("input", &signature.inputs, session.inputs())?;
    check("output", &signature.outputs, session.outputs())?;
    if session.inputs().len() != signature.inputs.len() {
        let names: Vec<&str> = session.inputs().iter().map(Outlet::name).collect();
        let reason = format!("the graph takes {}, the signature names fewer", names.join(", "));
        return Err(ModelError::invalid(FILE, reason));
    }
    Ok(Box::new(OnnxModel { name: name.to_owned(), session, signature: signature.clone() }))
}

/// Errors of the steps have different types, but all of them only need to be read.
pub(super) fn build(
    environment: &Environment,
    options: OnnxOptions,
    graph: &[u8],
) -> Result<Session, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let builder = Session::builder(environment).map_err(|error| text(&error))?;
    placed(builder, options.device)?
        .with_intra_threads(options.intra_threads.max(1))
        .map_err(|error| text(&error))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|error| text(&error))?
        // Idle threads that spin would take the core from the tasks that feed them.
        .with_config_entry("session.intra_op.allow_spinning", "0")
        .map_err(|error| text(&error))?
        // Small pieces, taken one after another: a thread that is interrupted for those tasks leaves the rest to the others.
        .with_config_entry("session.dynamic_block_base", "4")
        .map_err(|error| text(&error))?
        .commit_from_memory(graph)
        .map_err(|error| text(&error))
}

/// A session that computes on `device`, or fails: never on another without a word.
fn placed(builder: SessionBuilder, device: Device) -> Result<SessionBuilder, String> {
    match device {
        Device::Cpu => Ok(builder),
        Device::Cuda(number) => on_card(builder, number),
    }
}

#[cfg(feature = "cuda")]
fn on_card(builder: SessionBuilder, number: u16) -> Result<SessionBuilder, String> {
    let card = ort::ep::CUDA::default().with_device_id(i32::from(number)).build().error_on_failure();
    builder.with_execution_providers([card]).map_err(|error| error.to_string())
}

#[cfg(not(feature = "cuda"))]
fn on_card(_: SessionBuilder, number: u16) -> Result<SessionBuilder, String> {
    Err(format!("no CUDA device {number}: {}", crate::engine::device::WITHOUT))
}

/// Every tensor of `specs` is in the graph with the same datatype and dimensions that agree.
fn check(side: &str, specs: &[TensorSpec], outlets: &[Outlet]) -> Result<(), ModelError> {
    for spec in specs {
        let fault = |reason: String| ModelError::invalid(FILE, format!("{side} `{}`: {reason}", spec.name));
        let outlet = outlets
            .iter()
            .find(|outlet| outlet.name() == spec.name)
            .ok_or_else(|| fault("is not in the graph".into()))?;
        let dtype = outlet.dtype().tensor_type().and_then(values::dtype);
        if dtype != Some(spec.dtype) {
            return Err(fault(format!("is {} in the graph, not {}", outlet.dtype(), spec.dtype.oip())));
        }
        let shape = outlet.dtype().tensor_shape();
        let dims: Vec<i64> = shape.map(|shape| shape.iter().copied().collect()).unwrap_or_default();
        let agree = |(graph, signature): (&i64, &i64)| *graph < 0 || *signature < 0 || graph == signature;
        if dims.len() != spec.dims.len() || !dims.iter().zip(&spec.dims).all(agree) {
            return Err(fault(format!("has dimensions {dims:?} in the graph, not {:?}", spec.dims)));
        }
    }
    Ok(())
}

impl Model for OnnxModel {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        let failed = |error: String| ModelError::Run { model: self.name.clone(), reason: error };
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(batch.tensors.len());
        for (spec, tensor) in self.signature.inputs.iter().zip(&batch.tensors) {
            values::check_strings(tensor).map_err(|reason| ModelError::input(&spec.name, reason))?;
            inputs.push((spec.name.as_str().into(), values::input(tensor).map_err(&failed)?));
        }
        let outputs = self.session.run(inputs).map_err(|error| failed(error.to_string()))?;
        let mut tensors = Vec::with_capacity(self.signature.outputs.len());
        for spec in &self.signature.outputs {
            let value = outputs.get(&spec.name).ok_or_else(|| failed(format!("gave no `{}`", spec.name)))?;
            tensors.push(values::output(value, spec.dtype).map_err(&failed)?);
        }
        Ok(Batch { tensors })
    }
}
