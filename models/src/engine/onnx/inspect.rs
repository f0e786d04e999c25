//! What a graph says it takes and gives, before anybody has written a signature for it.

use ort::{environment::Environment, value::Outlet};

use super::{OnnxOptions, session, values};
use crate::{ModelError, Signature, TensorSpec};

/// The tensors of `graph` in its own order.
pub(super) fn inspect(
    environment: &Environment,
    options: OnnxOptions,
    graph: &[u8],
) -> Result<Signature, ModelError> {
    let session = session::build(environment, options, graph).map_err(|reason| {
        ModelError::invalid(session::FILE, format!("the graph cannot be loaded: {reason}"))
    })?;
    let specs = |side: &str, outlets: &[Outlet]| {
        outlets.iter().map(|outlet| spec(side, outlet)).collect::<Result<Vec<_>, _>>()
    };
    Ok(Signature { inputs: specs("input", session.inputs())?, outputs: specs("output", session.outputs())? })
}

fn spec(side: &str, outlet: &Outlet) -> Result<TensorSpec, ModelError> {
    let dtype = outlet.dtype().tensor_type().and_then(values::dtype).ok_or_else(|| {
        let reason = format!("{side} `{}` is {}, which cannot be served", outlet.name(), outlet.dtype());
        ModelError::invalid(session::FILE, reason)
    })?;
    let dims = outlet.dtype().tensor_shape().map(|shape| shape.iter().copied().collect());
    Ok(TensorSpec {
        name: outlet.name().to_owned(),
        dtype,
        dims: dims.unwrap_or_default(),
        unit: None,
        loinc: None,
    })
}
