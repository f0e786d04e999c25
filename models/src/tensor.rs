//! Tensors as they cross the wire: a datatype, a shape and little-endian row-major bytes.
//!
//! The bytes are shared ([`Bytes`]), so a tensor taken from a request is never copied until
//! rows of several requests are put together in one batch.

use std::borrow::Cow;

use bytes::Bytes;

use crate::ModelError;

/// Element types of the Open Inference Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// IEEE half precision.
    F16,
    /// Brain floating point.
    Bf16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Byte strings, each behind a little-endian 32-bit length.
    Bytes,
}

impl DType {
    /// Every datatype.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F16,
        Self::Bf16,
        Self::F32,
        Self::F64,
        Self::Bytes,
    ];

    /// Name in the Open Inference Protocol, for example `FP32`.
    pub fn oip(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "UINT8",
            Self::U16 => "UINT16",
            Self::U32 => "UINT32",
            Self::U64 => "UINT64",
            Self::I8 => "INT8",
            Self::I16 => "INT16",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::F16 => "FP16",
            Self::Bf16 => "BF16",
            Self::F32 => "FP32",
            Self::F64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// The datatype of that name.
    pub fn from_oip(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.oip() == name)
    }

    /// Bytes of one element; `None` for byte strings, whose elements differ in length.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::U8 | Self::I8 => Some(1),
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Bytes => None,
        }
    }
}

/// A datatype, a shape and the elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Bytes,
}

impl Tensor {
    /// A tensor over `data`; fails when the bytes are not exactly what the shape says.
    pub fn new(dtype: DType, shape: Vec<usize>, data: Bytes) -> Result<Self, ModelError> {
        let count = element_count(&shape)?;
        match dtype.size() {
            Some(size) => check_length(count, size, data.len())?,
            None => check_strings(count, &data)?,
        }
        Ok(Self { dtype, shape, data })
    }

