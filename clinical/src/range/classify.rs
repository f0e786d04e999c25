//! Places a value: by the bands of a guideline where there is one, else by distance from the reference range, and
//! beyond a critical limit always as critical, even where no other rule is known.

use super::{
    Class, DecisionLimit, Interpretation, ReferenceRange, RiskLevel, Side, critical_limits, decision_limits,
    reference_range,
};
use crate::biomarker::Biomarker;
use crate::person::Person;

/// Distance outside the reference range, as a share of the limit crossed, up to which a value is only borderline.
const BORDERLINE_SHARE: f64 = 0.15;

/// What a value means for a person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Banded {
    /// Class of the value.
    pub class: Class,
    /// Risk of the value.
    pub risk: RiskLevel,
    /// What the guideline calls the band, or where the value lies relative to the range.
    pub band: &'static str,
    /// HL7 interpretation.
    pub interpretation: Interpretation,
    /// The reference range of the person, where one is known.
    pub range: Option<ReferenceRange>,
    /// The guideline or range the class comes from.
    pub source: &'static str,
}

/// Classifies `value` (canonical unit). `None` means that no rule is known for this person or that the value is not
/// a number; the caller must treat that as uncertain, never as normal.
#[must_use]
pub fn classify(biomarker: Biomarker, value: f64, person: &Person) -> Option<Banded> {
    if !value.is_finite() {
        return None;
    }
    let range = reference_range(biomarker, person);
    let banded = match applicable(biomarker, person) {
        Some(limit) => by_limit(limit, value, range),
        None => by_range(value, range),
    };
    critical(biomarker, value, range).or(banded)
}

/// The decision limit for the person, a row for their sex first.
fn applicable(biomarker: Biomarker, person: &Person) -> Option<&'static DecisionLimit> {
    decision_limits(biomarker).iter().find(|limit| limit.cohort.covers(person))
}

fn by_limit(limit: &DecisionLimit, value: f64, range: Option<ReferenceRange>) -> Option<Banded> {
    let band = limit.bands.iter().find(|band| value < band.below)?;
    Some(Banded {
        class: band.class,
        risk: band.risk,
        band: band.name,
        interpretation: interpret(band.side),
        range,
        source: limit.source,
    })
}

fn by_range(value: f64, range: Option<ReferenceRange>) -> Option<Banded> {
    let known = range?;
    let (side, share, band) = match (known.low, known.high) {
        (Some(low), _) if value < low => (Side::Below, (low - value) / low, "below the reference range"),
        (_, Some(high)) if value > high => (Side::Above, (value - high) / high, "above the reference range"),
        (Some(_) | None, Some(_) | None) => (Side::Within, 0.0, "within the reference range"),
    };
    let (class, risk) = match side {
        Side::Within => (Class::Normal, RiskLevel::Low),
        Side::Below | Side::Above if share <= BORDERLINE_SHARE => (Class::Borderline, RiskLevel::Moderate),
        Side::Below | Side::Above => (Class::Abnormal, RiskLevel::High),
    };
    Some(Banded { class, risk, band, interpretation: interpret(side), range, source: known.source })
}

/// Critical limits hold whatever the bands say, and also for a person of whom no band speaks.
fn critical(biomarker: Biomarker, value: f64, range: Option<ReferenceRange>) -> Option<Banded> {
    let limit = critical_limits(biomarker)?;
    let (band, interpretation) = if limit.low.is_some_and(|low| value < low) {
        ("critically low", Interpretation::CriticalLow)
    } else if limit.high.is_some_and(|high| value >= high) {
        ("critically high", Interpretation::CriticalHigh)
    } else {
        return None;
    };
    let (class, risk, source) = (Class::Abnormal, RiskLevel::Critical, limit.source);
    Some(Banded { class, risk, band, interpretation, range, source })
}

