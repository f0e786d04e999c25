//! Our tensors to and from the safetensors format, which holds the golden tensors and weights.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::{DType, ModelError, Tensor};

/// Bytes of a safetensors file with these tensors.
pub fn to_safetensors<'a>(
    tensors: impl IntoIterator<Item = (String, &'a Tensor)>,
) -> Result<Vec<u8>, ModelError> {
    let fault = |reason: String| ModelError::invalid("safetensors", reason);
    let views = tensors
        .into_iter()
        .map(|(name, tensor)| {
            let dtype = to_dtype(tensor.dtype())
                .ok_or_else(|| fault(format!("`{name}` is {}", tensor.dtype().oip())))?;
            Ok((name, Entry { dtype, tensor }))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    safetensors::serialize(views, None).map_err(|error| fault(error.to_string()))
}

/// Tensors of a safetensors file; `file` is named in the error.
pub fn from_safetensors(file: &str, content: &[u8]) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let fault = |reason: String| ModelError::invalid(file, reason);
    let tensors = SafeTensors::deserialize(content).map_err(|error| fault(error.to_string()))?;
    tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let dtype = from_dtype(view.dtype()).ok_or_else(|| {
                fault(format!("`{name}` has datatype {:?}, which is not known", view.dtype()))
            })?;
            let tensor = Tensor::new(dtype, view.shape().to_vec(), Bytes::copy_from_slice(view.data()))
                .map_err(|error| fault(format!("`{name}`: {error}")))?;
            Ok((name, tensor))
        })
        .collect()
}

struct Entry<'a> {
    dtype: Dtype,
    tensor: &'a Tensor,
}

impl View for Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.tensor.shape()
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
