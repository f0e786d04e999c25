//! The committed list of splits: who is tested on is decided once and can be seen to stay so.
//!
//! `splits.lock.toml` has a hash of the subjects of each part. A change of the rows that are read, of a subject's
//! identifier or of the way of splitting moves people between the parts and is refused here, before anything is learnt.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Dataset, Fractions, Record, Split};
use crate::TrainingError;

/// File with the hashes, for messages.
const FILE: &str = "training/splits.lock.toml";

/// One split of one data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// Name of the data set.
    pub dataset: String,
    /// SHA-256 of a package file that the rows come from.
    pub source: String,
    /// Share of the subjects to fit on.
    pub train_share: f64,
    /// Share of the subjects to calibrate and stop on.
    pub calibration_share: f64,
    /// Subjects of the three parts: train, calibration, test.
    pub subjects: [usize; 3],
    /// SHA-256 of the ascending hashes of their identifiers, part by part.
    pub sha256: [String; 3],
}

#[derive(Deserialize)]
struct File {
    split: Vec<Frozen>,
}

/// Every frozen split.
///
/// # Errors
/// [`TrainingError::Lock`] if the committed file is broken.
pub fn embedded() -> Result<Vec<Frozen>, TrainingError> {
    let file: Result<File, _> = toml::from_str(include_str!("../../splits.lock.toml"));
    file.map(|file| file.split).map_err(|error| TrainingError::Lock { reason: format!("{FILE}: {error}") })
}

impl<R: Record> Dataset<R> {
    /// The split of this data set, which is the frozen one where its source and shares are listed.
    ///
    /// # Errors
    /// [`TrainingError::Dataset`] naming the part whose subjects are others, or a broken list.
    pub fn frozen_split(&self, fractions: Fractions) -> Result<Split, TrainingError> {
        let split = self.split(fractions);
        let found = self.frozen(fractions, &split);
        let is_of = |of: &Frozen| {
            let listed = self.provenance.iter().any(|source| source.sha256 == of.source);
            let same = (of.train_share, of.calibration_share) == (found.train_share, found.calibration_share);
            listed && same && of.dataset == found.dataset
        };
        let Some(frozen) = embedded()?.into_iter().find(is_of) else { return Ok(split) };
        for (part, name) in ["train", "calibration", "test"].into_iter().enumerate() {
            if frozen.sha256.get(part) != found.sha256.get(part) {
                let (was, is) = (frozen.subjects[part], found.subjects[part]);
                let reason = format!(
                    "its {name} part is not the one that {FILE} freezes ({is} subjects, frozen are {was}); if the \
                     rows were meant to change, freeze the new split together with the data and measure everything \
                     again"
                );
                return Err(TrainingError::Dataset { dataset: self.name.to_owned(), line: None, reason });
            }
        }
        Ok(split)
    }

    /// The row of the list for `split`.
    #[must_use]
    pub fn frozen(&self, fractions: Fractions, split: &Split) -> Frozen {
        let Split { train, calibration, test } = split;
        let hashes = [train, calibration, test].map(|part| {
            part.iter()
                .map(|row| hex::encode(Sha256::digest(self.rows[*row].subject())))
                .collect::<BTreeSet<_>>()
        });
        let all = |part: &BTreeSet<String>| {
            let mut hasher = Sha256::new();
            part.iter().for_each(|hash| hasher.update(hash));
            hex::encode(hasher.finalize())
        };
        Frozen {
            dataset: self.name.to_owned(),
            source: self.provenance.first().map(|source| source.sha256.clone()).unwrap_or_default(),
            train_share: fractions.train,
            calibration_share: fractions.calibration,
            subjects: [hashes[0].len(), hashes[1].len(), hashes[2].len()],
            sha256: [all(&hashes[0]), all(&hashes[1]), all(&hashes[2])],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Provenance;

    #[derive(Debug, Clone)]
    struct Row(usize);

    impl Record for Row {
        fn subject(&self) -> String {
            self.0.to_string()
        }

        fn stratum(&self) -> u32 {
            0
        }
    }

    /// Rows that say they are those of the first listed split.
    fn pretender() -> (Dataset<Row>, Fractions) {
        let frozen = embedded().expect("a list").into_iter().next().expect("one");
        let provenance = Provenance {
            source: String::new(),
            package: String::new(),
            version: String::new(),
            sha256: frozen.source,
            license_package: String::new(),
            license_data: String::new(),
            citation: String::new(),
        };
        let name: &'static str = Box::leak(frozen.dataset.into_boxed_str());
        let rows = (0..50).map(Row).collect();
        let fractions = Fractions { train: frozen.train_share, calibration: frozen.calibration_share };
        (Dataset { name, rows, provenance: vec![provenance], dropped: vec![] }, fractions)
    }

    #[test]
    fn other_people_under_a_frozen_name_are_refused_by_part() {
        let (dataset, fractions) = pretender();
        let error = dataset.frozen_split(fractions).expect_err("refused").to_string();
        assert!(error.contains("its train part is not the one"), "{error}");
        let elsewhere = Dataset { provenance: vec![], ..dataset };
        assert_eq!(elsewhere.frozen_split(fractions).expect("not listed"), elsewhere.split(fractions));
    }
}
