//! How many candidates a search must keep for its recall: measured, because it depends on the data.
//!
//! Clear clusters need a few dozen, nearly isotropic data hundreds, and no formula tells which it is. So points are
//! taken as questions, their true neighbours found by comparing all, and the candidates increased until the index
//! agrees.
//!
//! The best questions are points that wait to be added. Where none wait, points of the index stand in, hidden
//! meanwhile: a point is linked to its neighbours, so that a walk through it finds them too easily, on isotropic
//! data .99 where new questions got .92. Without it the way is harder than for a new question, as its neighbours
//! rely on it; that is the side to err on.

use std::collections::HashSet;

use super::generation::Generation;
use super::graph::Tuned;
use crate::{EmbeddingError, Limits};

/// Points that serve as questions.
const QUESTIONS: usize = 128;
/// Waiting points that are enough to ask no others.
pub(super) const QUESTIONS_MIN: u32 = 32;
/// Neighbours that count: recall at ten.
const NEIGHBOURS: usize = 10;

/// Questions with their true neighbours.
pub(super) struct Exam(Vec<(u32, HashSet<u32>)>);

impl Exam {
    /// Takes points spread evenly over those that wait, or over the index, and finds their neighbours in it.
    pub(super) fn new(generation: &Generation) -> Self {
        let (indexed, slots) = (generation.indexed(), generation.table().slots());
        let from = if slots.saturating_sub(indexed) >= QUESTIONS_MIN { indexed..slots } else { 0..indexed };
        let step = (from.len() / QUESTIONS).max(1);
        let questions = from.step_by(step).filter(|slot| generation.rows.lives(*slot));
        let truth = |slot| (slot, generation.nearest_of_all(slot, NEIGHBOURS).into_iter().collect());
        Self(questions.map(truth).collect())
    }

    /// Share of true neighbours the index finds; 1 when there is nothing to find.
    pub(super) fn recall(&self, generation: &Generation, expansion: usize) -> Result<f64, EmbeddingError> {
        let (mut found, mut wanted) = (0, 0);
        for (slot, truth) in &self.0 {
            let by_graph = generation.nearest_by_graph(*slot, NEIGHBOURS, expansion)?;
            found += by_graph.iter().filter(|slot| truth.contains(slot)).count();
            wanted += truth.len();
        }
        Ok(if wanted == 0 { 1.0 } else { found as f64 / wanted as f64 })
    }
}

/// Sets the candidates of a build to the fewest that reach the recall; the recall reached. Where none do because the
/// bytes do not tell points apart, distances come from the numbers from now on.
pub(super) fn tune(generation: &Generation, limits: &Limits) -> Result<f64, EmbeddingError> {
    let exam = Exam::new(generation);
    let wanted = limits.recall_percent_min as f64 / 100.0;
    let mut tuned = Tuned { expansion: limits.expansion_min, ..generation.graph.tuned() };
    let mut below = 0;
    loop {
        let recall = exam.recall(generation, tuned.expansion)?;
        let last = tuned.expansion >= limits.expansion_max;
        if recall >= wanted || (last && tuned.fine) {
            // Between the last two: a search takes time in proportion.
            let between = tuned.expansion.midpoint(below);
            let enough = if below > 0 { exam.recall(generation, between)? } else { 0.0 };
            let (expansion, recall) =
                if enough >= wanted { (between, enough) } else { (tuned.expansion, recall) };
            generation.graph.set_tuned(Tuned { expansion, ..tuned });
            return Ok(recall);
        }
        if last {
            tuned = Tuned { expansion: limits.expansion_min, fine: true };
            below = 0;
            generation.graph.set_tuned(tuned);
            continue;
        }
        below = tuned.expansion;
        tuned.expansion = (below + (below / 4).max(1)).min(limits.expansion_max);
    }
}
