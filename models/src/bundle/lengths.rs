//! `[batching.lengths]` of `model.toml`: inputs of unlike length are filled up to a common one, so that they run together.
//!
//! The length is the second dimension of every tensor whose `dims` leave it open. Filling is zeros behind the real places,
//! and the mask tells the model which is which; what it says of the filling is cut off again.

use serde::{Deserialize, Serialize};

use crate::{DType, ModelError, Signature, Tensor, TensorSpec};

/// Most lengths that a model may name.
const BUCKETS_MAX: usize = 16;
/// Longest of them.
const LENGTH_MAX: usize = 65_536;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthConfig {
    /// Lengths to which requests are filled up, rising. What is longer than the last runs at its own length.
    pub buckets: Vec<usize>,
    /// Input of dims `[-1, -1]` that says which places are real (1) and which are filling (0). A request may leave it
    /// out: then all that it sends is real.
    pub mask: String,
}

/// Inputs that were filled up.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// Inputs in signature order.
    pub tensors: Vec<Tensor>,
    /// Their length before.
    pub length: usize,
    /// Place of the bucket; the number of buckets where the inputs are longer than the last.
    pub bucket: usize,
}

impl LengthConfig {
    /// Checks the values against the tensors of the model.
    pub fn check(&self, signature: &Signature) -> Result<(), String> {
        let Self { buckets, mask } = self;
        let rising = buckets.is_sorted_by(|less, more| less < more);
        let within = buckets.iter().all(|length| (1..=LENGTH_MAX).contains(length));
        if buckets.is_empty() || buckets.len() > BUCKETS_MAX || !rising || !within {
            return Err(format!(
                "batching.lengths.buckets are {buckets:?}, expected 1 to {BUCKETS_MAX} rising lengths up to {LENGTH_MAX}"
            ));
        }
        let Some(spec) = signature.inputs.iter().find(|spec| spec.name == *mask) else {
            return Err(format!("batching.lengths.mask is `{mask}`, which is no input"));
        };
        if spec.dims != [-1, -1] || one(spec.dtype).is_none() {
            return Err(format!("input `{mask}` is a mask, so it needs dims [-1, -1] and a number or BOOL"));
        }
        let mut long = signature.inputs.iter().chain(&signature.outputs).filter(|spec| is_long(spec));
        if let Some(spec) = long.clone().find(|spec| spec.dtype.size().is_none()) {
            return Err(format!("`{}` holds texts, which cannot be filled up to a length", spec.name));
        }
        match long.any(|spec| spec.name != *mask) {
            true => Ok(()),
            false => {
                Err("batching.lengths needs an input besides the mask whose second dimension is -1".into())
            }
        }
    }

    /// Place of the mask among the inputs.
    pub fn mask_at(&self, signature: &Signature) -> Option<usize> {
        signature.inputs.iter().position(|spec| spec.name == self.mask)
    }

    /// The mask of `rows` rows that are real for all of `length`.
    ///
    /// # Errors
    /// The signature has no such mask, or the size is beyond what a machine can hold.
    pub fn all_real(&self, signature: &Signature, rows: usize, length: usize) -> Result<Tensor, ModelError> {
        let spec = self.mask_at(signature).and_then(|at| signature.inputs.get(at));
        let element = spec.and_then(|spec| one(spec.dtype).map(|element| (spec.dtype, element)));
        let (dtype, element) = element.ok_or_else(|| ModelError::input(&self.mask, "is no mask"))?;
        let count =
            rows.checked_mul(length).and_then(|count| count.checked_mul(element.len()).map(|_| count));
        let count = count.ok_or_else(|| ModelError::input(&self.mask, "has too many elements"))?;
        Tensor::new(dtype, vec![rows, length], element.repeat(count).into())
    }

    /// `tensors`, checked already, filled up to the next bucket.
    ///
    /// # Errors
    /// The inputs of one request differ in length.
    pub fn fill(&self, signature: &Signature, tensors: Vec<Tensor>) -> Result<Filled, ModelError> {
        let length = self.length(signature, &tensors)?;
        let bucket = self.buckets.partition_point(|bucket| *bucket < length);
        let target = self.buckets.get(bucket).copied().unwrap_or(length);
        Ok(Filled { tensors: resize(&signature.inputs, tensors, target)?, length, bucket })
    }

