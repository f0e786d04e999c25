//! A collection: what its vectors are, how they are compared and kept, and which fields can be filtered.

use crate::{CollectionName, EmbeddingError, Limits};

/// How two vectors are compared. In both a higher score is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Cosine similarity, -1 to 1; the length of a vector does not matter and a zero vector is refused.
    Cosine,
    /// Negative squared Euclidean distance, at most 0.
    L2,
}

/// How the numbers of a vector are kept. What was rounded is rounded in every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// As given, 4 bytes each.
    F32,
    /// Half precision, 2 bytes each; a vector whose numbers go beyond ±65,504 is refused.
    F16,
    /// One byte each and a scale for each vector.
    I8,
}

/// What a field of a payload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Text that is equal or not.
    Keyword,
    /// A whole number.
    Integer,
    /// A finite number.
    Real,
    /// Milliseconds since the Unix epoch.
    Time,
}

/// A field that a payload may carry and a filter may name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    /// Its name: 1 to 128 characters of `A-Z a-z 0-9 . _ : -`.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
}

/// A collection of vectors of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Collection {
    /// Its name.
    pub name: CollectionName,
    /// Numbers in a vector.
    pub dimension: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// What a vector is, such as `clinical/88`: two vectors of the same length need not mean the same.
    pub layout: String,
    /// How vectors are kept.
    pub storage: Storage,
    /// What payloads may carry.
    pub fields: Vec<Field>,
}

impl Collection {
    /// The field called `name`, with its position.
    ///
    /// # Errors
    /// [`EmbeddingError::UnknownField`] when there is none.
    pub fn field(&self, name: &str) -> Result<(usize, &Field), EmbeddingError> {
        let found = self.fields.iter().enumerate().find(|(_, field)| field.name == name);
        found.ok_or_else(|| EmbeddingError::UnknownField {
            field: name.chars().take(128).collect(),
            collection: self.name.to_string(),
        })
    }

    /// Checks the description itself.
    ///
    /// # Errors
    /// [`EmbeddingError::Description`] with the first fault.
    pub fn check(&self, limits: &Limits) -> Result<(), EmbeddingError> {
        let refuse =
            |reason: String| EmbeddingError::Description { collection: self.name.to_string(), reason };
        if !(1..=limits.dimension_max).contains(&self.dimension) {
            let max = limits.dimension_max;
            return Err(refuse(format!("dimension {} is not within 1..={max}", self.dimension)));
        }
        if self.layout.is_empty() || self.layout.len() > limits.layout_bytes_max {
            return Err(refuse(format!("layout must have 1 to {} bytes", limits.layout_bytes_max)));
        }
        if self.fields.len() > limits.fields_max {
            return Err(refuse(format!("{} fields, at most {}", self.fields.len(), limits.fields_max)));
        }
        for (at, field) in self.fields.iter().enumerate() {
            CollectionName::parse(&*field.name).map_err(|_| refuse(format!("field {at} has a bad name")))?;
            if self.fields[..at].iter().any(|other| other.name == field.name) {
                return Err(refuse(format!("field '{}' stands twice", field.name)));
            }
        }
        Ok(())
    }

    /// Refuses a description that is not the one a collection was created with.
    ///
    /// # Errors
    /// [`EmbeddingError::CollectionDiffers`] naming the first difference.
    pub fn same_as(&self, existing: &Self) -> Result<(), EmbeddingError> {
        let differences = [
            ("dimension", self.dimension == existing.dimension),
            ("metric", self.metric == existing.metric),
            ("layout", self.layout == existing.layout),
            ("storage", self.storage == existing.storage),
            ("fields", self.fields == existing.fields),
        ];
        match differences.into_iter().find(|(_, same)| !same) {
            Some((what, _)) => Err(EmbeddingError::CollectionDiffers { name: self.name.to_string(), what }),
            None => Ok(()),
        }
    }
}
