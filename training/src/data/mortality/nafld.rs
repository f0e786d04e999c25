//! NAFLD cohort: 17,549 residents of Olmsted County with later deaths, laboratory history and diagnoses.
//!
//! Three tables are joined at the index date, using only what was known by then: the latest HDL and
//! systolic pressure of the five years before, the diagnoses made before. In the laboratory table `chol`
//! repeats `hdl` and `dbp` repeats `sbp` (a fault of the table), so neither is read; `fib4` was only kept
//! where it is high, so its absence says more than its value; systolic values outside 70-260 mmHg are dropped.

use std::collections::HashMap;

use super::{FollowUp, SOURCE, frame, yes_no};
use crate::TrainingError;
use crate::data::pickle::frame::Frame;
use crate::data::{Dataset, Dropped, Record, Sex, Store};

const LOOK_BACK_DAYS_MAX: i64 = 5 * 365;
const SYSTOLIC_MMHG: std::ops::RangeInclusive<f64> = 70.0..=260.0;
const HDL_MG_DL: std::ops::RangeInclusive<f64> = 5.0..=200.0;

/// Diagnoses of the event table; [`NafldRow::history`] has one bit for each.
pub const HISTORY: [&str; 10] = [
    "nafld",
    "htn",
    "dyslipidemia",
    "diabetes",
    "ang/isc",
    "MI",
    "stroke",
    "afib",
    "heart failure",
    "cardiac arrest",
];

/// One person at the index date.
#[derive(Debug, Clone, PartialEq)]
pub struct NafldRow {
    /// Person number.
    pub id: i64,
    /// Age, years.
    pub age_years: f64,
    /// Sex.
    pub sex: Sex,
    /// Body mass index, kg/m2.
    pub bmi_kg_m2: Option<f64>,
    /// Height, cm.
    pub height_cm: Option<f64>,
    /// Weight, kg.
    pub weight_kg: Option<f64>,
    /// Latest HDL cholesterol of the five years before, mg/dL.
    pub hdl_mg_dl: Option<f64>,
    /// Latest systolic pressure of the five years before, mmHg.
    pub systolic_mmhg: Option<f64>,
    /// Latest FIB-4 index on record by then, all of them 2.67 or more.
    pub fib4: Option<f64>,
    /// Whether the person smoked at the latest word before or at the index date.
    pub smoker: Option<bool>,
    /// Bit i: diagnosis i of [`HISTORY`] was made by then.
    pub history: u16,
    /// What became of the person.
    pub follow_up: FollowUp,
}

impl NafldRow {
    /// Whether diagnosis `name` of [`HISTORY`] was made by the index date; false for other names.
    #[must_use]
    pub fn had(&self, name: &str) -> bool {
        HISTORY.iter().position(|h| *h == name).is_some_and(|bit| self.history >> bit & 1 == 1)
    }
}

impl Record for NafldRow {
    fn subject(&self) -> String {
        self.id.to_string()
    }

    fn stratum(&self) -> u32 {
        u32::from(self.follow_up.died)
    }
}

/// Everyone, at the index date.
///
/// # Errors
/// Fetching ([`Store::path`]) or a file that is not as documented.
pub fn load(store: &Store) -> Result<Dataset<NafldRow>, TrainingError> {
    let labs = Labs::read(&frame(store, "survival/nafld2")?)?;
    let history = history_of(&frame(store, "survival/nafld3")?)?;
    let rows = rows_of(&frame(store, "survival/nafld1")?, &labs, &history)?;
    let mut dataset = Dataset {
        name: "nafld",
        rows,
        provenance: vec![store.provenance(SOURCE)?],
        dropped: vec![Dropped { reason: "laboratory value out of range", count: labs.dropped }],
    };
    let mut seen = std::collections::HashSet::new();
    dataset.retain("repeated person", |row| seen.insert(row.id));
    Ok(dataset)
}

