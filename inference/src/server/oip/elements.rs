//! Elements of a tensor in JSON: read from arrays nested to any depth, kept flat and exact,
//! and written back. Integers keep all their bits; they become floating point only when a
//! fraction appears beside them.

use std::fmt;

use bytes::Bytes;
use models::{DType, Tensor};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
    ser::SerializeSeq,
};

use super::typed;
use crate::InferError;

/// Flat elements, all of one kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Elements {
    /// No element.
    #[default]
    Empty,
    /// `true` and `false`.
    Bools(Vec<bool>),
    /// Integers up to `i64::MAX`.
    Ints(Vec<i64>),
    /// Integers of which one is above `i64::MAX`, none below 0.
    Uints(Vec<u64>),
    /// Numbers with a fraction or exponent.
    Floats(Vec<f64>),
    /// Strings.
    Texts(Vec<String>),
}

impl Elements {
    fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "nothing",
            Self::Bools(_) => "booleans",
            Self::Ints(_) | Self::Uints(_) => "integers",
            Self::Floats(_) => "numbers with a fraction",
            Self::Texts(_) => "strings",
        }
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Bools(values) => values.len(),
            Self::Ints(values) => values.len(),
            Self::Uints(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Little-endian bytes of `dtype`; fails when an element is of another kind or does not fit.
    pub(super) fn into_bytes(self, name: &str, dtype: DType) -> Result<Bytes, InferError> {
        match dtype {
            DType::Bool => self.bools(name),
            DType::I8 => self.integers(name, |value| i8::try_from(value).ok().map(i8::to_le_bytes)),
            DType::I16 => self.integers(name, |value| i16::try_from(value).ok().map(i16::to_le_bytes)),
            DType::I32 => self.integers(name, |value| i32::try_from(value).ok().map(i32::to_le_bytes)),
            DType::I64 => self.integers(name, |value| i64::try_from(value).ok().map(i64::to_le_bytes)),
            DType::U8 => self.integers(name, |value| u8::try_from(value).ok().map(u8::to_le_bytes)),
            DType::U16 => self.integers(name, |value| u16::try_from(value).ok().map(u16::to_le_bytes)),
            DType::U32 => self.integers(name, |value| u32::try_from(value).ok().map(u32::to_le_bytes)),
            DType::U64 => self.integers(name, |value| u64::try_from(value).ok().map(u64::to_le_bytes)),
            DType::F32 => self.floats(name, |value| (value as f32).to_le_bytes()),
            DType::F64 => self.floats(name, f64::to_le_bytes),
            DType::Bytes => match self {
                Self::Empty => Ok(Bytes::new()),
                Self::Texts(texts) => typed::strings(name, texts.iter().map(String::as_bytes)),
                other @ (Self::Bools(_) | Self::Ints(_) | Self::Uints(_) | Self::Floats(_)) => {
                    Err(other.mismatch(name, "strings"))
                }
            },
            DType::F16 | DType::Bf16 => {
                let reason = format!("{} has no JSON form; send it as binary data", dtype.oip());
                Err(InferError::input(name, reason))
            }
        }
    }

    fn mismatch(&self, name: &str, want: &str) -> InferError {
        InferError::input(name, format!("data must be {want}, got {}", self.kind()))
    }

    fn bools(self, name: &str) -> Result<Bytes, InferError> {
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Bools(values) => Ok(values.into_iter().map(u8::from).collect()),
            // Some clients write booleans as numbers.
            Self::Ints(values) if values.iter().all(|value| matches!(value, 0 | 1)) => {
                Ok(values.into_iter().map(|value| u8::from(value == 1)).collect())
            }
            other @ (Self::Ints(_) | Self::Uints(_) | Self::Floats(_) | Self::Texts(_)) => {
                Err(other.mismatch(name, "booleans"))
            }
        }
    }

    fn integers<const N: usize>(
        self,
        name: &str,
        to_bytes: impl Fn(i128) -> Option<[u8; N]>,
    ) -> Result<Bytes, InferError> {
        let collect = |values: &mut dyn Iterator<Item = i128>| {
            let mut bytes = Vec::new();
            for (index, value) in values.enumerate() {
                let value = to_bytes(value).ok_or_else(|| {
                    InferError::input(name, format!("element {index} does not fit the datatype"))
                })?;
                bytes.extend_from_slice(&value);
            }
            Ok(bytes.into())
        };
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Ints(values) => collect(&mut values.into_iter().map(i128::from)),
            Self::Uints(values) => collect(&mut values.into_iter().map(i128::from)),
            other @ (Self::Bools(_) | Self::Floats(_) | Self::Texts(_)) => {
                Err(other.mismatch(name, "integers"))
            }
        }
    }

    fn floats<const N: usize>(
        self,
        name: &str,
        to_bytes: impl Fn(f64) -> [u8; N],
    ) -> Result<Bytes, InferError> {
        let collect = |values: &mut dyn Iterator<Item = f64>| values.flat_map(&to_bytes).collect();
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Ints(values) => Ok(collect(&mut values.into_iter().map(|value| value as f64))),
            Self::Uints(values) => Ok(collect(&mut values.into_iter().map(|value| value as f64))),
            Self::Floats(values) => Ok(collect(&mut values.into_iter())),
            other @ (Self::Bools(_) | Self::Texts(_)) => Err(other.mismatch(name, "numbers")),
        }
    }

    fn push_bool(&mut self, value: bool) -> Result<(), &'static str> {
        match self {
            Self::Empty => *self = Self::Bools(vec![value]),
            Self::Bools(values) => values.push(value),
            Self::Ints(_) | Self::Uints(_) | Self::Floats(_) | Self::Texts(_) => return Err(MIXED),
        }
        Ok(())
    }

    fn push_int(&mut self, value: i64) -> Result<(), &'static str> {
        match self {
            Self::Empty => *self = Self::Ints(vec![value]),
            Self::Ints(values) => values.push(value),
            Self::Uints(values) => match u64::try_from(value) {
                Ok(value) => values.push(value),
                Err(_) => return Err("data has both negative numbers and numbers above the signed range"),
            },
            Self::Floats(values) => values.push(value as f64),
            Self::Bools(_) | Self::Texts(_) => return Err(MIXED),
        }
        Ok(())
    }

    fn push_uint(&mut self, value: u64) -> Result<(), &'static str> {
        if let Ok(value) = i64::try_from(value) {
            return self.push_int(value);
        }
        match self {
            Self::Empty => *self = Self::Uints(vec![value]),
            Self::Uints(values) => values.push(value),
            Self::Floats(values) => values.push(value as f64),
            Self::Ints(values) => {
                let mut wide = Vec::with_capacity(values.len() + 1);
                for value in values.iter() {
                    wide.push(
                        u64::try_from(*value).map_err(|_| "data has numbers outside every integer type")?,
                    );
                }
                wide.push(value);
                *self = Self::Uints(wide);
            }
            Self::Bools(_) | Self::Texts(_) => return Err(MIXED),
        }
        Ok(())
    }

    fn push_float(&mut self, value: f64) -> Result<(), &'static str> {
        match self {
            Self::Empty => *self = Self::Floats(vec![value]),
            Self::Floats(values) => values.push(value),
            Self::Ints(values) => {
                *self = Self::Floats(values.iter().map(|value| *value as f64).chain([value]).collect());
            }
            Self::Uints(values) => {
                *self = Self::Floats(values.iter().map(|value| *value as f64).chain([value]).collect());
            }
            Self::Bools(_) | Self::Texts(_) => return Err(MIXED),
        }
        Ok(())
    }

    fn push_text(&mut self, value: String) -> Result<(), &'static str> {
        match self {
            Self::Empty => *self = Self::Texts(vec![value]),
            Self::Texts(values) => values.push(value),
            Self::Bools(_) | Self::Ints(_) | Self::Uints(_) | Self::Floats(_) => return Err(MIXED),
        }
        Ok(())
    }
}

