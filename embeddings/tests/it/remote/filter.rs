//! What Qdrant's filters mean, as far as the store uses them.
#![allow(clippy::wildcard_enum_match_arm, reason = "what the store never sends fails the test")]

use qdrant_client::qdrant::{
    Condition, FieldCondition, Filter, PointStruct, Range, Value, condition::ConditionOneOf,
    r#match::MatchValue, point_id::PointIdOptions, value::Kind,
};

/// The UUID of a point.
pub(super) fn uuid(id: Option<&qdrant_client::qdrant::PointId>) -> String {
    match id.and_then(|id| id.point_id_options.as_ref()) {
        Some(PointIdOptions::Uuid(uuid)) => uuid.clone(),
        other => panic!("the store sends UUIDs, this came: {other:?}"),
    }
}

/// Whether the point satisfies the filter.
pub(super) fn matches(filter: Option<&Filter>, point: &PointStruct) -> bool {
    filter.is_none_or(|filter| {
        assert!(filter.should.is_empty() && filter.min_should.is_none(), "not used by the store");
        filter.must.iter().all(|condition| holds(condition, point))
            && !filter.must_not.iter().any(|condition| holds(condition, point))
    })
}

/// The fields a filter names.
pub(super) fn keys(filter: &Filter) -> Vec<String> {
    let conditions = filter.must.iter().chain(&filter.must_not);
    conditions
        .flat_map(|condition| match condition.condition_one_of.as_ref() {
            Some(ConditionOneOf::Field(field)) => vec![field.key.clone()],
            Some(ConditionOneOf::IsEmpty(field)) => vec![field.key.clone()],
            Some(ConditionOneOf::Filter(filter)) => keys(filter),
            _ => Vec::new(),
        })
        .collect()
}

fn holds(condition: &Condition, point: &PointStruct) -> bool {
    match condition.condition_one_of.as_ref().expect("a condition says something") {
        ConditionOneOf::Field(field) => {
            point.payload.get(&field.key).is_some_and(|value| field_holds(field, value))
        }
        ConditionOneOf::IsEmpty(field) => !point.payload.contains_key(&field.key),
        ConditionOneOf::HasId(ids) => ids.has_id.iter().any(|id| uuid(Some(id)) == uuid(point.id.as_ref())),
        ConditionOneOf::Filter(filter) => matches(Some(filter), point),
        other => panic!("not used by the store: {other:?}"),
    }
}

fn field_holds(field: &FieldCondition, value: &Value) -> bool {
    let kind = value.kind.as_ref();
    match (field.r#match.as_ref().and_then(|found| found.match_value.as_ref()), &field.range) {
        (Some(MatchValue::Keyword(text)), None) => kind == Some(&Kind::StringValue(text.clone())),
        (Some(MatchValue::Integer(number)), None) => kind == Some(&Kind::IntegerValue(*number)),
        (None, Some(range)) => match kind {
            Some(Kind::IntegerValue(number)) => within(range, *number as f64),
            Some(Kind::DoubleValue(number)) => within(range, *number),
            _ => false,
        },
        other => panic!("not used by the store: {other:?}"),
    }
}

fn within(range: &Range, number: f64) -> bool {
    let Range { lt, gt, gte, lte } = *range;
    lt.is_none_or(|bound| number < bound)
        && gt.is_none_or(|bound| number > bound)
        && gte.is_none_or(|bound| number >= bound)
        && lte.is_none_or(|bound| number <= bound)
}