/// One person's HDL or systolic history, for trends: irregular days against the index date.
#[derive(Debug, Clone, PartialEq)]
pub struct LabSeries {
    /// Person number.
    pub id: i64,
    /// Age on day 0 and sex, where the table of people knows the person.
    pub person: Option<(f64, Sex)>,
    /// Day (relative to the index date, may be negative) and value, by day; one value a day.
    pub values: Vec<(i64, f64)>,
}

impl Record for LabSeries {
    fn subject(&self) -> String {
        self.id.to_string()
    }

    fn stratum(&self) -> u32 {
        0
    }
}

/// The laboratory histories that can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lab {
    /// HDL cholesterol, mg/dL.
    Hdl,
    /// Systolic pressure, mmHg.
    Systolic,
}

/// All histories of one laboratory value, people ascending.
///
/// # Errors
/// Fetching ([`Store::path`]) or a file that is not as documented.
pub fn load_series(store: &Store, lab: Lab) -> Result<Dataset<LabSeries>, TrainingError> {
    let labs = Labs::read(&frame(store, "survival/nafld2")?)?;
    let (name, values) = match lab {
        Lab::Hdl => ("nafld-hdl", labs.hdl),
        Lab::Systolic => ("nafld-systolic", labs.systolic),
    };
    let people = people_of(&frame(store, "survival/nafld1")?)?;
    let series = |(id, values)| LabSeries { id, person: people.get(&id).copied(), values };
    let mut rows: Vec<LabSeries> = values.into_iter().map(series).collect();
    rows.sort_by_key(|row| row.id);
    Ok(Dataset {
        name,
        rows,
        provenance: vec![store.provenance(SOURCE)?],
        dropped: vec![Dropped { reason: "laboratory value out of range", count: labs.dropped }],
    })
}

/// Age at the index date and sex of everyone.
fn people_of(frame: &Frame) -> Result<HashMap<i64, (f64, Sex)>, TrainingError> {
    let (ids, age, male) = (frame.integers("id")?, frame.integers("age")?, yes_no(frame, "male")?);
    let sex = |male: bool| if male { Sex::Male } else { Sex::Female };
    let person = |((id, age), male): ((&i64, &i64), bool)| (*id, (*age as f64, sex(male)));
    Ok(ids.iter().zip(age).zip(male).map(person).collect())
}

type Series = HashMap<i64, Vec<(i64, f64)>>;

/// The usable part of the laboratory table, by person and day.
#[derive(Default)]
struct Labs {
    hdl: Series,
    systolic: Series,
    fib4: Series,
    smoke: Series,
    dropped: usize,
}

impl Labs {
    fn read(frame: &Frame) -> Result<Self, TrainingError> {
        let (ids, days) = (frame.integers("id")?, frame.integers("days")?);
        let (tests, values) = (frame.texts("test")?, frame.numbers("value")?);
        let mut labs = Self::default();
        for (row, (((id, day), test), value)) in ids.iter().zip(days).zip(tests).zip(values).enumerate() {
            let Some(value) = value else { continue };
            let (series, range) = match test.as_deref() {
                Some("hdl") => (&mut labs.hdl, HDL_MG_DL),
                Some("sbp") => (&mut labs.systolic, SYSTOLIC_MMHG),
                Some("fib4") => (&mut labs.fib4, 0.0..=f64::MAX),
                Some("smoke") => (&mut labs.smoke, 0.0..=1.0),
                // Copies of `hdl` and `sbp`.
                Some("chol" | "dbp") => continue,
                other => {
                    let reason = format!("`test` has the unknown {other:?}");
                    return Err(TrainingError::row(frame.name(), row, reason));
                }
            };
            if range.contains(&value) {
                series.entry(*id).or_default().push((*day, value));
            } else {
                labs.dropped += 1;
            }
        }
        for series in [&mut labs.hdl, &mut labs.systolic, &mut labs.fib4, &mut labs.smoke] {
            series.values_mut().for_each(one_a_day);
        }
        Ok(labs)
    }
}