    /// A single-precision tensor; fails when `values` does not fill `shape`.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<Self, ModelError> {
        Self::new(DType::F32, shape, Bytes::copy_from_slice(bytemuck::cast_slice(values)))
    }

    /// Datatype of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Size of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Size of the first dimension; 0 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Little-endian row-major elements.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The same with its bytes where elements of its datatype may begin: what an engine would have to move before it runs
    /// is moved now.
    #[must_use]
    pub fn aligned(self) -> Self {
        let size = self.dtype.size().unwrap_or(1);
        if self.data.as_ptr().addr().is_multiple_of(size) {
            return self;
        }
        Self { data: Bytes::copy_from_slice(&self.data), ..self }
    }

    /// Elements as single precision, borrowed when the bytes are aligned.
    pub fn as_f32(&self) -> Result<Cow<'_, [f32]>, ModelError> {
        if self.dtype != DType::F32 {
            return Err(ModelError::input("datatype", format!("expected FP32, got {}", self.dtype.oip())));
        }
        Ok(match bytemuck::try_cast_slice(&self.data) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.data)),
        })
    }

    /// Every element as double precision; `None` for byte strings. Integers beyond 2^53 are
    /// rounded, so this is for comparing and showing only.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        let data = &self.data;
        Some(match self.dtype {
            DType::Bool | DType::U8 => data.iter().map(|byte| f64::from(*byte)).collect(),
            DType::I8 => elements(data, |bytes| f64::from(i8::from_le_bytes(bytes))),
            DType::U16 => elements(data, |bytes| f64::from(u16::from_le_bytes(bytes))),
            DType::I16 => elements(data, |bytes| f64::from(i16::from_le_bytes(bytes))),
            DType::U32 => elements(data, |bytes| f64::from(u32::from_le_bytes(bytes))),
            DType::I32 => elements(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
            DType::U64 => elements(data, |bytes| u64::from_le_bytes(bytes) as f64),
            DType::I64 => elements(data, |bytes| i64::from_le_bytes(bytes) as f64),
            DType::F16 => elements(data, |bytes| half::f16::from_le_bytes(bytes).to_f64()),
            DType::Bf16 => elements(data, |bytes| half::bf16::from_le_bytes(bytes).to_f64()),
            DType::F32 => elements(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
            DType::F64 => elements(data, f64::from_le_bytes),
            DType::Bytes => return None,
        })
    }

    /// Index of the first element that is infinite or not a number.
    pub fn first_non_finite(&self) -> Option<usize> {
        match self.dtype {
            DType::F16 => non_finite(&self.data, |bytes| half::f16::from_le_bytes(bytes).is_finite()),
            DType::Bf16 => non_finite(&self.data, |bytes| half::bf16::from_le_bytes(bytes).is_finite()),
            DType::F32 => non_finite(&self.data, |bytes| f32::from_le_bytes(bytes).is_finite()),
            DType::F64 => non_finite(&self.data, |bytes| f64::from_le_bytes(bytes).is_finite()),
            DType::Bool
            | DType::U8
            | DType::U16
            | DType::U32
            | DType::U64
            | DType::I8
            | DType::I16
            | DType::I32
            | DType::I64
            | DType::Bytes => None,
        }
    }

    /// A tensor of byte strings; fails when `values` does not fill `shape`.
    pub fn from_strings<T: AsRef<[u8]>>(shape: Vec<usize>, values: &[T]) -> Result<Self, ModelError> {
        let mut data = Vec::new();
        for value in values.iter().map(AsRef::as_ref) {
            let length =
                u32::try_from(value.len()).map_err(|_| ModelError::input("data", "a string is too long"))?;
            data.extend_from_slice(&length.to_le_bytes());
            data.extend_from_slice(value);
        }
        Self::new(DType::Bytes, shape, data.into())
    }

    /// The byte strings; none for other datatypes.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        let mut data: &[u8] = if self.dtype == DType::Bytes { &self.data } else { &[] };
        std::iter::from_fn(move || {
            let (string, rest) = split_string(data)?;
            data = rest;
            Some(string)
        })
    }

    /// Rows `start..start + rows` without copying.
    pub fn slice_rows(&self, start: usize, rows: usize) -> Result<Self, ModelError> {
        let total = self.rows();
        let Some(end) = start.checked_add(rows).filter(|end| *end <= total) else {
            return Err(ModelError::input(
                "rows",
                format!("cannot take {rows} rows from {start} of {total}"),
            ));
        };
        let range = match self.dtype.size() {
            Some(_) => {
                let row_bytes = self.data.len().checked_div(total).unwrap_or(0);
                start * row_bytes..end * row_bytes
            }
            None => {
                let strings = self.shape.iter().skip(1).fold(1usize, |count, dim| count.saturating_mul(*dim));
                let offset = |row: usize| self.string_offset(row.saturating_mul(strings));
                offset(start)..offset(end)
            }
        };
        let mut shape = self.shape.clone();
        shape[0] = rows;
        Ok(Self { dtype: self.dtype, shape, data: self.data.slice(range) })
    }

    /// The same with a second dimension of `length`: filled up with zeros behind, or cut off. Fails on byte strings and
    /// where there is no second dimension.
    pub fn with_length(&self, length: usize) -> Result<Self, ModelError> {
        let (Some(size), [rows, own, inner @ ..]) = (self.dtype.size(), &self.shape[..]) else {
            return Err(ModelError::input("length", format!("cannot be set of a shape {:?}", self.shape)));
        };
        let mut shape = self.shape.clone();
        shape[1] = length;
        let total = element_count(&shape)?.checked_mul(size);
        let total = total.ok_or_else(|| ModelError::input("shape", "has too many elements"))?;
        let step = inner.iter().product::<usize>() * size;
        let (from, kept) = (own * step, (*own).min(length) * step);
        let mut data = Vec::with_capacity(total);
        for row in 0..*rows {
            data.extend_from_slice(&self.data[row * from..][..kept]);
            data.resize((row + 1) * length * step, 0);
        }
        Ok(Self { dtype: self.dtype, shape, data: data.into() })
    }

    /// Where the byte string at `index` begins, its length included.
    fn string_offset(&self, index: usize) -> usize {
        self.strings().take(index).map(|string| string.len() + LENGTH_BYTES).sum()
    }

    /// Rows of `parts` one after another; all must agree in datatype and row shape.
    pub fn concat_rows(parts: &[&Self]) -> Result<Self, ModelError> {
        let first = parts.first().ok_or_else(|| ModelError::input("batch", "has no part"))?;
        if let [only] = parts {
            return Ok((*only).clone());
        }
        let alike = |part: &&Self| part.dtype == first.dtype && part.shape.get(1..) == first.shape.get(1..);
        if first.shape.is_empty() || !parts.iter().all(alike) {
            return Err(ModelError::input("batch", "parts differ in datatype or row shape"));
        }
        let mut data = Vec::with_capacity(parts.iter().map(|part| part.data.len()).sum());
        for part in parts {
            data.extend_from_slice(&part.data);
        }
        let mut shape = first.shape.clone();
        shape[0] = parts.iter().map(|part| part.rows()).sum();
        Ok(Self { dtype: first.dtype, shape, data: data.into() })
    }
}

fn elements<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)).collect()
}

/// Looks at blocks without branches first, which the compiler turns into vector code.
fn non_finite<const N: usize>(data: &[u8], finite: impl Fn([u8; N]) -> bool) -> Option<usize> {
    const BLOCK: usize = 64;
    let values = data.as_chunks::<N>().0;
    for (block, values) in values.chunks(BLOCK).enumerate() {
        if !values.iter().fold(true, |all, bytes| all & finite(*bytes)) {
            return values.iter().position(|bytes| !finite(*bytes)).map(|at| block * BLOCK + at);
        }
    }
    None
}

fn element_count(shape: &[usize]) -> Result<usize, ModelError> {
    shape
        .iter()
        .try_fold(1usize, |count, dim| count.checked_mul(*dim))
        .ok_or_else(|| ModelError::input("shape", format!("{shape:?} has too many elements")))
}

fn check_length(count: usize, size: usize, got: usize) -> Result<(), ModelError> {
    match count.checked_mul(size) {
        Some(want) if want == got => Ok(()),
        Some(want) => Err(ModelError::input("data", format!("shape needs {want} bytes, got {got}"))),
        None => Err(ModelError::input("shape", "has too many elements")),
    }
}

/// Bytes of the length before each byte string.
const LENGTH_BYTES: usize = 4;

/// The byte string that `data` begins with, and what follows it.
fn split_string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

fn check_strings(count: usize, mut data: &[u8]) -> Result<(), ModelError> {
    for index in 0..count {
        match split_string(data) {
            Some((_, rest)) => data = rest,
            None => {
                return Err(ModelError::input("data", format!("ends inside byte string {index} of {count}")));
            }
        }
    }
    if data.is_empty() { Ok(()) } else { Err(ModelError::input("data", "has bytes after the last string")) }
}
