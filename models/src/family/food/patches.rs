//! Which parts of a photo made it look like the food: Shapley values of nine patches.
//!
//! A patch that is hidden is greyed out. Averaging what a patch adds over every order of uncovering nine of them would
//! take 512 copies; here one order is taken and the same backwards, 18 copies. The values sum to the confidence less
//! the confidence in the grey picture for any order, because what the steps add telescopes; and an order with its
//! reverse gives the exact values wherever patches act alone or in pairs, as each of a pair comes first once.

use super::SIDE;
use crate::explain::{Contribution, Explanation, Method};

/// Patches per side of the square.
const PER_SIDE: usize = 3;
/// Patches.
const PATCHES: usize = PER_SIDE * PER_SIDE;
/// Rows of an explained photo: itself, nothing of it, and what lies between in either direction.
pub const EXPLAINED_ROWS: usize = 2 * PATCHES;
/// The neutral pixel: what is left of 127 after normalisation.
const NEUTRAL: f32 = 0.0;
/// In which order patches are uncovered: the centre, then corners and edges from side to side.
const ORDER: [usize; PATCHES] = [4, 0, 8, 2, 6, 1, 7, 3, 5];

/// Which patches each row of an explained photo shows; row 0 all of them, row 1 none.
fn shown() -> Vec<Vec<usize>> {
    let backwards: Vec<usize> = ORDER.iter().rev().copied().collect();
    let steps = |order: &[usize]| (1..PATCHES).map(|count| order[..count].to_vec()).collect::<Vec<_>>();
    [vec![ORDER.to_vec(), Vec::new()], steps(&ORDER), steps(&backwards)].concat()
}

/// The pixels of every row but the first, which is the photo itself.
pub(super) fn copies(pixels: &[f32]) -> Vec<f32> {
    let mut values = Vec::with_capacity(pixels.len() * (EXPLAINED_ROWS - 1));
    for shown in shown().iter().skip(1) {
        let mut copy = pixels.to_vec();
        for patch in (0..PATCHES).filter(|patch| !shown.contains(patch)) {
            grey(&mut copy, patch);
        }
        values.extend(copy);
    }
    values
}

/// Explanation from the confidence in `label` on every row.
pub(super) fn explain(label: &str, confidences: &[f64]) -> Explanation {
    const ROWS: [&str; PER_SIDE] = ["top", "middle", "bottom"];
    const COLUMNS: [&str; PER_SIDE] = ["left", "centre", "right"];
    let part = |(patch, contribution): (usize, f64)| Contribution {
        feature: format!("image {} {}", ROWS[patch / PER_SIDE], COLUMNS[patch % PER_SIDE]),
        loinc: String::new(),
        value: None,
        unit: "1".into(),
        contribution,
    };
    let mut contributions: Vec<Contribution> =
        shapley(confidences).into_iter().enumerate().map(part).collect();
    contributions.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
    // All of them, not the largest few: only all of them sum to the confidence.
    Explanation {
        method: Method::Shapley,
        output: format!("confidence of {label}"),
        base_value: confidences[1],
        contributions,
    }
}

/// What each patch adds, averaged over the order and its reverse.
fn shapley(values: &[f64]) -> [f64; PATCHES] {
    let (all, none) = (values[0], values[1]);
    let mut added = [0.0; PATCHES];
    let backwards = ORDER.iter().rev();
    let ways: [(Vec<usize>, &[f64]); 2] =
        [(ORDER.to_vec(), &values[2..=PATCHES]), (backwards.copied().collect(), &values[PATCHES + 1..])];
    for (order, between) in &ways {
        let mut before = none;
        for (patch, after) in order.iter().zip(between.iter().copied().chain([all])) {
            added[*patch] += (after - before) / 2.0;
            before = after;
        }
    }
    added
}

fn grey(pixels: &mut [f32], patch: usize) {
    let cut = |index: usize| index * SIDE / PER_SIDE..(index + 1) * SIDE / PER_SIDE;
    let (rows, columns) = (cut(patch / PER_SIDE), cut(patch % PER_SIDE));
    for channel in 0..3 {
        for row in rows.clone() {
            let start = (channel * SIDE + row) * SIDE;
            pixels[start + columns.start..start + columns.end].fill(NEUTRAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values of every row of a game on the patches.
    fn played(game: impl Fn(&[usize]) -> f64) -> Vec<f64> {
        shown().iter().map(|shown| game(shown)).collect()
    }

    #[test]
    fn every_row_hides_what_it_says() {
        let rows = shown();
        assert_eq!(rows.len(), EXPLAINED_ROWS);
        let copies = copies(&vec![1.0; 3 * SIDE * SIDE]);
        for (row, pixels) in rows.iter().skip(1).zip(copies.chunks_exact(3 * SIDE * SIDE)) {
            let seen = pixels.iter().filter(|pixel| **pixel == 1.0).count() as f64 / pixels.len() as f64;
            assert!((seen - row.len() as f64 / 9.0).abs() < 0.01, "{row:?} {seen}");
        }
    }

    #[test]
    fn patches_that_act_alone_or_in_pairs_get_their_exact_values() {
        // Patch 4 is worth 0.3 alone; 0 and 8 are worth 0.2 together and nothing alone.
        let has = |shown: &[usize], patch| f64::from(u8::from(shown.contains(&patch)));
        let added = shapley(&played(|s| 0.1 + 0.3 * has(s, 4) + 0.2 * has(s, 0) * has(s, 8)));
        for (patch, value) in added.iter().enumerate() {
            let expected = match patch {
                4 => 0.3,
                0 | 8 => 0.1,
                _ => 0.0,
            };
            assert!((value - expected).abs() < 1e-12, "{patch}: {value}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_sum_to_the_output(values in prop::collection::vec(0.0f64..1.0, EXPLAINED_ROWS)) {
            let explanation = explain("Fig", &values);
            let sum: f64 = explanation.contributions.iter().map(|part| part.contribution).sum();
            prop_assert!((explanation.base_value + sum - values[0]).abs() < 1e-9);
            prop_assert_eq!(explanation.contributions.len(), PATCHES);
        }
    }
}
