//! Which outputs a request gets, and in which order.

use models::{Signature, Tensor};

use super::decode::Subject;
use crate::InferError;

/// Places in the signature of the outputs named, in the order asked for; all of them when
/// none is named. Unknown and repeated names are refused.
pub(super) fn places<'a>(
    subject: Subject<'_>,
    signature: &Signature,
    names: impl ExactSizeIterator<Item = &'a str>,
) -> Result<Vec<usize>, InferError> {
    if names.len() == 0 {
        return Ok((0..signature.outputs.len()).collect());
    }
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let place = signature.outputs.iter().position(|spec| spec.name == name);
        match place.filter(|place| !places.contains(place)) {
            Some(place) => places.push(place),
            None => {
                let text = format!("unexpected inference output '{name}' for model '{}'", subject.model);
                return Err(subject.fault(&text));
            }
        }
    }
    Ok(places)
}

/// Shape as the wire has it.
pub(super) fn shape(tensor: &Tensor) -> Vec<i64> {
    tensor.shape().iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect()
}