    /// The mask of a request that sent all inputs but it, and its place among them.
    ///
    /// # Errors
    /// The inputs differ in length, or there is no such mask.
    pub fn missing(&self, signature: &Signature, others: &[Tensor]) -> Result<(usize, Tensor), ModelError> {
        let at = self.mask_at(signature).ok_or_else(|| ModelError::input(&self.mask, "is no input"))?;
        let mut without = signature.clone();
        without.inputs.remove(at);
        let rows = without.check_inputs(others)?;
        let length = self.length(&without, others)?;
        Ok((at, self.all_real(signature, rows, length)?))
    }

    /// `tensors`, filled up or cut off to `length`.
    ///
    /// # Errors
    /// The size is beyond what a machine can hold.
    pub fn at(
        &self,
        signature: &Signature,
        tensors: Vec<Tensor>,
        length: usize,
    ) -> Result<Vec<Tensor>, ModelError> {
        resize(&signature.inputs, tensors, length)
    }

    /// The same to the first bucket that is longer, whether or not that is needed; none when there is none.
    pub(super) fn overfill(
        &self,
        signature: &Signature,
        tensors: Vec<Tensor>,
    ) -> Result<Option<(Vec<Tensor>, usize)>, ModelError> {
        let length = self.length(signature, &tensors)?;
        let Some(bucket) = self.buckets.iter().copied().find(|bucket| *bucket > length) else {
            return Ok(None);
        };
        Ok(Some((resize(&signature.inputs, tensors, bucket)?, length)))
    }

    /// `outputs` without what the model says of the filling behind `length`.
    ///
    /// # Errors
    /// An output is shorter than the inputs were.
    pub fn cut(
        &self,
        signature: &Signature,
        outputs: Vec<Tensor>,
        length: usize,
    ) -> Result<Vec<Tensor>, ModelError> {
        let short = |(spec, tensor): &(&TensorSpec, &Tensor)| {
            is_long(spec) && tensor.shape().get(1).is_none_or(|own| *own < length)
        };
        if let Some((spec, tensor)) = signature.outputs.iter().zip(&outputs).find(short) {
            let reason = format!("has shape {:?} for inputs of length {length}", tensor.shape());
            return Err(ModelError::invalid(&spec.name, reason));
        }
        resize(&signature.outputs, outputs, length)
    }

    fn length(&self, signature: &Signature, tensors: &[Tensor]) -> Result<usize, ModelError> {
        let mut found: Option<usize> = None;
        for (spec, tensor) in signature.inputs.iter().zip(tensors).filter(|(spec, _)| is_long(spec)) {
            let own = tensor.shape().get(1).copied().unwrap_or(0);
            match found {
                Some(first) if first != own => {
                    return Err(ModelError::input(
                        &spec.name,
                        format!("has length {own}, others have {first}"),
                    ));
                }
                _ => found = Some(own),
            }
        }
        found.ok_or_else(|| ModelError::input(&self.mask, "no input has a length"))
    }
}

/// Whether the second dimension of such a tensor is its length.
fn is_long(spec: &TensorSpec) -> bool {
    spec.dims.get(1) == Some(&-1)
}

fn resize(specs: &[TensorSpec], tensors: Vec<Tensor>, length: usize) -> Result<Vec<Tensor>, ModelError> {
    let one = |(spec, tensor): (&TensorSpec, Tensor)| {
        if is_long(spec) && tensor.shape().get(1) != Some(&length) {
            tensor.with_length(length)
        } else {
            Ok(tensor)
        }
    };
    specs.iter().zip(tensors).map(one).collect()
}