/// Sorts by day and keeps the mean of each day.
fn one_a_day(values: &mut Vec<(i64, f64)>) {
    values.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    *values = values
        .chunk_by(|a, b| a.0 == b.0)
        .map(|day| (day[0].0, day.iter().map(|v| v.1).sum::<f64>() / day.len() as f64))
        .collect();
}

/// The latest value in the days `[-back, 0]`.
fn latest(series: &Series, id: i64, back: i64) -> Option<f64> {
    let values = series.get(&id)?;
    values.iter().rev().find(|(day, _)| *day <= 0).filter(|(day, _)| *day >= -back).map(|(_, value)| *value)
}

fn history_of(frame: &Frame) -> Result<HashMap<i64, u16>, TrainingError> {
    let (ids, days, events) = (frame.integers("id")?, frame.integers("days")?, frame.texts("event")?);
    let mut history: HashMap<i64, u16> = HashMap::new();
    for (row, ((id, day), event)) in ids.iter().zip(days).zip(events).enumerate() {
        let bit = HISTORY.iter().position(|h| Some(*h) == event.as_deref());
        let unknown = || TrainingError::row(frame.name(), row, format!("`event` has the unknown {event:?}"));
        let bit = bit.ok_or_else(unknown)?;
        if *day <= 0 {
            *history.entry(*id).or_default() |= 1 << bit;
        }
    }
    Ok(history)
}

