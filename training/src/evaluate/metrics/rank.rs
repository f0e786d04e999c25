//! Figures that only look at the order of scores: areas under the ROC and precision-recall curves.
//!
//! Ties count half, as in the Mann-Whitney statistic, so that a constant score is worth exactly 0.5.

/// Area under the ROC curve; `None` unless both classes occur.
#[must_use]
pub fn auroc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let positives = positive.iter().filter(|p| **p).count();
    let negatives = positive.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let order = ascending(scores);
    let (mut start, mut rank_sum) = (0, 0.0);
    while start < order.len() {
        let end = tie_end(scores, &order, start);
        let mean_rank = (start + end + 1) as f64 / 2.0;
        let hits = order[start..end].iter().filter(|i| positive[**i]).count();
        rank_sum += mean_rank * hits as f64;
        start = end;
    }
    let positives = positives as f64;
    Some((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives as f64))
}

/// Area under the precision-recall curve as average precision; `None` without a positive.
#[must_use]
pub fn auprc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let positives = positive.iter().filter(|p| **p).count();
    if positives == 0 {
        return None;
    }
    let mut order = ascending(scores);
    order.reverse();
    let (mut start, mut hits, mut area) = (0, 0, 0.0);
    while start < order.len() {
        let end = tie_end(scores, &order, start);
        let found = order[start..end].iter().filter(|i| positive[**i]).count();
        hits += found;
        area += hits as f64 / end as f64 * found as f64 / positives as f64;
        start = end;
    }
    Some(area)
}

/// Mean over classes of the one-versus-rest area; `None` when a class is missing from `truth`.
/// `probabilities` holds one row of `classes` values per case.
#[must_use]
pub fn macro_auroc(probabilities: &[f64], truth: &[usize], classes: usize) -> Option<f64> {
    let mut sum = 0.0;
    for class in 0..classes {
        let scores: Vec<f64> = probabilities.chunks_exact(classes).map(|row| row[class]).collect();
        let positive: Vec<bool> = truth.iter().map(|t| *t == class).collect();
        sum += auroc(&scores, &positive)?;
    }
    Some(sum / classes as f64)
}

fn ascending(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    order
}

fn tie_end(scores: &[f64], order: &[usize], start: usize) -> usize {
    let value = scores[order[start]];
    start + order[start..].iter().take_while(|i| scores[**i] == value).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCORES: [f64; 5] = [0.1, 0.4, 0.35, 0.8, 0.4];
    const POSITIVE: [bool; 5] = [false, false, true, true, true];

    #[test]
    fn areas_match_the_hand_count() {
        // Pairs: .35 beats 1 of 2, .8 beats 2, .4 beats 1 and ties 1: (1 + 2 + 1.5) / 6.
        assert!((auroc(&SCORES, &POSITIVE).expect("both classes") - 0.75).abs() < 1e-12);
        // Steps: .8 (1/1), the tie at .4 (2/3), .35 (3/4), each a third of the recall.
        let expected = (1.0 + 2.0 / 3.0 + 3.0 / 4.0) / 3.0;
        assert!((auprc(&SCORES, &POSITIVE).expect("positives") - expected).abs() < 1e-12);
    }

    #[test]
    fn one_class_has_no_area() {
        assert_eq!(auroc(&[0.1, 0.2], &[true, true]), None);
        assert_eq!(auprc(&[0.1, 0.2], &[false, false]), None);
        assert_eq!(macro_auroc(&[0.5, 0.5, 0.5, 0.5], &[0, 0], 2), None);
    }

    #[test]
    fn perfect_classes_have_macro_area_one() {
        let probabilities = [0.8, 0.1, 0.1, 0.2, 0.7, 0.1, 0.0, 0.1, 0.9];
        assert_eq!(macro_auroc(&probabilities, &[0, 1, 2], 3), Some(1.0));
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_ordered_pairs(rows in prop::collection::vec((0u8..6, any::<bool>()), 2..40)) {
            let scores: Vec<f64> = rows.iter().map(|r| f64::from(r.0)).collect();
            let positive: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for a in rows.iter().filter(|r| r.1) {
                for b in rows.iter().filter(|r| !r.1) {
                    won += if a.0 > b.0 { 1.0 } else if a.0 == b.0 { 0.5 } else { 0.0 };
                    pairs += 1.0;
                }
            }
            match auroc(&scores, &positive) {
                Some(area) => prop_assert!((area - won / pairs).abs() < 1e-9),
                None => prop_assert_eq!(pairs, 0.0),
            }
        }
    }
}
