//! One inference over gRPC. Answers are always raw: the widely used Python client reads nothing else.

use std::time::Instant;

use proto::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    model_infer_response::InferOutputTensor,
};

use super::{
    Oip,
    decode::{self, Subject, WireData, WireTensor},
    memory::{self, Reader, Window},
    outputs::{self, Delivered},
    parameters::{Parameter, TensorParameters},
};
use crate::{
    InferError, Terms,
    server::requests::{self, Noted, Times},
};

/// Runs `request` on `terms`, to which its parameters may add, and leaves a line in the log where one is wanted.
pub(super) async fn noted(
    rpc: &'static str,
    oip: &Oip,
    mut request: ModelInferRequest,
    terms: Terms,
) -> Result<ModelInferResponse, InferError> {
    let (began, trace, mut times) = (Instant::now(), terms.trace, Times::default());
    let (model, id) = (std::mem::take(&mut request.model_name), std::mem::take(&mut request.id));
    let subject = Subject { model: &model, id: &id };
    let result = infer(oip, subject, request, terms, &mut times).await;
    let error = result.as_ref().err().map(InferError::code);
    requests::ended(&Noted { rpc, id: &id, model: &model, trace, began }, error, &times);
    result.map(|response| ModelInferResponse { model_name: model, id, ..response })
}

async fn infer(
    oip: &Oip,
    subject: Subject<'_>,
    request: ModelInferRequest,
    mut terms: Terms,
    times: &mut Times,
) -> Result<ModelInferResponse, InferError> {
    let ModelInferRequest {
        model_name: _,
        model_version,
        id: _,
        parameters,
        inputs,
        outputs,
        raw_input_contents,
    } = request;
    let Subject { model, id } = subject;
    let handle = oip.handle();
    for (name, parameter) in &parameters {
        terms.apply(name, Parameter::of_message(parameter))?;
    }
    let route = handle.route(model, given(&model_version), &terms.caller, id)?;
    let served = route.served();
    let signature = served.signature();
    let asked = asked(&outputs)?;
    let wanted = outputs::wanted(subject, signature, oip.regions(), asked.into_iter())?;
    let wires = wires(oip, subject, inputs, raw_input_contents).await?;
    let tensors = decode::inputs(subject, served, wires)?;
    let trace = terms.trace;
    let answer = handle.infer_by(&route, tensors, terms).await?;
    times.of(&answer);
    oip.trace().observe(id, trace, &answer);
    let mut response = ModelInferResponse {
        model_version: answer.version.to_string(),
        outputs: Vec::with_capacity(wanted.len()),
        raw_output_contents: Vec::with_capacity(wanted.len()),
        ..ModelInferResponse::default()
    };
    for Delivered { name, tensor, stored } in outputs::deliver(served, &wanted, &answer).await? {
        response.outputs.push(InferOutputTensor {
            name: name.to_owned(),
            datatype: tensor.dtype().oip().to_owned(),
            shape: outputs::shape(&tensor),
            parameters: stored.map(|window| told(window, tensor.data().len())).unwrap_or_default(),
            contents: None,
        });
        // One entry for each output, so that the places agree.
        let raw = if stored.is_some() { bytes::Bytes::new() } else { tensor.data().clone() };
        response.raw_output_contents.push(raw);
    }
    Ok(response)
}

/// Every input with its bytes.
async fn wires(
    oip: &Oip,
    subject: Subject<'_>,
    inputs: Vec<InferInputTensor>,
    raw: Vec<bytes::Bytes>,
) -> Result<Vec<WireTensor>, InferError> {
    let bytes_max = oip.handle().limits().request_bytes_max;
    // Only parameters can say that an input lies in shared memory.
    if oip.regions().is_none() || inputs.iter().all(|input| input.parameters.is_empty()) {
        return wire_tensors(subject, inputs, raw, bytes_max, &mut Reader::new(oip.regions(), bytes_max));
    }
    let (oip, model, id) = (oip.clone(), subject.model.to_owned(), subject.id.to_owned());
    memory::copying(move || {
        let reader = &mut Reader::new(oip.regions(), bytes_max);
        wire_tensors(Subject { model: &model, id: &id }, inputs, raw, bytes_max, reader)
    })
    .await
}

