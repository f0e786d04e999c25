//! Reference ranges: the central interval of healthy people, by sex and age, each row with its source.

use super::Cohort;
use crate::biomarker::Biomarker;
use crate::person::Person;
use crate::unit::Unit;

/// What healthy people of one cohort have; an open side is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferenceRange {
    /// Lowest normal value, canonical unit.
    pub low: Option<f64>,
    /// Highest normal value, canonical unit.
    pub high: Option<f64>,
    /// The canonical unit of the biomarker.
    pub unit: Unit,
    /// Who says so.
    pub source: &'static str,
}

impl ReferenceRange {
    /// Whether `value` lies inside; the limits themselves are inside.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        self.low.is_none_or(|low| value >= low) && self.high.is_none_or(|high| value <= high)
    }
}

/// The range that applies to `person`: a row for their sex before a row for anyone. `None` means no known range, for
/// example testosterone of a person whose sex is unknown.
#[must_use]
pub fn reference_range(biomarker: Biomarker, person: &Person) -> Option<ReferenceRange> {
    let rows = || ROWS.iter().filter(|row| row.biomarker == biomarker && row.cohort.covers(person));
    let row = rows().find(|row| row.cohort.sex.is_some()).or_else(|| rows().next())?;
    let Row { low, high, source, .. } = *row;
    Some(ReferenceRange { low, high, unit: biomarker.unit(), source })
}

/// One row of the table.
struct Row {
    biomarker: Biomarker,
    cohort: Cohort,
    low: Option<f64>,
    high: Option<f64>,
    source: &'static str,
}

const REGISTRY: &str = "ManPaSik cartridge registry";
const MAYO: &str = "Mayo Clinic Laboratories test catalog";
const ADA: &str = "ADA Standards of Care 2024";
const ATP3: &str = "NCEP ATP III 2001";
const ARUP: &str = "ARUP Laboratories test directory";

const fn row(
    biomarker: Biomarker,
    cohort: Cohort,
    low: Option<f64>,
    high: Option<f64>,
    source: &'static str,
) -> Row {
    Row { biomarker, cohort, low, high, source }
}

/// A closed interval.
const fn within(biomarker: Biomarker, cohort: Cohort, low: f64, high: f64, source: &'static str) -> Row {
    row(biomarker, cohort, Some(low), Some(high), source)
}

/// Only too much is wrong.
const fn below(biomarker: Biomarker, cohort: Cohort, high: f64, source: &'static str) -> Row {
    row(biomarker, cohort, None, Some(high), source)
}

