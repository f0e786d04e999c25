//! Requests read into what the store speaks of; every field is taken apart and every fault named with its place.

use embeddings::{
    Collection, CollectionName, Condition, Cursor, EmbeddingError, Field, FieldKind, Filter, Metric, Payload,
    Point, PointId, Storage, Tenant, Value,
};
use proto::manpasik::v1::{self as wire, payload_value, vector_condition};
use tonic::Status;

fn invalid(field: &str, reason: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{field}: {reason}"))
}

fn named<T>(field: &str, parsed: Result<T, EmbeddingError>) -> Result<T, Status> {
    parsed.map_err(|error| invalid(field, error))
}

pub(super) fn tenant(text: String) -> Result<Tenant, Status> {
    named("tenant", Tenant::parse(text))
}

pub(super) fn name(text: String) -> Result<CollectionName, Status> {
    named("collection", CollectionName::parse(text))
}

/// An empty token is the start.
pub(super) fn cursor(text: String) -> Result<Option<Cursor>, Status> {
    if text.is_empty() { Ok(None) } else { named("page_token", Cursor::parse(text)).map(Some) }
}

pub(super) fn ids(texts: Vec<String>) -> Result<Vec<PointId>, Status> {
    let id = |(at, text): (usize, String)| named(&format!("ids[{at}]"), PointId::parse(text));
    texts.into_iter().enumerate().map(id).collect()
}

pub(super) fn points(points: Vec<wire::VectorPoint>) -> Result<Vec<Point>, Status> {
    points.into_iter().enumerate().map(|(at, given)| point(&format!("points[{at}]"), given)).collect()
}

fn point(place: &str, given: wire::VectorPoint) -> Result<Point, Status> {
    let wire::VectorPoint { id, vector, payload } = given;
    let id = named(&format!("{place}.id"), PointId::parse(id))?;
    let mut fields = Payload::new();
    for (at, wire::PayloadEntry { name, value }) in payload.into_iter().enumerate() {
        let place = format!("{place}.payload[{at}]");
        let value = self::value(&format!("{place}.value"), value)?;
        if fields.contains_key(&name) {
            return Err(invalid(&place, format!("field '{name}' stands twice")));
        }
        fields.insert(name, value);
    }
    Ok(Point { id, vector, payload: fields })
}

fn value(place: &str, given: Option<wire::PayloadValue>) -> Result<Value, Status> {
    match given.and_then(|wire::PayloadValue { value }| value) {
        Some(payload_value::Value::Keyword(text)) => Ok(Value::Keyword(text)),
        Some(payload_value::Value::Integer(number)) => Ok(Value::Integer(number)),
        Some(payload_value::Value::Real(number)) => Ok(Value::Real(number)),
        Some(payload_value::Value::TimeUnixMs(ms)) => Ok(Value::Time(ms)),
        None => Err(invalid(place, "is absent: give keyword, integer, real or time_unix_ms")),
    }
}

pub(super) fn filter(conditions: Vec<wire::VectorCondition>) -> Result<Filter, Status> {
    let read = |(at, given)| condition(&format!("conditions[{at}]"), given);
    conditions.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Filter)
}

fn condition(place: &str, given: wire::VectorCondition) -> Result<Condition, Status> {
    let wire::VectorCondition { condition } = given;
    match condition {
        Some(vector_condition::Condition::Equals(wire::EqualsCondition { field, value })) => {
            Ok(Condition::Equals { field, value: self::value(&format!("{place}.equals.value"), value)? })
        }
        Some(vector_condition::Condition::Range(wire::RangeCondition { field, from, to })) => {
            let bound = |name: &str, bound: Option<wire::PayloadValue>| {
                bound.map(|bound| value(&format!("{place}.range.{name}"), Some(bound))).transpose()
            };
            let (from, to) = (bound("from", from)?, bound("to", to)?);
            if from.is_none() && to.is_none() {
                return Err(invalid(&format!("{place}.range"), "has no bound: give from, to or both"));
            }
            Ok(Condition::Range { field, from, to })
        }
        None => Err(invalid(place, "is empty: give equals or range")),
    }
}

pub(super) fn collection(given: Option<wire::VectorCollection>) -> Result<Collection, Status> {
    let given = given.ok_or_else(|| invalid("collection", "is absent"))?;
    let wire::VectorCollection { name, dimension, metric, layout, storage, fields } = given;
    let metric = match wire::VectorMetric::try_from(metric) {
        Ok(wire::VectorMetric::Cosine) => Metric::Cosine,
        Ok(wire::VectorMetric::L2) => Metric::L2,
        Ok(wire::VectorMetric::Unspecified) | Err(_) => {
            return Err(invalid("collection.metric", format!("{metric} is none: give cosine or L2")));
        }
    };
    let storage = match wire::VectorStorage::try_from(storage) {
        Ok(wire::VectorStorage::Unspecified | wire::VectorStorage::F32) => Storage::F32,
        Ok(wire::VectorStorage::F16) => Storage::F16,
        Ok(wire::VectorStorage::I8) => Storage::I8,
        Err(_) => return Err(invalid("collection.storage", format!("{storage} is not known"))),
    };
    let fields = fields.into_iter().enumerate();
    Ok(Collection {
        name: named("collection.name", CollectionName::parse(name))?,
        dimension: dimension as usize,
        metric,
        layout,
        storage,
        fields: fields.map(|(at, given)| field(at, given)).collect::<Result<_, _>>()?,
    })
}

