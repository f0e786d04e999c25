//! Critical limits: the values beyond which one acts at once, whatever a model or a band says.

use crate::biomarker::Biomarker;

/// Critical limits of one biomarker, canonical unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CriticalLimit {
    /// The biomarker.
    pub biomarker: Biomarker,
    /// Values below this are critical.
    pub low: Option<f64>,
    /// Values from this on are critical.
    pub high: Option<f64>,
    /// Who says so.
    pub source: &'static str,
}

/// The critical limits of `biomarker`, where any are known.
#[must_use]
pub fn critical_limits(biomarker: Biomarker) -> Option<&'static CriticalLimit> {
    LIMITS.iter().find(|limit| limit.biomarker == biomarker)
}

const REGISTRY: &str = "ManPaSik cartridge registry";
/// Limits of our own where the registry has none: near those of common laboratory call-back lists, not a guideline.
const OURS: &str = "ManPaSik critical limits, ours";

const fn limit(biomarker: Biomarker, low: f64, high: f64, source: &'static str) -> CriticalLimit {
    CriticalLimit { biomarker, low: Some(low), high: Some(high), source }
}

const fn only_high(biomarker: Biomarker, high: f64, source: &'static str) -> CriticalLimit {
    CriticalLimit { biomarker, low: None, high: Some(high), source }
}

static LIMITS: &[CriticalLimit] = {
    use Biomarker as B;
    &[
        limit(B::Glucose, 40.0, 400.0, REGISTRY),
        limit(B::FastingGlucose, 40.0, 400.0, REGISTRY),
        limit(B::HbA1c, 2.0, 15.0, REGISTRY),
        limit(B::UricAcid, 1.0, 15.0, REGISTRY),
        limit(B::Creatinine, 0.1, 10.0, REGISTRY),
        limit(B::VitaminD, 5.0, 150.0, REGISTRY),
        limit(B::Tsh, 0.01, 100.0, REGISTRY),
        limit(B::Cortisol, 1.0, 60.0, REGISTRY),
        only_high(B::Crp, 200.0, REGISTRY),
        only_high(B::Triglyceride, 1000.0, "Endocrine Society 2012"),
        limit(B::SystolicBp, 70.0, 180.0, "ACC/AHA 2017 hypertensive crisis; low side ours"),
        limit(B::DiastolicBp, 40.0, 120.0, "ACC/AHA 2017 hypertensive crisis; low side ours"),
        limit(B::HeartRate, 41.0, 131.0, "NEWS2 2017"),
        limit(B::Hemoglobin, 7.0, 20.0, OURS),
        limit(B::Platelets, 20.0, 1000.0, OURS),
        only_high(B::Ast, 1000.0, OURS),
        only_high(B::Alt, 1000.0, OURS),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::{Person, Sex};
    use crate::range::reference_range;

    #[test]
    fn critical_limits_lie_outside_the_reference_range() {
        for limit in LIMITS {
            for sex in [Sex::Female, Sex::Male] {
                let person = Person::new(Some(40.0), Some(sex)).expect("valid person");
                let range = reference_range(limit.biomarker, &person).expect("adults have a range");
                assert!(limit.low.zip(range.low).is_none_or(|(critical, low)| critical < low));
                assert!(limit.high.zip(range.high).is_none_or(|(critical, high)| critical > high));
            }
        }
    }

    #[test]
    fn no_inflammation_is_not_critical() {
        assert_eq!(critical_limits(Biomarker::Crp).and_then(|limit| limit.low), None);
        assert_eq!(critical_limits(Biomarker::Bmi), None);
    }
}