/// The direction; only [`critical`] makes it a critical one.
const fn interpret(side: Side) -> Interpretation {
    match side {
        Side::Below => Interpretation::Low,
        Side::Within => Interpretation::Normal,
        Side::Above => Interpretation::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::Sex;
    use proptest::prelude::*;

    fn check(biomarker: Biomarker, value: f64, class: Class, risk: RiskLevel, code: &str) {
        let banded = classify(biomarker, value, &Person::default()).expect("a rule exists");
        assert_eq!(
            (banded.class, banded.risk, banded.interpretation.code()),
            (class, risk, code),
            "{biomarker} {value}: {}",
            banded.band
        );
    }

    #[test]
    fn glucose_counts_both_sides() {
        use Biomarker::Glucose as G;
        check(G, 39.9, Class::Abnormal, RiskLevel::Critical, "LL");
        check(G, 40.0, Class::Abnormal, RiskLevel::High, "L");
        check(G, 65.0, Class::Abnormal, RiskLevel::Moderate, "L");
        check(G, 70.0, Class::Normal, RiskLevel::Low, "N");
        check(G, 99.9, Class::Normal, RiskLevel::Low, "N");
        check(G, 100.0, Class::Borderline, RiskLevel::Moderate, "H");
        check(G, 126.0, Class::Abnormal, RiskLevel::Moderate, "H");
        check(G, 300.0, Class::Abnormal, RiskLevel::High, "H");
        check(G, 400.0, Class::Abnormal, RiskLevel::Critical, "HH");
        check(Biomarker::FastingGlucose, 126.0, Class::Abnormal, RiskLevel::High, "H");
    }

    #[test]
    fn guideline_edges() {
        check(Biomarker::HbA1c, 5.69, Class::Normal, RiskLevel::Low, "N");
        check(Biomarker::HbA1c, 5.7, Class::Borderline, RiskLevel::Moderate, "H");
        check(Biomarker::HbA1c, 6.5, Class::Abnormal, RiskLevel::High, "H");
        check(Biomarker::Hdl, 39.0, Class::Abnormal, RiskLevel::Moderate, "L");
        check(Biomarker::Hdl, 75.0, Class::Normal, RiskLevel::Low, "N");
        check(Biomarker::Ldl, 190.0, Class::Abnormal, RiskLevel::High, "H");
        check(Biomarker::SystolicBp, 119.0, Class::Normal, RiskLevel::Low, "N");
        check(Biomarker::SystolicBp, 85.0, Class::Abnormal, RiskLevel::High, "L");
        check(Biomarker::SystolicBp, 185.0, Class::Abnormal, RiskLevel::Critical, "HH");
        check(Biomarker::Crp, 0.0, Class::Normal, RiskLevel::Low, "N");
        check(Biomarker::Tsh, 0.05, Class::Abnormal, RiskLevel::High, "L");
    }

    #[test]
    fn without_a_guideline_the_distance_from_the_range_decides() {
        check(Biomarker::Insulin, 10.0, Class::Normal, RiskLevel::Low, "N");
        check(Biomarker::Insulin, 26.0, Class::Borderline, RiskLevel::Moderate, "H");
        check(Biomarker::Insulin, 40.0, Class::Abnormal, RiskLevel::High, "H");
        check(Biomarker::VitaminB12, 100.0, Class::Abnormal, RiskLevel::High, "L");
        check(Biomarker::Cortisol, 0.5, Class::Abnormal, RiskLevel::Critical, "LL");
    }

    #[test]
    fn sex_changes_the_answer_and_no_rule_is_no_answer() {
        let class = |sex| {
            let person = Person::new(Some(40.0), sex).expect("valid person");
            classify(Biomarker::Testosterone, 40.0, &person).map(|banded| banded.class)
        };
        assert_eq!(class(Some(Sex::Female)), Some(Class::Normal));
        assert_eq!(class(Some(Sex::Male)), Some(Class::Abnormal));
        assert_eq!(class(None), None);
        assert_eq!(classify(Biomarker::Glucose, f64::NAN, &Person::default()), None);
    }

    proptest! {
        /// A value outside the reference range is never called normal, one inside never abnormal.
        #[test]
        fn classes_agree_with_the_range(index in 0..Biomarker::ALL.len(), share in 0.0f64..1.0, male: bool, age in 18.0f64..100.0) {
            let biomarker = Biomarker::ALL[index];
            let person = Person::new(Some(age), Some(if male { Sex::Male } else { Sex::Female })).expect("valid");
            let (low, high) = biomarker.plausible();
            let value = low + share.powi(6) * (high - low);
            if let Some(banded) = classify(biomarker, value, &person) {
                let range = banded.range.expect("adults have a range");
                if range.contains(value) {
                    prop_assert_eq!(banded.class, Class::Normal);
                } else if banded.class == Class::Normal {
                    // Guidelines state whole numbers: "up to 99" and "from 100" leave a gap that belongs to normal.
                    let high = range.high.expect("only the high side has such a gap");
                    prop_assert!(value > high && value < high + 1.0, "{} {}", biomarker, value);
                }
                prop_assert_eq!(banded.class == Class::Normal, banded.interpretation == Interpretation::Normal);
            }
        }

        /// Farther from normal is never a lower risk.
        #[test]
        fn risk_grows_with_distance(index in 0..Biomarker::ALL.len(), a in 0.0f64..1.0, b in 0.0f64..1.0) {
            let biomarker = Biomarker::ALL[index];
            let person = Person::new(Some(40.0), Some(Sex::Male)).expect("valid");
            let (low, high) = biomarker.plausible();
            let at = |share: f64| low + share.powi(6) * (high - low);
            let (near, far) = (at(a.min(b)), at(a.max(b)));
            let (near, far) = (classify(biomarker, near, &person), classify(biomarker, far, &person));
            let (near, far) = (near.expect("rule"), far.expect("rule"));
            match (near.interpretation, far.interpretation) {
                (Interpretation::High | Interpretation::CriticalHigh, _) => prop_assert!(far.risk >= near.risk),
                (_, Interpretation::Low | Interpretation::CriticalLow) => prop_assert!(near.risk >= far.risk),
                (_, _) => {}
            }
        }
    }
}
