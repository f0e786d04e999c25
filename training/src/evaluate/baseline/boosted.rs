//! Gradient-boosted trees: the method that a network on tables has to be compared with.
//!
//! The crates that have it bring old copies of others, or a switch of the JSON parser that would slow the server
//! down; and a yardstick is simple enough to be read here.

use super::tree::{Binned, Tree};

/// As in the comparisons that are published for these tables: 300 small steps.
const TREES: usize = 300;
const LEARNING_RATE: f64 = 0.03;

/// Boosted trees with logistic loss, one against the rest for several classes; gaps are NaN and find their own way.
#[derive(Debug, Clone)]
pub struct Boosted {
    /// One for two classes, else one for each.
    boosters: Vec<Booster>,
    classes: usize,
}

/// Trees for one class.
#[derive(Debug, Clone)]
struct Booster {
    /// Log-odds where nothing is known.
    start: f64,
    trees: Vec<Tree>,
}

impl Boosted {
    /// Fits the classes `0..classes` of `truth`.
    #[must_use]
    pub fn fit(rows: &[Vec<f64>], truth: &[usize], classes: usize) -> Self {
        let binned = Binned::new(rows);
        let positive = if classes == 2 { 1..2 } else { 0..classes };
        let boosters = positive.map(|class| {
            let labels: Vec<f64> = truth.iter().map(|truth| f64::from(u8::from(*truth == class))).collect();
            Booster::fit(&binned, &labels)
        });
        Self { boosters: boosters.collect(), classes }
    }

    /// Class probabilities of one row, normalised over the one-against-rest answers.
    #[must_use]
    pub fn predict(&self, row: &[f64]) -> Vec<f64> {
        let raw: Vec<f64> = self.boosters.iter().map(|booster| booster.predict(row)).collect();
        match &raw[..] {
            [positive] if self.classes == 2 => vec![1.0 - positive, *positive],
            all => {
                let sum: f64 = all.iter().sum::<f64>().max(1e-12);
                all.iter().map(|p| p / sum).collect()
            }
        }
    }
}

impl Booster {
    fn fit(binned: &Binned, labels: &[f64]) -> Self {
        let share = labels.iter().sum::<f64>() / labels.len().max(1) as f64;
        let share = share.clamp(1e-6, 1.0 - 1e-6);
        let start = (share / (1.0 - share)).ln();
        let mut scores = vec![start; labels.len()];
        let mut trees = Vec::with_capacity(TREES);
        for _ in 0..TREES {
            let slopes: Vec<(f64, f64)> = scores
                .iter()
                .zip(labels)
                .map(|(score, label)| {
                    let p = sigmoid(*score);
                    (p - label, p * (1.0 - p))
                })
                .collect();
            let tree = Tree::grow(binned, &slopes, LEARNING_RATE, &mut scores);
            trees.push(tree);
        }
        Self { start, trees }
    }

    fn predict(&self, row: &[f64]) -> f64 {
        sigmoid(self.start + self.trees.iter().map(|tree| tree.value(row)).sum::<f64>())
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
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