static ROWS: &[Row] = {
    use Biomarker as B;
    use Cohort as C;
    &[
        within(B::Glucose, C::ANYONE, 70.0, 99.0, ADA),
        within(B::FastingGlucose, C::ANYONE, 70.0, 99.0, ADA),
        below(B::TotalCholesterol, C::ADULTS, 199.0, ATP3),
        row(B::Hdl, C::ADULTS, Some(40.0), None, ATP3),
        below(B::Ldl, C::ADULTS, 99.0, ATP3),
        below(B::Triglyceride, C::ADULTS, 149.0, ATP3),
        within(B::HbA1c, C::ANYONE, 4.0, 5.6, REGISTRY),
        within(B::UricAcid, C::MEN, 3.4, 7.0, REGISTRY),
        within(B::UricAcid, C::WOMEN, 2.4, 6.0, REGISTRY),
        within(B::UricAcid, C::ADULTS, 3.5, 7.2, REGISTRY),
        within(B::Creatinine, C::MEN, 0.74, 1.35, MAYO),
        within(B::Creatinine, C::WOMEN, 0.59, 1.04, MAYO),
        within(B::Creatinine, C::ADULTS, 0.7, 1.3, REGISTRY),
        within(B::VitaminD, C::ANYONE, 30.0, 100.0, "Endocrine Society 2011"),
        within(B::VitaminB12, C::ADULTS, 200.0, 900.0, REGISTRY),
        within(B::Ferritin, C::MEN, 24.0, 336.0, MAYO),
        within(B::Ferritin, C::WOMEN, 11.0, 307.0, MAYO),
        within(B::Ferritin, C::ADULTS, 12.0, 300.0, REGISTRY),
        within(B::Tsh, C::ADULTS, 0.4, 4.0, REGISTRY),
        within(B::Cortisol, C::ADULTS, 6.0, 23.0, REGISTRY),
        within(B::Testosterone, C::MEN, 300.0, 1000.0, REGISTRY),
        within(B::Testosterone, C::WOMEN, 8.0, 60.0, MAYO),
        within(B::Estradiol, C::WOMEN.aged(18.0, 50.0), 15.0, 350.0, REGISTRY),
        below(B::Estradiol, C::WOMEN.aged(55.0, 200.0), 10.0, MAYO),
        within(B::Estradiol, C::MEN, 10.0, 40.0, MAYO),
        below(B::Crp, C::ANYONE, 3.0, REGISTRY),
        within(B::Insulin, C::ADULTS, 2.6, 24.9, REGISTRY),
        within(B::SystolicBp, C::ADULTS, 90.0, 119.0, "ACC/AHA 2017; low side NHLBI hypotension"),
        within(B::DiastolicBp, C::ADULTS, 60.0, 79.0, "ACC/AHA 2017; low side NHLBI hypotension"),
        within(B::Bmi, C::ADULTS, 18.5, 24.9, "WHO 2000"),
        within(B::Hemoglobin, C::MEN, 14.0, 18.0, REGISTRY),
        within(B::Hemoglobin, C::WOMEN, 12.0, 16.0, REGISTRY),
        within(B::Hemoglobin, C::ADULTS, 12.0, 18.0, "ManPaSik cartridge registry, both sexes joined"),
        below(B::Waist, C::MEN, 93.9, "WHO 2008 waist circumference"),
        below(B::Waist, C::WOMEN, 79.9, "WHO 2008 waist circumference"),
        within(B::HeartRate, C::ADULTS, 60.0, 100.0, "AHA resting heart rate"),
        within(B::T3, C::ADULTS, 80.0, 200.0, MAYO),
        within(B::TotalT4, C::ADULTS, 4.5, 11.7, MAYO),
        within(B::T4Uptake, C::ADULTS, 0.8, 1.3, ARUP),
        within(B::FreeT4Index, C::ADULTS, 4.8, 12.7, ARUP),
        within(B::Tbg, C::MEN, 12.0, 26.0, MAYO),
        within(B::Tbg, C::WOMEN, 11.0, 27.0, MAYO),
        within(B::Tbg, C::ADULTS, 11.0, 27.0, "Mayo Clinic Laboratories test catalog, both sexes joined"),
        below(B::Fib4, C::ADULTS.aged(18.0, 65.0), 1.29, "AASLD 2023"),
        below(B::Fib4, C::ADULTS.aged(65.0, 200.0), 1.99, "McPherson 2017"),
        within(B::Platelets, C::ADULTS, 150.0, 450.0, "NHLBI platelet count"),
        within(B::Ast, C::MEN, 8.0, 48.0, MAYO),
        within(B::Ast, C::WOMEN, 8.0, 43.0, MAYO),
        within(B::Ast, C::ADULTS, 8.0, 48.0, "Mayo Clinic Laboratories test catalog, both sexes joined"),
        within(B::Alt, C::MEN, 7.0, 55.0, MAYO),
        within(B::Alt, C::WOMEN, 7.0, 45.0, MAYO),
        within(B::Alt, C::ADULTS, 7.0, 55.0, "Mayo Clinic Laboratories test catalog, both sexes joined"),
        within(B::KappaFlc, C::ADULTS, 3.3, 19.4, "Katzmann 2002"),
        within(B::LambdaFlc, C::ADULTS, 5.7, 26.3, "Katzmann 2002"),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::Sex;

    fn person(age: f64, sex: Sex) -> Person {
        Person::new(Some(age), Some(sex)).expect("valid person")
    }

    #[test]
    fn every_biomarker_has_a_range_for_adults_and_every_row_a_source() {
        for &biomarker in Biomarker::ALL {
            for sex in [Sex::Female, Sex::Male] {
                assert!(reference_range(biomarker, &person(40.0, sex)).is_some(), "{biomarker} {sex:?}");
            }
        }
        for row in ROWS {
            assert!(!row.source.is_empty() && (row.low.is_some() || row.high.is_some()));
            let (low, high) = row.biomarker.plausible();
            assert!(
                row.low.is_none_or(|x| x >= low) && row.high.is_none_or(|x| x <= high),
                "{}",
                row.biomarker
            );
            assert!(row.low.zip(row.high).is_none_or(|(low, high)| low < high), "{}", row.biomarker);
        }
    }

    #[test]
    fn a_row_for_the_sex_goes_before_a_row_for_anyone() {
        let high = |p: &Person| reference_range(Biomarker::UricAcid, p).and_then(|r| r.high);
        assert_eq!(high(&person(30.0, Sex::Female)), Some(6.0));
        assert_eq!(high(&person(30.0, Sex::Male)), Some(7.0));
        assert_eq!(high(&Person::default()), Some(7.2));
    }

    #[test]
    fn no_range_is_invented_where_none_is_known() {
        assert_eq!(reference_range(Biomarker::Testosterone, &Person::default()), None);
        assert_eq!(reference_range(Biomarker::Estradiol, &person(52.0, Sex::Female)), None, "menopause");
        assert_eq!(reference_range(Biomarker::Bmi, &person(8.0, Sex::Male)), None, "adult bands");
    }

    #[test]
    fn both_ends_belong_to_the_range() {
        let range = reference_range(Biomarker::Tsh, &Person::default()).expect("known");
        assert!(range.contains(0.4) && range.contains(4.0));
        assert!(!range.contains(0.39) && !range.contains(4.01));
    }
}
