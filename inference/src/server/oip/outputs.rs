//! Which outputs a request gets, in which order, and in which form: as they are, as classes, or put into shared
//! memory.

use std::borrow::Cow;

use models::{Signature, Tensor};

use super::{
    classify,
    decode::Subject,
    memory::{self, Regions, Window, enabled},
    parameters::TensorParameters,
};
use crate::{InferError, Response, Served};

/// One output as it was asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Place in the signature.
    place: usize,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Tensor,
    Classes(usize),
    Stored(Window),
}

/// One output of an answer.
#[derive(Debug)]
pub(super) struct Delivered<'a> {
    pub(super) name: &'a str,
    pub(super) tensor: Cow<'a, Tensor>,
    /// Where the elements are, when they are not in the answer.
    pub(super) stored: Option<&'a Window>,
}

/// The outputs named, in the order asked for; all of them when none is named. Unknown and repeated names are
/// refused.
pub(super) fn wanted<'a>(
    subject: Subject<'_>,
    signature: &Signature,
    regions: Option<&Regions>,
    asked: impl ExactSizeIterator<Item = (&'a str, TensorParameters)>,
) -> Result<Vec<Wanted>, InferError> {
    if asked.len() == 0 {
        return Ok((0..signature.outputs.len()).map(|place| Wanted { place, form: Form::Tensor }).collect());
    }
    let mut wanted: Vec<Wanted> = Vec::with_capacity(asked.len().min(signature.outputs.len()));
    for (name, parameters) in asked {
        let place = signature.outputs.iter().position(|spec| spec.name == name);
        let Some(place) = place.filter(|place| wanted.iter().all(|other| other.place != *place)) else {
            let text = format!("unexpected inference output '{name}' for model '{}'", subject.model);
            return Err(subject.fault(&text));
        };
        let form = match parameters {
            TensorParameters { place: Some(place), classes: _ } => {
                Form::Stored(enabled(regions)?.window(name, &place)?)
            }
            TensorParameters { place: None, classes: Some(count) } => Form::Classes(count),
            TensorParameters { place: None, classes: None } => Form::Tensor,
        };
        wanted.push(Wanted { place, form });
    }
    Ok(wanted)
}

/// Puts the outputs of `response` into the form they are wanted in.
pub(super) async fn deliver<'a>(
    served: &'a Served,
    wanted: &'a [Wanted],
    response: &'a Response,
) -> Result<Vec<Delivered<'a>>, InferError> {
    let signature = served.signature();
    store(signature, wanted, response).await?;
    let deliver = |Wanted { place, form }: &'a Wanted| {
        let (spec, tensor) = (&signature.outputs[*place], &response.tensors[*place]);
        let delivered = Delivered { name: &spec.name, tensor: Cow::Borrowed(tensor), stored: None };
        Ok(match form {
            Form::Tensor => delivered,
            Form::Classes(count) => {
                // Labels are those of the first output.
                let labels = served.bundle().filter(|_| *place == 0);
                let labels = labels.map_or(&[][..], |bundle| &bundle.config().labels);
                Delivered {
                    tensor: Cow::Owned(classify::top(&spec.name, tensor, *count, labels)?),
                    ..delivered
                }
            }
            Form::Stored(window) => Delivered { stored: Some(window), ..delivered },
        })
    };
    wanted.iter().map(deliver).collect()
}

/// Writes the outputs that go into shared memory: all of them or, when one has no room, none.
async fn store(signature: &Signature, wanted: &[Wanted], response: &Response) -> Result<(), InferError> {
    let mut copies = Vec::new();
    for Wanted { place, form } in wanted {
        if let Form::Stored(window) = form {
            let bytes = response.tensors[*place].data();
            window.check_room(&signature.outputs[*place].name, bytes.len())?;
            copies.push((window.clone(), bytes.clone()));
        }
    }
    if copies.is_empty() {
        return Ok(());
    }
    let copy = move || copies.iter().try_for_each(|(window, bytes)| window.write(bytes));
    memory::copying(copy).await
}

/// Shape as the wire has it.
pub(super) fn shape(tensor: &Tensor) -> Vec<i64> {
    tensor.shape().iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect()
}
