//! One build of a collection in memory: table, vectors and index, numbered by the same slots.
//!
//! A search takes the table's lock twice for a moment, to plan and to collect; the arithmetic in between holds no
//! lock. What was written in between is looked at when the hits are collected, so that a point that was replaced
//! meanwhile is found in its new place.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use super::graph::{Graph, Tuned};
use super::row::Row;
use super::rows::Rows;
use super::table::{Table, Tests};
use crate::{Collection, EmbeddingError, Hit, Limits, Query, Tenant};

/// Hits found beyond `k`, in case some are deleted while the search runs.
const SPARE: usize = 16;
/// Rows compared between two looks at the clock.
const ROWS_PER_LOOK: usize = 4_096;
/// Rows for each place among the nearest from which on looking at the bytes first pays.
const ROWS_PER_PLACE: usize = 4;
/// Distances an index search computes for each candidate it keeps, roughly: measured with 16 neighbours a node.
const DISTANCES_PER_CANDIDATE: usize = 16;

/// One build of a collection.
pub(super) struct Generation {
    pub(super) collection: Arc<Collection>,
    pub(super) rows: Arc<Rows>,
    pub(super) graph: Graph,
    table: RwLock<Table>,
    /// Slots below are in the index.
    indexed: AtomicU32,
}

/// What a search has to look at.
struct Plan {
    owner: u32,
    tests: Tests,
    /// Slots to compare one by one.
    exact: Vec<u32>,
    /// What to ask the index.
    graph: Option<Ask>,
    /// Slots from here on were not there when the plan was made.
    slots: u32,
}

struct Ask {
    expansion: usize,
    chosen: Option<Chosen>,
}

/// A set of slots.
struct Chosen(Vec<u64>);

/// What a search found.
pub(super) struct Answer {
    pub(super) hits: Vec<Hit>,
    /// Whether the index was asked.
    pub(super) indexed: bool,
}

type Ranked = Vec<(f32, u32)>;

/// When a search must end.
struct Clock<'a> {
    until: Instant,
    limits: &'a Limits,
}

impl Clock<'_> {
    fn look(&self, count: usize) -> Result<(), EmbeddingError> {
        if count.is_multiple_of(ROWS_PER_LOOK) && Instant::now() > self.until {
            return Err(EmbeddingError::Deadline { deadline_ms: self.limits.call_ms_max });
        }
        Ok(())
    }
}

impl Generation {
    /// An empty build.
    pub(super) fn new(collection: Arc<Collection>, limits: &Limits) -> Result<Self, EmbeddingError> {
        let rows = Arc::new(Rows::new(&collection));
        let table = Table::new(&collection, Arc::clone(&rows));
        let tuned = Tuned::first(limits);
        let graph = Graph::new(Arc::clone(&rows), collection.metric, limits.inside_max(), tuned)?;
        Ok(Self::from_parts(collection, rows, table, graph, 0))
    }

    /// A build whose slots below `indexed` are in `graph`.
    pub(super) fn from_parts(
        collection: Arc<Collection>,
        rows: Arc<Rows>,
        table: Table,
        graph: Graph,
        indexed: u32,
    ) -> Self {
        let (table, indexed) = (RwLock::new(table), AtomicU32::new(indexed));
        Self { collection, rows, graph, table, indexed }
    }

    /// The table, to read.
    pub(super) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table, to change.
    pub(super) fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Slots below are in the index.
    pub(super) fn indexed(&self) -> u32 {
        self.indexed.load(Ordering::Acquire)
    }

    /// Says that slots below are in the index now.
    pub(super) fn set_indexed(&self, indexed: u32) {
        self.indexed.store(indexed, Ordering::Release);
    }

    /// Points that wait for the index.
    pub(super) fn tail(&self) -> usize {
        let (from, to) = (self.indexed(), self.table().slots());
        (from..to).filter(|slot| self.rows.lives(*slot)).count()
    }

    /// The nearest points of a tenant.
    pub(super) fn search(
        &self,
        tenant: &Tenant,
        query: &Query,
        limits: &Limits,
        until: Instant,
    ) -> Result<Answer, EmbeddingError> {
        let plan = self.plan(tenant, query, limits);
        let Some(plan) = plan else { return Ok(Answer { hits: Vec::new(), indexed: false }) };
        let sought = Row::query(&query.vector, &self.collection);
        let mut slots = plan.exact;
        if let Some(ask) = &plan.graph {
            let wanted = |slot| {
                ask.chosen.as_ref().is_none_or(|chosen| chosen.has(slot))
                    && self.rows.belongs(slot, plan.owner)
            };
            slots.extend(self.graph.search(&sought, ask.expansion, None, wanted)?);
            // What was added to the index since the plan was made is in both.
            slots.sort_unstable();
            slots.dedup();
        }
        let clock = Clock { until, limits };
        if !query.exact {
            slots = self.within_reach(&sought, slots, query.k + SPARE, &clock)?;
        }
        let mut ranked = self.rank(&sought, slots, &clock)?;
        nearest(&mut ranked, query.k + SPARE);
        let hits = self.collect(&sought, ranked, query.k, (plan.owner, &plan.tests, plan.slots));
        Ok(Answer { hits, indexed: plan.graph.is_some() })
    }

