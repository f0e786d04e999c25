//! The vectors of a collection by slot: written once, read without a lock by searches and by the index.
//!
//! Slots are handed out in rising order and never reused, so what a reader holds cannot change below it. A deleted
//! point keeps its slot until the collection is built anew; its owner says that it is gone.
//!
//! Segments double in size, so that a slot is found by arithmetic and nothing is ever moved.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::row::Row;

/// Cells of the first segment.
const FIRST: usize = 1_024;
/// Segments; with doubling they hold more than [`SLOTS_MAX`].
const SEGMENTS: usize = 15;
/// Most slots of a collection: the index is told slots as `f32`, which are exact up to here.
pub(super) const SLOTS_MAX: usize = 1 << 24;
/// Owner of a slot whose point is gone.
const NOBODY: u32 = u32::MAX;

/// Vectors by slot.
#[derive(Debug, Default)]
pub(super) struct Rows {
    segments: [OnceLock<Box<[Cell]>>; SEGMENTS],
}

#[derive(Debug)]
struct Cell {
    row: OnceLock<Row>,
    owner: AtomicU32,
}

impl Rows {
    /// Puts a vector into a slot that was never used, for a tenant.
    pub(super) fn put(&self, slot: u32, row: Row, owner: u32) {
        let (segment, at) = place(slot);
        let cells = self.segments[segment].get_or_init(|| cells(FIRST << segment));
        if cells[at].row.set(row).is_ok() {
            cells[at].owner.store(owner, Ordering::Release);
        }
    }

    /// Marks the point of a slot as gone.
    pub(super) fn kill(&self, slot: u32) {
        if let Some(cell) = self.cell(slot) {
            cell.owner.store(NOBODY, Ordering::Release);
        }
    }

    /// The vector of a slot, also of a point that is gone; `None` for one that went before the process started.
    pub(super) fn row(&self, slot: u32) -> Option<&Row> {
        self.cell(slot)?.row.get()
    }

    /// Whether the point of a slot is there and belongs to this tenant.
    pub(super) fn belongs(&self, slot: u32, owner: u32) -> bool {
        self.cell(slot).is_some_and(|cell| cell.owner.load(Ordering::Acquire) == owner)
    }

    /// Whether the point of a slot is there.
    pub(super) fn lives(&self, slot: u32) -> bool {
        !self.belongs(slot, NOBODY) && self.row(slot).is_some()
    }

    fn cell(&self, slot: u32) -> Option<&Cell> {
        let (segment, at) = place(slot);
        self.segments.get(segment)?.get()?.get(at)
    }
}

fn cells(count: usize) -> Box<[Cell]> {
    let empty = || Cell { row: OnceLock::new(), owner: AtomicU32::new(NOBODY) };
    std::iter::repeat_with(empty).take(count).collect()
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
