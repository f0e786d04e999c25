//! Pictures of class probabilities: ROC, precision and recall, reliability, confusion.

use models::calibration::wilson;

use super::{Axis, Confusion, Curves, Plot, Series};
use crate::evaluate::metrics::arg_max;

/// Bins of a reliability curve, of equal width.
const BINS: usize = 10;
/// Cases that a bin of the curve needs to be shown.
const CASES_MIN: usize = 5;

/// Scores by one method.
#[derive(Debug, Clone, PartialEq)]
pub struct Rival {
    /// Name of the method.
    pub name: String,
    /// A score for each row, or `classes` probabilities for each.
    pub scores: Vec<f64>,
}

/// Share of the positive found over share of the negative claimed, for the model and the methods beside it.
#[must_use]
pub fn roc(what: &str, methods: &[Rival], positive: &[bool]) -> Plot {
    let series = methods.iter().map(|method| {
        let points = steps(&method.scores, positive);
        let (all, none) = totals(positive);
        let share = |of: usize, all: usize| of as f64 / all.max(1) as f64;
        let points: Vec<(f64, f64)> = points
            .iter()
            .map(|(hits, false_alarms)| (share(*false_alarms, none), share(*hits, all)))
            .collect();
        Series::line(&method.name, &points)
    });
    Plot::Curves(Curves {
        title: format!("ROC: {what}"),
        caption: "How many of the positive are found at each share of false alarms. The diagonal is chance."
            .into(),
        x: Axis::share("false alarms among the negative"),
        y: Axis::share("found among the positive"),
        series: series.collect(),
        diagonal: true,
    })
}

/// Precision over recall, for the model and the methods beside it.
#[must_use]
pub fn precision_recall(what: &str, methods: &[Rival], positive: &[bool]) -> Plot {
    let (all, _) = totals(positive);
    let share = all as f64 / positive.len().max(1) as f64;
    let series = methods.iter().map(|method| {
        let steps = steps(&method.scores, positive);
        let claimed = steps.iter().filter(|(hits, false_alarms)| hits + false_alarms > 0);
        let points: Vec<(f64, f64)> = claimed
            .map(|(hits, wrong)| (*hits as f64 / all.max(1) as f64, *hits as f64 / (hits + wrong) as f64))
            .collect();
        Series::line(&method.name, &points)
    });
    Plot::Curves(Curves {
        title: format!("Precision and recall: {what}"),
        caption: format!("Chance is a level line at {share:.3}, the share of the positive."),
        x: Axis::share("found among the positive (recall)"),
        y: Axis::share("right among the claimed (precision)"),
        series: series.collect(),
        diagonal: false,
    })
}

