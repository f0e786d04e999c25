//! One field of a collection's payloads, by slot, and tests on it that cost a comparison each.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Condition, FieldKind, Value};

/// Code of an absent keyword.
const ABSENT: u32 = u32::MAX;

/// The values of a field by slot.
#[derive(Debug)]
pub(super) enum Column {
    /// Keywords as codes, each word kept once.
    Words { codes: Vec<u32>, words: Vec<Arc<str>>, by_word: HashMap<Arc<str>, u32> },
    /// Whole numbers or times.
    Whole { values: Vec<Option<i64>>, kind: FieldKind },
    /// Real numbers, NaN where absent.
    Real { values: Vec<f64> },
}

/// A condition made ready for the values of a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    /// No value satisfies it.
    Never,
    Word(u32),
    /// From inclusive, to exclusive; the second is absent where there is no upper bound.
    Whole(i64, Option<i64>),
    SameWhole(i64),
    Real(f64, f64),
    SameReal(f64),
}

impl Column {
    /// An empty column.
    pub(super) fn new(kind: FieldKind) -> Self {
        match kind {
            FieldKind::Keyword => {
                Self::Words { codes: Vec::new(), words: Vec::new(), by_word: HashMap::new() }
            }
            FieldKind::Integer | FieldKind::Time => Self::Whole { values: Vec::new(), kind },
            FieldKind::Real => Self::Real { values: Vec::new() },
        }
    }

    /// Appends the value of the next slot; one of another kind counts as absent.
    pub(super) fn push(&mut self, value: Option<&Value>) {
        match self {
            Self::Words { codes, words, by_word } => codes.push(code(value, words, by_word)),
            Self::Whole { values, .. } => values.push(value.and_then(whole)),
            Self::Real { values } => values.push(value.and_then(real).unwrap_or(f64::NAN)),
        }
    }

    /// The value of a slot.
    pub(super) fn value(&self, slot: u32) -> Option<Value> {
        let at = slot as usize;
        match self {
            Self::Words { codes, words, .. } => {
                let word = words.get(*codes.get(at)? as usize)?;
                Some(Value::Keyword(word.to_string()))
            }
            Self::Whole { values, kind: FieldKind::Time } => (*values.get(at)?).map(Value::Time),
            Self::Whole { values, .. } => (*values.get(at)?).map(Value::Integer),
            Self::Real { values } => {
                values.get(at).filter(|value| !value.is_nan()).map(|value| Value::Real(*value))
            }
        }
    }

    /// Makes a condition ready.
    pub(super) fn test(&self, condition: &Condition) -> Test {
        match (self, condition) {
            (Self::Words { by_word, .. }, Condition::Equals { value: Value::Keyword(word), .. }) => {
                by_word.get(word.as_str()).map_or(Test::Never, |code| Test::Word(*code))
            }
            (Self::Whole { .. }, Condition::Equals { value, .. }) => {
                whole(value).map_or(Test::Never, Test::SameWhole)
            }
            (Self::Whole { .. }, Condition::Range { from, to, .. }) => {
                Test::Whole(from.as_ref().and_then(whole).unwrap_or(i64::MIN), to.as_ref().and_then(whole))
            }
            (Self::Real { .. }, Condition::Equals { value, .. }) => {
                real(value).map_or(Test::Never, Test::SameReal)
            }
            (Self::Real { .. }, Condition::Range { from, to, .. }) => Test::Real(
                from.as_ref().and_then(real).unwrap_or(f64::NEG_INFINITY),
                to.as_ref().and_then(real).unwrap_or(f64::INFINITY),
            ),
            (Self::Words { .. }, Condition::Equals { .. } | Condition::Range { .. }) => Test::Never,
        }
    }

    /// Whether the value of a slot passes a test made by this column.
    #[inline]
    pub(super) fn passes(&self, slot: u32, test: Test) -> bool {
        let at = slot as usize;
        match (self, test) {
            (Self::Words { codes, .. }, Test::Word(wanted)) => codes.get(at) == Some(&wanted),
            (Self::Whole { values, .. }, Test::SameWhole(wanted)) => values.get(at) == Some(&Some(wanted)),
            (Self::Whole { values, .. }, Test::Whole(from, to)) => {
                let value = values.get(at).copied().flatten();
                value.is_some_and(|value| value >= from && to.is_none_or(|to| value < to))
            }
            // Comparing with NaN is false, as it should be for an absent value.
            (Self::Real { values }, Test::SameReal(wanted)) => values.get(at) == Some(&wanted),
            (Self::Real { values }, Test::Real(from, to)) => {
                values.get(at).is_some_and(|value| *value >= from && *value < to)
            }
            (Self::Words { .. } | Self::Whole { .. } | Self::Real { .. }, _) => false,
        }
    }

    /// Those of the slots that pass.
    pub(super) fn pick(&self, slots: &[u32], test: Test) -> Vec<u32> {
        slots.iter().copied().filter(|slot| self.passes(*slot, test)).collect()
    }
}

fn code(value: Option<&Value>, words: &mut Vec<Arc<str>>, by_word: &mut HashMap<Arc<str>, u32>) -> u32 {
    let Some(Value::Keyword(word)) = value else { return ABSENT };
    if let Some(code) = by_word.get(word.as_str()) {
        return *code;
    }
    let (code, word) = (words.len() as u32, Arc::<str>::from(word.as_str()));
    words.push(Arc::clone(&word));
    by_word.insert(word, code);
    code
}

const fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(whole) | Value::Time(whole) => Some(*whole),
        Value::Keyword(_) | Value::Real(_) => None,
    }
}

const fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Real(real) => Some(*real),
        Value::Keyword(_) | Value::Integer(_) | Value::Time(_) => None,
    }
}
