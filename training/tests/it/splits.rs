//! The split of a data set at its edges: no share, all of it, one person, shares that do not add up.

use std::collections::BTreeSet;

use proptest::prelude::*;
use training::data::{Dataset, Fractions, Record, Split};

/// A row of a person, of a class.
#[derive(Debug, Clone, Copy)]
struct Row {
    person: u16,
    class: u32,
}

impl Record for Row {
    fn subject(&self) -> String {
        format!("p{}", self.person)
    }

    fn stratum(&self) -> u32 {
        self.class
    }
}

fn split(rows: &[Row], train: f64, calibration: f64) -> Split {
    let set = Dataset { name: "made-up", rows: rows.to_vec(), provenance: vec![], dropped: vec![] };
    set.split(Fractions { train, calibration })
}

/// One row for each of `count` people of two classes.
fn people(count: u16) -> Vec<Row> {
    (0..count).map(|person| Row { person, class: u32::from(person % 2) }).collect()
}

fn sizes(split: &Split) -> [usize; 3] {
    [split.train.len(), split.calibration.len(), split.test.len()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_class_has_its_share_to_within_one_person(
        counts in prop::collection::vec(0u16..60, 1..5), train in 0.0f64..=1.0, rest in 0.0f64..=1.0,
    ) {
        let mut rows = Vec::new();
        for (class, count) in (0u32..).zip(&counts) {
            let start = rows.len() as u16;
            rows.extend((start..start + count).map(|person| Row { person, class }));
        }
        let calibration = (1.0 - train) * rest;
        let split = split(&rows, train, calibration);
        for (class, count) in (0u32..).zip(&counts) {
            let of = |part: &[usize]| part.iter().filter(|row| rows[**row].class == class).count() as f64;
            let count = f64::from(*count);
            prop_assert!((of(&split.train) - count * train).abs() <= 0.5 + 1e-9);
            prop_assert!((of(&split.calibration) - count * calibration).abs() <= 1.0 + 1e-9);
            prop_assert_eq!(of(&split.train) + of(&split.calibration) + of(&split.test), count);
        }
    }

    /// More to fit on never sends a training row elsewhere: parts grow at their edge.
    #[test]
    fn a_larger_share_keeps_the_rows_it_had(count in 1u16..80, small in 0.0f64..=1.0, more in 0.0f64..=1.0) {
        let rows = people(count);
        let large = small + (1.0 - small) * more;
        let (one, other) = (split(&rows, small, 0.0), split(&rows, large, 0.0));
        let kept: BTreeSet<usize> = other.train.iter().copied().collect();
        prop_assert!(one.train.iter().all(|row| kept.contains(row)));
    }

    #[test]
    fn a_second_reading_of_a_person_goes_where_the_first_went(count in 1u16..60) {
        let rows = people(count);
        let twice: Vec<Row> = rows.iter().flat_map(|row| [*row, *row]).collect();
        let (one, other) = (split(&rows, 0.6, 0.2), split(&twice, 0.6, 0.2));
        let doubled = |part: &[usize]| part.iter().flat_map(|row| [2 * row, 2 * row + 1]).collect::<Vec<_>>();
        prop_assert_eq!(doubled(&one.train), other.train);
        prop_assert_eq!(doubled(&one.calibration), other.calibration);
        prop_assert_eq!(doubled(&one.test), other.test);
    }
}

#[test]
fn all_and_nothing_are_shares_too() {
    let rows = people(10);
    assert_eq!(sizes(&split(&rows, 1.0, 0.0)), [10, 0, 0]);
    assert_eq!(sizes(&split(&rows, 0.0, 1.0)), [0, 10, 0]);
    assert_eq!(sizes(&split(&rows, 0.0, 0.0)), [0, 0, 10]);
}

#[test]
fn shares_beyond_the_whole_are_cut_and_lose_nobody() {
    let rows = people(10);
    assert_eq!(sizes(&split(&rows, 0.8, 0.8)), [8, 2, 0]);
    assert_eq!(sizes(&split(&rows, 7.0, -3.0)), [10, 0, 0]);
    assert_eq!(sizes(&split(&rows, -1.0, 0.5)), [0, 0, 10]);
    assert_eq!(sizes(&split(&rows, f64::NAN, f64::NAN)).iter().sum::<usize>(), 10);
}

#[test]
fn one_person_is_in_one_part_with_every_row() {
    let rows = [Row { person: 1, class: 0 }; 7];
    let parts = sizes(&split(&rows, 0.6, 0.2));
    assert_eq!(parts.iter().filter(|size| **size == 7).count(), 1, "{parts:?}");
    assert_eq!(split(&[], 0.6, 0.2), Split::default());
}
