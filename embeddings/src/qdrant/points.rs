//! Points as Qdrant keeps them, and back.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    PointId as RemoteId, PointStruct, RetrievedPoint, ScoredPoint, Value as Remote, Vectors, VectorsOutput,
    point_id::PointIdOptions, vector_output, vectors_output,
};

use super::call::misunderstood;
use super::keys::{ID, LENGTH, TENANT, field_key, remote_id};
use crate::{
    Collection, EmbeddingError, FieldKind, Hit, Metric, Payload, Point, PointId, Tenant, Value, kernel,
};

/// The point as it is sent.
///
/// Qdrant brings vectors of a cosine collection to length one and forgets the length, so it is kept
/// beside them; a vector then comes back as given but for the last bits.
pub(super) fn sent(
    tenant: &Tenant,
    collection: &Collection,
    point: Point,
) -> Result<PointStruct, EmbeddingError> {
    let Point { id, mut vector, payload } = point;
    let mut fields = HashMap::from([
        (TENANT.to_owned(), Remote::from(tenant.to_string())),
        (ID.to_owned(), Remote::from(id.to_string())),
    ]);
    if collection.metric == Metric::Cosine {
        fields.insert(LENGTH.to_owned(), Remote::from(kernel::normalise(&mut vector)));
    }
    for (name, value) in payload {
        let (position, _) = collection.field(&name)?;
        fields.insert(field_key(position), remote_value(value));
    }
    Ok(PointStruct {
        id: Some(remote_id(tenant, &id)),
        vectors: Some(Vectors::from(vector)),
        payload: fields,
    })
}

fn remote_value(value: Value) -> Remote {
    match value {
        Value::Keyword(text) => Remote::from(text),
        Value::Integer(number) | Value::Time(number) => Remote::from(number),
        Value::Real(number) => Remote::from(number),
    }
}

/// The point as it came back.
pub(super) fn received(collection: &Collection, point: RetrievedPoint) -> Result<Point, EmbeddingError> {
    let RetrievedPoint { payload: fields, vectors, .. } = point;
    let (id, payload) = (name(&fields)?, payload(collection, &fields)?);
    let mut vector = dense(vectors).ok_or_else(|| misunderstood("a point came without its vector"))?;
    if collection.metric == Metric::Cosine {
        let length = fields.get(LENGTH).and_then(Remote::as_double);
        let length = length.ok_or_else(|| misunderstood("a point came without its length"))?;
        for value in &mut vector {
            *value = (f64::from(*value) * length) as f32;
        }
    }
    Ok(Point { id, vector, payload })
}

/// A hit as it came back.
pub(super) fn hit(collection: &Collection, point: ScoredPoint) -> Result<Hit, EmbeddingError> {
    let ScoredPoint { payload: fields, score, .. } = point;
    let score = match collection.metric {
        Metric::Cosine => score,
        // Qdrant answers distances, of which the least is nearest.
        Metric::L2 => -score * score,
    };
    Ok(Hit { id: name(&fields)?, score, payload: payload(collection, &fields)? })
}

/// The text of an identifier in a cursor.
pub(super) fn position(id: RemoteId) -> Option<String> {
    match id.point_id_options? {
        PointIdOptions::Uuid(uuid) => Some(uuid),
        PointIdOptions::Num(_) => None,
    }
}

fn name(fields: &HashMap<String, Remote>) -> Result<PointId, EmbeddingError> {
    let text = fields.get(ID).and_then(Remote::as_str);
    let text = text.ok_or_else(|| misunderstood("a point came without its name"))?;
    PointId::parse(text.as_str())
}

fn payload(collection: &Collection, fields: &HashMap<String, Remote>) -> Result<Payload, EmbeddingError> {
    let mut payload = Payload::new();
    for (position, field) in collection.fields.iter().enumerate() {
        let Some(remote) = fields.get(&field_key(position)) else { continue };
        let value = match field.kind {
            FieldKind::Keyword => remote.as_str().cloned().map(Value::Keyword),
            FieldKind::Integer => remote.as_integer().map(Value::Integer),
            FieldKind::Real => remote.as_double().map(Value::Real),
            FieldKind::Time => remote.as_integer().map(Value::Time),
        };
        let value = value.ok_or_else(|| misunderstood("a field came with another kind of value"))?;
        payload.insert(field.name.clone(), value);
    }
    Ok(payload)
}

