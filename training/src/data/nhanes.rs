//! NHANES 2017-2018: one examination of each participant of the United States population survey.
//!
//! Age stands at 80 for everyone of 80 and above. The survey's files write zero as 5.4e-79; it is read
//! as zero. A diastolic pressure of zero means that no sound was heard, so it counts as not measured.
//! No survey weights are in the package: numbers describe the participants, not the population.

use std::io::Read;

use super::{Dataset, Record, Sex, Store, table::Table};
use crate::TrainingError;

const SOURCE: &str = "nhanes";
const MEMBER: &str = "nhanes/combined_data/2017-2018/NHANES_data_2017-2018.tsv";
const NAME: &str = "nhanes-2017-2018";
/// What the survey writes for zero, with room for rounding.
const SURVEY_ZERO_MAX: f64 = 1e-70;

const SYSTOLIC: [&str; 3] =
    ["SystolicBloodPres1StRdgMmHg", "SystolicBloodPres2NdRdgMmHg", "SystolicBloodPres3RdRdgMmHg"];
const DIASTOLIC: [&str; 3] =
    ["DiastolicBloodPres1StRdgMmHg", "DiastolicBloodPres2NdRdgMmHg", "DiastolicBloodPres3RdRdgMmHg"];

/// What a doctor has said about diabetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DiabetesAnswer {
    /// Never told of diabetes.
    No,
    /// Told that it is borderline.
    Borderline,
    /// Told of diabetes.
    Yes,
}

/// Self-rated general health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SelfRatedHealth {
    /// "Excellent".
    Excellent,
    /// "Very good".
    VeryGood,
    /// "Good".
    Good,
    /// "Fair".
    Fair,
    /// "Poor".
    Poor,
}

/// One participant.
#[derive(Debug, Clone, PartialEq)]
pub struct NhanesRow {
    /// Respondent sequence number.
    pub seqn: u32,
    /// Age at screening, years; 80 means 80 or more.
    pub age_years: f64,
    /// Sex.
    pub sex: Sex,
    /// Body mass index, kg/m2.
    pub bmi_kg_m2: Option<f64>,
    /// Waist circumference, cm.
    pub waist_cm: Option<f64>,
    /// Standing height, cm.
    pub height_cm: Option<f64>,
    /// Weight, kg.
    pub weight_kg: Option<f64>,
    /// Mean of up to three systolic readings, mmHg.
    pub systolic_mmhg: Option<f64>,
    /// Mean of up to three diastolic readings, mmHg.
    pub diastolic_mmhg: Option<f64>,
    /// Pulse, beats a minute.
    pub pulse_per_min: Option<f64>,
    /// Glycated haemoglobin (HbA1c), %.
    pub hba1c_percent: Option<f64>,
    /// HDL cholesterol, mg/dL.
    pub hdl_mg_dl: Option<f64>,
    /// Total cholesterol, mg/dL.
    pub total_cholesterol_mg_dl: Option<f64>,
    /// A doctor's word on diabetes.
    pub diabetes: Option<DiabetesAnswer>,
    /// Ever told of a heart attack (asked from 20 years on).
    pub heart_attack: Option<bool>,
    /// Ever told of a stroke (asked from 20 years on).
    pub stroke: Option<bool>,
    /// At least 100 cigarettes smoked in life.
    pub ever_smoked: Option<bool>,
    /// Smokes now, every day or some days; `Some(false)` also for those who never smoked.
    pub smokes_now: Option<bool>,
    /// Self-rated health.
    pub self_rated: Option<SelfRatedHealth>,
}

impl NhanesRow {
    /// Whether the participant is 20 years or older, the age from which most questions were asked.
    #[must_use]
    pub fn is_adult(&self) -> bool {
        self.age_years >= 20.0
    }
}

impl Record for NhanesRow {
    fn subject(&self) -> String {
        self.seqn.to_string()
    }

    fn stratum(&self) -> u32 {
        match self.diabetes {
            None => 0,
            Some(DiabetesAnswer::No) => 1,
            Some(DiabetesAnswer::Borderline) => 2,
            Some(DiabetesAnswer::Yes) => 3,
        }
    }
}

/// All participants, children too.
///
/// # Errors
/// Fetching ([`Store::path`]) or a file that is not as documented.
pub fn load(store: &Store) -> Result<Dataset<NhanesRow>, TrainingError> {
    let rows = store.with_member(SOURCE, MEMBER, |reader| parse(reader))?;
    let mut dataset =
        Dataset { name: NAME, rows, provenance: vec![store.provenance(SOURCE)?], dropped: Vec::new() };
    let mut seen = std::collections::HashSet::new();
    dataset.retain("repeated participant", |row| seen.insert(row.seqn));
    Ok(dataset)
}

