//! Decision limits: the bands of named guidelines. What is critical stands apart, in [`super::critical_limits`].
//!
//! Bands lie side by side from the lowest value to the highest; each ends just below its `below`. Where a guideline
//! says "over 180" the band begins at 180: a millimetre early is the safe side.

use super::Class::{Abnormal, Borderline, Normal};
use super::RiskLevel::{High, Low, Moderate};
use super::{Class, Cohort, RiskLevel};
use crate::biomarker::Biomarker;

/// On which side of normal a band lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Too little.
    Below,
    /// Normal.
    Within,
    /// Too much.
    Above,
}

/// One interval of a decision limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// First value that is no longer in the band; infinity in the last band.
    pub below: f64,
    /// Side of normal.
    pub side: Side,
    /// Class of a value in the band.
    pub class: Class,
    /// Risk of a value in the band.
    pub risk: RiskLevel,
    /// What the guideline calls it.
    pub name: &'static str,
}

/// The bands of one guideline for one cohort.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecisionLimit {
    /// The biomarker.
    pub biomarker: Biomarker,
    /// To whom it applies.
    pub cohort: Cohort,
    /// Bands, lowest first, covering every value.
    pub bands: &'static [Band],
    /// The guideline.
    pub source: &'static str,
}

/// Every decision limit of `biomarker`, one per cohort; empty when only a reference range is known.
#[must_use]
pub fn decision_limits(biomarker: Biomarker) -> &'static [DecisionLimit] {
    let first = LIMITS.iter().position(|limit| limit.biomarker == biomarker).unwrap_or(LIMITS.len());
    let count = LIMITS[first..].iter().take_while(|limit| limit.biomarker == biomarker).count();
    &LIMITS[first..first + count]
}

const fn under(below: f64, class: Class, risk: RiskLevel, name: &'static str) -> Band {
    Band { below, side: Side::Below, class, risk, name }
}

const fn normal(below: f64, name: &'static str) -> Band {
    Band { below, side: Side::Within, class: Normal, risk: Low, name }
}

const fn over(below: f64, class: Class, risk: RiskLevel, name: &'static str) -> Band {
    Band { below, side: Side::Above, class, risk, name }
}

/// The end of the last band.
const REST: f64 = f64::INFINITY;

const fn limit(
    biomarker: Biomarker,
    cohort: Cohort,
    source: &'static str,
    bands: &'static [Band],
) -> DecisionLimit {
    DecisionLimit { biomarker, cohort, bands, source }
}

/// Rows of one biomarker stand together.
static LIMITS: &[DecisionLimit] = {
    use Biomarker as B;
    use Cohort as C;
    &[
        limit(B::Glucose, C::ANYONE, "ADA Standards of Care 2024, read as fasting until known", GLUCOSE),
        limit(B::FastingGlucose, C::ANYONE, "ADA Standards of Care 2024", FASTING_GLUCOSE),
        limit(B::TotalCholesterol, C::ADULTS, "NCEP ATP III 2001", TOTAL_CHOLESTEROL),
        limit(B::Hdl, C::ADULTS, "NCEP ATP III 2001", HDL),
        limit(B::Ldl, C::ADULTS, "NCEP ATP III 2001", LDL),
        limit(B::Triglyceride, C::ADULTS, "NCEP ATP III 2001", TRIGLYCERIDE),
        limit(B::HbA1c, C::ANYONE, "ADA Standards of Care 2024; low side from the cartridge registry", HBA1C),
        limit(B::VitaminD, C::ANYONE, "Endocrine Society 2011", VITAMIN_D),
        limit(B::Tsh, C::ADULTS, "AACE/ATA 2012 hypothyroidism; ATA 2016 hyperthyroidism", TSH),
        limit(B::Crp, C::ANYONE, "AHA/CDC 2003 (hs-CRP)", CRP),
        limit(B::SystolicBp, C::ADULTS, "ACC/AHA 2017; low side NHLBI hypotension", SYSTOLIC),
        limit(B::DiastolicBp, C::ADULTS, "ACC/AHA 2017; low side NHLBI hypotension", DIASTOLIC),
        limit(B::Bmi, C::ADULTS, "WHO 2000 obesity", BMI),
        limit(B::Hemoglobin, C::MEN, "WHO 2011 anaemia", HEMOGLOBIN_MEN),
        limit(B::Hemoglobin, C::WOMEN, "WHO 2011 anaemia", HEMOGLOBIN_WOMEN),
        limit(B::Waist, C::MEN, "WHO 2008 waist circumference", WAIST_MEN),
        limit(B::Waist, C::WOMEN, "WHO 2008 waist circumference", WAIST_WOMEN),
        limit(B::HeartRate, C::ADULTS, "NEWS2 2017, normal from AHA", HEART_RATE),
        limit(B::Fib4, C::ADULTS.aged(18.0, 65.0), "AASLD 2023", FIB4),
        limit(B::Fib4, C::ADULTS.aged(65.0, 200.0), "McPherson 2017", FIB4_AGED),
    ]
};

