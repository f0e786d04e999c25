//! Our tensors to and from the safetensors format, which holds the golden tensors and weights.
//!
//! The format knows no strings: a tensor of byte strings is kept as its bytes, and the metadata keeps its shape
//! under its name, as in `BYTES 2 3`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::{DType, ModelError, Tensor};

/// Bytes of a safetensors file with these tensors.
pub fn to_safetensors<'a>(
    tensors: impl IntoIterator<Item = (String, &'a Tensor)>,
) -> Result<Vec<u8>, ModelError> {
    let fault = |reason: String| ModelError::invalid("safetensors", reason);
    let mut strings = HashMap::new();
    let views: Vec<_> = tensors
        .into_iter()
        .map(|(name, tensor)| {
            let entry = match to_dtype(tensor.dtype()) {
                Some(dtype) => Entry { dtype, shape: tensor.shape().to_vec(), tensor },
                None => {
                    strings.insert(name.clone(), shape_text(tensor.shape()));
                    Entry { dtype: Dtype::U8, shape: vec![tensor.data().len()], tensor }
                }
            };
            (name, entry)
        })
        .collect();
    let metadata = (!strings.is_empty()).then_some(strings);
    safetensors::serialize(views, metadata).map_err(|error| fault(error.to_string()))
}

/// What the metadata says of a tensor of byte strings.
fn shape_text(shape: &[usize]) -> String {
    std::iter::once(DType::Bytes.oip().to_owned())
        .chain(shape.iter().map(usize::to_string))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Shapes of the tensors of byte strings by name.
fn string_shapes(content: &[u8]) -> HashMap<String, Vec<usize>> {
    let read = SafeTensors::read_metadata(content).ok();
    let metadata = read.and_then(|(_, header)| header.metadata().clone()).unwrap_or_default();
    let shape = |(name, text): (String, String)| {
        let sizes = text.strip_prefix(DType::Bytes.oip())?.split_whitespace();
        Some((name, sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?))
    };
    metadata.into_iter().filter_map(shape).collect()
}

/// Tensors of a safetensors file; `file` is named in the error.
pub fn from_safetensors(file: &str, content: &[u8]) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let fault = |reason: String| ModelError::invalid(file, reason);
    let tensors = SafeTensors::deserialize(content).map_err(|error| fault(error.to_string()))?;
    let mut strings = string_shapes(content);
    tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let (dtype, shape) = match (strings.remove(&name), from_dtype(view.dtype())) {
                (Some(shape), Some(DType::U8)) => (DType::Bytes, shape),
                (_, Some(dtype)) => (dtype, view.shape().to_vec()),
                (_, None) => {
                    return Err(fault(format!(
                        "`{name}` has datatype {:?}, which is not known",
                        view.dtype()
                    )));
                }
            };
            let tensor = Tensor::new(dtype, shape, Bytes::copy_from_slice(view.data()))
                .map_err(|error| fault(format!("`{name}`: {error}")))?;
            Ok((name, tensor))
        })
        .collect()
}

struct Entry<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    tensor: &'a Tensor,
}

impl View for Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.tensor.data())
    }

    fn data_len(&self) -> usize {
        self.tensor.data().len()
    }
}

fn to_dtype(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::U16 => Dtype::U16,
        DType::U32 => Dtype::U32,
        DType::U64 => Dtype::U64,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::F16 => Dtype::F16,
        DType::Bf16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::Bytes => return None,
    })
}

fn from_dtype(dtype: Dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|ours| to_dtype(*ours) == Some(dtype))
}
