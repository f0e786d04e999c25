//! The work behind a collection: adding to its index, tuning, snapshots, building anew.
//!
//! One thread at a time does it, holding `building`; searches and writes go on beside it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::generation::Generation;
use super::graph::Tuned;
use super::shelf::Shelf;
use super::snapshot::{self, Snapshot};
use super::table::Entry;
use super::tune;
use crate::{EmbeddingError, Progress};

/// Slots added to the index before searches are told.
const SLOTS_PER_STEP: u32 = 256;
/// Slots at which the candidates are first tuned while points keep coming.
const TUNED_FROM_SLOTS: u32 = 4_096;
/// Entries copied to a new build under one lock.
const COPY_SLOTS: u32 = 1_024;

/// How far snapshot and tuning are.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Saved {
    /// Slots the last snapshot covers.
    pub(super) slots: u32,
    /// Slots in the index when its candidates were last tuned.
    pub(super) tuned: u32,
}

impl Shelf {
    /// Brings the index up to the rows, a step at a time, until it is there or the shelf is stopped.
    pub(super) fn catch_up(&self) -> Result<(), EmbeddingError> {
        let mut saved = self.building();
        if self.is_worn(&self.current()) {
            self.rebuild_locked(&mut saved)?;
        }
        let generation = self.current();
        loop {
            // Before as well as after: points that are not in the index yet are the best questions to it.
            self.tune(&generation, &mut saved)?;
            let more = !self.is_stopped() && self.step(&generation, u32::MAX)?;
            if !more {
                self.tune(&generation, &mut saved)?;
            }
            self.measure(&generation);
            if self.is_save_due(&generation, *saved, !more) {
                self.save(&generation, &mut saved);
            }
            if !more {
                self.settled.store(true, Ordering::Release);
                return Ok(());
            }
        }
    }

    /// Writes a snapshot if the index has grown since the last.
    pub(super) fn save_rest(&self) {
        let mut saved = self.building();
        let generation = self.current();
        if generation.indexed() > saved.slots {
            self.save(&generation, &mut saved);
        }
    }

    fn building(&self) -> MutexGuard<'_, Saved> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Too few points are compared one by one sooner than an index is worth its memory.
    pub(super) fn is_small(&self, generation: &Generation) -> bool {
        generation.indexed() == 0 && generation.table().live() < self.limits.exact_below_points
    }

    /// So many points are gone that walking past them costs more than building anew.
    fn is_worn(&self, generation: &Generation) -> bool {
        let table = generation.table();
        let (slots, live) = (table.slots() as usize, table.live());
        let gone = slots - live;
        gone > self.limits.exact_below_points && gone * 100 > slots * self.limits.dead_percent_max
    }

    /// Adds the next slots below `end` to the index; whether more are waiting.
    fn step(&self, generation: &Generation, end: u32) -> Result<bool, EmbeddingError> {
        let from = generation.indexed();
        let slots = generation.table().slots().min(end);
        if from >= slots || self.is_small(generation) {
            return Ok(false);
        }
        self.settled.store(false, Ordering::Release);
        let to = slots.min(from + SLOTS_PER_STEP);
        let living: Vec<u32> = (from..to).filter(|slot| generation.rows.lives(*slot)).collect();
        generation.graph.reserve(living.len())?;
        // The first point of an index must be in it before others are added beside it.
        let alone = usize::from(generation.graph.len() == 0).min(living.len());
        let (first, rest) = living.split_at(alone);
        first.iter().try_for_each(|slot| generation.graph.add(*slot))?;
        self.add_all(generation, rest)?;
        generation.graph.weigh();
        generation.set_indexed(to);
        Ok(to < slots)
    }

    fn add_all(&self, generation: &Generation, slots: &[u32]) -> Result<(), EmbeddingError> {
        let share = slots.len().div_ceil(self.limits.index_threads_max.max(1)).max(1);
        std::thread::scope(|scope| {
            let add = |part: &[u32]| part.iter().try_for_each(|slot| generation.graph.add(*slot));
            let parts: Vec<_> = slots.chunks(share).map(|part| scope.spawn(move || add(part))).collect();
            let fault =
                || EmbeddingError::Unavailable { reason: "an indexing thread ended early".to_owned() };
            parts.into_iter().try_for_each(|part| part.join().map_err(|_| fault())?)
        })
    }

    /// Measures anew whenever the index has doubled, and about to rest when a quarter is new: searches rely on it all
    /// the time that an index is built.
    fn tune(&self, generation: &Generation, saved: &mut Saved) -> Result<(), EmbeddingError> {
        let (indexed, tuned) = (generation.indexed(), saved.tuned);
        let tail = generation.table().slots().saturating_sub(indexed);
        let doubled = indexed >= tuned.saturating_mul(2) && indexed >= TUNED_FROM_SLOTS;
        let resting = tail == 0 || (tune::QUESTIONS_MIN..=SLOTS_PER_STEP).contains(&tail);
        let due = doubled || (resting && indexed.saturating_sub(tuned) >= tuned / 4);
        if indexed == tuned || !due || self.is_stopped() {
            return Ok(());
        }
        let recall = tune::tune(generation, &self.limits)?;
        saved.tuned = indexed;
        let (name, Tuned { expansion, fine }) = (&self.collection.name, generation.graph.tuned());
        tracing::info!(collection = %name, indexed, recall, expansion, fine, "the vector index was tuned");
        Ok(())
    }

