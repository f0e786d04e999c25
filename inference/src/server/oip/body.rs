//! Bodies of the REST face: JSON, optionally followed by the bytes of its tensors.
//!
//! With the header `Inference-Header-Content-Length` the body is that many bytes of JSON and
//! then, in the order of the JSON, the bytes of every tensor that has a `binary_data_size`.
//! The value 0 means that the whole body is the one input of the model.

use bytes::Bytes;
use models::Signature;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    decode::{WireData, WireTensor},
    elements::{Elements, Written},
    memory::{Reader, Window},
    outputs::{self, Delivered},
    parameters::{Parameter, TensorParameters},
};
use crate::{InferError, Response, Terms};

/// What a body asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    pub(super) id: String,
    pub(super) terms: Terms,
    pub(crate) inputs: Vec<WireTensor>,
    pub(super) outputs: Vec<AskedOutput>,
    /// Whether outputs that say nothing else are sent as bytes.
    pub(super) binary: bool,
}

/// One output by name.
#[derive(Debug, PartialEq)]
pub(super) struct AskedOutput {
    pub(super) name: String,
    binary: Option<bool>,
    pub(super) parameters: TensorParameters,
}

#[derive(Deserialize)]
struct RequestJson {
    #[serde(default)]
    id: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<InputJson>,
    #[serde(default)]
    outputs: Vec<OutputJson>,
}

#[derive(Deserialize)]
struct InputJson {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    #[serde(default)]
    parameters: Map<String, Value>,
    data: Option<Elements>,
}

#[derive(Deserialize)]
struct OutputJson {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Reads a body whose JSON part has `header_bytes`, or is the whole body, and what of its inputs lies in shared
/// memory.
pub(crate) fn read(
    body: &Bytes,
    header_bytes: Option<usize>,
    signature: &Signature,
    reader: &mut Reader<'_>,
) -> Result<Asked, InferError> {
    if header_bytes == Some(0) {
        return read_raw(body.clone(), signature);
    }
    let end = header_bytes.unwrap_or(body.len());
    let Some(json) = body.get(..end) else {
        let text = format!("Inference-Header-Content-Length is {end}, but the body has {} bytes", body.len());
        return Err(InferError::Malformed(text));
    };
    let request: RequestJson = serde_json::from_slice(json).map_err(|error| {
        InferError::Malformed(format!("failed to parse the request JSON buffer: {error}"))
    })?;
    let mut rest = body.slice(end..);
    let inputs = request.inputs.into_iter().map(|input| read_input(input, &mut rest, reader));
    let inputs = inputs.collect::<Result<_, _>>()?;
    if !rest.is_empty() {
        return Err(InferError::Malformed(format!(
            "the body has {} bytes that belong to no input",
            rest.len()
        )));
    }
    let mut terms = Terms::default();
    for (name, value) in &request.parameters {
        terms.apply(name, Parameter::of_json(value))?;
    }
    let outputs = request.outputs.into_iter().map(read_output).collect::<Result<_, _>>()?;
    let binary = request.parameters.get("binary_data_output").and_then(Value::as_bool).unwrap_or(false);
    Ok(Asked { id: request.id, terms, inputs, outputs, binary })
}

fn read_input(input: InputJson, rest: &mut Bytes, reader: &mut Reader<'_>) -> Result<WireTensor, InferError> {
    let InputJson { name, datatype, shape, parameters, data } = input;
    let TensorParameters { place, classes } = parameters_of(&name, &parameters)?;
    if classes.is_some() {
        return Err(InferError::input(name, "classification is asked of an output"));
    }
    let data = match (parameters.get("binary_data_size"), data) {
        (None, None) if place.is_some() => {
            let bytes = place.map(|place| reader.read(&name, &place)).transpose()?;
            WireData::Raw(bytes.unwrap_or_default())
        }
        _ if place.is_some() => {
            return Err(InferError::input(name, "lies in shared memory and has data besides"));
        }
        (None, Some(elements)) => {
            let short = InferError::input(
                &name,
                "Unable to parse 'data': Shape does not match true shape of 'data' field",
            );
            if elements.len() != count(&shape).ok_or(InferError::input(&name, SHAPE))? {
                return Err(short);
            }
            WireData::Json(elements)
        }
        (None, None) => return Err(InferError::input(name, "has neither data nor binary_data_size")),
        (Some(_), Some(_)) => return Err(InferError::input(name, "has both data and binary_data_size")),
        (Some(size), None) => {
            let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
            match size.filter(|size| *size <= rest.len()) {
                Some(size) => WireData::Raw(rest.split_to(size)),
                None => {
                    let reason =
                        format!("binary_data_size must be a number up to the {} bytes left", rest.len());
                    return Err(InferError::input(name, reason));
                }
            }
        }
    };
    Ok(WireTensor { name, datatype, shape, data })
}

const SHAPE: &str = "shape must have sizes that are not negative and not too large";

fn count(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))
}

