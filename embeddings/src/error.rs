//! What can go wrong: one closed list, each text saying what was expected, what came and what to do.

use store::StoreError;

use crate::FieldKind;

/// Why a call on a vector store failed.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingError {
    /// A vector has the wrong number of numbers.
    #[error("collection '{collection}' holds vectors of {expected} numbers, the one given has {got}")]
    Dimension {
        /// The collection.
        collection: String,
        /// Numbers in its vectors.
        expected: usize,
        /// Numbers in the one given.
        got: usize,
    },
    /// A number is NaN, infinite or beyond what the collection's storage can hold.
    #[error("{place} is not finite, or too large for the storage of the collection")]
    NotFinite {
        /// Which number.
        place: String,
    },
    /// A zero vector has no direction to compare.
    #[error("a zero vector has no direction, and collection '{collection}' compares directions (cosine)")]
    ZeroVector {
        /// The collection.
        collection: String,
    },
    /// There is no such collection.
    #[error("there is no collection '{name}': create it first")]
    UnknownCollection {
        /// The name.
        name: String,
    },
    /// A collection of that name exists and is another.
    #[error("collection '{name}' exists with another {what}: choose another name or drop it first")]
    CollectionDiffers {
        /// The name.
        name: String,
        /// The first property that differs.
        what: &'static str,
    },
    /// A collection is described in a way that cannot be created.
    #[error("collection '{collection}' cannot be created: {reason}")]
    Description {
        /// The collection.
        collection: String,
        /// What is wrong.
        reason: String,
    },
    /// The number of hits asked for is out of bounds.
    #[error("k is {k}, it must be within 1..={max}")]
    K {
        /// What was asked.
        k: usize,
        /// The most.
        max: usize,
    },
    /// A payload or filter names a field the collection does not have.
    #[error("collection '{collection}' has no field '{field}'")]
    UnknownField {
        /// The field.
        field: String,
        /// The collection.
        collection: String,
    },
    /// A value is not of its field's kind.
    #[error("field '{field}' holds {expected:?} values, the one given is {got:?}")]
    FieldKind {
        /// The field.
        field: String,
        /// The field's kind.
        expected: FieldKind,
        /// The value's kind.
        got: FieldKind,
    },
    /// A range over a field whose values have no order.
    #[error("field '{field}' holds keywords, which have no order: only equality can be asked")]
    Unordered {
        /// The field.
        field: String,
    },
    /// A name is not one.
    #[error("{what} name '{name}' was refused: {reason}")]
    Name {
        /// What it names.
        what: &'static str,
        /// The text given, shortened.
        name: String,
        /// What was expected.
        reason: &'static str,
    },
    /// A cursor cannot be used here.
    #[error("the cursor was refused: {reason}; scroll from the start")]
    Cursor {
        /// Why.
        reason: &'static str,
    },
    /// More was given than a limit allows.
    #[error("{got} {what}, at most {max} are allowed")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many were given.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// Too much is waiting; trying again can help.
    #[error("the vector store has more work than it can queue: try again in {retry_after_ms} ms")]
    Overloaded {
        /// When to come back.
        retry_after_ms: u64,
    },
    /// The call did not end in time; trying again can help.
    #[error("the vector store did not answer within {deadline_ms} ms: try again")]
    Deadline {
        /// The deadline.
        deadline_ms: u64,
    },
    /// The store cannot be reached or is shutting down.
    #[error("the vector store is unavailable: {reason}")]
    Unavailable {
        /// Why, without internals.
        reason: String,
    },
    /// What was kept cannot be read.
    #[error("{what} is damaged: {reason}")]
    Corrupt {
        /// What is damaged.
        what: String,
        /// How it shows.
        reason: String,
    },
    /// The database failed.
    #[error("the vector database failed")]
    Store(#[from] StoreError),
}

impl EmbeddingError {
    /// Whether the same call can succeed a moment later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Overloaded { .. } | Self::Deadline { .. } | Self::Unavailable { .. } => true,
            Self::Store(error) => error.is_transient(),
            Self::Dimension { .. }
            | Self::NotFinite { .. }
            | Self::ZeroVector { .. }
            | Self::UnknownCollection { .. }
            | Self::CollectionDiffers { .. }
            | Self::Description { .. }
            | Self::K { .. }
            | Self::UnknownField { .. }
            | Self::FieldKind { .. }
            | Self::Unordered { .. }
            | Self::Name { .. }
            | Self::Cursor { .. }
            | Self::TooMany { .. }
            | Self::Corrupt { .. } => false,
        }
    }
}