/// Share that came true over the probability that was said: of the second of two classes, else of the class
/// answered. `probabilities` holds one row of `classes` values per case.
#[must_use]
pub fn reliability(what: &str, probabilities: &[f64], truth: &[usize], classes: usize) -> Plot {
    let mut bins = [(0.0_f64, 0_usize, 0_usize); BINS];
    for (row, truth) in probabilities.chunks_exact(classes.max(1)).zip(truth) {
        let class = if classes == 2 { 1 } else { arg_max(row) };
        let bin = &mut bins[((row[class] * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + row[class], bin.1 + usize::from(class == *truth), bin.2 + 1);
    }
    let shown = || bins.iter().filter(|(_, _, cases)| *cases >= CASES_MIN);
    let points = shown().map(|(sum, right, cases)| (sum / *cases as f64, *right as f64 / *cases as f64));
    let whiskers = shown().map(|(_, right, cases)| wilson(*right as f64, *cases as f64, 0.95));
    let of = if classes == 2 { "the probability" } else { "the probability of the class answered" };
    Plot::Curves(Curves {
        title: format!("Calibration: {what}"),
        caption: format!(
            "How often it was so, by {of}, in ten bins with 95 % intervals; bins under {CASES_MIN} rows are left out. \
             On the diagonal a probability means what it says."
        ),
        x: Axis::share("probability that was said"),
        y: Axis::share("share that was so"),
        series: vec![Series::dots("model", points.collect(), whiskers.collect())],
        diagonal: true,
    })
}

/// How often each class was taken for each other. `probabilities` holds one row per case.
#[must_use]
pub fn confusion(what: &str, labels: &[String], probabilities: &[f64], truth: &[usize]) -> Plot {
    let mut counts = vec![vec![0; labels.len()]; labels.len()];
    for (row, truth) in probabilities.chunks_exact(labels.len().max(1)).zip(truth) {
        counts[*truth][arg_max(row)] += 1;
    }
    Plot::Confusion(Confusion {
        title: format!("Confusion: {what}"),
        caption: "Rows: the true class. Columns: the most probable class. The diagonal is right.".into(),
        labels: labels.to_vec(),
        counts,
    })
}

/// How many are positive and how many are not.
fn totals(positive: &[bool]) -> (usize, usize) {
    let all = positive.iter().filter(|yes| **yes).count();
    (all, positive.len() - all)
}

/// Positive and negative rows with at least each score, from the highest score down; equal scores are one step.
fn steps(scores: &[f64], positive: &[bool]) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let (mut hits, mut wrong) = (0, 0);
    let mut steps = vec![(0, 0)];
    for tie in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let found = tie.iter().filter(|row| positive[**row]).count();
        (hits, wrong) = (hits + found, wrong + tie.len() - found);
        steps.push((hits, wrong));
    }
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluate::metrics::auroc;

    fn curves(plot: Plot) -> Curves {
        match plot {
            Plot::Curves(curves) => curves,
            Plot::Confusion(_) | Plot::Scatter(_) | Plot::Fan(_) => panic!("a curve was asked for"),
        }
    }

    fn model(scores: &[f64]) -> [Rival; 1] {
        [Rival { name: "model".into(), scores: scores.to_vec() }]
    }

    #[test]
    fn reliability_is_the_share_that_was_so() {
        let probabilities: Vec<f64> = (0..20).flat_map(|_| [0.75, 0.25]).collect();
        let truth: Vec<usize> = (0..20).map(|row| usize::from(row < 5)).collect();
        let plot = curves(reliability("x", &probabilities, &truth, 2));
        assert_eq!(plot.series[0].points, [(0.25, 0.25)], "said .25 of the second class, and so it was");
        let (low, high) = plot.series[0].whiskers[0];
        assert!(low < 0.25 && 0.25 < high && low > 0.0 && high < 0.6, "{low} {high}");
        let plot = curves(reliability("x", &[0.5, 0.3, 0.2], &[0], 3));
        assert!(plot.series[0].points.is_empty(), "one case says nothing");
    }

    #[test]
    fn confusion_counts_truth_by_answer() {
        let labels = ["a".to_owned(), "b".to_owned()];
        let plot = confusion("x", &labels, &[0.9, 0.1, 0.2, 0.8, 0.7, 0.3], &[0, 1, 1]);
        let Plot::Confusion(plot) = plot else { panic!("a table of counts") };
        assert_eq!(plot.counts, [[1, 0], [1, 1]]);
    }

    #[test]
    fn precision_starts_with_the_highest_scores() {
        let plot = curves(precision_recall("x", &model(&[0.9, 0.8, 0.7]), &[true, false, true]));
        assert_eq!(plot.series[0].points, [(0.5, 1.0), (0.5, 0.5), (1.0, 2.0 / 3.0)]);
    }

    proptest! {
        #[test]
        fn the_area_under_the_drawn_curve_is_the_figure(
            rows in prop::collection::vec((0u8..9, any::<bool>()), 2..60),
        ) {
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
            let positive: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let points = curves(roc("x", &model(&scores), &positive)).series[0].points.clone();
            prop_assert_eq!(points[0], (0.0, 0.0));
            if let Some(area) = auroc(&scores, &positive) {
                let drawn: f64 =
                    points.windows(2).map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) / 2.0).sum();
                prop_assert!((area - drawn).abs() < 1e-9, "{} {}", area, drawn);
                prop_assert_eq!(points[points.len() - 1], (1.0, 1.0));
            }
        }
    }
}
