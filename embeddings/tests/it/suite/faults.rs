//! Bad input: a clear error each, and the same from every implementation.

use embeddings::{
    Collection, Condition, Cursor, EmbeddingError, Field, FieldKind, Filter, Payload, Point, Query, Value,
    VectorStore,
};

use super::create;
use crate::support::{bare, collection, id, name, query, tenant};

fn equals(field: &str, value: Value) -> Filter {
    Filter(vec![Condition::Equals { field: field.to_owned(), value }])
}

fn with(field: &str, value: Value) -> Point {
    Point { payload: Payload::from([(field.to_owned(), value)]), ..bare(id(0), vec![1.0; 4]) }
}

pub(crate) async fn bad_input_gets_a_clear_error(store: &dyn VectorStore) {
    let there = create(store, collection("faults", 4)).await;
    let (me, nowhere) = (tenant("me"), name("no-such-collection"));
    let good = vec![1.0, 2.0, 3.0, 4.0];
    let ranged = Filter(vec![Condition::Range { field: "kind".to_owned(), from: None, to: None }]);
    let searches = [
        ("wrong dimension", &there, query(vec![1.0; 5], 3), "vectors of 4 numbers, the one given has 5"),
        ("NaN", &there, query(vec![1.0, f32::NAN, 1.0, 1.0], 3), "number 1 of the vector is not finite"),
        ("infinite", &there, query(vec![f32::INFINITY; 4], 3), "number 0 of the vector is not finite"),
        ("zero", &there, query(vec![0.0; 4], 3), "a zero vector has no direction"),
        (
            "no such collection",
            &nowhere,
            query(good.clone(), 3),
            "there is no collection 'no-such-collection'",
        ),
        ("k = 0", &there, query(good.clone(), 0), "k is 0, it must be within 1..=1000"),
        ("k too large", &there, query(good.clone(), 1_000_000), "k is 1000000, it must be within 1..=1000"),
        (
            "unknown field",
            &there,
            Query { filter: equals("colour", Value::Integer(1)), ..query(good.clone(), 3) },
            "has no field 'colour'",
        ),
        (
            "wrong kind",
            &there,
            Query { filter: equals("count", Value::Keyword("1".to_owned())), ..query(good.clone(), 3) },
            "field 'count' holds Integer values, the one given is Keyword",
        ),
        (
            "range of keywords",
            &there,
            Query { filter: ranged, ..query(good.clone(), 3) },
            "which have no order",
        ),
    ];
    for (what, collection, query, expected) in searches {
        let error = store.search(&me, collection, query).await.expect_err(what).to_string();
        assert!(error.contains(expected), "{what}: {error}");
    }
    let writes = [
        ("wrong dimension", bare(id(0), vec![1.0; 3]), "the one given has 3"),
        ("NaN", bare(id(0), vec![f32::NAN; 4]), "not finite"),
        ("zero", bare(id(0), vec![0.0; 4]), "zero vector"),
        ("unknown field", with("colour", Value::Integer(1)), "has no field 'colour'"),
        ("wrong kind", with("at", Value::Integer(1)), "holds Time values, the one given is Integer"),
        ("NaN in a field", with("weight", Value::Real(f64::NAN)), "field 'weight' is not finite"),
        ("large payload", with("kind", Value::Keyword("x".repeat(20_000))), "bytes in a payload, at most"),
    ];
    for (what, bad, expected) in writes {
        let batch = vec![bare(id(1), good.clone()), bad];
        let error = store.upsert(&me, &there, batch).await.expect_err(what).to_string();
        assert!(error.contains(expected), "{what}: {error}");
    }
    assert_eq!(store.count(&me, &there, Filter::default()).await.expect("counts"), 0, "all or none");
    limits_are_kept(store, &there).await;
}

async fn limits_are_kept(store: &dyn VectorStore, there: &embeddings::CollectionName) {
    let me = tenant("me");
    let many: Vec<Point> = (0..2_001).map(|number| bare(id(number), vec![1.0; 4])).collect();
    let ids: Vec<_> = (0..2_001).map(id).collect();
    let errors = [
        store.upsert(&me, there, many).await.expect_err("a large batch"),
        store.get(&me, there, &ids).await.expect_err("many ids"),
        store.delete(&me, there, &ids).await.expect_err("many ids"),
        store.scroll(&me, there, Filter::default(), None, 0).await.expect_err("an empty page"),
        store.scroll(&me, there, Filter::default(), None, 1_001).await.expect_err("a large page"),
    ];
    for error in errors {
        assert!(matches!(error, EmbeddingError::TooMany { .. }), "{error}");
    }
    let cursor = Cursor::parse("made-up").expect("short");
    let error =
        store.scroll(&me, there, Filter::default(), Some(cursor), 5).await.expect_err("a made-up cursor");
    assert!(matches!(error, EmbeddingError::Cursor { .. }), "{error}");
}

pub(crate) async fn bad_collections_are_refused(store: &dyn VectorStore) {
    let good = collection("bad", 4);
    let twice = vec![Field { name: "a".to_owned(), kind: FieldKind::Real }; 2];
    let odd = vec![Field { name: "a b".to_owned(), kind: FieldKind::Real }];
    let many = (0..33).map(|at| Field { name: format!("f{at}"), kind: FieldKind::Real }).collect();
    let bad = [
        ("dimension 0", Collection { dimension: 0, ..good.clone() }),
        ("dimension 5000", Collection { dimension: 5_000, ..good.clone() }),
        ("no layout", Collection { layout: String::new(), ..good.clone() }),
        ("a field twice", Collection { fields: twice, ..good.clone() }),
        ("a field's name", Collection { fields: odd, ..good.clone() }),
        ("many fields", Collection { fields: many, ..good.clone() }),
    ];
    for (what, bad) in bad {
        let error = store.create(bad).await.expect_err(what);
        assert!(matches!(error, EmbeddingError::Description { .. }), "{what}: {error}");
    }
}
