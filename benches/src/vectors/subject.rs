//! The store under test: filled, waited for, and asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use embeddings::{
    Collection, CollectionName, Condition, Field, FieldKind, Filter, Metric, Point, PointId, Query, State,
    Storage, Tenant, Value, VectorStore,
};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::data::{DIMENSION, Set};
use super::truth::{GROUPS, K, Truth};
use crate::stats::{histogram, record};

/// Points of one acknowledged write.
const BATCH: u64 = 1_000;
/// Longest wait for the index of a million points.
const INDEX_WAIT: Duration = Duration::from_mins(30);

/// One collection of one store, with the tenant whose points are in it.
#[derive(Clone)]
pub(super) struct Subject {
    store: Arc<dyn VectorStore>,
    tenant: Tenant,
    name: CollectionName,
}

/// What a series of searches took and found.
pub(super) struct Searches {
    pub(super) latency_us: Histogram<u64>,
    pub(super) found: Vec<Vec<u64>>,
}

impl Subject {
    /// Creates the collection.
    pub(super) async fn create(
        store: Arc<dyn VectorStore>,
        name: &str,
        storage: Storage,
    ) -> anyhow::Result<Self> {
        let name = CollectionName::parse(name)?;
        let collection = Collection {
            name: name.clone(),
            dimension: DIMENSION,
            metric: Metric::Cosine,
            layout: "synthetic/896".into(),
            storage,
            fields: vec![Field { name: "group".into(), kind: FieldKind::Integer }],
        };
        store.create(collection).await?;
        Ok(Self { store, tenant: Tenant::parse("bench")?, name })
    }

    /// Writes `points` vectors of the set in acknowledged batches and shows them to `truth`; the
    /// time the writes took.
    #[allow(clippy::disallowed_methods, reason = "the generator has the runtime to itself")]
    pub(super) async fn fill(
        &self,
        set: &Set,
        points: u64,
        truth: &mut Truth,
        progress: &impl Fn(&str),
    ) -> anyhow::Result<Duration> {
        let mut writing = Duration::ZERO;
        for first in (0..points).step_by(BATCH as usize) {
            let vectors = set.vectors(first..(first + BATCH).min(points));
            let rows = (first..).zip(vectors.chunks(DIMENSION));
            let batch = rows.map(|(row, vector)| point(row, vector)).collect::<Result<_, _>>()?;
            let start = Instant::now();
            self.store.upsert(&self.tenant, &self.name, batch).await?;
            writing += start.elapsed();
            tokio::task::block_in_place(|| truth.see(first, &vectors));
            progress(&format!("{}: {} of {points} written", self.name, first + BATCH));
        }
        Ok(writing)
    }

    /// Waits until the index holds everything.
    pub(super) async fn indexed(&self, progress: &impl Fn(&str)) -> anyhow::Result<Duration> {
        let start = Instant::now();
        loop {
            let stats = self.store.stats(&self.name).await?;
            if stats.state == State::Ready && stats.tail == 0 {
                return Ok(start.elapsed());
            }
            ensure!(start.elapsed() < INDEX_WAIT, "the index was not ready in time: {stats:?}");
            progress(&format!("{}: {} of {} indexed", self.name, stats.indexed, stats.points));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks one question after another, of all points or of one group.
    pub(super) async fn search(&self, queries: &[Vec<f32>], grouped: bool) -> anyhow::Result<Searches> {
        let mut searches = Searches { latency_us: histogram(), found: Vec::new() };
        for vector in queries {
            let start = Instant::now();
            let found = self.ask(vector.clone(), grouped).await?;
            record(&mut searches.latency_us, start.elapsed());
            searches.found.push(found);
        }
        Ok(searches)
    }

    /// Asks all questions at once.
    pub(super) async fn search_together(&self, queries: &[Vec<f32>]) -> anyhow::Result<Histogram<u64>> {
        let mut calls = JoinSet::new();
        for vector in queries {
            let (subject, vector) = (self.clone(), vector.clone());
            calls.spawn(async move {
                let start = Instant::now();
                subject.ask(vector, false).await.map(|_| start.elapsed())
            });
        }
        let mut latency_us = histogram();
        while let Some(call) = calls.join_next().await {
            record(&mut latency_us, call.context("a search task failed")??);
        }
        Ok(latency_us)
    }

    /// Writes single further points of the set and looks until each is found; how long that took
    /// from the call of the write on.
    pub(super) async fn visible(&self, set: &Set, first: u64, count: u64) -> anyhow::Result<Histogram<u64>> {
        let mut latency_us = histogram();
        for row in first..first + count {
            let vector = set.vectors(row..row + 1);
            let start = Instant::now();
            self.store.upsert(&self.tenant, &self.name, vec![point(row, &vector)?]).await?;
            while !self.ask(vector.clone(), false).await?.contains(&row) {
                ensure!(start.elapsed() < Duration::from_secs(10), "point {row} does not become visible");
                tokio::task::yield_now().await;
            }
            record(&mut latency_us, start.elapsed());
        }
        Ok(latency_us)
    }

    /// Drops the collection, so that the next one has the memory.
    pub(super) async fn drop_collection(self) -> anyhow::Result<()> {
        self.store.drop_collection(&self.name).await?;
        Ok(())
    }

    async fn ask(&self, vector: Vec<f32>, grouped: bool) -> anyhow::Result<Vec<u64>> {
        let group = Condition::Equals { field: "group".into(), value: Value::Integer(0) };
        let filter = if grouped { Filter(vec![group]) } else { Filter::default() };
        let query = Query { vector, k: K, filter, exact: false };
        let hits = self.store.search(&self.tenant, &self.name, query).await?;
        hits.iter().map(|hit| hit.id.as_str().parse().context("a point that was not written")).collect()
    }
}

fn point(row: u64, vector: &[f32]) -> anyhow::Result<Point> {
    let group = Value::Integer((row % GROUPS) as i64);
    let payload = BTreeMap::from([("group".to_owned(), group)]);
    Ok(Point { id: PointId::parse(row.to_string())?, vector: vector.to_vec(), payload })
}
