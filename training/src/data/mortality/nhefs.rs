//! NHEFS: 1,629 smokers examined in 1971-75 and followed to 1992.
//!
//! Death is only known by year, month and day for some, so the outcome is "died by the end of 1992" and the
//! follow-up time is years from 1983, when all of them were alive.

use super::{SOURCE, frame, yes_no};
use crate::TrainingError;
use crate::data::pickle::frame::Frame;
use crate::data::{Dataset, Record, Sex, Store};

/// One person at the first examination.
#[derive(Debug, Clone, PartialEq)]
pub struct NhefsRow {
    /// Survey number.
    pub seqn: i64,
    /// Age in 1971, years.
    pub age_years: f64,
    /// Sex.
    pub sex: Sex,
    /// Systolic pressure in 1982, mmHg.
    pub systolic_mmhg: Option<f64>,
    /// Diastolic pressure in 1982, mmHg.
    pub diastolic_mmhg: Option<f64>,
    /// Total cholesterol in 1971, mg/dL.
    pub total_cholesterol_mg_dl: Option<f64>,
    /// Body mass index in 1971, kg/m2.
    pub bmi_kg_m2: Option<f64>,
    /// Cigarettes a day in 1971.
    pub cigarettes_per_day: f64,
    /// Years of smoking by 1971.
    pub smoking_years: f64,
    /// Whether the person stopped smoking between 1971 and 1982.
    pub stopped_smoking: bool,
    /// Whether the person had died by the end of 1992.
    pub died_by_1992: bool,
}

impl Record for NhefsRow {
    fn subject(&self) -> String {
        self.seqn.to_string()
    }

    fn stratum(&self) -> u32 {
        u32::from(self.died_by_1992)
    }
}

/// Everyone.
///
/// # Errors
/// Fetching ([`Store::path`]) or a file that is not as documented.
pub fn load(store: &Store) -> Result<Dataset<NhefsRow>, TrainingError> {
    let rows = rows_of(&frame(store, "causaldata/nhefs")?)?;
    let mut dataset =
        Dataset { name: "nhefs", rows, provenance: vec![store.provenance(SOURCE)?], dropped: Vec::new() };
    let mut seen = std::collections::HashSet::new();
    dataset.retain("repeated person", |row| seen.insert(row.seqn));
    Ok(dataset)
}

fn rows_of(people: &Frame) -> Result<Vec<NhefsRow>, TrainingError> {
    let (ids, ages) = (people.integers("seqn")?, people.integers("age")?);
    // In this table 1 is female.
    let (female, died, stopped) = (yes_no(people, "sex")?, yes_no(people, "death")?, yes_no(people, "qsmk")?);
    let (systolic, diastolic) = (people.numbers("sbp")?, people.numbers("dbp")?);
    let (cholesterol, weight) = (people.numbers("cholesterol")?, people.numbers("wt71")?);
    let (height, daily, years) =
        (people.numbers("ht")?, people.integers("smokeintensity")?, people.integers("smokeyrs")?);
    let row = |(at, &seqn): (usize, &i64)| NhefsRow {
        seqn,
        age_years: ages[at] as f64,
        sex: if female[at] { Sex::Female } else { Sex::Male },
        systolic_mmhg: systolic[at],
        diastolic_mmhg: diastolic[at],
        total_cholesterol_mg_dl: cholesterol[at],
        bmi_kg_m2: weight[at].zip(height[at]).map(|(kg, cm)| kg / (cm / 100.0).powi(2)),
        cigarettes_per_day: daily[at] as f64,
        smoking_years: years[at] as f64,
        stopped_smoking: stopped[at],
        died_by_1992: died[at],
    };
    Ok(ids.iter().enumerate().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::pickle::frame::Column;

    fn people() -> Frame {
        let ints = |values: [i64; 2]| Column::Int(values.to_vec());
        let floats = |values: [f64; 2]| Column::Float(values.to_vec());
        Frame::of(vec![
            ("seqn", ints([233, 235])),
            ("age", ints([42, 36])),
            ("sex", ints([0, 1])),
            ("death", ints([0, 1])),
            ("qsmk", ints([0, 1])),
            ("sbp", floats([175.0, f64::NAN])),
            ("dbp", floats([96.0, 80.0])),
            ("cholesterol", floats([197.0, 301.0])),
            ("wt71", floats([81.0, 60.0])),
            ("ht", floats([180.0, f64::NAN])),
            ("smokeintensity", ints([30, 20])),
            ("smokeyrs", ints([29, 24])),
        ])
    }

    #[test]
    fn a_column_that_is_missing_is_named_whichever_it_is() {
        let whole = people();
        for column in whole.names() {
            let error = rows_of(&whole.without(column)).expect_err(column).to_string();
            assert!(error.contains(&format!("no column `{column}`")), "{error}");
        }
    }

    #[test]
    fn body_mass_index_needs_both_measures_and_one_is_female() {
        let rows = rows_of(&people()).expect("rows");
        assert!(
            rows[0].bmi_kg_m2.is_some_and(|bmi| (bmi - 25.0).abs() < 1e-9) && rows[1].bmi_kg_m2.is_none()
        );
        assert_eq!((rows[0].sex, rows[1].sex, rows[1].systolic_mmhg), (Sex::Male, Sex::Female, None));
        assert!(rows[1].died_by_1992 && !rows[0].stopped_smoking);
    }
}