const GLUCOSE: &[Band] = &[
    under(54.0, Abnormal, High, "hypoglycaemia level 2"),
    under(70.0, Abnormal, Moderate, "hypoglycaemia level 1"),
    normal(100.0, "normal"),
    over(126.0, Borderline, Moderate, "above fasting normal: repeat fasting"),
    over(200.0, Abnormal, Moderate, "diabetes range if fasting: repeat fasting"),
    over(REST, Abnormal, High, "diabetes range at any time"),
];
const FASTING_GLUCOSE: &[Band] = &[
    under(54.0, Abnormal, High, "hypoglycaemia level 2"),
    under(70.0, Abnormal, Moderate, "hypoglycaemia level 1"),
    normal(100.0, "normal"),
    over(126.0, Borderline, Moderate, "impaired fasting glucose"),
    over(REST, Abnormal, High, "diabetes range"),
];
const TOTAL_CHOLESTEROL: &[Band] = &[
    normal(200.0, "desirable"),
    over(240.0, Borderline, Moderate, "borderline high"),
    over(REST, Abnormal, High, "high"),
];
const HDL: &[Band] =
    &[under(40.0, Abnormal, Moderate, "low"), normal(60.0, "normal"), normal(REST, "high, protective")];
const LDL: &[Band] = &[
    normal(100.0, "optimal"),
    over(130.0, Borderline, Low, "near optimal"),
    over(160.0, Borderline, Moderate, "borderline high"),
    over(190.0, Abnormal, High, "high"),
    over(REST, Abnormal, High, "very high"),
];
const TRIGLYCERIDE: &[Band] = &[
    normal(150.0, "normal"),
    over(200.0, Borderline, Moderate, "borderline high"),
    over(500.0, Abnormal, High, "high"),
    over(REST, Abnormal, High, "very high"),
];
const HBA1C: &[Band] = &[
    under(4.0, Borderline, Moderate, "low: consider short red cell life"),
    normal(5.7, "normal"),
    over(6.5, Borderline, Moderate, "prediabetes"),
    over(REST, Abnormal, High, "diabetes range"),
];
const VITAMIN_D: &[Band] = &[
    under(20.0, Abnormal, High, "deficiency"),
    under(30.0, Borderline, Moderate, "insufficiency"),
    normal(100.001, "sufficient"),
    over(REST, Borderline, Moderate, "high"),
];
const TSH: &[Band] = &[
    under(0.1, Abnormal, High, "suppressed"),
    under(0.4, Borderline, Moderate, "low"),
    normal(4.001, "normal"),
    over(10.0, Borderline, Moderate, "mildly raised"),
    over(REST, Abnormal, High, "raised"),
];
const CRP: &[Band] = &[
    normal(3.001, "low to average cardiovascular risk"),
    over(10.0, Borderline, Moderate, "raised cardiovascular risk"),
    over(REST, Abnormal, High, "acute inflammation"),
];
const SYSTOLIC: &[Band] = &[
    under(90.0, Abnormal, High, "hypotension"),
    normal(120.0, "normal"),
    over(130.0, Borderline, Moderate, "elevated"),
    over(140.0, Abnormal, Moderate, "hypertension stage 1"),
    over(REST, Abnormal, High, "hypertension stage 2"),
];
const DIASTOLIC: &[Band] = &[
    under(60.0, Borderline, Moderate, "low"),
    normal(80.0, "normal"),
    over(90.0, Abnormal, Moderate, "hypertension stage 1"),
    over(REST, Abnormal, High, "hypertension stage 2"),
];
const BMI: &[Band] = &[
    under(16.0, Abnormal, High, "severe thinness"),
    under(17.0, Abnormal, Moderate, "moderate thinness"),
    under(18.5, Borderline, Moderate, "mild thinness"),
    normal(25.0, "normal"),
    over(30.0, Borderline, Moderate, "overweight"),
    over(35.0, Abnormal, Moderate, "obesity class I"),
    over(REST, Abnormal, High, "obesity class II or III"),
];
const HEMOGLOBIN_MEN: &[Band] = &[
    under(8.0, Abnormal, High, "severe anaemia"),
    under(11.0, Abnormal, High, "moderate anaemia"),
    under(13.0, Abnormal, Moderate, "mild anaemia"),
    under(14.0, Borderline, Low, "low normal"),
    normal(18.001, "normal"),
    over(REST, Abnormal, Moderate, "high"),
];
const HEMOGLOBIN_WOMEN: &[Band] = &[
    under(8.0, Abnormal, High, "severe anaemia"),
    under(11.0, Abnormal, High, "moderate anaemia"),
    under(12.0, Abnormal, Moderate, "mild anaemia"),
    normal(16.001, "normal"),
    over(18.0, Borderline, Moderate, "above normal"),
    over(REST, Abnormal, Moderate, "high"),
];
const WAIST_MEN: &[Band] = &[
    normal(94.0, "normal"),
    over(102.0, Borderline, Moderate, "increased"),
    over(REST, Abnormal, High, "substantially increased"),
];
const WAIST_WOMEN: &[Band] = &[
    normal(80.0, "normal"),
    over(88.0, Borderline, Moderate, "increased"),
    over(REST, Abnormal, High, "substantially increased"),
];
const HEART_RATE: &[Band] = &[
    under(51.0, Abnormal, Moderate, "slow"),
    under(60.0, Borderline, Low, "slightly slow"),
    normal(100.001, "normal"),
    over(111.0, Borderline, Moderate, "slightly fast"),
    over(REST, Abnormal, High, "fast"),
];
const FIB4: &[Band] = &[
    normal(1.3, "low risk of advanced fibrosis"),
    over(2.67, Borderline, Moderate, "indeterminate"),
    over(REST, Abnormal, High, "high risk of advanced fibrosis"),
];
const FIB4_AGED: &[Band] = &[
    normal(2.0, "low risk of advanced fibrosis"),
    over(2.67, Borderline, Moderate, "indeterminate"),
    over(REST, Abnormal, High, "high risk of advanced fibrosis"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_ascend_and_cover_every_value_with_one_normal_stretch() {
        for limit in LIMITS {
            let name = limit.biomarker;
            assert!(limit.bands.is_sorted_by(|a, b| a.below < b.below), "{name}");
            assert_eq!(limit.bands.last().map(|band| band.below), Some(f64::INFINITY), "{name}");
            assert!(limit.bands.iter().any(|band| band.class == Normal), "{name}");
            for band in limit.bands {
                assert_eq!(band.side == Side::Within, band.class == Normal, "{name}: {}", band.name);
            }
        }
    }

    #[test]
    fn rows_of_one_biomarker_stand_together() {
        let found: usize = Biomarker::ALL.iter().map(|&b| decision_limits(b).len()).sum();
        assert_eq!(found, LIMITS.len());
    }
}
