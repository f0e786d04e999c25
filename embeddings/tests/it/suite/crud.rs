//! Writing, reading, paging and deleting.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use embeddings::{EmbeddingError, Filter, Metric, VectorStore, copy_all};

use super::create;
use crate::support::{assert_same, bare, collection, fill, id, name, points, query, tenant};

pub(crate) async fn points_are_written_replaced_read_and_deleted(store: &dyn VectorStore) {
    let name = create(store, collection("crud", 8)).await;
    let me = tenant("me");
    let mut all = points(20, 8, 1);
    fill(store, &me, &name, &all).await;
    let read = store.get(&me, &name, &[id(3), id(99), id(1)]).await.expect("reads");
    assert_same(&read, &[all[3].clone(), all[1].clone()], "in the order asked, missing ones left out");

    all[3].vector[0] = 9.0;
    all[3].payload.remove("kind");
    store.upsert(&me, &name, vec![all[3].clone()]).await.expect("replaces");
    assert_same(&store.get(&me, &name, &[id(3)]).await.expect("reads"), &all[3..4], "the new one");
    assert_eq!(store.count(&me, &name, Filter::default()).await.expect("counts"), 20);

    assert_eq!(store.delete(&me, &name, &[id(3), id(4), id(99)]).await.expect("deletes"), 2);
    assert_eq!(store.delete(&me, &name, &[id(3)]).await.expect("deletes"), 0, "it is gone already");
    assert!(store.get(&me, &name, &[id(3), id(4)]).await.expect("reads").is_empty());
    let hits = store.search(&me, &name, query(all[3].vector.clone(), 20)).await.expect("answers");
    assert_eq!(hits.len(), 18);
    assert!(hits.iter().all(|hit| hit.id != id(3) && hit.id != id(4)));
    assert_eq!(store.stats(&name).await.expect("answers").points, 18);
}

pub(crate) async fn creating_again_is_idempotent_and_a_difference_is_an_error(store: &dyn VectorStore) {
    let wanted = collection("again", 8);
    let name = create(store, wanted.clone()).await;
    store.create(wanted.clone()).await.expect("the same again");
    assert_eq!(store.collection(&name).await.expect("reads"), wanted);
    assert!(store.collections().await.expect("lists").contains(&wanted));
    let mut fewer = wanted.clone();
    fewer.fields.pop();
    let others = [
        ("dimension", embeddings::Collection { dimension: 9, ..wanted.clone() }),
        ("metric", embeddings::Collection { metric: Metric::L2, ..wanted.clone() }),
        ("layout", embeddings::Collection { layout: "other".to_owned(), ..wanted.clone() }),
        ("fields", fewer),
    ];
    for (difference, other) in others {
        let error = store.create(other).await.expect_err(difference);
        assert!(
            matches!(&error, EmbeddingError::CollectionDiffers { what, .. } if *what == difference),
            "{error}"
        );
    }
}

pub(crate) async fn a_dropped_collection_is_gone_and_its_name_free(store: &dyn VectorStore) {
    let name = create(store, collection("dropped", 8)).await;
    let me = tenant("me");
    fill(store, &me, &name, &points(100, 8, 1)).await;
    assert!(store.drop_collection(&name).await.expect("drops"));
    assert!(!store.drop_collection(&name).await.expect("drops"), "there is none any more");
    let error = store.count(&me, &name, Filter::default()).await.expect_err("gone");
    assert!(matches!(error, EmbeddingError::UnknownCollection { .. }), "{error}");
    store.create(collection("dropped", 4)).await.expect("the name is free for another");
    assert_eq!(store.count(&me, &name, Filter::default()).await.expect("counts"), 0);
}

pub(crate) async fn the_last_of_two_points_with_one_id_counts(store: &dyn VectorStore) {
    let name = create(store, collection("twice", 2)).await;
    let me = tenant("me");
    let twice = vec![bare(id(1), vec![1.0, 0.0]), bare(id(2), vec![1.0, 1.0]), bare(id(1), vec![0.0, 1.0])];
    store.upsert(&me, &name, twice).await.expect("writes");
    assert_eq!(store.count(&me, &name, Filter::default()).await.expect("counts"), 2);
    assert_eq!(store.get(&me, &name, &[id(1)]).await.expect("reads")[0].vector, [0.0, 1.0]);
}

pub(crate) async fn a_scroll_sees_every_point_once(store: &dyn VectorStore) {
    let name = create(store, collection("scroll", 4)).await;
    let (me, other) = (tenant("me"), tenant("other"));
    let all = points(57, 4, 1);
    fill(store, &me, &name, &all).await;
    fill(store, &other, &name, &points(9, 4, 2)).await;
    for limit in [1, 10, 19, 57, 1_000] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.scroll(&me, &name, Filter::default(), cursor, limit).await.expect("pages");
            assert!(page.points.len() <= limit);
            seen.extend(page.points);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        seen.sort_by_key(|point| point.id.as_str()[1..].parse::<usize>().expect("a number"));
        assert_same(&seen, &all, &format!("in pages of {limit}"));
    }
}

pub(crate) async fn everything_is_copied_and_counted(store: &dyn VectorStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let from = crate::support::open(folder.path(), crate::support::small()).await;
    from.create(collection("copied", 4)).await.expect("creates");
    store.drop_collection(&name("copied")).await.expect("drops what an earlier run left");
    let name = name("copied");
    for (number, tenant_name) in ["a", "b", "c"].into_iter().enumerate() {
        fill(&from, &tenant(tenant_name), &name, &points(300 * (number + 1), 4, 5)).await;
    }
    let told = AtomicU64::new(0);
    let copied = copy_all(&from, store, &|progress| told.store(progress.done, Ordering::Relaxed)).await;
    let copied = copied.expect("copies");
    assert_eq!((copied.collections, copied.tenants, copied.points), (1, 3, 1_800));
    assert_eq!(told.load(Ordering::Relaxed), 1_800);
    assert_eq!(store.count(&tenant("c"), &name, Filter::default()).await.expect("counts"), 900);
    let wanted = from.get(&tenant("b"), &name, &[id(77)]).await.expect("reads");
    assert_eq!(store.get(&tenant("b"), &name, &[id(77)]).await.expect("reads"), wanted);
}

pub(crate) async fn deleting_a_tenant_leaves_the_others(store: &dyn VectorStore) {
    let (first, second) =
        (create(store, collection("leave-1", 4)).await, create(store, collection("leave-2", 4)).await);
    let (going, staying) = (tenant("leave-going"), tenant("leave-staying"));
    for (name, count) in [(&first, 30), (&second, 12)] {
        fill(store, &going, name, &points(count, 4, 1)).await;
        fill(store, &staying, name, &points(count, 4, 2)).await;
    }
    let tenants: BTreeSet<_> =
        store.operator_tenants(&first, None, 10).await.expect("lists").into_iter().collect();
    assert_eq!(tenants, BTreeSet::from([going.clone(), staying.clone()]));
    assert_eq!(store.delete_tenant(&going).await.expect("deletes"), 42);
    assert_eq!(store.delete_tenant(&going).await.expect("deletes"), 0);
    for (name, count) in [(&first, 30), (&second, 12)] {
        assert_eq!(store.count(&going, name, Filter::default()).await.expect("counts"), 0);
        assert_eq!(store.count(&staying, name, Filter::default()).await.expect("counts"), count);
    }
    assert_eq!(store.operator_tenants(&first, None, 10).await.expect("lists"), [staying]);
}
