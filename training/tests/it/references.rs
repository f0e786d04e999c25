//! Figures and simple methods against a second way to reach the same number: counting, sorting, closed forms.

use proptest::prelude::*;
use training::evaluate::baseline::{Logistic, Mahalanobis, Neighbours, Ridge, Scaling};
use training::evaluate::bootstrap::interval;
use training::evaluate::metrics;

/// Scores with many ties, and whether each is positive.
fn scored() -> impl Strategy<Value = Vec<(u8, bool)>> {
    prop::collection::vec((0u8..7, any::<bool>()), 2..50)
}

fn apart(rows: &[(u8, bool)]) -> (Vec<f64>, Vec<bool>) {
    rows.iter().map(|(score, positive)| (f64::from(*score), *positive)).unzip()
}

/// Rows of two columns that are not all alike.
fn table() -> impl Strategy<Value = Vec<Vec<f64>>> {
    let row = (-50.0f64..50.0, -5.0f64..5.0).prop_map(|(a, b)| vec![a, b]);
    prop::collection::vec(row, 8..40).prop_filter("varied", |rows| {
        let spread = |column: usize| {
            let column: Vec<f64> = rows.iter().map(|row| row[column]).collect();
            column.iter().copied().fold(f64::MIN, f64::max) - column.iter().copied().fold(f64::MAX, f64::min)
        };
        spread(0) > 1.0 && spread(1) > 0.1
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One step per distinct threshold, from the strictest down.
    #[test]
    fn average_precision_is_the_sum_over_thresholds(rows in scored()) {
        let (scores, positive) = apart(&rows);
        let positives = positive.iter().filter(|p| **p).count();
        let at = |threshold: u8| {
            let found = rows.iter().filter(|r| r.0 >= threshold);
            let (hits, all) = found.fold((0.0, 0.0), |(hits, all), r| (hits + f64::from(u8::from(r.1)), all + 1.0));
            (hits / f64::max(all, 1.0), hits / positives.max(1) as f64)
        };
        let (mut area, mut recall_before) = (0.0, 0.0);
        for threshold in (0..7).rev() {
            let (precision, recall) = at(threshold);
            area += precision * (recall - recall_before);
            recall_before = recall;
        }
        match metrics::auprc(&scores, &positive) {
            Some(found) => prop_assert!((found - area).abs() < 1e-9, "{found} {area}"),
            None => prop_assert_eq!(positives, 0),
        }
    }

    #[test]
    fn areas_look_only_at_the_order_and_turn_over_with_it(rows in scored()) {
        let (scores, positive) = apart(&rows);
        let stretched: Vec<f64> = scores.iter().map(|s| (s * 3.0).exp() - 7.0).collect();
        let reversed: Vec<f64> = scores.iter().map(|s| -s).collect();
        let close = |a: Option<f64>, b: Option<f64>| a.zip(b).map_or(a == b, |(a, b)| (a - b).abs() < 1e-9);
        prop_assert!(close(metrics::auroc(&scores, &positive), metrics::auroc(&stretched, &positive)));
        prop_assert!(close(metrics::auprc(&scores, &positive), metrics::auprc(&stretched, &positive)));
        let turned = metrics::auroc(&reversed, &positive).map(|area| 1.0 - area);
        prop_assert!(close(metrics::auroc(&scores, &positive), turned));
    }

    #[test]
    fn concordance_of_the_opposite_risk_is_the_rest(
        rows in prop::collection::vec((0u8..9, 0u8..9, any::<bool>()), 2..40),
    ) {
        let risk: Vec<f64> = rows.iter().map(|r| f64::from(r.0)).collect();
        let times: Vec<f64> = rows.iter().map(|r| f64::from(r.1)).collect();
        let died: Vec<bool> = rows.iter().map(|r| r.2).collect();
        let opposite: Vec<f64> = risk.iter().map(|r| -r).collect();
        let (one, other) = (metrics::harrell_c(&risk, &times, &died), metrics::harrell_c(&opposite, &times, &died));
        prop_assert!(one.zip(other).map_or(one == other, |(a, b)| (a + b - 1.0).abs() < 1e-9));
        // Without censoring and ties, concordance with the times themselves is that of a perfect clock.
        let clock = metrics::harrell_c(&times.iter().map(|t| -t).collect::<Vec<_>>(), &times, &died);
        prop_assert!(clock.is_none_or(|c| (c - 1.0).abs() < 1e-9));
    }

    #[test]
    fn f1_and_accuracy_follow_from_the_confusion_matrix(pairs in prop::collection::vec((0usize..4, 0usize..4), 1..60)) {
        let mut table = [[0.0_f64; 4]; 4];
        pairs.iter().for_each(|(predicted, truth)| table[*predicted][*truth] += 1.0);
        let f1 = |class: usize| {
            let claimed: f64 = table[class].iter().sum();
            let real: f64 = table.iter().map(|row| row[class]).sum();
            let (precision, recall) = (table[class][class] / claimed.max(1.0), table[class][class] / real.max(1.0));
            if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
        };
        let (predicted, truth): (Vec<usize>, Vec<usize>) = pairs.iter().copied().unzip();
        let expected = (0..4).map(f1).sum::<f64>() / 4.0;
        prop_assert!((metrics::macro_f1(&predicted, &truth, 4) - expected).abs() < 1e-9);
        let trace: f64 = (0..4).map(|class| table[class][class]).sum();
        prop_assert!((metrics::accuracy(&predicted, &truth) - trace / pairs.len() as f64).abs() < 1e-12);
    }

    /// The Brier score of a constant is its distance from the share, plus what no constant can remove.
    #[test]
    fn the_brier_score_of_a_constant_splits_into_reliability_and_variance(
        positive in prop::collection::vec(any::<bool>(), 1..60), p in 0.0f64..=1.0,
    ) {
        let share = positive.iter().filter(|y| **y).count() as f64 / positive.len() as f64;
        let expected = (p - share).powi(2) + share * (1.0 - share);
        let found = metrics::brier(&vec![p; positive.len()], &positive);
        prop_assert!((found - expected).abs() < 1e-9);
    }

    #[test]
    fn errors_keep_their_known_order(pairs in prop::collection::vec((-100.0f64..100.0, -100.0f64..100.0), 2..50)) {
        let (predicted, truth): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let agreement = metrics::agreement(&predicted, &truth);
        let (rmse, mae) = (metrics::rmse(&predicted, &truth), metrics::mae(&predicted, &truth));
        prop_assert!(rmse + 1e-9 >= mae && mae + 1e-9 >= agreement.bias.abs());
        // Mean square = bias² + variance, with the n - 1 of the limits of agreement taken back.
        let (n, deviation) = (truth.len() as f64, (agreement.high - agreement.bias) / 1.96);
        let expected = (agreement.bias.powi(2) + deviation.powi(2) * (n - 1.0) / n).sqrt();
        prop_assert!((rmse - expected).abs() < 1e-6);
    }

    /// With one column and hardly any penalty, least squares explains the squared correlation.
    #[test]
    fn least_squares_explains_the_squared_correlation(rows in table(), noise in prop::collection::vec(-9.0f64..9.0, 40)) {
        let x: Vec<Vec<f64>> = rows.iter().map(|row| vec![row[0]]).collect();
        let y: Vec<f64> = rows.iter().zip(&noise).map(|(row, noise)| 4.0 + 0.3 * row[0] + noise).collect();
        let ridge = Ridge::fit(&x, &y.iter().map(|y| vec![*y]).collect::<Vec<_>>(), 1e-9);
        let predicted: Vec<f64> = x.iter().map(|row| ridge.predict(row)[0]).collect();
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / y.len() as f64;
        let (mx, my) = (mean(&mut x.iter().map(|r| r[0])), mean(&mut y.iter().copied()));
        let sxy = mean(&mut x.iter().zip(&y).map(|(r, y)| (r[0] - mx) * (y - my)));
        let (sxx, syy) = (mean(&mut x.iter().map(|r| (r[0] - mx).powi(2))), mean(&mut y.iter().map(|y| (y - my).powi(2))));
        prop_assert!((metrics::r_squared(&predicted, &y) - sxy * sxy / (sxx * syy)).abs() < 1e-6);
    }

    /// The level of the targets is no coefficient: however hard the penalty, the mean comes out right.
    #[test]
    fn a_penalty_flattens_the_slope_and_leaves_the_level(rows in table(), level in 50.0f64..200.0) {
        let targets: Vec<Vec<f64>> = rows.iter().map(|row| vec![level + row[1]]).collect();
        let mean = targets.iter().map(|t| t[0]).sum::<f64>() / targets.len() as f64;
        let ridge = Ridge::fit(&rows, &targets, 1e9);
        for row in &rows {
            prop_assert!((ridge.predict(row)[0] - mean).abs() < 1e-3, "{} {mean}", ridge.predict(row)[0]);
        }
    }

    /// Where the likelihood of a logistic model is highest, the probabilities add up to the cases.
    #[test]
    fn logistic_probabilities_add_up_to_the_cases(rows in table(), salt: u64) {
        let truth: Vec<usize> = (0..rows.len()).map(|i| usize::from((salt >> (i % 64)) & 1 == 1)).collect();
        let cases = truth.iter().sum::<usize>() as f64;
        prop_assume!(cases > 1.0 && cases < truth.len() as f64 - 1.0);
        let model = Logistic::fit(&rows, &truth, 2);
        let sum: f64 = rows.iter().map(|row| model.predict(row)[1]).sum();
        prop_assert!((sum - cases).abs() < 0.05, "{sum} {cases}");
    }

    #[test]
    fn the_nearest_neighbours_are_those_that_sorting_finds(rows in table(), count in 1usize..12, a in -60.0f64..60.0, b in -6.0f64..6.0) {
        let scaling = Scaling::fit(&rows);
        let here = scaling.apply(&[a, b]);
        let mut distances: Vec<f64> = rows
            .iter()
            .map(|row| scaling.apply(row).iter().zip(&here).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt())
            .collect();
        distances.sort_by(f64::total_cmp);
        let used = count.min(distances.len());
        let expected = distances[..used].iter().sum::<f64>() / used as f64;
        prop_assert!((Neighbours::fit(&rows, count).score(&[a, b]) - expected).abs() < 1e-9);
    }

    /// Two columns: the inverse of the covariance can be written down.
    #[test]
    fn mahalanobis_is_the_closed_form_of_two_columns(rows in table(), a in -60.0f64..60.0, b in -6.0f64..6.0) {
        let scaling = Scaling::fit(&rows);
        let scaled: Vec<Vec<f64>> = rows.iter().map(|row| scaling.apply(row)).collect();
        let correlation = scaled.iter().map(|row| row[0] * row[1]).sum::<f64>() / rows.len() as f64;
        prop_assume!(correlation.abs() < 0.99);
        let (variance, here) = (1.0 + 1e-6, scaling.apply(&[a, b]));
        let determinant = variance * variance - correlation * correlation;
        let (x, y) = (here[0], here[1]);
        let expected = (variance * (x * x + y * y) - 2.0 * correlation * x * y) / determinant;
        let found = Mahalanobis::fit(&rows).score(&[a, b]);
        prop_assert!((found - expected).abs() < 1e-6 * expected.max(1.0), "{found} {expected}");
    }

    #[test]
    fn scaled_columns_have_mean_zero_and_spread_one(rows in table(), gaps in prop::collection::vec(0usize..40, 0..6)) {
        let mut rows = rows;
        for gap in gaps {
            let at = gap % rows.len();
            rows[at][0] = f64::NAN;
        }
        prop_assume!(rows.iter().filter(|row| row[0].is_finite()).count() > 3);
        let scaling = Scaling::fit(&rows);
        let scaled: Vec<Vec<f64>> = rows.iter().map(|row| scaling.apply(row)).collect();
        for column in 0..2 {
            let n = scaled.len() as f64;
            let mean = scaled.iter().map(|row| row[column]).sum::<f64>() / n;
            let square = scaled.iter().map(|row| row[column].powi(2)).sum::<f64>() / n;
            prop_assert!(mean.abs() < 1e-9 && ((square - 1.0).abs() < 1e-6 || square < 1e-9), "{mean} {square}");
        }
    }

    /// Drawing again is drawing whole people: every drawn row brings all rows of its person along.
    #[test]
    fn the_bootstrap_draws_whole_groups(groups in prop::collection::vec(0u64..6, 4..40)) {
        let size = |group: u64| groups.iter().filter(|g| **g == group).count();
        interval(&groups, |rows| {
            for group in 0..6 {
                let drawn = rows.iter().filter(|row| groups[**row] == group).count();
                assert!(drawn == 0 || drawn.is_multiple_of(size(group)), "{drawn} rows of {}", size(group));
            }
            Some(0.0)
        });
    }

    #[test]
    fn what_the_groups_are_called_does_not_matter(groups in prop::collection::vec(0u64..9, 6..40), shift in 1u64..1000) {
        let mean = |rows: &[usize]| Some(rows.iter().map(|row| *row as f64).sum::<f64>() / rows.len() as f64);
        let renamed: Vec<u64> = groups.iter().map(|group| group * 3 + shift).collect();
        prop_assert_eq!(interval(&groups, mean), interval(&renamed, mean));
    }
}

#[test]
fn a_bootstrap_that_fails_now_and_then_still_has_an_interval_and_one_that_fails_often_has_none() {
    let groups: Vec<u64> = (0..50).collect();
    let failing = |every: usize| {
        let count = std::cell::Cell::new(0usize);
        interval(&groups, move |_| {
            count.set(count.get() + 1);
            (!count.get().is_multiple_of(every)).then_some(1.0)
        })
    };
    assert_eq!(failing(20), Some((1.0, 1.0)));
    assert_eq!(failing(3), None);
    assert_eq!(interval(&groups, |_| Some(f64::NAN)), None, "a figure that is no number is no figure");
}

#[test]
fn a_model_of_certain_and_right_answers_is_calibrated_and_one_of_wrong_ones_is_not() {
    let right = metrics::calibration_error(&[1.0, 0.0, 0.0, 1.0], &[0, 1], 2);
    let wrong = metrics::calibration_error(&[1.0, 0.0, 0.0, 1.0], &[1, 0], 2);
    assert_eq!((right, wrong), (0.0, 1.0));
    assert_eq!(metrics::calibration_error(&[], &[], 2), 0.0);
}