    fn measure(&self, generation: &Generation) {
        let (slots, live) = {
            let table = generation.table();
            (table.slots(), table.live())
        };
        let lag = if self.is_small(generation) { 0 } else { slots - generation.indexed() };
        self.monitor.holds(live, lag as usize);
    }

    /// After so many points, and at rest when an eighth is new: a quiet collection is saved, a busy one not always.
    fn is_save_due(&self, generation: &Generation, saved: Saved, resting: bool) -> bool {
        let new = generation.indexed().saturating_sub(saved.slots) as usize;
        let eighth = generation.indexed() as usize / 8;
        new >= self.limits.snapshot_every_points || (resting && new > 0 && new >= eighth)
    }

    /// A snapshot that cannot be written costs time at the next start, nothing else.
    fn save(&self, generation: &Generation, saved: &mut Saved) {
        let slots = generation.indexed();
        let written = generation.graph.save().map_err(|error| error.to_string()).and_then(|graph| {
            let sequences = generation.table().sequences()[..slots as usize].to_vec();
            let snapshot = Snapshot { sequences, tuned: generation.graph.tuned(), graph };
            snapshot::write(&self.snapshot, &self.collection, &snapshot).map_err(|error| error.to_string())
        });
        match written {
            Ok(()) => saved.slots = slots,
            Err(error) => {
                tracing::warn!(collection = %self.collection.name, error, "an index snapshot was not written");
            }
        }
    }

    /// What is wrong with the snapshot on disk, if anything.
    pub(super) fn snapshot_fault(&self) -> Option<String> {
        let _saved = self.building();
        let read = snapshot::read(&self.snapshot, &self.collection);
        read.err().map(|reason| format!("the index snapshot is damaged: {reason}"))
    }

    /// Removes what is on disk for the index.
    pub(super) fn discard(&self) {
        let _saved = self.building();
        if let Err(error) = std::fs::remove_file(&self.snapshot)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(collection = %self.collection.name, %error, "an index snapshot was not removed");
        }
    }

    /// Builds the collection anew: without the points that are gone, with a fresh index.
    pub(super) fn rebuild(&self) -> Result<(), EmbeddingError> {
        let rebuilt = self.rebuild_locked(&mut self.building());
        self.settled.store(true, Ordering::Release);
        rebuilt
    }

    /// How far a rebuild is.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            done: self.rebuild_done.load(Ordering::Relaxed).into(),
            total: self.rebuild_total.load(Ordering::Relaxed).into(),
        }
    }

    fn rebuild_locked(&self, saved: &mut Saved) -> Result<(), EmbeddingError> {
        let old = self.current();
        let fresh = Generation::new(Arc::clone(&self.collection), &self.limits)?;
        // That bytes do not do is known before the first point is added.
        fresh.graph.set_tuned(Tuned { fine: old.graph.tuned().fine, ..fresh.graph.tuned() });
        let cut = {
            let mut table = old.table_mut();
            table.watch_kills();
            table.slots()
        };
        let built = self.build(&old, &fresh, cut);
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let killed = old.table_mut().take_kills();
        built?;
        settle(&old, &fresh, cut, &killed);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        let generation = self.current();
        *saved = Saved { slots: 0, tuned: generation.indexed() };
        self.monitor.rebuilt();
        drop(_applying);
        if generation.indexed() > 0 {
            self.save(&generation, saved);
        }
        Ok(())
    }

    fn build(&self, old: &Generation, fresh: &Generation, cut: u32) -> Result<(), EmbeddingError> {
        copy(old, fresh, 0, cut);
        let total = fresh.table().slots();
        self.rebuild_total.store(total, Ordering::Relaxed);
        while self.step(fresh, total)? {
            self.rebuild_done.store(fresh.indexed(), Ordering::Relaxed);
            if self.is_stopped() {
                return Err(EmbeddingError::Unavailable { reason: "it is closing".to_owned() });
            }
        }
        self.rebuild_done.store(total, Ordering::Relaxed);
        if fresh.indexed() > 0 {
            tune::tune(fresh, &self.limits)?;
        }
        Ok(())
    }
}

/// Copies the living entries of some slots.
fn copy(from: &Generation, to: &Generation, first: u32, end: u32) {
    let mut slot = first;
    while slot < end {
        let next = end.min(slot + COPY_SLOTS);
        let entries: Vec<Entry> = {
            let table = from.table();
            (slot..next).filter_map(|slot| table.entry(slot)).collect()
        };
        let mut table = to.table_mut();
        entries.into_iter().for_each(|entry| table.put(entry));
        slot = next;
    }
}

/// Brings a new build up to what happened while it was made; nothing may write meanwhile.
fn settle(old: &Generation, fresh: &Generation, cut: u32, killed: &[u32]) {
    {
        let (from, mut to) = (old.table(), fresh.table_mut());
        for (tenant, id, sequence) in killed.iter().filter_map(|slot| from.trace(*slot)) {
            to.remove_sequence(tenant, id, sequence);
        }
    }
    let end = old.table().slots();
    copy(old, fresh, cut, end);
}
