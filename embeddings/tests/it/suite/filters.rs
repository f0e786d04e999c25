//! Filters: what search, count and scroll admit is what the plain definition admits.

use std::collections::BTreeSet;

use embeddings::{Condition, Filter, PointId, Query, Value, VectorStore};

use super::create;
use crate::support::{bare, collection, fill, id, points, query, tenant};

fn equals(field: &str, value: Value) -> Condition {
    Condition::Equals { field: field.to_owned(), value }
}

fn range(field: &str, from: Option<Value>, to: Option<Value>) -> Condition {
    Condition::Range { field: field.to_owned(), from, to }
}

fn filters() -> Vec<(usize, Filter)> {
    let red = || equals("kind", Value::Keyword("red".to_owned()));
    let time = |number: i64| Some(Value::Time(1_700_000_000_000 + number * 1_000));
    let count = |number| Some(Value::Integer(number));
    let weight = |number| Some(Value::Real(number));
    vec![
        (600, Filter::default()),
        (200, Filter(vec![red()])),
        (0, Filter(vec![equals("kind", Value::Keyword("mauve".to_owned()))])),
        (1, Filter(vec![equals("count", Value::Integer(7))])),
        (1, Filter(vec![equals("weight", Value::Real(0.7))])),
        (100, Filter(vec![range("at", time(100), time(200))])),
        (500, Filter(vec![range("at", time(100), None)])),
        (10, Filter(vec![range("count", None, count(10))])),
        (10, Filter(vec![range("weight", weight(1.0), weight(2.0))])),
        (0, Filter(vec![range("count", count(10), count(10))])),
        (600, Filter(vec![range("count", None, None)])),
        (33, Filter(vec![red(), range("at", time(100), time(200))])),
        (0, Filter(vec![red(), equals("kind", Value::Keyword("blue".to_owned()))])),
    ]
}

pub(crate) async fn filters_hold_for_search_count_and_scroll(store: &dyn VectorStore) {
    let name = create(store, collection("filters", 4)).await;
    let me = tenant("me");
    let all = points(600, 4, 1);
    fill(store, &me, &name, &all).await;
    fill(store, &tenant("other"), &name, &all).await;
    for (expected, filter) in filters() {
        let wanted: BTreeSet<PointId> =
            all.iter().filter(|point| filter.matches(&point.payload)).map(|point| point.id.clone()).collect();
        assert_eq!(wanted.len(), expected, "{filter:?}");
        assert_eq!(
            store.count(&me, &name, filter.clone()).await.expect("counts"),
            expected as u64,
            "{filter:?}"
        );
        let page = store.scroll(&me, &name, filter.clone(), None, 1_000).await.expect("pages");
        assert_eq!(page.points.into_iter().map(|point| point.id).collect::<BTreeSet<_>>(), wanted);
        let ask = Query { filter: filter.clone(), ..query(vec![1.0, 0.0, 0.0, 0.0], 1_000) };
        for exact in [false, true] {
            let hits = store.search(&me, &name, Query { exact, ..ask.clone() }).await.expect("answers");
            assert_eq!(hits.iter().map(|hit| hit.id.clone()).collect::<BTreeSet<_>>(), wanted, "{filter:?}");
            assert!(hits.iter().all(|hit| filter.matches(&hit.payload)));
        }
    }
}

pub(crate) async fn a_point_without_the_field_matches_no_condition(store: &dyn VectorStore) {
    let name = create(store, collection("absent", 2)).await;
    let me = tenant("me");
    store.upsert(&me, &name, vec![bare(id(0), vec![1.0, 0.0])]).await.expect("writes");
    let conditions = [
        equals("kind", Value::Keyword(String::new())),
        range("count", None, None),
        range("weight", None, None),
        range("at", None, None),
        equals("count", Value::Integer(0)),
    ];
    for condition in conditions {
        let filter = Filter(vec![condition]);
        assert_eq!(store.count(&me, &name, filter.clone()).await.expect("counts"), 0, "{filter:?}");
    }
    assert_eq!(store.count(&me, &name, Filter::default()).await.expect("counts"), 1);
}