/// The number one in little-endian bytes.
fn one(dtype: DType) -> Option<Vec<u8>> {
    Some(match dtype {
        DType::Bool | DType::U8 | DType::I8 => vec![1],
        DType::U16 | DType::I16 => 1u16.to_le_bytes().into(),
        DType::U32 | DType::I32 => 1u32.to_le_bytes().into(),
        DType::U64 | DType::I64 => 1u64.to_le_bytes().into(),
        DType::F16 => half::f16::ONE.to_le_bytes().into(),
        DType::Bf16 => half::bf16::ONE.to_le_bytes().into(),
        DType::F32 => 1f32.to_le_bytes().into(),
        DType::F64 => 1f64.to_le_bytes().into(),
        DType::Bytes => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(name: &str, dims: &[i64]) -> TensorSpec {
        TensorSpec { name: name.into(), dtype: DType::F32, dims: dims.to_vec(), unit: None, loinc: None }
    }

    fn signature() -> Signature {
        Signature {
            inputs: vec![spec("x", &[-1, -1, 2]), spec("mask", &[-1, -1]), spec("age", &[-1, 1])],
            outputs: vec![spec("each", &[-1, -1]), spec("all", &[-1, 3])],
        }
    }

    fn lengths(buckets: &[usize]) -> LengthConfig {
        LengthConfig { buckets: buckets.to_vec(), mask: "mask".into() }
    }

    #[test]
    fn what_cannot_be_filled_up_is_refused_by_its_name() {
        assert_eq!(lengths(&[4, 8]).check(&signature()), Ok(()));
        for buckets in [&[][..], &[4, 4], &[0], &[LENGTH_MAX + 1]] {
            assert!(lengths(buckets).check(&signature()).is_err_and(|text| text.contains("buckets")));
        }
        let other = LengthConfig { mask: "age".into(), ..lengths(&[4]) };
        assert!(other.check(&signature()).is_err_and(|text| text.contains("`age`")));
        let mut texts = signature();
        texts.inputs[0].dtype = DType::Bytes;
        assert!(lengths(&[4]).check(&texts).is_err_and(|text| text.contains("`x` holds texts")));
        let alone = Signature { inputs: vec![spec("mask", &[-1, -1])], outputs: vec![spec("all", &[-1, 3])] };
        assert!(lengths(&[4]).check(&alone).is_err());
    }

    #[test]
    fn inputs_of_unlike_length_are_refused() {
        let tensor = |shape: &[usize]| {
            Tensor::from_f32(shape.to_vec(), &vec![1.0; shape.iter().product()]).expect("shape")
        };
        let tensors = vec![tensor(&[1, 3, 2]), tensor(&[1, 4]), tensor(&[1, 1])];
        let error = lengths(&[8]).fill(&signature(), tensors).expect_err("3 is not 4");
        assert!(error.to_string().contains("mask: has length 4, others have 3"), "{error}");
    }

    proptest! {
        /// Filling changes nothing that is there, adds zeros behind it, and cutting takes just these away.
        #[test]
        fn filling_and_cutting_keep_what_is_real(
            rows in 1usize..4, length in 1usize..12, buckets in prop::collection::btree_set(1usize..12, 1..4),
        ) {
            let lengths = lengths(&buckets.iter().copied().collect::<Vec<_>>());
            let values: Vec<f32> = (1..=rows * length * 2).map(|value| value as f32).collect();
            let x = Tensor::from_f32(vec![rows, length, 2], &values).expect("shape");
            let mask = lengths.all_real(&signature(), rows, length).expect("small");
            let age = Tensor::from_f32(vec![rows, 1], &vec![7.0; rows]).expect("shape");
            let given = vec![x, mask, age.clone()];
            let Filled { tensors: filled, length: own, bucket: place } =
                lengths.fill(&signature(), given).expect("alike");
            let bucket = buckets.iter().copied().find(|bucket| *bucket >= length).unwrap_or(length);
            prop_assert_eq!((own, lengths.buckets.get(place).copied().unwrap_or(length)), (length, bucket));
            prop_assert_eq!(filled[0].shape(), &[rows, bucket, 2]);
            prop_assert_eq!(&filled[2], &age);
            let real: f32 = filled[1].as_f32().expect("f32").iter().sum();
            prop_assert_eq!(real, (rows * length) as f32);
            let sum: f32 = filled[0].as_f32().expect("f32").iter().sum();
            prop_assert_eq!(sum, values.iter().sum::<f32>());
            let back = filled[0].with_length(length).expect("shorter");
            prop_assert_eq!(back.as_f32().expect("f32").to_vec(), values);
            let cut = lengths.cut(&signature(), vec![filled[1].clone(), age], length).expect("long enough");
            prop_assert_eq!(cut[0].shape(), &[rows, length]);
            prop_assert!(cut[0].as_f32().expect("f32").iter().all(|value| *value > 0.0));
        }
    }
}