fn parse(input: &mut dyn Read) -> Result<Vec<NhanesRow>, TrainingError> {
    let mut wanted = vec![
        "SEQN",
        "AgeInYearsAtScreening",
        "Gender",
        "BodyMassIndexKgm2",
        "WaistCircumferenceCm",
        "StandingHeightCm",
        "WeightKg",
        "60SecPulse30SecPulse2",
        "Glycohemoglobin",
        "DirectHdlcholesterolMgdl",
        "TotalCholesterolMgdl",
        "DoctorToldYouHaveDiabetes",
        "EverToldYouHadHeartAttack",
        "EverToldYouHadAStroke",
        "SmokedAtLeast100CigarettesInLife",
        "DoYouNowSmokeCigarettes",
        "GeneralHealthCondition",
    ];
    wanted.extend(SYSTOLIC);
    wanted.extend(DIASTOLIC);
    let mut table = Table::new(NAME, b'\t', &wanted, input)?;
    let mut rows = Vec::new();
    while table.advance()? {
        rows.push(row_of(&table)?);
    }
    Ok(rows)
}

fn row_of<R: Read>(table: &Table<R>) -> Result<NhanesRow, TrainingError> {
    let positive = |column| number(table, column).map(|v| v.filter(|v| *v > 0.0));
    Ok(NhanesRow {
        seqn: table.required("SEQN")? as u32,
        age_years: number(table, "AgeInYearsAtScreening")?
            .ok_or_else(|| table.fault("`AgeInYearsAtScreening` is empty".to_owned()))?,
        sex: match table.text("Gender")? {
            "Female" => Sex::Female,
            "Male" => Sex::Male,
            other => return Err(table.fault(format!("`Gender` should be Female or Male, is `{other}`"))),
        },
        bmi_kg_m2: positive("BodyMassIndexKgm2")?,
        waist_cm: positive("WaistCircumferenceCm")?,
        height_cm: positive("StandingHeightCm")?,
        weight_kg: positive("WeightKg")?,
        systolic_mmhg: mean_of(table, SYSTOLIC)?,
        diastolic_mmhg: mean_of(table, DIASTOLIC)?,
        pulse_per_min: positive("60SecPulse30SecPulse2")?,
        hba1c_percent: positive("Glycohemoglobin")?,
        hdl_mg_dl: positive("DirectHdlcholesterolMgdl")?,
        total_cholesterol_mg_dl: positive("TotalCholesterolMgdl")?,
        diabetes: diabetes(table)?,
        heart_attack: yes_no(table, "EverToldYouHadHeartAttack")?,
        stroke: yes_no(table, "EverToldYouHadAStroke")?,
        ever_smoked: yes_no(table, "SmokedAtLeast100CigarettesInLife")?,
        smokes_now: smokes_now(table)?,
        self_rated: self_rated(table)?,
    })
}

/// What stands for an answer that was not given.
const NO_ANSWER: [&str; 3] = ["", "Don't Know", "Refused"];

/// An answer that the questionnaire does not have.
fn unknown<R: Read>(table: &Table<R>, column: &str, expected: &str, found: &str) -> TrainingError {
    table.fault(format!("`{column}` should be {expected}, or empty, is `{found}`"))
}

fn diabetes<R: Read>(table: &Table<R>) -> Result<Option<DiabetesAnswer>, TrainingError> {
    const COLUMN: &str = "DoctorToldYouHaveDiabetes";
    Ok(Some(match table.text(COLUMN)? {
        "0" | "0.0" => DiabetesAnswer::No,
        "1" | "1.0" => DiabetesAnswer::Yes,
        "Borderline" => DiabetesAnswer::Borderline,
        none if NO_ANSWER.contains(&none) => return Ok(None),
        other => return Err(unknown(table, COLUMN, "0, 1 or Borderline", other)),
    }))
}

fn smokes_now<R: Read>(table: &Table<R>) -> Result<Option<bool>, TrainingError> {
    const COLUMN: &str = "DoYouNowSmokeCigarettes";
    let ever = yes_no(table, "SmokedAtLeast100CigarettesInLife")?;
    Ok(match table.text(COLUMN)? {
        "Every day" | "Some days" => Some(true),
        "Not at all" => Some(false),
        none if NO_ANSWER.contains(&none) => ever.filter(|ever| !ever),
        other => return Err(unknown(table, COLUMN, "Every day, Some days or Not at all", other)),
    })
}

fn self_rated<R: Read>(table: &Table<R>) -> Result<Option<SelfRatedHealth>, TrainingError> {
    const COLUMN: &str = "GeneralHealthCondition";
    Ok(Some(match table.text(COLUMN)? {
        "Excellent" => SelfRatedHealth::Excellent,
        "Very good" => SelfRatedHealth::VeryGood,
        "Good" => SelfRatedHealth::Good,
        // The package cut the survey's labels at these words.
        "Fair or" | "Fair" => SelfRatedHealth::Fair,
        "Poor?" | "Poor" => SelfRatedHealth::Poor,
        none if NO_ANSWER.contains(&none) => return Ok(None),
        other => return Err(unknown(table, COLUMN, "Excellent, Very good, Good, Fair or Poor", other)),
    }))
}

fn number<R: Read>(table: &Table<R>, column: &'static str) -> Result<Option<f64>, TrainingError> {
    Ok(table.number(column)?.map(|v| if v.abs() < SURVEY_ZERO_MAX { 0.0 } else { v }))
}

