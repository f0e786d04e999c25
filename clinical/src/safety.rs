//! The safety validator: two independent checks, a model's opinion and a rule on the measured value, and the worse of
//! the two wins. A missing rule makes the verdict uncertain; nothing makes it milder than the rule.

use crate::biomarker::Biomarker;
use crate::person::Person;
use crate::range::{Banded, Class, RiskLevel, classify};

/// Confidence below which a model's opinion alone is not trusted.
pub const CONFIDENCE_MIN: f64 = 0.85;
/// Confidence below which a person is shown the word "uncertain".
pub const CONFIDENCE_BANNER_MIN: f64 = 0.70;

/// What a model says about a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelOpinion {
    /// Its class.
    pub class: Class,
    /// Its confidence, 0 to 1; anything else counts as none.
    pub confidence: f64,
}

/// The outcome, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Both checks are content.
    Normal,
    /// Borderline: watch it.
    Caution,
    /// The checks cannot vouch for the value: measure again.
    Uncertain,
    /// Abnormal: see a doctor.
    Alert,
    /// A critical limit is crossed: act now.
    Critical,
}

impl Verdict {
    /// Stable identifier.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Caution => "caution",
            Self::Uncertain => "uncertain",
            Self::Alert => "alert",
            Self::Critical => "critical",
        }
    }
}

/// Why the verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// The rule placed the value outside normal.
    Rule {
        /// The band of the guideline.
        band: &'static str,
        /// The guideline.
        source: &'static str,
    },
    /// No rule is known for this biomarker and person.
    NoRule,
    /// The value is not a number or no living person can have it.
    Implausible,
    /// The model is not sure enough.
    LowConfidence {
        /// The model's confidence.
        confidence: f64,
        /// The confidence required.
        threshold: f64,
    },
    /// Model and rule disagree; the worse was taken.
    Disagreement {
        /// The model's class.
        model: Class,
        /// The rule's class.
        rule: Class,
    },
    /// No model took part.
    RuleOnly,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Rule { band, source } => write!(f, "{band} ({source})"),
            Self::NoRule => f.write_str("no rule is known for this person"),
            Self::Implausible => f.write_str("the value is not possible"),
            Self::LowConfidence { confidence, threshold } => {
                write!(f, "model confidence {confidence:.2} is below {threshold:.2}")
            }
            Self::Disagreement { model, rule } => {
                write!(f, "model says {}, rule says {}", model.code(), rule.code())
            }
            Self::RuleOnly => f.write_str("no model took part"),
        }
    }
}

/// The answer of the validator.
#[derive(Debug, Clone, PartialEq)]
pub struct SafetyVerdict {
    /// The outcome.
    pub verdict: Verdict,
    /// The worse class of model and rule; at least borderline when no rule is known.
    pub class: Class,
    /// The risk.
    pub risk: RiskLevel,
    /// Whether the measurement should be repeated, whatever the verdict.
    pub remeasure: bool,
    /// Every reason, the rule's first.
    pub reasons: Vec<Reason>,
    /// What the rule said, where there is one.
    pub rule: Option<Banded>,
}

/// Judges `value` (canonical unit) of `biomarker` by the rule and, where there is one, by the model.
///
/// `threshold` is the confidence required, normally [`CONFIDENCE_MIN`].
#[must_use]
pub fn assess(
    biomarker: Biomarker,
    value: f64,
    person: &Person,
    model: Option<ModelOpinion>,
    threshold: f64,
) -> SafetyVerdict {
    let plausible = biomarker.check_value(value).is_ok();
    let rule = if plausible { classify(biomarker, value, person) } else { None };
    let mut judged = from_rule(plausible, rule);
    match model {
        Some(opinion) => weigh_model(&mut judged, opinion, threshold),
        None => judged.reasons.push(Reason::RuleOnly),
    }
    judged
}

