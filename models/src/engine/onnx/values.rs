//! Tensors of ours to values of ONNX Runtime and back; inputs are borrowed when aligned.

use std::fmt::Debug;

use bytemuck::Pod;
use bytes::Bytes;
use half::{bf16, f16};
use ort::{
    session::SessionInputValue,
    value::{DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType, TensorRef},
};

use crate::{DType, Tensor};

/// The datatype of a graph, where we can carry it.
pub(super) fn dtype(element: TensorElementType) -> Option<DType> {
    use TensorElementType as E;
    let pairs = [
        (E::Bool, DType::Bool),
        (E::Float16, DType::F16),
        (E::Bfloat16, DType::Bf16),
        (E::String, DType::Bytes),
        (E::Uint8, DType::U8),
        (E::Uint16, DType::U16),
        (E::Uint32, DType::U32),
        (E::Uint64, DType::U64),
        (E::Int8, DType::I8),
        (E::Int16, DType::I16),
        (E::Int32, DType::I32),
        (E::Int64, DType::I64),
        (E::Float32, DType::F32),
        (E::Float64, DType::F64),
    ];
    pairs.into_iter().find_map(|(graph, ours)| (graph == element).then_some(ours))
}

/// A value over the bytes of `tensor`; copied when they are not aligned, or not kept as they travel, which is
/// so for booleans and strings. Strings are UTF-8 without zero bytes in ONNX.
pub(super) fn input(tensor: &Tensor) -> Result<SessionInputValue<'_>, String> {
    let value = match tensor.dtype() {
        DType::U8 => borrow::<u8>(tensor),
        DType::U16 => borrow::<u16>(tensor),
        DType::U32 => borrow::<u32>(tensor),
        DType::U64 => borrow::<u64>(tensor),
        DType::I8 => borrow::<i8>(tensor),
        DType::I16 => borrow::<i16>(tensor),
        DType::I32 => borrow::<i32>(tensor),
        DType::I64 => borrow::<i64>(tensor),
        DType::F32 => borrow::<f32>(tensor),
        DType::F64 => borrow::<f64>(tensor),
        DType::F16 => borrow::<f16>(tensor),
        DType::Bf16 => borrow::<bf16>(tensor),
        DType::Bool => {
            let elements: Vec<bool> = tensor.data().iter().map(|byte| *byte != 0).collect();
            OrtTensor::from_array((tensor.shape().to_vec(), elements)).map(Into::into)
        }
        DType::Bytes => {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
            let elements = tensor.strings().map(text).collect::<Result<Vec<String>, _>>()?;
            OrtTensor::from_string_array((tensor.shape().to_vec(), &*elements)).map(Into::into)
        }
    };
    value.map_err(|error| error.to_string())
}

/// The elements of `value`, which the load has checked to be of datatype `dtype`.
pub(super) fn output(value: &DynValue, dtype: DType) -> Result<Tensor, String> {
    match dtype {
        DType::U8 => copy::<u8>(value, dtype),
        DType::U16 => copy::<u16>(value, dtype),
        DType::U32 => copy::<u32>(value, dtype),
        DType::U64 => copy::<u64>(value, dtype),
        DType::I8 => copy::<i8>(value, dtype),
        DType::I16 => copy::<i16>(value, dtype),
        DType::I32 => copy::<i32>(value, dtype),
        DType::I64 => copy::<i64>(value, dtype),
        DType::F32 => copy::<f32>(value, dtype),
        DType::F64 => copy::<f64>(value, dtype),
        DType::F16 => copy::<f16>(value, dtype),
        DType::Bf16 => copy::<bf16>(value, dtype),
        DType::Bool => {
            let (shape, elements) = value.try_extract_tensor::<bool>().map_err(|error| error.to_string())?;
            let bytes = elements.iter().map(|element| u8::from(*element)).collect();
            Tensor::new(dtype, dims(shape)?, bytes).map_err(|error| error.to_string())
        }
        DType::Bytes => {
            let (shape, elements) = value.try_extract_strings().map_err(|error| error.to_string())?;
            Tensor::from_strings(dims(shape)?, &elements).map_err(|error| error.to_string())
        }
    }
}

/// Whether ONNX can hold every string of `tensor`; the text says what it cannot.
pub(super) fn check_strings(tensor: &Tensor) -> Result<(), String> {
    for (index, string) in tensor.strings().enumerate() {
        if string.contains(&0) || std::str::from_utf8(string).is_err() {
            return Err(format!(
                "element {index} is not UTF-8 text without zero bytes, which this model takes"
            ));
        }
    }
    Ok(())
}

fn dims(shape: &[i64]) -> Result<Vec<usize>, String> {
    let dims: Result<Vec<usize>, _> = shape.iter().map(|dim| usize::try_from(*dim)).collect();
    dims.map_err(|_| format!("gave the shape {shape:?}"))
}

fn borrow<T>(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>>
where
    T: Pod + PrimitiveTensorElementType + Debug + Clone + 'static,
{
    let shape = tensor.shape().to_vec();
    match bytemuck::try_cast_slice::<u8, T>(tensor.data()) {
        Ok(elements) => TensorRef::from_array_view((shape, elements)).map(Into::into),
        Err(_) => {
            let elements: Vec<T> = bytemuck::pod_collect_to_vec(tensor.data());
            OrtTensor::from_array((shape, elements)).map(Into::into)
        }
    }
}

fn copy<T>(value: &DynValue, dtype: DType) -> Result<Tensor, String>
where
    T: Pod + PrimitiveTensorElementType,
{
    let (shape, elements) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
    let bytes = Bytes::copy_from_slice(bytemuck::cast_slice(elements));
    Tensor::new(dtype, dims(shape)?, bytes).map_err(|error| error.to_string())
}
