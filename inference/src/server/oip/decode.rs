//! From named wire tensors to the tensors of a signature. Both faces of the protocol end
//! here, so both refuse the same requests with the same words. Where clients match on the
//! wording of the reference server, the wording is kept.

use bytes::Bytes;
use models::{DType, Signature, Tensor, TensorSpec};
use proto::inference::InferTensorContents;

use super::{elements::Elements, typed};
use crate::{InferError, Served};

/// Elements of a tensor as they came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WireData {
    /// Little-endian bytes.
    Raw(Bytes),
    /// Fields of the gRPC message.
    Typed(InferTensorContents),
    /// JSON, flattened.
    Json(Elements),
}

/// A tensor as it came, nothing checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WireTensor {
    pub(crate) name: String,
    pub(crate) datatype: String,
    pub(crate) shape: Vec<i64>,
    pub(crate) data: WireData,
}

/// What the request is about, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) model: &'a str,
    /// Request id; empty when the caller gave none.
    pub(crate) id: &'a str,
}

impl Subject<'_> {
    /// A caller's mistake, with the request id in front.
    pub(crate) fn fault(&self, text: &str) -> InferError {
        let id = if self.id.is_empty() { "<id_unknown>" } else { self.id };
        InferError::Malformed(format!("[request id: {id}] {text}"))
    }
}

/// Checks `wires` against what `served` takes and gives its tensors in signature order. A mask that was not sent says that
/// all is real.
pub(crate) fn inputs(
    subject: Subject<'_>,
    served: &Served,
    wires: Vec<WireTensor>,
) -> Result<Vec<Tensor>, InferError> {
    let signature = served.signature();
    let lengths = served.batching().lengths.as_ref();
    match lengths.filter(|lengths| !wires.iter().any(|wire| wire.name == lengths.mask)) {
        None => tensors(subject, signature, wires),
        Some(lengths) => {
            let mut without = signature.clone();
            without.inputs.retain(|spec| spec.name != lengths.mask);
            let mut tensors = tensors(subject, &without, wires)?;
            let (at, mask) = lengths.missing(signature, &tensors)?;
            tensors.insert(at, mask);
            Ok(tensors)
        }
    }
}

/// Checks `wires` against `signature` and gives its tensors in signature order.
pub(crate) fn tensors(
    subject: Subject<'_>,
    signature: &Signature,
    mut wires: Vec<WireTensor>,
) -> Result<Vec<Tensor>, InferError> {
    if wires.len() != signature.inputs.len() {
        return Err(count_fault(subject, signature, &wires));
    }
    let mut tensors = Vec::with_capacity(wires.len());
    for spec in &signature.inputs {
        let Some(index) = wires.iter().position(|wire| wire.name == spec.name) else {
            return Err(unexpected_input(subject, signature, &wires));
        };
        tensors.push(tensor(subject, spec, wires.swap_remove(index))?);
    }
    Ok(tensors)
}

fn count_fault(subject: Subject<'_>, signature: &Signature, wires: &[WireTensor]) -> InferError {
    let got = list(wires.iter().map(|wire| wire.name.as_str()));
    let absent = |spec: &&TensorSpec| !wires.iter().any(|wire| wire.name == spec.name);
    let missing = list(signature.inputs.iter().filter(absent).map(|spec| spec.name.as_str()));
    let (want, count, model) = (signature.inputs.len(), wires.len(), subject.model);
    let text =
        format!("expected {want} inputs but got {count} inputs for model '{model}'. Got input(s) [{got}]");
    if missing.is_empty() {
        return subject.fault(&format!("{text}."));
    }
    let text =
        format!("{text}, but missing required input(s) [{missing}]. Please provide all required input(s).");
    subject.fault(&text)
}