/// An empty version stands for the one that serves.
pub(super) fn given(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

pub(super) fn asked(
    outputs: &[InferRequestedOutputTensor],
) -> Result<Vec<(&str, TensorParameters)>, InferError> {
    let read = |output: &InferRequestedOutputTensor| read(&output.name, &output.parameters);
    outputs.iter().map(|output| Ok((output.name.as_str(), read(output)?))).collect()
}

fn read(
    tensor: &str,
    parameters: &std::collections::HashMap<String, InferParameter>,
) -> Result<TensorParameters, InferError> {
    let given = parameters.iter().map(|(name, value)| (name.as_str(), Parameter::of_message(value)));
    TensorParameters::read(tensor, given)
}

/// Where an output was put.
fn told(window: &Window, bytes: usize) -> std::collections::HashMap<String, InferParameter> {
    let parameter = |choice| InferParameter { parameter_choice: Some(choice) };
    let whole = |value: u64| parameter(ParameterChoice::Int64Param(i64::try_from(value).unwrap_or(i64::MAX)));
    let region = parameter(ParameterChoice::StringParam(window.region().to_owned()));
    [
        ("shared_memory_region", region),
        ("shared_memory_offset", whole(window.offset())),
        ("shared_memory_byte_size", whole(bytes as u64)),
    ]
    .map(|(name, parameter)| (name.to_owned(), parameter))
    .into()
}

/// Pairs every input with its bytes: raw, typed or in shared memory. Those in shared memory have no raw entry.
pub(super) fn wire_tensors(
    subject: Subject<'_>,
    inputs: Vec<InferInputTensor>,
    raw: Vec<bytes::Bytes>,
    bytes_max: usize,
    reader: &mut Reader<'_>,
) -> Result<Vec<WireTensor>, InferError> {
    let (raw_used, raw_count, input_count) = (!raw.is_empty(), raw.len(), inputs.len());
    let uneven = |want: usize| {
        let text = format!("raw_input_contents has {raw_count} entries for {want} inputs");
        subject.fault(&text)
    };
    if raw_count > input_count {
        return Err(uneven(input_count));
    }
    if raw.iter().map(bytes::Bytes::len).sum::<usize>() > bytes_max {
        return Err(InferError::TooLarge { what: "raw_input_contents".into(), limit_bytes: bytes_max });
    }
    let mut raw = raw.into_iter();
    let mut wires = Vec::with_capacity(input_count);
    let mut stored = 0;
    for input in inputs {
        let InferInputTensor { name, datatype, shape, parameters, contents } = input;
        let TensorParameters { place, classes } = read(&name, &parameters)?;
        if classes.is_some() {
            return Err(InferError::input(name, "classification is asked of an output"));
        }
        let data = match (place, contents) {
            (Some(place), None) => {
                stored += 1;
                WireData::Raw(reader.read(&name, &place)?)
            }
            (Some(_), Some(_)) => {
                let text = format!("contents field must not be specified for '{name}' in shared memory");
                return Err(subject.fault(&text));
            }
            (None, None) if raw_used => match raw.next() {
                Some(bytes) => WireData::Raw(bytes),
                None => return Err(uneven(input_count - stored)),
            },
            (None, Some(_)) if raw_used => {
                return Err(subject.fault(&format!(
                    "contents field must not be specified when using raw_input_contents for '{name}' for model '{}'",
                    subject.model
                )));
            }
            (None, contents) => WireData::Typed(contents.unwrap_or_default()),
        };
        wires.push(WireTensor { name, datatype, shape, data });
    }
    if raw.next().is_some() {
        return Err(uneven(input_count - stored));
    }
    Ok(wires)
}
