//! Conditions on payloads. All conditions of a filter must hold; a point without the field satisfies none.

use crate::{Collection, EmbeddingError, FieldKind, Limits, Payload, Value};

/// Conditions that must all hold; without any, everything matches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter(pub Vec<Condition>);

/// One condition on one field.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// The field has this value.
    Equals {
        /// Name of the field.
        field: String,
        /// The value, of the field's kind.
        value: Value,
    },
    /// The field lies within bounds; a time window is a range on a time. Keywords have no order.
    Range {
        /// Name of the field.
        field: String,
        /// Lowest value, inclusive.
        from: Option<Value>,
        /// First value above, exclusive.
        to: Option<Value>,
    },
}

impl Condition {
    /// The field it is about.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::Equals { field, .. } | Self::Range { field, .. } => field,
        }
    }

    /// Whether a value of the right kind satisfies it.
    #[must_use]
    pub fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Equals { value: wanted, .. } => value == wanted,
            Self::Range { from, to, .. } => {
                from.as_ref().is_none_or(|from| value >= from) && to.as_ref().is_none_or(|to| value < to)
            }
        }
    }

    fn check(&self, collection: &Collection) -> Result<(), EmbeddingError> {
        let (_, field) = collection.field(self.field())?;
        match self {
            Self::Equals { value, .. } => value.check(&field.name, field.kind),
            Self::Range { .. } if field.kind == FieldKind::Keyword => {
                Err(EmbeddingError::Unordered { field: field.name.clone() })
            }
            Self::Range { from, to, .. } => {
                from.iter().chain(to).try_for_each(|bound| bound.check(&field.name, field.kind))
            }
        }
    }
}

impl Filter {
    /// Checks every condition against the fields of the collection.
    ///
    /// # Errors
    /// `UnknownField`, `FieldKind`, `NotFinite`, `Unordered` or `TooMany`.
    pub fn check(&self, collection: &Collection, limits: &Limits) -> Result<(), EmbeddingError> {
        limits.most("conditions in a filter", self.0.len(), limits.conditions_max)?;
        self.0.iter().try_for_each(|condition| condition.check(collection))
    }

    /// Whether a payload satisfies every condition.
    #[must_use]
    pub fn matches(&self, payload: &Payload) -> bool {
        let holds = |condition: &Condition| {
            payload.get(condition.field()).is_some_and(|value| condition.holds(value))
        };
        self.0.iter().all(holds)
    }
}
