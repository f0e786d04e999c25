//! Percentile bootstrap: how far a figure moves when the test set is drawn again.
//!
//! Whole groups are drawn, not rows: the readings of one person stand or fall together, otherwise the
//! interval of a set of few people with many rows would be far too narrow.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const RESAMPLES: usize = 200;
const SEED: u64 = 0x6d70_735f_626f_6f74;

/// A 95 % interval of `figure` over `groups`, one group id per row; `figure` gets the drawn rows and may
/// have no value for them. `None` when it had none for more than a tenth of the draws, or for one group.
pub fn interval(groups: &[u64], figure: impl Fn(&[usize]) -> Option<f64>) -> Option<(f64, f64)> {
    let mut members: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (row, group) in groups.iter().enumerate() {
        members.entry(*group).or_default().push(row);
    }
    let members: Vec<Vec<usize>> = members.into_values().collect();
    if members.len() < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut values = Vec::with_capacity(RESAMPLES);
    let mut rows = Vec::with_capacity(groups.len());
    for _ in 0..RESAMPLES {
        rows.clear();
        for _ in 0..members.len() {
            rows.extend_from_slice(&members[rng.random_range(0..members.len())]);
        }
        values.extend(figure(&rows).filter(|value| value.is_finite()));
    }
    if values.len() * 10 < RESAMPLES * 9 {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    Some((at(0.025), at(0.975)))
}

/// The values of `all` at `rows`, in that order.
pub fn pick<T: Copy>(all: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|row| all[*row]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of<'a>(values: &'a [f64]) -> impl Fn(&[usize]) -> Option<f64> + 'a {
        |rows| Some(rows.iter().map(|r| values[*r]).sum::<f64>() / rows.len() as f64)
    }

    #[test]
    fn the_interval_of_a_mean_is_about_two_standard_errors() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let groups: Vec<u64> = (0..400).collect();
        let (low, high) = interval(&groups, mean_of(&values)).expect("interval");
        assert!((low - 0.451).abs() < 0.015 && (high - 0.549).abs() < 0.015, "{low} {high}");
        assert_eq!(interval(&groups, mean_of(&values)), Some((low, high)), "drawn the same way each time");
    }

    #[test]
    fn few_people_with_many_rows_give_a_wide_interval() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i / 100)).collect();
        let rows: Vec<u64> = (0..400).collect();
        let people: Vec<u64> = (0..400).map(|i| i / 100).collect();
        let width =
            |groups: &[u64]| interval(groups, mean_of(&values)).map(|(l, h)| h - l).expect("interval");
        assert!(width(&people) > 4.0 * width(&rows));
    }

    #[test]
    fn no_interval_without_groups_or_values() {
        assert_eq!(interval(&[1, 1], |_| Some(1.0)), None);
        assert_eq!(interval(&[1, 2], |_| None), None);
        assert_eq!(pick(&[10, 20, 30], &[2, 0]), [30, 10]);
    }
}