    /// `None` when the tenant has nothing here.
    fn plan(&self, tenant: &Tenant, query: &Query, limits: &Limits) -> Option<Plan> {
        let table = self.table();
        let owner = table.owner(tenant)?;
        let (tests, slots, indexed) = (table.tests(&query.filter), table.slots(), self.indexed());
        let unfiltered = query.filter.0.is_empty();
        let expansion = self.graph.tuned().expansion.max(query.k + SPARE);
        let threshold = self.exact_below(expansion, limits);
        let all_exact = query.exact || indexed == 0 || table.owned(owner) <= threshold;
        if all_exact || !unfiltered {
            let exact = table.select_all(owner, &tests);
            if all_exact || exact.len() <= threshold {
                return Some(Plan { owner, tests, exact, graph: None, slots });
            }
            let chosen = Some(Chosen::new(&exact, slots));
            let exact = exact[exact.partition_point(|slot| *slot < indexed)..].to_vec();
            return Some(Plan { owner, tests, exact, graph: Some(Ask { expansion, chosen }), slots });
        }
        let exact = table.select(owner, &tests, indexed).collect();
        Some(Plan { owner, tests, exact, graph: Some(Ask { expansion, chosen: None }), slots })
    }

    /// Matching points below which comparing all of them costs less than the index. To find its candidates among a
    /// share of the points, the index walks past the others: with `n` of `all` matching it computes about
    /// `candidates * 16 * all / n` distances against `n`; both are equal at the root below.
    fn exact_below(&self, expansion: usize, limits: &Limits) -> usize {
        let product = expansion * DISTANCES_PER_CANDIDATE * self.indexed() as usize;
        product.isqrt().max(limits.exact_below_points)
    }

    /// Those of the slots that can be among the `k` nearest, judged by their bytes: what is left out is surely not,
    /// so that the answer is the same and a quarter of the memory is read.
    fn within_reach(
        &self,
        sought: &Row,
        slots: Vec<u32>,
        k: usize,
        clock: &Clock,
    ) -> Result<Vec<u32>, EmbeddingError> {
        if slots.len() < k * ROWS_PER_PLACE {
            return Ok(slots);
        }
        let metric = self.collection.metric;
        let Some(sought) = sought.coarse(metric) else { return Ok(slots) };
        let mut reaches = Vec::with_capacity(slots.len());
        for (count, slot) in slots.iter().enumerate() {
            clock.look(count)?;
            let Some(coarse) = self.rows.coarse(*slot) else { return Ok(slots) };
            reaches.push(sought.view().reach(&coarse, metric));
        }
        let mut surely: Vec<f32> = reaches.iter().map(|(low, _)| *low).collect();
        let (_, bar, _) = surely.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        let near = reaches.iter().zip(slots).filter(|((_, high), _)| high >= bar).map(|(_, slot)| slot);
        Ok(near.collect())
    }

    fn rank(&self, sought: &Row, slots: Vec<u32>, clock: &Clock) -> Result<Ranked, EmbeddingError> {
        let mut ranked = Vec::with_capacity(slots.len());
        for (count, slot) in slots.into_iter().enumerate() {
            clock.look(count)?;
            ranked.extend(self.score(sought, slot));
        }
        Ok(ranked)
    }

    fn score(&self, sought: &Row, slot: u32) -> Option<(f32, u32)> {
        Some((sought.score(self.rows.row(slot)?, self.collection.metric), slot))
    }

    fn collect(&self, sought: &Row, mut ranked: Ranked, k: usize, since: (u32, &Tests, u32)) -> Vec<Hit> {
        let (owner, tests, slots) = since;
        let table = self.table();
        ranked.extend(table.select(owner, tests, slots).filter_map(|slot| self.score(sought, slot)));
        ranked.retain(|(_, slot)| self.rows.belongs(*slot, owner));
        nearest(&mut ranked, k);
        let hit =
            |(score, slot): (f32, u32)| Hit { id: table.name(slot), score, payload: table.payload(slot) };
        ranked.into_iter().map(hit).collect()
    }

    /// The `k` indexed and living slots of all tenants nearest to a slot, itself left out, by comparing all.
    pub(super) fn nearest_of_all(&self, slot: u32, k: usize) -> Vec<u32> {
        let Some(sought) = self.rows.row(slot) else { return Vec::new() };
        let others = (0..self.indexed()).filter(|other| *other != slot && self.rows.lives(*other));
        self.nearest_among(sought, others, k)
    }

    /// As [`nearest_of_all`](Self::nearest_of_all), asked of the index as if it did not hold the slot.
    pub(super) fn nearest_by_graph(
        &self,
        slot: u32,
        k: usize,
        expansion: usize,
    ) -> Result<Vec<u32>, EmbeddingError> {
        let Some(sought) = self.rows.row(slot) else { return Ok(Vec::new()) };
        let wanted = |other| other != slot && self.rows.lives(other);
        let found = self.graph.search(sought, expansion, Some(slot), wanted)?;
        Ok(self.nearest_among(sought, found.into_iter(), k))
    }

    fn nearest_among(&self, sought: &Row, slots: impl Iterator<Item = u32>, k: usize) -> Vec<u32> {
        let mut ranked: Ranked = slots.filter_map(|slot| self.score(sought, slot)).collect();
        nearest(&mut ranked, k);
        ranked.into_iter().map(|(_, slot)| slot).collect()
    }
}

/// Keeps the `k` highest scores, highest first; of equal ones the older.
fn nearest(ranked: &mut Ranked, k: usize) {
    let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if ranked.len() > k {
        ranked.select_nth_unstable_by(k, order);
        ranked.truncate(k);
    }
    ranked.sort_unstable_by(order);
}

impl Chosen {
    fn new(chosen: &[u32], slots: u32) -> Self {
        let mut bits = vec![0u64; slots as usize / 64 + 1];
        for slot in chosen {
            bits[*slot as usize / 64] |= 1 << (slot % 64);
        }
        Self(bits)
    }

    fn has(&self, slot: u32) -> bool {
        self.0.get(slot as usize / 64).is_some_and(|bits| bits >> (slot % 64) & 1 == 1)
    }
}
