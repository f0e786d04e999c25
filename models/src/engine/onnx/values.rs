//! Tensors of ours to values of ONNX Runtime and back; inputs are borrowed when aligned.

use std::fmt::Debug;

use bytemuck::Pod;
use bytes::Bytes;
use ort::{
    session::SessionInputValue,
    value::{DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType, TensorRef},
};

use crate::{DType, Tensor};

/// The datatype of a graph, where we can carry it.
pub(super) fn dtype(element: TensorElementType) -> Option<DType> {
    use TensorElementType as E;
    let pairs = [
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

/// A value over the bytes of `tensor`; copied only when they are not aligned.
pub(super) fn input(tensor: &Tensor) -> Result<SessionInputValue<'_>, String> {
    match tensor.dtype() {
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
        other @ (DType::Bool | DType::F16 | DType::Bf16 | DType::Bytes) => Err(unsupported(other)),
    }
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
        DType::Bool | DType::F16 | DType::Bf16 | DType::Bytes => Err(unsupported(dtype)),
    }
}

fn unsupported(dtype: DType) -> String {
    format!("the ONNX engine does not carry {} tensors", dtype.oip())
}

fn borrow<T>(tensor: &Tensor) -> Result<SessionInputValue<'_>, String>
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
    .map_err(|error| error.to_string())
}

fn copy<T>(value: &DynValue, dtype: DType) -> Result<Tensor, String>
where
    T: Pod + PrimitiveTensorElementType,
{
    let (shape, elements) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
    let dims: Result<Vec<usize>, _> = shape.iter().map(|dim| usize::try_from(*dim)).collect();
    let bytes = Bytes::copy_from_slice(bytemuck::cast_slice(elements));
    let dims = dims.map_err(|_| format!("gave the shape {shape:?}"))?;
    Tensor::new(dtype, dims, bytes).map_err(|error| error.to_string())
}