fn yes_no<R: Read>(table: &Table<R>, column: &'static str) -> Result<Option<bool>, TrainingError> {
    match number(table, column)? {
        None => Ok(None),
        Some(0.0) => Ok(Some(false)),
        Some(1.0) => Ok(Some(true)),
        Some(other) => Err(table.fault(format!("`{column}` should be 0 or 1, is {other}"))),
    }
}

fn mean_of<R: Read>(table: &Table<R>, columns: [&'static str; 3]) -> Result<Option<f64>, TrainingError> {
    let mut sum = 0.0;
    let mut count = 0_u32;
    for column in columns {
        if let Some(value) = number(table, column)?.filter(|v| *v > 0.0) {
            sum += value;
            count += 1;
        }
    }
    Ok((count > 0).then(|| sum / f64::from(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Column and value of one made-up participant; other columns stay empty.
    fn parse_one(cells: &[(&str, &str)]) -> Result<NhanesRow, TrainingError> {
        let mut all: Vec<(&str, &str)> =
            vec![("SEQN", "1.0"), ("AgeInYearsAtScreening", "40.0"), ("Gender", "Male")];
        let rest = [
            "BodyMassIndexKgm2",
            "WaistCircumferenceCm",
            "StandingHeightCm",
            "WeightKg",
            "60SecPulse30SecPulse2",
            "Glycohemoglobin",
            "DirectHdlcholesterolMgdl",
            "TotalCholesterolMgdl",
            "DoctorToldYouHaveDiabetes",
            "EverToldYouHadHeartAttack",
            "EverToldYouHadAStroke",
            "SmokedAtLeast100CigarettesInLife",
            "DoYouNowSmokeCigarettes",
            "GeneralHealthCondition",
        ];
        all.extend(rest.iter().chain(&SYSTOLIC).chain(&DIASTOLIC).map(|c| (*c, "")));
        for (column, value) in cells {
            all.iter_mut().filter(|(c, _)| c == column).for_each(|cell| cell.1 = value);
        }
        let join = |f: fn(&(&str, &str)) -> String| all.iter().map(f).collect::<Vec<_>>().join("\t");
        let text = format!("{}\n{}\n", join(|c| c.0.to_owned()), join(|c| c.1.to_owned()));
        parse(&mut text.as_bytes()).map(|mut rows| rows.remove(0))
    }

    #[test]
    fn pressures_are_means_of_what_was_heard() {
        let row = parse_one(&[
            (SYSTOLIC[0], "120.0"),
            (SYSTOLIC[2], "130.0"),
            (DIASTOLIC[0], "70.0"),
            (DIASTOLIC[1], "5.397605346934028e-79"),
        ])
        .expect("row");
        assert_eq!((row.systolic_mmhg, row.diastolic_mmhg), (Some(125.0), Some(70.0)));
        assert_eq!(parse_one(&[]).expect("row").systolic_mmhg, None);
    }

    #[test]
    fn answers_become_types() {
        let row = parse_one(&[
            ("DoctorToldYouHaveDiabetes", "Borderline"),
            ("EverToldYouHadAStroke", "1.0"),
            ("EverToldYouHadHeartAttack", "5.397605346934028e-79"),
            ("SmokedAtLeast100CigarettesInLife", "0.0"),
            ("GeneralHealthCondition", "Fair or"),
        ])
        .expect("row");
        assert_eq!(row.diabetes, Some(DiabetesAnswer::Borderline));
        assert_eq!((row.stroke, row.heart_attack), (Some(true), Some(false)));
        assert_eq!((row.ever_smoked, row.smokes_now), (Some(false), Some(false)));
        assert_eq!(row.self_rated, Some(SelfRatedHealth::Fair));
        assert!(row.is_adult());
    }

    #[test]
    fn a_third_answer_to_a_yes_no_question_is_refused() {
        let error = parse_one(&[("EverToldYouHadAStroke", "7.0")]).expect_err("refused").to_string();
        assert!(error.contains("EverToldYouHadAStroke") && error.contains('7'), "{error}");
    }

    #[test]
    fn what_cannot_be_measured_or_was_refused_is_missing() {
        let row = parse_one(&[
            ("BodyMassIndexKgm2", "0.0"),
            ("Glycohemoglobin", "5.4"),
            ("DoctorToldYouHaveDiabetes", "Don't Know"),
            ("GeneralHealthCondition", "Refused"),
            ("SmokedAtLeast100CigarettesInLife", "1.0"),
        ])
        .expect("row");
        assert_eq!((row.bmi_kg_m2, row.hba1c_percent), (None, Some(5.4)));
        assert_eq!((row.diabetes, row.self_rated), (None, None));
        assert_eq!((row.ever_smoked, row.smokes_now), (Some(true), None));
        assert_eq!((row.subject(), row.stratum()), ("1".to_owned(), 0));
    }

    #[test]
    fn sex_and_age_must_be_there() {
        assert!(parse_one(&[("Gender", "")]).expect_err("sex").to_string().contains("Gender"));
        assert!(parse_one(&[("AgeInYearsAtScreening", "")]).expect_err("age").to_string().contains("Age"));
    }
}