fn rows_of(people: &Frame, labs: &Labs, history: &HashMap<i64, u16>) -> Result<Vec<NafldRow>, TrainingError> {
    let ids = people.integers("id")?;
    let (male, died) = (yes_no(people, "male")?, yes_no(people, "status")?);
    let (age, days) = (people.integers("age")?, people.integers("futime")?);
    let (bmi, height, weight) =
        (people.numbers("bmi")?, people.numbers("height")?, people.numbers("weight")?);
    let row = |(at, &id): (usize, &i64)| NafldRow {
        id,
        age_years: age[at] as f64,
        sex: if male[at] { Sex::Male } else { Sex::Female },
        bmi_kg_m2: bmi[at],
        height_cm: height[at],
        weight_kg: weight[at],
        hdl_mg_dl: latest(&labs.hdl, id, LOOK_BACK_DAYS_MAX),
        systolic_mmhg: latest(&labs.systolic, id, LOOK_BACK_DAYS_MAX),
        fib4: latest(&labs.fib4, id, i64::MAX),
        smoker: latest(&labs.smoke, id, i64::MAX).map(|v| v > 0.5),
        history: history.get(&id).copied().unwrap_or(0),
        follow_up: FollowUp { days: days[at] as f64, died: died[at] },
    };
    // Columns of a frame are equally long, so every index is in range.
    Ok(ids.iter().enumerate().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::pickle::frame::Column;

    #[test]
    fn only_the_past_counts_and_only_five_years_of_it() {
        let series: Series =
            [(1, vec![(-4000, 30.0), (-10, 40.0), (20, 50.0)]), (2, vec![(-4000, 30.0)])].into();
        assert_eq!(latest(&series, 1, LOOK_BACK_DAYS_MAX), Some(40.0));
        assert_eq!(latest(&series, 2, LOOK_BACK_DAYS_MAX), None);
        assert_eq!(latest(&series, 2, i64::MAX), Some(30.0));
        assert_eq!(latest(&series, 3, i64::MAX), None);
    }

    #[test]
    fn a_day_with_several_values_has_their_mean() {
        let mut values = vec![(5, 60.0), (-1, 50.0), (5, 64.0)];
        one_a_day(&mut values);
        assert_eq!(values, [(-1, 50.0), (5, 62.0)]);
    }

    fn text(values: &[&str]) -> Column {
        Column::Text(values.iter().map(|v| Some((*v).to_owned())).collect())
    }

    fn people() -> Frame {
        let ints = |values: [i64; 2]| Column::Int(values.to_vec());
        let floats = |values: [f64; 2]| Column::Float(values.to_vec());
        Frame::of(vec![
            ("id", ints([1, 2])),
            ("age", ints([50, 61])),
            ("male", ints([1, 0])),
            ("bmi", floats([27.5, f64::NAN])),
            ("height", floats([180.0, f64::NAN])),
            ("weight", floats([89.0, f64::NAN])),
            ("futime", ints([900, 300])),
            ("status", ints([0, 1])),
        ])
    }

    fn labs() -> Frame {
        Frame::of(vec![
            ("id", Column::Int(vec![1, 1, 1, 1, 1, 1, 2])),
            ("days", Column::Int(vec![-5, -5, -9, 30, -40, 10, -3])),
            ("test", text(&["hdl", "chol", "sbp", "sbp", "smoke", "fib4", "sbp"])),
            ("value", Column::Float(vec![45.0, 45.0, 131.0, 150.0, 1.0, 3.1, 13_682.0])),
        ])
    }

    #[test]
    fn the_three_tables_meet_at_the_index_date() {
        let events = Frame::of(vec![
            ("id", Column::Int(vec![1, 1, 2])),
            ("days", Column::Int(vec![-100, 5, 0])),
            ("event", text(&["diabetes", "stroke", "htn"])),
        ]);
        let labs = Labs::read(&labs()).expect("labs");
        let history = history_of(&events).expect("history");
        let rows = rows_of(&people(), &labs, &history).expect("rows");
        let [first, second] = &rows[..] else { panic!("two people") };
        assert_eq!(
            (first.sex, first.bmi_kg_m2, second.sex, second.bmi_kg_m2),
            (Sex::Male, Some(27.5), Sex::Female, None)
        );
        assert_eq!(
            (first.hdl_mg_dl, first.systolic_mmhg, first.smoker),
            (Some(45.0), Some(131.0), Some(true))
        );
        // The FIB-4 and the stroke of the first person came after the index date.
        assert!(first.fib4.is_none() && first.had("diabetes") && !first.had("stroke") && !first.had("flu"));
        assert!(second.had("htn") && second.systolic_mmhg.is_none());
        assert_eq!(labs.dropped, 1, "a systolic pressure of 13,682");
        assert_eq!(second.follow_up, FollowUp { days: 300.0, died: true });
    }

    #[test]
    fn age_and_sex_come_from_the_table_of_people() {
        let people = people_of(&people()).expect("people");
        assert_eq!((people[&1], people.get(&3)), ((50.0, Sex::Male), None));
    }

    #[test]
    fn an_unknown_diagnosis_is_refused() {
        let events = Frame::of(vec![
            ("id", Column::Int(vec![1])),
            ("days", Column::Int(vec![0])),
            ("event", text(&["gout"])),
        ]);
        let error = history_of(&events).expect_err("refused").to_string();
        assert!(error.contains("gout") && error.contains("`event`") && error.contains("row 1"), "{error}");
    }

    #[test]
    fn an_unknown_test_is_refused_with_its_row() {
        let frame = Frame::of(vec![
            ("id", Column::Int(vec![1, 1])),
            ("days", Column::Int(vec![0, 1])),
            ("test", text(&["hdl", "mood"])),
            ("value", Column::Float(vec![50.0, 1.0])),
        ]);
        let error = Labs::read(&frame).err().expect("refused").to_string();
        assert!(error.contains("mood") && error.contains("row 2") && error.contains("`test`"), "{error}");
    }

    #[test]
    fn a_column_that_is_missing_is_named_whichever_it_is() {
        let (whole, tests) = (people(), labs());
        let known = Labs::read(&tests).expect("labs");
        let missing = |column: &str, error: Option<TrainingError>| {
            let error = error.expect(column).to_string();
            assert!(error.contains(&format!("no column `{column}`")), "{error}");
        };
        for column in whole.names() {
            missing(column, rows_of(&whole.without(column), &known, &HashMap::new()).err());
        }
        for column in tests.names() {
            missing(column, Labs::read(&tests.without(column)).err());
        }
    }
}