fn dense(vectors: Option<VectorsOutput>) -> Option<Vec<f32>> {
    let vectors_output::VectorsOptions::Vector(output) = vectors?.vectors_options? else { return None };
    match output.into_vector() {
        vector_output::Vector::Dense(dense) => Some(dense.data),
        vector_output::Vector::Sparse(_) | vector_output::Vector::MultiDense(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::{DenseVector, VectorOutput, vector, vectors::VectorsOptions};

    use super::*;
    use crate::{CollectionName, Field, Storage};

    fn collection(metric: Metric) -> Collection {
        let kinds = [FieldKind::Keyword, FieldKind::Integer, FieldKind::Real, FieldKind::Time];
        Collection {
            name: CollectionName::parse("c").expect("a name"),
            dimension: 3,
            metric,
            layout: "x".into(),
            storage: Storage::F32,
            fields: kinds.map(|kind| Field { name: format!("{kind:?}"), kind }).into(),
        }
    }

    fn point() -> Point {
        let payload = [
            ("Keyword", Value::Keyword("사과".into())),
            ("Integer", Value::Integer(i64::MIN)),
            ("Real", Value::Real(-0.1)),
            ("Time", Value::Time(i64::MAX)),
        ];
        Point {
            id: PointId::parse("p").expect("a name"),
            vector: vec![3.0, 0.0, -4.0],
            payload: payload.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    /// What Qdrant would answer for what was sent.
    fn back(sent: PointStruct) -> RetrievedPoint {
        let PointStruct { id, payload, vectors } = sent;
        let Some(VectorsOptions::Vector(vector)) = vectors.and_then(|vectors| vectors.vectors_options) else {
            panic!("one vector was sent")
        };
        let Some(vector::Vector::Dense(DenseVector { data })) = vector.vector else {
            panic!("a dense vector was sent")
        };
        let vector = Some(vector_output::Vector::Dense(DenseVector { data }));
        let output = VectorOutput { vector, ..VectorOutput::default() };
        let vectors_options = Some(vectors_output::VectorsOptions::Vector(output));
        RetrievedPoint {
            id,
            payload,
            vectors: Some(VectorsOutput { vectors_options }),
            ..RetrievedPoint::default()
        }
    }

    fn me() -> Tenant {
        Tenant::parse("me").expect("a name")
    }

    #[test]
    fn a_point_comes_back_as_it_was_given() {
        for metric in [Metric::Cosine, Metric::L2] {
            let collection = collection(metric);
            let sent = sent(&me(), &collection, point()).expect("known fields");
            let received = received(&collection, back(sent)).expect("a point");
            assert_eq!((&received.id, &received.payload), (&point().id, &point().payload));
            for (got, given) in received.vector.iter().zip(point().vector) {
                assert!((got - given).abs() < 1e-6, "{metric:?}: {got} for {given}");
            }
        }
    }

    #[test]
    fn a_point_that_lost_something_is_an_error_and_not_a_guess() {
        let collection = collection(Metric::Cosine);
        for key in [ID, LENGTH] {
            let mut point = back(sent(&me(), &collection, point()).expect("known fields"));
            point.payload.remove(key);
            assert!(
                matches!(received(&collection, point), Err(EmbeddingError::Corrupt { .. })),
                "without {key}"
            );
        }
        let mut changed = back(sent(&me(), &collection, point()).expect("known fields"));
        changed.payload.insert("f1".into(), Remote::from("text"));
        assert!(received(&collection, changed).is_err());
        let mut bare = back(sent(&me(), &collection, point()).expect("known fields"));
        bare.vectors = None;
        assert!(received(&collection, bare).is_err());
    }

    #[test]
    fn a_distance_becomes_a_score_that_is_higher_for_nearer() {
        let fields = HashMap::from([(ID.to_owned(), Remote::from("p"))]);
        let point = |score| ScoredPoint { payload: fields.clone(), score, ..ScoredPoint::default() };
        let score = |metric, score| hit(&collection(metric), point(score)).expect("a hit").score;
        assert_eq!(score(Metric::Cosine, 0.5), 0.5);
        assert_eq!(score(Metric::L2, 3.0), -9.0);
    }
}
