//! One vector as it is kept in memory and on disk, and how two of them compare.

use std::cell::RefCell;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::slab::OwnedCoarse;
use crate::{Collection, EmbeddingError, Metric, Storage, kernel};

/// A score below every real one, for what cannot be compared.
pub(super) const FAR: f32 = 1e30;

/// A vector, in the precision of its collection; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Row {
    values: Values,
    /// What an inner product of the raw numbers is multiplied with: the step of bytes, and for cosine one over the
    /// length.
    factor: f32,
    /// Squared length.
    squared: f32,
}

#[derive(Debug, Clone)]
enum Values {
    F32(Arc<[f32]>),
    F16(Arc<[f16]>),
    I8(Arc<[i8]>, f32),
}

thread_local! {
    /// A half-precision vector written out in full; the index compares one with many in a row.
    static WIDE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Row {
    /// A vector to keep.
    pub(super) fn new(vector: &[f32], collection: &Collection) -> Self {
        Self::from_values(Values::new(vector, collection.storage), collection.metric)
    }

    /// A vector to compare with kept ones: against bytes it becomes bytes itself, otherwise it stays as it is.
    pub(super) fn query(vector: &[f32], collection: &Collection) -> Self {
        let storage = match collection.storage {
            Storage::F32 | Storage::F16 => Storage::F32,
            Storage::I8 => Storage::I8,
        };
        Self::from_values(Values::new(vector, storage), collection.metric)
    }

    fn from_values(values: Values, metric: Metric) -> Self {
        let squared = values.squared();
        let length = match metric {
            Metric::Cosine if squared > 0.0 => squared.sqrt(),
            Metric::Cosine | Metric::L2 => 1.0,
        };
        let factor = values.step() / length;
        Self { values, factor, squared }
    }

    /// The vector in bytes; `None` where it is kept in bytes anyway.
    pub(super) fn coarse(&self, metric: Metric) -> Option<OwnedCoarse> {
        match &self.values {
            Values::F32(values) => Some(OwnedCoarse::new(values, self.factor, metric)),
            Values::F16(values) => Some(wide(values, |wide| OwnedCoarse::new(wide, self.factor, metric))),
            Values::I8(..) => None,
        }
    }

    /// The bytes that are kept, little end first; bytes come after their step.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match &self.values {
            Values::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::I8(values, step) => step
                .to_le_bytes()
                .into_iter()
                .chain(values.iter().map(|value| value.cast_unsigned()))
                .collect(),
        }
    }

    /// Reads what [`bytes`](Self::bytes) wrote.
    pub(super) fn read(bytes: &[u8], collection: &Collection) -> Result<Self, EmbeddingError> {
        let values = Values::read(bytes, collection.storage);
        let values = values.filter(|values| values.len() == collection.dimension);
        let values = values.ok_or_else(|| EmbeddingError::Corrupt {
            what: format!("a vector of collection '{}'", collection.name),
            reason: format!("{} bytes do not make {} numbers", bytes.len(), collection.dimension),
        })?;
        Ok(Self::from_values(values, collection.metric))
    }

    /// The vector's numbers.
    pub(super) fn vector(&self) -> Vec<f32> {
        match &self.values {
            Values::F32(values) => values.to_vec(),
            Values::F16(values) => values.to_f32_vec(),
            Values::I8(values, step) => values.iter().map(|value| f32::from(*value) * step).collect(),
        }
    }

    /// How near two vectors are; higher is nearer.
    pub(super) fn score(&self, other: &Self, metric: Metric) -> f32 {
        match metric {
            Metric::Cosine => self.product(other) * self.factor * other.factor,
            Metric::L2 => -self.distance(other),
        }
    }

    /// Memory it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        let values = match &self.values {
            Values::F32(values) => size_of_val::<[f32]>(values),
            Values::F16(values) => size_of_val::<[f16]>(values),
            Values::I8(values, _) => size_of_val::<[i8]>(values),
        };
        values + size_of::<Self>()
    }

    fn product(&self, other: &Self) -> f32 {
        match (&self.values, &other.values) {
            (Values::F32(a), Values::F32(b)) => kernel::dot(a, b),
            (Values::F32(a), Values::F16(b)) | (Values::F16(b), Values::F32(a)) => kernel::dot_f16(a, b),
            (Values::F16(a), Values::F16(b)) => wide(a, |a| kernel::dot_f16(a, b)),
            (Values::I8(a, _), Values::I8(b, _)) => kernel::dot_i8(a, b) as f32,
            // Vectors of one collection and queries made for it never differ so.
            (Values::I8(..), Values::F32(_) | Values::F16(_))
            | (Values::F32(_) | Values::F16(_), Values::I8(..)) => -FAR,
        }
    }

    fn distance(&self, other: &Self) -> f32 {
        match (&self.values, &other.values) {
            (Values::F32(a), Values::F32(b)) => kernel::squared_l2(a, b),
            (Values::F32(a), Values::F16(b)) | (Values::F16(b), Values::F32(a)) => {
                kernel::squared_l2_f16(a, b)
            }
            (Values::F16(a), Values::F16(b)) => wide(a, |a| kernel::squared_l2_f16(a, b)),
            (Values::I8(..), _) | (_, Values::I8(..)) => {
                let product = self.product(other) * self.factor * other.factor;
                (self.squared + other.squared - 2.0 * product).max(0.0)
            }
        }
    }
}