const MIXED: &str = "data mixes numbers, booleans and strings";

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut elements = Self::Empty;
        Flat(&mut elements).deserialize(deserializer)?;
        Ok(elements)
    }
}

/// Puts one element, or every element of an array, at the end.
struct Flat<'a>(&'a mut Elements);

impl<'de> DeserializeSeed<'de> for Flat<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, booleans, strings or arrays of them")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.push_bool(value).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.push_int(value).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.push_uint(value).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.push_float(value).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.0.push_text(value.to_owned()).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Flat(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

/// Writes the elements of a tensor as one flat JSON array. Datatypes without a JSON form fail.
pub(super) struct Written<'a>(pub(super) &'a Tensor);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let data = self.0.data();
        match self.0.dtype() {
            DType::Bool => numbers(serializer, data, |[byte]: [u8; 1]| byte != 0),
            DType::I8 => numbers(serializer, data, i8::from_le_bytes),
            DType::I16 => numbers(serializer, data, i16::from_le_bytes),
            DType::I32 => numbers(serializer, data, i32::from_le_bytes),
            DType::I64 => numbers(serializer, data, i64::from_le_bytes),
            DType::U8 => numbers(serializer, data, u8::from_le_bytes),
            DType::U16 => numbers(serializer, data, u16::from_le_bytes),
            DType::U32 => numbers(serializer, data, u32::from_le_bytes),
            DType::U64 => numbers(serializer, data, u64::from_le_bytes),
            DType::F32 => numbers(serializer, data, f32::from_le_bytes),
            DType::F64 => numbers(serializer, data, f64::from_le_bytes),
            DType::Bytes => texts(serializer, data),
            DType::F16 | DType::Bf16 => {
                Err(serde::ser::Error::custom("half precision has no JSON form; ask for binary data"))
            }
        }
    }
}

