//! Four parts of a data set: fit, stop, calibrate, report.
//!
//! The data set's own split gives three; the rows to stop on are taken out of those to fit on, again by
//! subject and by hash, so that the test rows never have a say in when a run ends.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::TrainingError;
use crate::data::{Dataset, Fractions, Record};

/// Row indices of each part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// To fit on.
    pub(crate) train: Vec<usize>,
    /// To choose and stop on.
    pub(crate) validation: Vec<usize>,
    /// To measure the uncertainty on.
    pub(crate) calibration: Vec<usize>,
    /// To report on, once.
    pub(crate) test: Vec<usize>,
}

impl Parts {
    /// The four parts of `dataset`; `validation` is the share of the training subjects to stop on.
    ///
    /// # Errors
    /// A split that is not the frozen one.
    pub(crate) fn of<R: Record>(
        dataset: &Dataset<R>,
        fractions: Fractions,
        validation: f64,
    ) -> Result<Self, TrainingError> {
        let split = dataset.frozen_split(fractions)?;
        let mut subjects: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
        for &row in &split.train {
            let key = format!("validation/{}/{}", dataset.name, dataset.rows[row].subject());
            subjects.entry(Sha256::digest(key).into()).or_default().push(row);
        }
        let held = (subjects.len() as f64 * validation).round() as usize;
        let mut parts = Self { calibration: split.calibration, test: split.test, ..Self::default() };
        for (rank, rows) in subjects.into_values().enumerate() {
            let part = if rank < held { &mut parts.validation } else { &mut parts.train };
            part.extend(rows);
        }
        parts.train.sort_unstable();
        parts.validation.sort_unstable();
        Ok(parts)
    }

    /// Rows laid out one part after another with these lengths: for simulated data.
    pub(crate) fn in_order(lengths: [usize; 4]) -> Self {
        let mut start = 0;
        let [train, validation, calibration, test] = lengths.map(|length| {
            start += length;
            (start - length..start).collect()
        });
        Self { train, validation, calibration, test }
    }

    /// Keeps the rows that `keep` accepts.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        for part in [&mut self.train, &mut self.validation, &mut self.calibration, &mut self.test] {
            part.retain(|row| keep(*row));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    struct Row(usize);

    impl Record for Row {
        fn subject(&self) -> String {
            (self.0 / 2).to_string()
        }
        fn stratum(&self) -> u32 {
            0
        }
    }

    fn dataset() -> Dataset<Row> {
        Dataset { name: "t", rows: (0..200).map(Row).collect(), provenance: vec![], dropped: vec![] }
    }

    #[test]
    fn the_four_parts_share_neither_rows_nor_subjects() {
        let parts = Parts::of(&dataset(), Fractions::default(), 0.2).expect("parts");
        let all = [&parts.train, &parts.validation, &parts.calibration, &parts.test];
        assert_eq!(all.map(Vec::len), [96, 24, 40, 40]);
        let subjects: BTreeSet<usize> = all.iter().flat_map(|p| p.iter().map(|r| r / 2)).collect();
        let per_part: usize =
            all.iter().map(|p| p.iter().map(|r| r / 2).collect::<BTreeSet<_>>().len()).sum();
        assert_eq!((subjects.len(), per_part), (100, 100));
        assert_eq!(parts, Parts::of(&dataset(), Fractions::default(), 0.2).expect("parts"));
    }

    #[test]
    fn simulated_parts_follow_each_other() {
        let mut parts = Parts::in_order([3, 1, 2, 2]);
        assert_eq!((parts.train.as_slice(), parts.test.as_slice()), (&[0, 1, 2][..], &[6, 7][..]));
        parts.retain(|row| row % 2 == 0);
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (2, 0, 1));
    }
}
