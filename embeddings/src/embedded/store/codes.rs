//! Between our types and the columns of the tables.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::{NotSet, Set};

use super::entity::collection;
use crate::{Collection, CollectionName, EmbeddingError, Field, FieldKind, Metric, Payload, Storage, Value};

/// What was kept cannot be read.
pub(super) fn corrupt(what: &str, reason: impl Into<String>) -> EmbeddingError {
    EmbeddingError::Corrupt { what: what.to_owned(), reason: reason.into() }
}

/// A collection as a row without a number.
pub(super) fn row(from: &Collection) -> collection::ActiveModel {
    let fields = from.fields.iter().map(|field| format!("{} {}", kind_code(field.kind), field.name));
    collection::ActiveModel {
        id: NotSet,
        name: Set(from.name.to_string()),
        dimension: Set(from.dimension as i64),
        metric: Set(metric_code(from.metric).to_owned()),
        layout: Set(from.layout.clone()),
        storage: Set(storage_code(from.storage).to_owned()),
        fields: Set(fields.collect::<Vec<_>>().join("\n")),
    }
}

/// Reads the row of a collection.
pub(super) fn collection(row: &collection::Model) -> Result<Collection, EmbeddingError> {
    let fault = || corrupt("the row of a vector collection", format!("number {} cannot be read", row.id));
    Ok(Collection {
        name: CollectionName::parse(&*row.name)?,
        dimension: usize::try_from(row.dimension).map_err(|_| fault())?,
        metric: metric(&row.metric).ok_or_else(fault)?,
        layout: row.layout.clone(),
        storage: storage(&row.storage).ok_or_else(fault)?,
        fields: row.fields.lines().map(|line| field(line).ok_or_else(fault)).collect::<Result<_, _>>()?,
    })
}

fn field(line: &str) -> Option<Field> {
    let (code, name) = line.split_once(' ')?;
    Some(Field { name: name.to_owned(), kind: kind(code)? })
}

const fn metric_code(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::L2 => "l2",
    }
}

fn metric(code: &str) -> Option<Metric> {
    [Metric::Cosine, Metric::L2].into_iter().find(|metric| metric_code(*metric) == code)
}

const fn storage_code(storage: Storage) -> &'static str {
    match storage {
        Storage::F32 => "f32",
        Storage::F16 => "f16",
        Storage::I8 => "i8",
    }
}

fn storage(code: &str) -> Option<Storage> {
    [Storage::F32, Storage::F16, Storage::I8].into_iter().find(|storage| storage_code(*storage) == code)
}

const fn kind_code(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Keyword => "keyword",
        FieldKind::Integer => "integer",
        FieldKind::Real => "real",
        FieldKind::Time => "time",
    }
}

fn kind(code: &str) -> Option<FieldKind> {
    let kinds = [FieldKind::Keyword, FieldKind::Integer, FieldKind::Real, FieldKind::Time];
    kinds.into_iter().find(|kind| kind_code(*kind) == code)
}

/// A payload as a JSON object of texts: numbers read back to the last bit, and an operator can read it too.
pub(super) fn payload_text(payload: &Payload) -> String {
    let text = |value: &Value| match value {
        Value::Keyword(text) => text.clone(),
        Value::Integer(whole) | Value::Time(whole) => whole.to_string(),
        Value::Real(real) => real.to_string(),
    };
    let texts: BTreeMap<&str, String> =
        payload.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    serde_json::to_string(&texts).unwrap_or_default()
}

/// Reads the text of a payload.
pub(super) fn payload(text: &str, collection: &Collection) -> Result<Payload, EmbeddingError> {
    let texts: BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|error| corrupt("a payload", error.to_string()))?;
    let read = |(name, text): (String, String)| {
        let (_, field) = collection.field(&name)?;
        let fault = || corrupt("a payload", format!("field '{name}' cannot be read"));
        let value = value(text, field.kind).ok_or_else(fault)?;
        Ok((name, value))
    };
    texts.into_iter().map(read).collect()
}

fn value(text: String, kind: FieldKind) -> Option<Value> {
    match kind {
        FieldKind::Keyword => Some(Value::Keyword(text)),
        FieldKind::Integer => text.parse().ok().map(Value::Integer),
        FieldKind::Real => text.parse().ok().map(Value::Real),
        FieldKind::Time => text.parse().ok().map(Value::Time),
    }
}
