//! The vectors of a collection by slot: written once, read without a lock by searches and by the index.
//!
//! Slots are handed out in rising order and never reused, so what a reader holds cannot change below it. A deleted
//! point keeps its slot until the collection is built anew; its owner says that it is gone.
//!
//! Segments double in size, so that a slot is found by arithmetic and nothing is ever moved.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::row::Row;
use super::slab::{Coarse, Slab};
use crate::{Collection, Metric};

/// Slots of the first segment.
const FIRST: usize = 1_024;
/// Segments; with doubling they hold more than [`SLOTS_MAX`].
const SEGMENTS: usize = 15;
/// Most slots of a collection: the index is told slots as `f32`, which are exact up to here.
pub(super) const SLOTS_MAX: usize = 1 << 24;
/// Owner of a slot whose point is gone.
const NOBODY: u32 = u32::MAX;

/// Vectors by slot.
#[derive(Debug)]
pub(super) struct Rows {
    dimension: usize,
    metric: Metric,
    segments: [OnceLock<Segment>; SEGMENTS],
}

/// A run of slots. What is looked at together lies together.
#[derive(Debug)]
struct Segment {
    rows: Box<[OnceLock<Row>]>,
    owners: Box<[AtomicU32]>,
    /// The vectors in bytes, where they are not kept so anyway.
    slab: Option<Slab>,
}

impl Rows {
    /// No vectors yet.
    pub(super) fn new(collection: &Collection) -> Self {
        let (dimension, metric) = (collection.dimension, collection.metric);
        Self { dimension, metric, segments: Default::default() }
    }

    /// Puts a vector into a slot that was never used, for a tenant.
    pub(super) fn put(&self, slot: u32, row: Row, owner: u32) {
        let (segment, at) = place(slot);
        let coarse = row.coarse(self.metric);
        let segment = self.segments[segment].get_or_init(|| {
            let places = FIRST << segment;
            // Without room for the bytes the vectors themselves are compared.
            let slab = coarse.as_ref().and_then(|_| Slab::new(self.dimension, places).ok());
            Segment::new(places, slab)
        });
        if let (Some(slab), Some(coarse)) = (&segment.slab, coarse) {
            slab.put(at, coarse.view());
        }
        if segment.rows[at].set(row).is_ok() {
            segment.owners[at].store(owner, Ordering::Release);
        }
    }

    /// Marks the point of a slot as gone.
    pub(super) fn kill(&self, slot: u32) {
        if let Some((segment, at)) = self.find(slot) {
            segment.owners[at].store(NOBODY, Ordering::Release);
        }
    }

    /// The vector of a slot, also of a point that is gone; `None` for one that went before the process started.
    pub(super) fn row(&self, slot: u32) -> Option<&Row> {
        let (segment, at) = self.find(slot)?;
        segment.rows[at].get()
    }

    /// The vector of a slot in bytes; `None` also where vectors are kept in bytes anyway.
    pub(super) fn coarse(&self, slot: u32) -> Option<Coarse<'_>> {
        let (segment, at) = self.find(slot)?;
        segment.slab.as_ref()?.get(at)
    }

    /// Memory that one vector in bytes takes, in bytes.
    pub(super) fn coarse_bytes(&self) -> usize {
        self.segments[0].get().and_then(|segment| segment.slab.as_ref()).map_or(0, Slab::place_bytes)
    }

    /// Whether the point of a slot is there and belongs to this tenant.
    pub(super) fn belongs(&self, slot: u32, owner: u32) -> bool {
        self.find(slot).is_some_and(|(segment, at)| segment.owners[at].load(Ordering::Acquire) == owner)
    }

    /// Whether the point of a slot is there.
    pub(super) fn lives(&self, slot: u32) -> bool {
        !self.belongs(slot, NOBODY) && self.row(slot).is_some()
    }

    fn find(&self, slot: u32) -> Option<(&Segment, usize)> {
        let (segment, at) = place(slot);
        Some((self.segments.get(segment)?.get()?, at))
    }
}

impl Segment {
    fn new(places: usize, slab: Option<Slab>) -> Self {
        let rows = std::iter::repeat_with(OnceLock::new).take(places).collect();
        let owners = std::iter::repeat_with(|| AtomicU32::new(NOBODY)).take(places).collect();
        Self { rows, owners, slab }
    }
}

/// Segment and place within it: segment `n` begins at slot `(2^n - 1) * FIRST`.
const fn place(slot: u32) -> (usize, usize) {
    let blocks = slot as usize / FIRST + 1;
    let segment = blocks.ilog2() as usize;
    (segment, slot as usize - ((1 << segment) - 1) * FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for slot in 0..200_000 {
            assert_eq!(place(slot), expected, "slot {slot}");
            expected.1 += 1;
            if expected.1 == FIRST << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        let (segment, at) = place(SLOTS_MAX as u32);
        assert!(segment < SEGMENTS && at < FIRST << segment);
    }
}
