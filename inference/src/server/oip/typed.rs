//! The typed fields of a gRPC tensor as little-endian bytes.

use bytes::{BufMut, Bytes, BytesMut};
use models::DType;
use proto::inference::InferTensorContents;

use crate::InferError;

/// Bytes of the field that belongs to `dtype`; fails when a value does not fit the datatype.
pub(super) fn bytes(name: &str, dtype: DType, contents: &InferTensorContents) -> Result<Bytes, InferError> {
    // Small integers travel in the 32-bit fields.
    let signed = &contents.int_contents;
    let unsigned = &contents.uint_contents;
    Ok(match dtype {
        DType::Bool => contents.bool_contents.iter().map(|value| u8::from(*value)).collect(),
        DType::I8 => narrow(name, signed, |value| i8::try_from(value).ok().map(i8::to_le_bytes))?,
        DType::I16 => narrow(name, signed, |value| i16::try_from(value).ok().map(i16::to_le_bytes))?,
        DType::I32 => wide(signed, i32::to_le_bytes),
        DType::I64 => wide(&contents.int64_contents, i64::to_le_bytes),
        DType::U8 => narrow(name, unsigned, |value| u8::try_from(value).ok().map(u8::to_le_bytes))?,
        DType::U16 => narrow(name, unsigned, |value| u16::try_from(value).ok().map(u16::to_le_bytes))?,
        DType::U32 => wide(unsigned, u32::to_le_bytes),
        DType::U64 => wide(&contents.uint64_contents, u64::to_le_bytes),
        DType::F32 => wide(&contents.fp32_contents, f32::to_le_bytes),
        DType::F64 => wide(&contents.fp64_contents, f64::to_le_bytes),
        DType::Bytes => strings(name, contents.bytes_contents.iter().map(AsRef::as_ref))?,
        DType::F16 | DType::Bf16 => {
            let reason = format!("{} has no typed contents; send it in raw_input_contents", dtype.oip());
            return Err(InferError::input(name, reason));
        }
    })
}

/// Byte strings, each behind its length.
pub(super) fn strings<'a>(name: &str, values: impl Iterator<Item = &'a [u8]>) -> Result<Bytes, InferError> {
    let mut bytes = BytesMut::new();
    for value in values {
        let length =
            u32::try_from(value.len()).map_err(|_| InferError::input(name, "a string is too long"))?;
        bytes.put_u32_le(length);
        bytes.put_slice(value);
    }
    Ok(bytes.freeze())
}

fn wide<T: Copy, const N: usize>(values: &[T], to_bytes: impl Fn(T) -> [u8; N]) -> Bytes {
    let mut bytes = Vec::with_capacity(values.len() * N);
    values.iter().for_each(|value| bytes.extend_from_slice(&to_bytes(*value)));
    bytes.into()
}

fn narrow<T: Copy, const N: usize>(
    name: &str,
    values: &[T],
    to_bytes: impl Fn(T) -> Option<[u8; N]>,
) -> Result<Bytes, InferError> {
    let mut bytes = Vec::with_capacity(values.len() * N);
    for (index, value) in values.iter().enumerate() {
        let value = to_bytes(*value)
            .ok_or_else(|| InferError::input(name, format!("element {index} does not fit the datatype")))?;
        bytes.extend_from_slice(&value);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_are_narrowed_and_checked() {
        let contents = InferTensorContents { int_contents: vec![-1, 127], ..Default::default() };
        assert_eq!(bytes("x", DType::I8, &contents).expect("fits").as_ref(), [255, 127]);
        let contents = InferTensorContents { int_contents: vec![0, 128], ..Default::default() };
        let error = bytes("x", DType::I8, &contents).expect_err("does not fit");
        assert_eq!(error.to_string(), "x: element 1 does not fit the datatype");
    }

    #[test]
    fn strings_stand_behind_their_length() {
        let contents =
            InferTensorContents { bytes_contents: vec![Bytes::from_static(b"ab")], ..Default::default() };
        assert_eq!(bytes("x", DType::Bytes, &contents).expect("strings").as_ref(), [2, 0, 0, 0, b'a', b'b']);
    }

    #[test]
    fn half_precision_is_raw_only() {
        let error = bytes("x", DType::F16, &InferTensorContents::default()).expect_err("no field");
        assert!(error.to_string().contains("raw_input_contents"));
    }
}
