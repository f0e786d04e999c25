//! Word of a change, from one process on the registry's database to others.

use std::time::Duration;

use registry::Registry;

use super::{Place, act, scientist, store::cut_listeners};

/// Longest wait for word; nobody looks by themselves here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another process on the same database.
async fn replica(place: &Place) -> Registry {
    Registry::open(&place.url, &place.artifacts).await.expect("opens")
}

#[tokio::test]
async fn every_replica_hears_of_a_moved_alias_and_again_after_its_connection_was_cut() {
    let Some(place) = Place::postgres().await else { return };
    let ann = scientist("ann");
    for _ in 0..2 {
        place.version(&ann, "m").await;
    }
    let replicas = [replica(&place).await, replica(&place).await];
    let mut listeners = replicas.each_ref().map(Registry::changes);
    for listener in &mut listeners {
        tokio::time::timeout(PATIENCE, listener.next()).await.expect("word that it listens");
    }
    for (number, cut) in [(1, false), (2, false), (1, true)] {
        if cut {
            cut_listeners(&place).await;
            for listener in &mut listeners {
                tokio::time::timeout(PATIENCE, listener.next())
                    .await
                    .expect("word that something may be missed");
            }
        }
        place.registry.alias_set(act(&ann), "m", "champion", number).await.expect("set");
        for (listener, replica) in listeners.iter_mut().zip(&replicas) {
            let heard = async {
                while replica.alias("m", "champion").await.map_or(0, |version| version.number) != number {
                    listener.next().await;
                }
            };
            tokio::time::timeout(PATIENCE, heard).await.expect("word of the alias");
        }
    }
}

#[tokio::test]
async fn a_database_without_word_of_changes_keeps_who_listens_waiting() {
    let place = Place::sqlite().await;
    place.version(&scientist("ann"), "m").await;
    let heard = tokio::time::timeout(Duration::from_millis(20), place.registry.changes().next()).await;
    assert!(heard.is_err(), "who listens has to look by themselves");
}