fn wide<T>(narrow: &[f16], with: impl FnOnce(&[f32]) -> T) -> T {
    WIDE.with_borrow_mut(|wide| {
        wide.resize(narrow.len(), 0.0);
        narrow.convert_to_f32_slice(wide);
        with(wide)
    })
}

impl Values {
    fn new(vector: &[f32], storage: Storage) -> Self {
        match storage {
            Storage::F32 => Self::F32(vector.into()),
            Storage::F16 => Self::F16(kernel::to_f16(vector).into()),
            Storage::I8 => {
                let (values, step) = kernel::quantise_i8(vector);
                Self::I8(values.into(), step)
            }
        }
    }

    fn read(bytes: &[u8], storage: Storage) -> Option<Self> {
        match storage {
            Storage::F32 => {
                let (parts, rest) = bytes.as_chunks();
                rest.is_empty()
                    .then(|| Self::F32(parts.iter().map(|part| f32::from_le_bytes(*part)).collect()))
            }
            Storage::F16 => {
                let (parts, rest) = bytes.as_chunks();
                rest.is_empty()
                    .then(|| Self::F16(parts.iter().map(|part| f16::from_le_bytes(*part)).collect()))
            }
            Storage::I8 => {
                let (step, values) = bytes.split_first_chunk()?;
                let values = values.iter().map(|value| value.cast_signed()).collect();
                Some(Self::I8(values, f32::from_le_bytes(*step)))
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::I8(values, _) => values.len(),
        }
    }

    const fn step(&self) -> f32 {
        match self {
            Self::F32(_) | Self::F16(_) => 1.0,
            Self::I8(_, step) => *step,
        }
    }

    fn squared(&self) -> f32 {
        match self {
            Self::F32(values) => kernel::dot(values, values),
            Self::F16(values) => wide(values, |wide| kernel::dot(wide, wide)),
            Self::I8(values, step) => kernel::dot_i8(values, values) as f32 * step * step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CollectionName;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn collection(metric: Metric, storage: Storage) -> Collection {
        let name = CollectionName::parse("c").expect("a name");
        Collection { name, dimension: 16, metric, layout: "test/16".to_owned(), storage, fields: Vec::new() }
    }

    fn plain(a: &[f32], b: &[f32], metric: Metric) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let squared =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from((a - b).powi(2))).sum::<f64>();
        let score = match metric {
            Metric::Cosine => dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
            Metric::L2 => -squared(a, b),
        };
        score as f32
    }

    /// How far a score can be from the plain one when every number is off by at most `error` of its size.
    fn tolerance(a: &[f32], b: &[f32], metric: Metric, error: f32) -> f32 {
        let rounding = 1e-5;
        match metric {
            // Either vector turns by its numbers' errors over its length, at most `error · √16`.
            Metric::Cosine => 2.5 * error * 4.0 + rounding,
            // d² where every d is off by the errors of two numbers below one.
            Metric::L2 => {
                a.iter().zip(b).map(|(a, b)| 4.0 * error * ((a - b).abs() + error)).sum::<f32>() + rounding
            }
        }
    }

    proptest! {
        #[test]
        fn every_storage_scores_as_plain_arithmetic_within_its_precision(
            a in vec(-1f32..1.0, 16), b in vec(-1f32..1.0, 16)
        ) {
            prop_assume!(a.iter().chain(&b).map(|value| value.abs()).sum::<f32>() > 4.0);
            for (storage, error) in [(Storage::F32, 0.0), (Storage::F16, 1.0 / 2048.0), (Storage::I8, 1.0 / 254.0)] {
                for metric in [Metric::Cosine, Metric::L2] {
                    let collection = collection(metric, storage);
                    let (kept, other) = (Row::new(&a, &collection), Row::new(&b, &collection));
                    let (wanted, tolerance) = (plain(&a, &b, metric), tolerance(&a, &b, metric, error));
                    prop_assert!((kept.score(&other, metric) - wanted).abs() < tolerance);
                    prop_assert!((Row::query(&b, &collection).score(&kept, metric) - wanted).abs() < tolerance);
                    let coarse = kept.coarse(metric).zip(other.coarse(metric));
                    if let Some((one, two)) = coarse {
                        let tolerance = self::tolerance(&a, &b, metric, 1.0 / 254.0);
                        prop_assert!((one.view().score(&two.view(), metric) - wanted).abs() < tolerance);
                        let ((low, high), score) = (one.view().reach(&two.view(), metric), kept.score(&other, metric));
                        prop_assert!(low <= score && score <= high, "{} in {}..{}", score, low, high);
                    }
                }
            }
        }

        #[test]
        fn what_is_read_back_is_what_was_kept(a in vec(-1e3f32..1e3, 16)) {
            for storage in [Storage::F32, Storage::F16, Storage::I8] {
                let collection = collection(Metric::L2, storage);
                let row = Row::new(&a, &collection);
                let read = Row::read(&row.bytes(), &collection).expect("reads");
                prop_assert_eq!(read.vector(), row.vector());
                prop_assert!(storage != Storage::F32 || row.vector() == a);
                prop_assert!(Row::read(&row.bytes()[1..], &collection).is_err());
            }
        }
    }
}
