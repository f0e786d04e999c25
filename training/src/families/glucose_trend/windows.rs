//! Histories and what came after them, person by person.

use super::super::matrix::Matrix;
use super::super::parts::Parts;
use super::super::recipe::Person;
use super::{FOLDS, HORIZONS, LAGS};
use crate::TrainingError;
use crate::data::cgm::{CgmSeries, Metabolism};
use crate::data::{Dataset, Fractions};

/// Share of a training person's windows kept for stopping.
const LATE: f64 = 0.2;
/// Shares of the people to learn from and to calibrate on, of whom both is done in turn; the others are tested on:
/// six without and two with type 2 diabetes, as in the comparisons that are published for these data.
const FRACTIONS: Fractions = Fractions { train: 0.46, calibration: 0.22 };
/// Kinds of metabolism that a group number has room for.
const KINDS: [Metabolism; 4] =
    [Metabolism::NotDiabetic, Metabolism::PreDiabetic, Metabolism::Diabetic, Metabolism::Type2];

/// Windows of every person: history, future, and whose they are.
pub(super) struct Windows {
    pub(super) history: Matrix,
    pub(super) future: Matrix,
    pub(super) people: Vec<Person>,
    /// When each window's reading was taken, seconds since 1970.
    pub(super) now_s: Vec<i64>,
    /// Rows of each series, in time order.
    pub(super) rows_of: Vec<Vec<usize>>,
}

impl Windows {
    pub(super) fn of(series: &[CgmSeries]) -> Self {
        let mut windows = Self {
            history: Matrix::new(LAGS),
            future: Matrix::new(HORIZONS),
            people: Vec::new(),
            now_s: Vec::new(),
            rows_of: Vec::new(),
        };
        let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>();
        for (index, person) in series.iter().enumerate() {
            let mut rows = Vec::new();
            for window in person.windows(LAGS, HORIZONS) {
                rows.push(windows.people.len());
                windows.history.push(&single(&window.history));
                windows.future.push(&single(&window.future));
                windows
                    .people
                    .push(Person { group: group_of(index, person.metabolism), ..Person::default() });
                windows.now_s.push(window.now_s);
            }
            windows.rows_of.push(rows);
        }
        windows
    }

    /// Windows of the series `people`; the late part of each goes to the second list, with a gap between
    /// so that no reading is in both.
    fn early_and_late(&self, people: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for person in people {
            let rows = &self.rows_of[*person];
            let cut = ((1.0 - LATE) * rows.len() as f64) as usize;
            early.extend(&rows[..cut.saturating_sub(LAGS + HORIZONS)]);
            late.extend(&rows[cut..]);
        }
        (early, late)
    }

    fn all(&self, people: &[usize]) -> Vec<usize> {
        people.iter().flat_map(|person| self.rows_of[*person].clone()).collect()
    }

    /// The frozen parts. All people who are not tested on are learnt from and calibrated on.
    pub(super) fn parts(&self, dataset: &Dataset<CgmSeries>) -> Result<Parts, TrainingError> {
        let split = dataset.frozen_split(FRACTIONS)?;
        let known = [split.train, split.calibration].concat();
        let (train, validation) = self.early_and_late(&known);
        Ok(Parts { train, validation, calibration: self.all(&known), test: self.all(&split.test) })
    }
}

/// The number of a person, which also says what is known of them.
pub(super) fn group_of(person: usize, metabolism: Metabolism) -> u64 {
    let kind = KINDS.iter().position(|kind| *kind == metabolism).unwrap_or(0);
    (person * KINDS.len() + kind) as u64
}

/// What is known of the person `group`.
pub(super) fn metabolism_of(group: u64) -> Metabolism {
    KINDS[group as usize % KINDS.len()]
}

/// The people of `groups` in turns, kinds spread evenly: each turn is left out once.
pub(super) fn turns(groups: &[u64]) -> Vec<Vec<u64>> {
    let mut people = groups.to_vec();
    people.sort_unstable_by_key(|group| (metabolism_of(*group), *group));
    people.dedup();
    (0..FOLDS).map(|turn| people.iter().skip(turn).step_by(FOLDS).copied().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::super::data::cgm::STEP_S;
    use super::*;

    #[test]
    fn windows_do_not_reach_over_gaps_and_the_late_part_stands_apart() {
        let readings = |from: i64, count: i64| (0..count).map(move |i| (from + i * STEP_S, 100.0 + i as f64));
        let series = CgmSeries {
            person: "p".into(),
            metabolism: Metabolism::NotDiabetic,
            readings: readings(0, 400).chain(readings(1_000_000, 40)).collect(),
        };
        let windows = Windows::of(&[series]);
        assert_eq!(windows.people.len(), (400 - 35) + (40 - 35));
        assert_eq!(windows.future.row(0)[0], 124.0);
        let (early, late) = windows.early_and_late(&[0]);
        let (last, first) = (early[early.len() - 1], late[0]);
        assert!(windows.future.row(last)[11] <= windows.history.row(first)[0], "no reading in both");
    }

    #[test]
    fn everyone_is_left_out_once_and_every_turn_has_its_kinds() {
        let groups: Vec<u64> =
            (0..16).map(|person| group_of(person, KINDS[person % KINDS.len()])).rev().collect();
        let turns = turns(&[&groups[..], &groups].concat());
        let mut all: Vec<u64> = turns.concat();
        all.sort_unstable();
        assert_eq!(all, groups.iter().rev().copied().collect::<Vec<_>>());
        for turn in &turns {
            let mut kinds: Vec<Metabolism> = turn.iter().map(|group| metabolism_of(*group)).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, KINDS, "one of each kind in each turn");
        }
    }
}