fn numbers<S: Serializer, T: Serialize, const N: usize>(
    serializer: S,
    data: &[u8],
    read: impl Fn([u8; N]) -> T,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(data.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)))
}

fn texts<S: Serializer>(serializer: S, mut data: &[u8]) -> Result<S::Ok, S::Error> {
    let mut seq = serializer.serialize_seq(None)?;
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let Some((text, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        seq.serialize_element(&String::from_utf8_lossy(text))?;
        data = rest;
    }
    seq.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Elements {
        serde_json::from_str(json).expect("valid")
    }

    fn round_trip(json: &str, dtype: DType, count: usize) -> String {
        let bytes = read(json).into_bytes("x", dtype).expect("fits");
        let tensor = Tensor::new(dtype, vec![count], bytes).expect("size");
        serde_json::to_string(&Written(&tensor)).expect("writes")
    }

    #[test]
    fn nesting_is_flattened() {
        assert_eq!(read("[[1,2],[3,[4]]]"), Elements::Ints(vec![1, 2, 3, 4]));
        assert_eq!(read("[]"), Elements::Empty);
    }

    #[test]
    fn integers_keep_every_bit() {
        assert_eq!(round_trip("[18446744073709551615,1]", DType::U64, 2), "[18446744073709551615,1]");
        assert_eq!(round_trip("[1,18446744073709551615]", DType::U64, 2), "[1,18446744073709551615]");
        assert_eq!(round_trip("[-9223372036854775808]", DType::I64, 1), "[-9223372036854775808]");
    }

    #[test]
    fn every_kind_goes_round() {
        assert_eq!(round_trip("[1,2.5]", DType::F32, 2), "[1.0,2.5]");
        assert_eq!(round_trip("[true,false]", DType::Bool, 2), "[true,false]");
        assert_eq!(round_trip("[1,0]", DType::Bool, 2), "[true,false]");
        assert_eq!(round_trip("[\"a\",\"\"]", DType::Bytes, 2), "[\"a\",\"\"]");
    }

    #[test]
    fn kinds_do_not_mix() {
        for json in ["[1,true]", "[\"a\",1]", "[1.5,\"a\"]", "[null]", "[{}]", "[-1,18446744073709551615]"] {
            assert!(serde_json::from_str::<Elements>(json).is_err(), "{json}");
        }
        let error = read("[1.5]").into_bytes("x", DType::I32).expect_err("fraction");
        assert_eq!(error.to_string(), "x: data must be integers, got numbers with a fraction");
        let error = read("[300]").into_bytes("x", DType::U8).expect_err("too large");
        assert_eq!(error.to_string(), "x: element 0 does not fit the datatype");
    }
}
