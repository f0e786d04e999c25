//! Points and what is asked of them, with the checks that every implementation makes before it believes them.

use std::collections::BTreeMap;

use crate::{Collection, Cursor, EmbeddingError, FieldKind, Filter, Limits, Metric, PointId, Storage};

/// Largest finite half-precision number.
const F16_MAX: f32 = 65_504.0;

/// A value of a payload.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Value {
    /// Text that is equal or not.
    Keyword(String),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Real(f64),
    /// Milliseconds since the Unix epoch.
    Time(i64),
}

impl Value {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> FieldKind {
        match self {
            Self::Keyword(_) => FieldKind::Keyword,
            Self::Integer(_) => FieldKind::Integer,
            Self::Real(_) => FieldKind::Real,
            Self::Time(_) => FieldKind::Time,
        }
    }

    /// Checks the value against the field it is for.
    pub(crate) fn check(&self, field: &str, kind: FieldKind) -> Result<(), EmbeddingError> {
        if self.kind() != kind {
            let (field, got) = (field.to_owned(), self.kind());
            return Err(EmbeddingError::FieldKind { field, expected: kind, got });
        }
        match self {
            Self::Real(real) if !real.is_finite() => {
                Err(EmbeddingError::NotFinite { place: format!("field '{field}'") })
            }
            Self::Keyword(_) | Self::Integer(_) | Self::Real(_) | Self::Time(_) => Ok(()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Keyword(text) => text.len(),
            Self::Integer(_) | Self::Real(_) | Self::Time(_) => 8,
        }
    }
}

/// What is known of a point besides its vector; fields are optional, but only those of the collection may appear.
pub type Payload = BTreeMap<String, Value>;

/// A vector with its name and payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its name.
    pub id: PointId,
    /// Its numbers, as many as the collection's dimension.
    pub vector: Vec<f32>,
    /// What else is known of it.
    pub payload: Payload,
}

/// A question: what is near?
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Near to what.
    pub vector: Vec<f32>,
    /// Most hits to answer.
    pub k: usize,
    /// What a hit must satisfy.
    pub filter: Filter,
    /// Compare with every matching point instead of asking the index.
    pub exact: bool,
}

/// A point that is near.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its name.
    pub id: PointId,
    /// Cosine similarity, or the negative squared distance: higher is nearer.
    pub score: f32,
    /// What else is known of it.
    pub payload: Payload,
}

/// A part of a collection and where the next one begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The points.
    pub points: Vec<Point>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

impl Query {
    /// Checks the question against the collection.
    ///
    /// # Errors
    /// The first fault: `K`, `Dimension`, `NotFinite`, `ZeroVector`, `UnknownField` or `FieldKind`.
    pub fn check(&self, collection: &Collection, limits: &Limits) -> Result<(), EmbeddingError> {
        if !(1..=limits.k_max).contains(&self.k) {
            return Err(EmbeddingError::K { k: self.k, max: limits.k_max });
        }
        check_vector(&self.vector, collection)?;
        self.filter.check(collection, limits)
    }
}

impl Point {
    /// Checks the point against the collection.
    ///
    /// # Errors
    /// The first fault: `Dimension`, `NotFinite`, `ZeroVector`, `UnknownField`, `FieldKind` or `TooMany`.
    pub fn check(&self, collection: &Collection, limits: &Limits) -> Result<(), EmbeddingError> {
        check_vector(&self.vector, collection)?;
        let mut bytes = 0;
        for (name, value) in &self.payload {
            let (_, field) = collection.field(name)?;
            value.check(name, field.kind)?;
            bytes += name.len() + value.bytes();
        }
        limits.most("bytes in a payload", bytes, limits.payload_bytes_max)
    }
}

impl Collection {
    /// Checks a batch of points.
    ///
    /// # Errors
    /// [`EmbeddingError::TooMany`], or the first fault of a point.
    pub fn check_points(&self, points: &[Point], limits: &Limits) -> Result<(), EmbeddingError> {
        limits.most("points in a batch", points.len(), limits.batch_points_max)?;
        points.iter().try_for_each(|point| point.check(self, limits))
    }
}

fn check_vector(vector: &[f32], collection: &Collection) -> Result<(), EmbeddingError> {
    if vector.len() != collection.dimension {
        return Err(EmbeddingError::Dimension {
            collection: collection.name.to_string(),
            expected: collection.dimension,
            got: vector.len(),
        });
    }
    let largest = match collection.storage {
        Storage::F32 | Storage::I8 => f32::MAX,
        Storage::F16 => F16_MAX,
    };
    let fits = |value: &f32| value.is_finite() && value.abs() <= largest;
    if let Some(at) = vector.iter().position(|value| !fits(value)) {
        return Err(EmbeddingError::NotFinite { place: format!("number {at} of the vector") });
    }
    check_length(vector, collection)
}

/// Squares are summed by every metric: their sum must be a number, and for a direction not zero.
fn check_length(vector: &[f32], collection: &Collection) -> Result<(), EmbeddingError> {
    let squared: f32 = vector.iter().map(|value| value * value).sum();
    match collection.metric {
        _ if !squared.is_finite() => {
            Err(EmbeddingError::NotFinite { place: "the vector's length".to_owned() })
        }
        Metric::Cosine if squared < f32::MIN_POSITIVE => {
            Err(EmbeddingError::ZeroVector { collection: collection.name.to_string() })
        }
        Metric::Cosine | Metric::L2 => Ok(()),
    }
}