fn unexpected_input(subject: Subject<'_>, signature: &Signature, wires: &[WireTensor]) -> InferError {
    let known = |name: &str| signature.inputs.iter().any(|spec| spec.name == name);
    // All names known and one absent means that another came twice.
    let name = wires.iter().map(|wire| wire.name.as_str()).find(|name| !known(name));
    match name {
        Some(name) => {
            subject.fault(&format!("unexpected inference input '{name}' for model '{}'", subject.model))
        }
        None => subject.fault(&format!("an inference input is given twice for model '{}'", subject.model)),
    }
}

fn tensor(subject: Subject<'_>, spec: &TensorSpec, wire: WireTensor) -> Result<Tensor, InferError> {
    let WireTensor { name, datatype, shape, data } = wire;
    let model = subject.model;
    if datatype != spec.dtype.oip() {
        return Err(subject.fault(&format!(
            "inference input '{name}' data-type is '{datatype}', but model '{model}' expects '{}'",
            spec.dtype.oip()
        )));
    }
    let sizes: Option<Vec<usize>> = shape.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let Some(sizes) = sizes.filter(|sizes| spec.fits(sizes)) else {
        return Err(subject.fault(&format!(
            "unexpected shape for input '{name}' for model '{model}'. Expected {}, got {}",
            dims(&spec.dims),
            dims(&shape)
        )));
    };
    let data = match data {
        WireData::Raw(bytes) => bytes,
        WireData::Typed(contents) => typed::bytes(&name, spec.dtype, &contents)?,
        WireData::Json(elements) => elements.into_bytes(&name, spec.dtype)?,
    };
    check_size(subject, &name, spec.dtype, &sizes, data.len())?;
    check_values(&name, spec.dtype, &data)?;
    let large = data.len() >= LARGE_BYTES;
    let tensor = Tensor::new(spec.dtype, sizes, data);
    let tensor = tensor.map_err(|error| InferError::input(name, error.to_string()))?;
    // While one picture is computed the next is read: better moved here than where all cores wait for it.
    Ok(if large { tensor.aligned() } else { tensor })
}

/// From this size on a tensor is made ready for the engine as it is read.
const LARGE_BYTES: usize = 64 << 10;

fn check_size(
    subject: Subject<'_>,
    name: &str,
    dtype: DType,
    sizes: &[usize],
    got: usize,
) -> Result<(), InferError> {
    let Some(size) = dtype.size() else { return Ok(()) };
    match sizes.iter().try_fold(size, |bytes, dim| bytes.checked_mul(*dim)) {
        Some(want) if want == got => Ok(()),
        Some(want) => Err(subject.fault(&format!(
            "input byte size mismatch for input '{name}' for model '{}'. Expected {want}, got {got}",
            subject.model
        ))),
        None => Err(InferError::input(name, "shape has too many elements")),
    }
}

/// Refuses numbers that are not finite and booleans that are neither 0 nor 1.
fn check_values(name: &str, dtype: DType, data: &[u8]) -> Result<(), InferError> {
    let bad = match dtype {
        DType::F32 => non_finite(data, |bytes: [u8; 4]| u64::from(u32::from_le_bytes(bytes)), 0x7f80_0000),
        DType::F64 => non_finite(data, u64::from_le_bytes, 0x7ff0_0000_0000_0000),
        DType::F16 => non_finite(data, |bytes: [u8; 2]| u64::from(u16::from_le_bytes(bytes)), 0x7c00),
        DType::Bf16 => non_finite(data, |bytes: [u8; 2]| u64::from(u16::from_le_bytes(bytes)), 0x7f80),
        DType::Bool => match data.iter().position(|byte| *byte > 1) {
            Some(index) => {
                return Err(InferError::input(name, format!("element {index} is neither 0 nor 1")));
            }
            None => None,
        },
        DType::U8
        | DType::U16
        | DType::U32
        | DType::U64
        | DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::Bytes => None,
    };
    match bad {
        Some(index) => {
            Err(InferError::input(name, format!("element {index} is NaN or infinite; send finite numbers")))
        }
        None => Ok(()),
    }
}