fn field(at: usize, given: wire::PayloadFieldSchema) -> Result<Field, Status> {
    let wire::PayloadFieldSchema { name, kind } = given;
    let kind = match wire::PayloadKind::try_from(kind) {
        Ok(wire::PayloadKind::Keyword) => FieldKind::Keyword,
        Ok(wire::PayloadKind::Integer) => FieldKind::Integer,
        Ok(wire::PayloadKind::Real) => FieldKind::Real,
        Ok(wire::PayloadKind::Time) => FieldKind::Time,
        Ok(wire::PayloadKind::Unspecified) | Err(_) => {
            let reason = format!("{kind} is none: give keyword, integer, real or time");
            return Err(invalid(&format!("collection.fields[{at}].kind"), reason));
        }
    };
    Ok(Field { name, kind })
}

#[cfg(test)]
mod tests {
    use super::super::write;
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Option<wire::PayloadValue>> {
        let kinds = prop_oneof![
            ".{0,8}".prop_map(payload_value::Value::Keyword),
            any::<i64>().prop_map(payload_value::Value::Integer),
            any::<f64>().prop_map(payload_value::Value::Real),
            any::<i64>().prop_map(payload_value::Value::TimeUnixMs),
        ];
        let value = proptest::option::of(kinds).prop_map(|value| wire::PayloadValue { value });
        proptest::option::of(value)
    }

    fn any_point() -> impl Strategy<Value = wire::VectorPoint> {
        let entry = (".{0,3}", any_value()).prop_map(|(name, value)| wire::PayloadEntry { name, value });
        let vector = prop::collection::vec(any::<f32>(), 0..4);
        ("[a-z ]{0,3}", vector, prop::collection::vec(entry, 0..4))
            .prop_map(|(id, vector, payload)| wire::VectorPoint { id, vector, payload })
    }

    proptest! {
        #[test]
        fn fuzz_points_are_refused_or_come_back_as_they_were(given in prop::collection::vec(any_point(), 0..4)) {
            if let Ok(read) = points(given.clone()) {
                let sorted = |mut points: Vec<wire::VectorPoint>| {
                    points.iter_mut().for_each(|point| point.payload.sort_by(|a, b| a.name.cmp(&b.name)));
                    // NaN equals nothing; its text does.
                    format!("{points:?}")
                };
                prop_assert_eq!(sorted(write::points(read)), sorted(given));
            }
        }

        #[test]
        fn fuzz_a_collection_is_refused_or_comes_back_as_it_was(
            name in "[a-z ]{0,4}", dimension: u32, metric in 0..4, storage in 0..5, kind in 0..6, layout in ".{0,4}",
        ) {
            let fields = vec![wire::PayloadFieldSchema { name: "f".into(), kind }];
            let given = wire::VectorCollection { name, dimension, metric, layout, storage, fields };
            if let Ok(read) = collection(Some(given.clone())) {
                let storage = given.storage.max(wire::VectorStorage::F32.into());
                prop_assert_eq!(write::collection(read), wire::VectorCollection { storage, ..given });
            }
        }

        #[test]
        fn fuzz_any_condition_is_read_or_refused(field in ".{0,3}", a in any_value(), b in any_value(), kind in 0..3) {
            let condition = match kind {
                0 => None,
                1 => Some(vector_condition::Condition::Equals(wire::EqualsCondition { field, value: a })),
                _ => Some(vector_condition::Condition::Range(wire::RangeCondition { field, from: a, to: b })),
            };
            let read = filter(vec![wire::VectorCondition { condition }]);
            prop_assert!(read.is_ok() || read.is_err_and(|status| status.message().starts_with("conditions[0]")));
        }
    }

    #[test]
    fn a_fault_is_named_with_its_place() {
        let entry = |name: &str| wire::PayloadEntry {
            name: name.into(),
            value: Some(wire::PayloadValue { value: Some(payload_value::Value::Integer(1)) }),
        };
        let sound =
            wire::VectorPoint { id: "a".into(), vector: vec![1.0], payload: vec![entry("x"), entry("y")] };
        let nameless = wire::VectorPoint { id: String::new(), ..sound.clone() };
        let twice = wire::VectorPoint { payload: vec![entry("x"), entry("x")], ..sound.clone() };
        for (given, place) in [(nameless, "points[1].id: "), (twice, "points[1].payload[1]: ")] {
            let status = points(vec![sound.clone(), given]).expect_err(place);
            assert!(status.message().starts_with(place), "{}", status.message());
        }
    }
}