fn read_output(output: OutputJson) -> Result<AskedOutput, InferError> {
    let OutputJson { name, parameters } = output;
    let binary = parameters.get("binary_data").and_then(Value::as_bool);
    let parameters = parameters_of(&name, &parameters)?;
    Ok(AskedOutput { name, binary, parameters })
}

fn parameters_of(tensor: &str, parameters: &Map<String, Value>) -> Result<TensorParameters, InferError> {
    TensorParameters::read(
        tensor,
        parameters.iter().map(|(name, value)| (name.as_str(), Parameter::of_json(value))),
    )
}

/// The whole body as the only input; its rows follow from its size.
fn read_raw(body: Bytes, signature: &Signature) -> Result<Asked, InferError> {
    let [spec] = signature.inputs.as_slice() else {
        let text =
            format!("a raw binary request needs a model with one input, not {}", signature.inputs.len());
        return Err(InferError::Malformed(text));
    };
    let inner: Vec<i64> = spec.dims.iter().skip(1).map(|dim| (*dim).max(1)).collect();
    let row_bytes = count(&inner).and_then(|count| count.checked_mul(spec.dtype.size()?));
    let rows = row_bytes.filter(|bytes| *bytes > 0).map_or(1, |bytes| body.len() / bytes);
    let shape = std::iter::once(i64::try_from(rows).unwrap_or(i64::MAX)).chain(inner).collect();
    let input = WireTensor {
        name: spec.name.clone(),
        datatype: spec.dtype.oip().to_owned(),
        shape,
        data: WireData::Raw(body),
    };
    Ok(Asked {
        id: String::new(),
        terms: Terms::default(),
        inputs: vec![input],
        outputs: Vec::new(),
        binary: true,
    })
}

#[derive(Serialize)]
struct ResponseJson<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    outputs: Vec<WrittenOutput<'a>>,
}

#[derive(Serialize)]
struct WrittenOutput<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Placing<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Written<'a>>,
}

/// Where the elements are that do not stand in the JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Placing<'a> {
    Behind { binary_data_size: usize },
    Stored { shared_memory_region: &'a str, shared_memory_offset: u64, shared_memory_byte_size: usize },
}

/// A body and, when bytes follow the JSON, the length of the JSON.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    pub(super) header_bytes: Option<usize>,
}

/// Writes `outputs` of `response`, each as JSON, as bytes or as the place it was put to, as `asked`.
pub(super) fn write(
    asked: &Asked,
    outputs: &[Delivered<'_>],
    response: &Response,
) -> Result<Answer, InferError> {
    let wants_bytes =
        |at: usize| asked.outputs.get(at).and_then(|output| output.binary).unwrap_or(asked.binary);
    let behind = |at: usize| outputs[at].stored.is_none() && wants_bytes(at);
    let written = outputs.iter().enumerate().map(|(at, Delivered { name, tensor, stored })| {
        let bytes = tensor.data().len();
        let parameters = match stored {
            Some(window) => Some(stored_at(window, bytes)),
            None => behind(at).then_some(Placing::Behind { binary_data_size: bytes }),
        };
        let data = parameters.is_none().then_some(Written(tensor));
        let shape = outputs::shape(tensor);
        WrittenOutput { name, datatype: tensor.dtype().oip(), shape, parameters, data }
    });
    let json = ResponseJson {
        model_name: &response.model,
        model_version: &response.version,
        id: &asked.id,
        outputs: written.collect(),
    };
    // The one way this fails is a datatype without a JSON form.
    let mut body = serde_json::to_vec(&json).map_err(|error| InferError::Malformed(error.to_string()))?;
    let header_bytes = (0..outputs.len()).any(behind).then_some(body.len());
    for (_, output) in outputs.iter().enumerate().filter(|(at, _)| behind(*at)) {
        body.extend_from_slice(output.tensor.data());
    }
    Ok(Answer { body, header_bytes })
}

fn stored_at(window: &Window, bytes: usize) -> Placing<'_> {
    Placing::Stored {
        shared_memory_region: window.region(),
        shared_memory_offset: window.offset(),
        shared_memory_byte_size: bytes,
    }
}