/// Index of the first number whose exponent bits are all set. The first pass has no branch,
/// which lets the compiler use wide registers.
fn non_finite<const N: usize>(data: &[u8], bits: impl Fn([u8; N]) -> u64, exponent: u64) -> Option<usize> {
    let (numbers, _) = data.as_chunks::<N>();
    let is_bad = |number: &[u8; N]| bits(*number) & exponent == exponent;
    if numbers.iter().fold(false, |bad, number| bad | is_bad(number)) {
        numbers.iter().position(is_bad)
    } else {
        None
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(",")
}

fn dims(dims: &[i64]) -> String {
    format!("[{}]", dims.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject<'_> = Subject { model: "ident", id: "" };

    fn signature() -> Signature {
        let spec = |name: &str, dtype| TensorSpec {
            name: name.into(),
            dtype,
            dims: vec![-1, 2],
            unit: None,
            loinc: None,
        };
        Signature { inputs: vec![spec("IN", DType::F32)], outputs: vec![spec("OUT", DType::F32)] }
    }

    fn wire(datatype: &str, shape: &[i64], values: &[f32]) -> WireTensor {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        WireTensor {
            name: "IN".into(),
            datatype: datatype.into(),
            shape: shape.to_vec(),
            data: WireData::Raw(bytes.into()),
        }
    }

    fn refusal(wires: Vec<WireTensor>) -> String {
        tensors(SUBJECT, &signature(), wires).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_good_request_gives_its_bytes() {
        let got = tensors(SUBJECT, &signature(), vec![wire("FP32", &[1, 2], &[1.0, 2.0])]).expect("good");
        assert_eq!(got, [Tensor::from_f32(vec![1, 2], &[1.0, 2.0]).expect("shape")]);
    }

    #[test]
    fn refusals_use_the_words_that_clients_know() {
        assert_eq!(
            refusal(vec![wire("FP32", &[1, 3], &[1.0; 3])]),
            "[request id: <id_unknown>] unexpected shape for input 'IN' for model 'ident'. Expected [-1,2], got [1,3]"
        );
        assert_eq!(
            refusal(vec![wire("INT32", &[1, 2], &[1.0; 2])]),
            "[request id: <id_unknown>] inference input 'IN' data-type is 'INT32', but model 'ident' expects 'FP32'"
        );
        assert_eq!(
            refusal(vec![]),
            "[request id: <id_unknown>] expected 1 inputs but got 0 inputs for model 'ident'. Got input(s) [], \
             but missing required input(s) ['IN']. Please provide all required input(s)."
        );
        assert!(refusal(vec![wire("FP32", &[2, 2], &[1.0; 3])]).ends_with("Expected 16, got 12"));
    }

    #[test]
    fn hostile_shapes_are_refused() {
        for shape in [&[-1, 2][..], &[i64::MAX, 2], &[i64::MIN, 2], &[], &[2]] {
            assert!(!refusal(vec![wire("FP32", shape, &[1.0; 2])]).is_empty());
        }
    }

    #[test]
    fn the_place_of_a_number_that_is_not_finite_is_named() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let text = refusal(vec![wire("FP32", &[1, 2], &[1.0, value])]);
            assert!(text.starts_with("IN: element 1 is NaN or infinite"), "{text}");
        }
    }

    #[test]
    fn unknown_and_doubled_inputs_are_told_apart() {
        let mut other = wire("FP32", &[1, 2], &[1.0; 2]);
        other.name = "BAD".into();
        assert!(refusal(vec![other]).contains("unexpected inference input 'BAD'"));
        let mut two = signature();
        two.inputs.push(TensorSpec { name: "MORE".into(), ..two.inputs[0].clone() });
        let twice = vec![wire("FP32", &[1, 2], &[1.0; 2]), wire("FP32", &[1, 2], &[1.0; 2])];
        assert!(tensors(SUBJECT, &two, twice).expect_err("twice").to_string().contains("given twice"));
    }
}