/// The verdict of the rule alone.
fn from_rule(plausible: bool, rule: Option<Banded>) -> SafetyVerdict {
    let Some(banded) = rule else {
        let reason = if plausible { Reason::NoRule } else { Reason::Implausible };
        return SafetyVerdict {
            verdict: Verdict::Uncertain,
            class: Class::Borderline,
            risk: RiskLevel::Moderate,
            remeasure: true,
            reasons: vec![reason],
            rule: None,
        };
    };
    let outside = Reason::Rule { band: banded.band, source: banded.source };
    SafetyVerdict {
        verdict: rule_verdict(&banded),
        class: banded.class,
        risk: banded.risk,
        remeasure: banded.risk == RiskLevel::Critical,
        reasons: if banded.class == Class::Normal { Vec::new() } else { vec![outside] },
        rule: Some(banded),
    }
}

/// The mildest verdict the rule allows.
const fn rule_verdict(banded: &Banded) -> Verdict {
    match (banded.risk, banded.class) {
        (RiskLevel::Critical, _) => Verdict::Critical,
        (RiskLevel::Low | RiskLevel::Moderate | RiskLevel::High, Class::Abnormal) => Verdict::Alert,
        (RiskLevel::Low | RiskLevel::Moderate | RiskLevel::High, Class::Borderline) => Verdict::Caution,
        (RiskLevel::Low | RiskLevel::Moderate | RiskLevel::High, Class::Normal) => Verdict::Normal,
    }
}

