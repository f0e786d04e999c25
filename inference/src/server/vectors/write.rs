//! Answers of the store as messages; every field is taken apart, so that none is forgotten.

use embeddings::{
    Collection, Field, FieldKind, Hit, Metric, Page, Payload, Point, State, Stats, Storage, Value,
};
use proto::manpasik::v1::{self as wire, payload_value};

pub(super) fn collection(collection: Collection) -> wire::VectorCollection {
    let Collection { name, dimension, metric, layout, storage, fields } = collection;
    let metric = match metric {
        Metric::Cosine => wire::VectorMetric::Cosine,
        Metric::L2 => wire::VectorMetric::L2,
    };
    let storage = match storage {
        Storage::F32 => wire::VectorStorage::F32,
        Storage::F16 => wire::VectorStorage::F16,
        Storage::I8 => wire::VectorStorage::I8,
    };
    wire::VectorCollection {
        name: name.to_string(),
        dimension: u32::try_from(dimension).unwrap_or(u32::MAX),
        metric: metric.into(),
        layout,
        storage: storage.into(),
        fields: fields.into_iter().map(field).collect(),
    }
}

fn field(field: Field) -> wire::PayloadFieldSchema {
    let Field { name, kind } = field;
    let kind = match kind {
        FieldKind::Keyword => wire::PayloadKind::Keyword,
        FieldKind::Integer => wire::PayloadKind::Integer,
        FieldKind::Real => wire::PayloadKind::Real,
        FieldKind::Time => wire::PayloadKind::Time,
    };
    wire::PayloadFieldSchema { name, kind: kind.into() }
}

pub(super) fn points(points: Vec<Point>) -> Vec<wire::VectorPoint> {
    let point = |Point { id, vector, payload }| wire::VectorPoint {
        id: id.to_string(),
        vector,
        payload: self::payload(payload),
    };
    points.into_iter().map(point).collect()
}

pub(super) fn hit(hit: Hit) -> wire::VectorHit {
    let Hit { id, score, payload } = hit;
    wire::VectorHit { id: id.to_string(), score, payload: self::payload(payload) }
}

pub(super) fn page(page: Page) -> wire::ScrollPointsResponse {
    let Page { points, next } = page;
    let next_page_token = next.map(|cursor| cursor.as_str().to_owned()).unwrap_or_default();
    wire::ScrollPointsResponse { points: self::points(points), next_page_token }
}

fn payload(payload: Payload) -> Vec<wire::PayloadEntry> {
    payload
        .into_iter()
        .map(|(name, value)| wire::PayloadEntry { name, value: Some(self::value(value)) })
        .collect()
}

fn value(value: Value) -> wire::PayloadValue {
    let value = match value {
        Value::Keyword(text) => payload_value::Value::Keyword(text),
        Value::Integer(number) => payload_value::Value::Integer(number),
        Value::Real(number) => payload_value::Value::Real(number),
        Value::Time(ms) => payload_value::Value::TimeUnixMs(ms),
    };
    wire::PayloadValue { value: Some(value) }
}

pub(super) fn stats(stats: Stats) -> wire::GetCollectionStatsResponse {
    let Stats { points, indexed, tail, bytes, state } = stats;
    let state = match state {
        State::Loading => wire::CollectionState::Loading,
        State::Indexing => wire::CollectionState::Indexing,
        State::Ready => wire::CollectionState::Ready,
    };
    wire::GetCollectionStatsResponse { points, indexed, tail, bytes, state: state.into() }
}
