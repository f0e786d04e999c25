//! flchain: 7,874 residents of Olmsted County of 50 and older, serum free light chains and creatinine,
//! followed for up to 14 years.

use super::{FollowUp, SOURCE, frame, yes_no};
use crate::TrainingError;
use crate::data::pickle::frame::Frame;
use crate::data::{Dataset, Record, Sex, Store};

/// One person at the blood sample.
#[derive(Debug, Clone, PartialEq)]
pub struct FlchainRow {
    /// Row number of the source, one a person.
    pub id: i64,
    /// Age, years.
    pub age_years: f64,
    /// Sex.
    pub sex: Sex,
    /// Serum free light chain, kappa, mg/dL.
    pub kappa_mg_dl: Option<f64>,
    /// Serum free light chain, lambda, mg/dL.
    pub lambda_mg_dl: Option<f64>,
    /// Serum creatinine, mg/dL.
    pub creatinine_mg_dl: Option<f64>,
    /// Whether monoclonal gammopathy had been diagnosed.
    pub mgus: bool,
    /// What became of the person.
    pub follow_up: FollowUp,
}

impl Record for FlchainRow {
    fn subject(&self) -> String {
        self.id.to_string()
    }

    fn stratum(&self) -> u32 {
        u32::from(self.follow_up.died)
    }
}

/// Everyone who was followed for at least a day.
///
/// # Errors
/// Fetching ([`Store::path`]) or a file that is not as documented.
pub fn load(store: &Store) -> Result<Dataset<FlchainRow>, TrainingError> {
    let rows = rows_of(&frame(store, "survival/flchain")?)?;
    let mut dataset =
        Dataset { name: "flchain", rows, provenance: vec![store.provenance(SOURCE)?], dropped: Vec::new() };
    dataset.retain("died or lost on the day of the sample", |row| row.follow_up.days > 0.0);
    Ok(dataset)
}

fn rows_of(people: &Frame) -> Result<Vec<FlchainRow>, TrainingError> {
    let (ids, ages, days) =
        (people.integers("rownames")?, people.integers("age")?, people.integers("futime")?);
    let (kappa, lambda) = (people.numbers("kappa")?, people.numbers("lambda")?);
    let (creatinine, sexes) = (people.numbers("creatinine")?, people.texts("sex")?);
    let (mgus, died) = (yes_no(people, "mgus")?, yes_no(people, "death")?);
    let row = |(at, &id): (usize, &i64)| {
        let sex = match sexes[at].as_deref() {
            Some("F") => Sex::Female,
            Some("M") => Sex::Male,
            other => {
                let reason = format!("`sex` should be F or M, is {other:?}");
                return Err(TrainingError::row(people.name(), at, reason));
            }
        };
        Ok(FlchainRow {
            id,
            age_years: ages[at] as f64,
            sex,
            kappa_mg_dl: kappa[at],
            lambda_mg_dl: lambda[at],
            creatinine_mg_dl: creatinine[at],
            mgus: mgus[at],
            follow_up: FollowUp { days: days[at] as f64, died: died[at] },
        })
    };
    ids.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::pickle::frame::Column;

    fn people(sex: &str, death: i64) -> Frame {
        Frame::of(vec![
            ("rownames", Column::Int(vec![1])),
            ("age", Column::Int(vec![77])),
            ("sex", Column::Text(vec![Some(sex.to_owned())])),
            ("kappa", Column::Float(vec![1.2])),
            ("lambda", Column::Float(vec![1.5])),
            ("creatinine", Column::Float(vec![f64::NAN])),
            ("mgus", Column::Int(vec![0])),
            ("futime", Column::Int(vec![85])),
            ("death", Column::Int(vec![death])),
        ])
    }

    #[test]
    fn a_person_comes_with_gaps_and_outcome() {
        let row = rows_of(&people("F", 1)).expect("rows").remove(0);
        assert_eq!((row.sex, row.kappa_mg_dl, row.creatinine_mg_dl), (Sex::Female, Some(1.2), None));
        assert_eq!(row.follow_up, FollowUp { days: 85.0, died: true });
    }

    #[test]
    fn unknown_codes_are_refused() {
        for (frame, column) in [(people("X", 1), "sex"), (people("F", 2), "death")] {
            let error = rows_of(&frame).expect_err(column).to_string();
            for part in [frame.name(), column, "row 1"] {
                assert!(error.contains(part), "{error} lacks {part}");
            }
        }
    }

    #[test]
    fn a_column_that_is_missing_is_named_whichever_it_is() {
        let whole = people("F", 1);
        for column in whole.names() {
            let error = rows_of(&whole.without(column)).expect_err(column).to_string();
            assert!(error.contains(&format!("no column `{column}`")), "{error}");
        }
    }
}