/// Lets the model make the verdict worse, never milder.
fn weigh_model(judged: &mut SafetyVerdict, opinion: ModelOpinion, threshold: f64) {
    let confidence = if (0.0..=1.0).contains(&opinion.confidence) { opinion.confidence } else { 0.0 };
    let trusted = confidence >= threshold;
    if !trusted {
        judged.reasons.push(Reason::LowConfidence { confidence, threshold });
    }
    let rule = judged.rule.map(|banded| banded.class);
    if let Some(rule) = rule.filter(|&rule| rule != opinion.class) {
        judged.reasons.push(Reason::Disagreement { model: opinion.class, rule });
    }
    let doubted = !trusted || rule != Some(opinion.class);
    judged.remeasure |= doubted;
    let from_model = match opinion.class {
        Class::Abnormal if trusted => Verdict::Alert,
        Class::Normal | Class::Borderline | Class::Abnormal if doubted => Verdict::Uncertain,
        Class::Borderline => Verdict::Caution,
        Class::Normal | Class::Abnormal => Verdict::Normal,
    };
    judged.verdict = judged.verdict.max(from_model);
    judged.class = judged.class.max(opinion.class);
    judged.risk = judged.risk.max(match opinion.class {
        Class::Normal => RiskLevel::Low,
        Class::Borderline => RiskLevel::Moderate,
        Class::Abnormal => RiskLevel::High,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::Sex;
    use proptest::prelude::*;

    fn verdict(biomarker: Biomarker, value: f64, model: Option<(Class, f64)>) -> Verdict {
        let opinion = model.map(|(class, confidence)| ModelOpinion { class, confidence });
        assess(biomarker, value, &Person::default(), opinion, CONFIDENCE_MIN).verdict
    }

    #[test]
    fn the_faults_of_the_first_design_are_gone() {
        use Class::Normal;
        assert_eq!(verdict(Biomarker::Glucose, 300.0, Some((Normal, 0.99))), Verdict::Alert);
        assert_eq!(verdict(Biomarker::Crp, 0.0, Some((Normal, 0.99))), Verdict::Normal);
        assert_eq!(verdict(Biomarker::Glucose, 110.0, Some((Class::Borderline, 0.99))), Verdict::Caution);
        assert_eq!(verdict(Biomarker::Glucose, 35.0, Some((Normal, 1.0))), Verdict::Critical);
        assert_eq!(verdict(Biomarker::Glucose, 450.0, Some((Normal, 1.0))), Verdict::Critical);
    }

    #[test]
    fn a_missing_rule_is_uncertain_never_normal() {
        let model = Some((Class::Normal, 1.0));
        assert_eq!(verdict(Biomarker::Testosterone, 400.0, model), Verdict::Uncertain);
        assert_eq!(verdict(Biomarker::Glucose, -5.0, model), Verdict::Uncertain);
        assert_eq!(verdict(Biomarker::Glucose, f64::NAN, None), Verdict::Uncertain);
    }

    #[test]
    fn confidence_is_required_and_nonsense_counts_as_none() {
        assert_eq!(verdict(Biomarker::Tsh, 2.0, Some((Class::Normal, 0.85))), Verdict::Normal);
        for confidence in [0.849, f64::NAN, 7.0, -1.0] {
            assert_eq!(verdict(Biomarker::Tsh, 2.0, Some((Class::Normal, confidence))), Verdict::Uncertain);
        }
        assert_eq!(verdict(Biomarker::Tsh, 2.0, None), Verdict::Normal, "the rule alone can be content");
    }

    #[test]
    fn disagreement_takes_the_worse_and_asks_to_measure_again() {
        let opinion = ModelOpinion { class: Class::Normal, confidence: 0.95 };
        let judged = assess(Biomarker::HbA1c, 8.0, &Person::default(), Some(opinion), CONFIDENCE_MIN);
        assert_eq!((judged.verdict, judged.class, judged.remeasure), (Verdict::Alert, Class::Abnormal, true));
        let expected = Reason::Disagreement { model: Class::Normal, rule: Class::Abnormal };
        assert!(judged.reasons.contains(&expected), "{:?}", judged.reasons);
        assert_eq!(verdict(Biomarker::HbA1c, 5.0, Some((Class::Abnormal, 0.95))), Verdict::Alert);
        assert_eq!(verdict(Biomarker::HbA1c, 5.0, Some((Class::Abnormal, 0.5))), Verdict::Uncertain);
    }

    #[test]
    fn every_biomarker_is_covered_for_an_adult() {
        let person = Person::new(Some(40.0), Some(Sex::Female)).expect("valid person");
        for &biomarker in Biomarker::ALL {
            let (low, high) = biomarker.plausible();
            let judged = assess(biomarker, (low + high) / 2.0, &person, None, CONFIDENCE_MIN);
            assert!(judged.rule.is_some(), "{biomarker}");
        }
    }

    #[test]
    fn reasons_read_as_sentences() {
        let judged = assess(Biomarker::Glucose, 300.0, &Person::default(), None, CONFIDENCE_MIN);
        let text: Vec<String> = judged.reasons.iter().map(ToString::to_string).collect();
        assert!(text[0].starts_with("diabetes range at any time (ADA"), "{text:?}");
    }

    proptest! {
        #[test]
        fn the_verdict_is_never_milder_than_rule_or_model(
            index in 0..Biomarker::ALL.len(), value in -10.0f64..3000.0, sex in 0..3usize,
            class in 0..3usize, confidence in -0.5f64..1.5,
        ) {
            let biomarker = Biomarker::ALL[index];
            let person = Person::new(None, [None, Some(Sex::Female), Some(Sex::Male)][sex]).expect("valid");
            let class = [Class::Normal, Class::Borderline, Class::Abnormal][class];
            let opinion = ModelOpinion { class, confidence };
            let alone = assess(biomarker, value, &person, None, CONFIDENCE_MIN);
            let both = assess(biomarker, value, &person, Some(opinion), CONFIDENCE_MIN);
            prop_assert!(both.verdict >= alone.verdict && both.class >= alone.class && both.risk >= alone.risk);
            prop_assert!(both.class >= class);
            if both.rule.is_none() {
                prop_assert!(both.verdict >= Verdict::Uncertain && both.class != Class::Normal);
            }
            if both.verdict == Verdict::Normal {
                prop_assert!(both.class == Class::Normal && confidence >= CONFIDENCE_MIN);
            }
        }
    }
}
