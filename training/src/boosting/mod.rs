//! Gradient-boosted trees: the method that a network on tables has to be compared with, and a good neighbour to it.
//!
//! The crates that have it bring old copies of others, or a switch of the JSON parser that would slow the server
//! down. The loss is that of softmax regression, with one tree for each class and step; of two classes one suffices.

mod tree;
mod values;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use tree::{Binned, Growth};
pub use tree::{Node, Tree};
pub use values::BoostedValues;

/// How many trees, how large, and what holds them back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Steps; each grows a tree for every class, of two classes one.
    pub steps: usize,
    /// Share of its values that a tree adds.
    pub rate: f64,
    /// Most leaves of a tree.
    pub leaves_max: usize,
    /// Rows a leaf must have.
    pub rows_min: usize,
    /// Ridge on the values of leaves.
    pub ridge: f64,
    /// Share of the columns that a tree may cut.
    pub columns: f64,
    /// Seed of that choice.
    pub seed: u64,
}

impl Default for Plan {
    /// As in the comparisons that are published for these tables: 300 small steps.
    fn default() -> Self {
        Self { steps: 300, rate: 0.03, leaves_max: 15, rows_min: 20, ridge: 0.0, columns: 1.0, seed: 0 }
    }
}

/// Boosted trees of a classifier; gaps are NaN and find their own way.
#[derive(Debug, Clone)]
pub struct Boosted {
    /// Log-odds of each score where nothing is known.
    start: Vec<f64>,
    /// The trees of the scores in turn.
    trees: Vec<Tree>,
    classes: usize,
}

impl Boosted {
    /// Fits the classes `0..classes` of `truth` by the default plan.
    #[must_use]
    pub fn fit(rows: &[Vec<f64>], truth: &[usize], classes: usize) -> Self {
        Self::fit_with(rows, truth, classes, &Plan::default())
    }

    /// Fits the classes `0..classes` of `truth`.
    #[must_use]
    pub fn fit_with(rows: &[Vec<f64>], truth: &[usize], classes: usize, plan: &Plan) -> Self {
        let binned = Binned::new(rows);
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let start = start(truth, classes);
        let mut scores: Vec<Vec<f64>> = start.iter().map(|start| vec![*start; truth.len()]).collect();
        let mut trees = Vec::with_capacity(plan.steps * start.len());
        for _ in 0..plan.steps {
            let slopes = slopes(&scores, truth, classes);
            for (slopes, scores) in slopes.iter().zip(&mut scores) {
                let columns = columns(rows.first().map_or(0, Vec::len), plan.columns, &mut rng);
                let Plan { leaves_max, rows_min, ridge, .. } = *plan;
                let growth = Growth { binned: &binned, slopes, columns, leaves_max, rows_min, ridge };
                trees.push(growth.grow(plan.rate, scores));
            }
        }
        Self { start, trees, classes }
    }

    /// Class probabilities of one row.
    #[must_use]
    pub fn predict(&self, row: &[f64]) -> Vec<f64> {
        let mut scores = self.start.clone();
        let count = scores.len();
        for (at, tree) in self.trees.iter().enumerate() {
            scores[at % count] += tree.value(row);
        }
        probabilities(&scores, self.classes)
    }

    /// Log-odds of each score where nothing is known: one for each class, of two classes the second's only.
    #[must_use]
    pub fn start(&self) -> &[f64] {
        &self.start
    }

    /// The trees; they take the scores in turn.
    #[must_use]
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }
}

/// Log shares of the classes; of two classes the log-odds of the second.
fn start(truth: &[usize], classes: usize) -> Vec<f64> {
    let share = |class: usize| {
        let count = truth.iter().filter(|truth| **truth == class).count() as f64;
        (count / truth.len().max(1) as f64).clamp(1e-6, 1.0 - 1e-6)
    };
    if classes == 2 {
        return vec![(share(1) / (1.0 - share(1))).ln()];
    }
    (0..classes).map(|class| share(class).ln()).collect()
}

/// Slope and curvature of every score at every row.
fn slopes(scores: &[Vec<f64>], truth: &[usize], classes: usize) -> Vec<Vec<(f64, f64)>> {
    let first = classes - scores.len();
    // The curvature of softmax is a matrix; its diagonal is scaled as is usual, so that steps are not too long.
    let factor = if scores.len() == 1 { 1.0 } else { classes as f64 / (classes as f64 - 1.0) };
    let mut slopes = vec![Vec::with_capacity(truth.len()); scores.len()];
    let mut row = vec![0.0; scores.len()];
    for (at, truth) in truth.iter().enumerate() {
        row.iter_mut().zip(scores).for_each(|(score, scores)| *score = scores[at]);
        let all = probabilities(&row, classes);
        for (of, (slopes, p)) in slopes.iter_mut().zip(&all[first..]).enumerate() {
            let label = f64::from(u8::from(*truth == first + of));
            slopes.push((p - label, factor * p * (1.0 - p)));
        }
    }
    slopes
}

fn probabilities(scores: &[f64], classes: usize) -> Vec<f64> {
    let mut logits = vec![0.0; classes];
    logits[classes - scores.len()..].copy_from_slice(scores);
    let top = logits.iter().copied().fold(f64::MIN, f64::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - top).exp());
    let sum: f64 = logits.iter().sum();
    logits.iter().map(|p| p / sum).collect()
}

/// The columns that one tree may cut.
fn columns(count: usize, share: f64, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    let kept = ((count as f64 * share).round() as usize).clamp(count.min(1), count);
    if kept < count {
        all.shuffle(rng);
        all.truncate(kept);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_find_what_no_line_does_and_bear_gaps() {
        let rows: Vec<Vec<f64>> = (0..400)
            .map(|i| vec![f64::from(i % 20), f64::from(i / 20), if i % 7 == 0 { f64::NAN } else { 1.0 }])
            .collect();
        let truth: Vec<usize> =
            rows.iter().map(|row| usize::from((row[0] < 12.0) != (row[1] < 9.0))).collect();
        let model = Boosted::fit(&rows, &truth, 2);
        let right = rows.iter().zip(&truth).filter(|(row, t)| (model.predict(row)[1] > 0.5) == (**t == 1));
        let right = right.count();
        assert!(right > 380, "{right} of 400");
    }

    #[test]
    fn an_absent_value_can_be_what_tells() {
        let rows: Vec<Vec<f64>> =
            (0..300).map(|i| vec![if i % 3 == 0 { f64::NAN } else { f64::from(i) }]).collect();
        let truth: Vec<usize> = (0..300).map(|i| usize::from(i % 3 == 0)).collect();
        let model = Boosted::fit(&rows, &truth, 2);
        assert!(model.predict(&[f64::NAN])[1] > 0.9 && model.predict(&[7.0])[1] < 0.1);
    }

    #[test]
    fn chances_of_several_classes_sum_to_one() {
        let rows: Vec<Vec<f64>> = (0..300).map(|i| vec![f64::from(i)]).collect();
        let truth: Vec<usize> = (0..300).map(|i| i / 100).collect();
        let model = Boosted::fit(&rows, &truth, 3);
        let (first, last) = (model.predict(&[50.0]), model.predict(&[250.0]));
        assert!((first.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(first[0] > 0.5 && last[2] > 0.5, "{first:?} {last:?}");
    }
}
