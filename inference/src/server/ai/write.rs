//! Answers of the domain as messages.

use clinical::{Biomarker, Class, Person, RiskLevel, Unit, range::reference_range, safety};
use models::{
    calibration::Interval,
    explain::{Contribution, Explanation},
};
use proto::manpasik::v1 as wire;

pub(super) fn quantity(biomarker: Biomarker, value: f64) -> wire::Quantity {
    wire::Quantity {
        value,
        unit: biomarker.unit().ucum().into(),
        loinc: biomarker.loinc().into(),
        name: biomarker.code().into(),
    }
}

/// A number without a LOINC code.
pub(super) fn plain(name: &str, value: f64, unit: Unit) -> wire::Quantity {
    wire::Quantity { value, unit: unit.ucum().into(), loinc: String::new(), name: name.into() }
}

pub(super) fn interval(interval: Interval) -> wire::Interval {
    let Interval { low, high, coverage } = interval;
    wire::Interval { low, high, coverage }
}

pub(super) fn explanation(explanation: Explanation) -> wire::Explanation {
    let Explanation { method, output, base_value, contributions } = explanation;
    let contribution = |part: Contribution| {
        let Contribution { feature, loinc, value, unit, contribution } = part;
        wire::Contribution { feature, loinc, value, unit, contribution }
    };
    wire::Explanation {
        method: method.code().into(),
        output,
        base_value,
        contributions: contributions.into_iter().map(contribution).collect(),
    }
}

pub(super) fn class(class: Class) -> wire::Classification {
    match class {
        Class::Normal => wire::Classification::Normal,
        Class::Borderline => wire::Classification::Borderline,
        Class::Abnormal => wire::Classification::Abnormal,
    }
}

pub(super) fn risk(risk: RiskLevel) -> wire::RiskLevel {
    match risk {
        RiskLevel::Low => wire::RiskLevel::Low,
        RiskLevel::Moderate => wire::RiskLevel::Moderate,
        RiskLevel::High => wire::RiskLevel::High,
        RiskLevel::Critical => wire::RiskLevel::Critical,
    }
}

fn verdict(verdict: safety::Verdict) -> wire::Verdict {
    match verdict {
        safety::Verdict::Normal => wire::Verdict::Normal,
        safety::Verdict::Caution => wire::Verdict::Caution,
        safety::Verdict::Uncertain => wire::Verdict::Uncertain,
        safety::Verdict::Alert => wire::Verdict::Alert,
        safety::Verdict::Critical => wire::Verdict::Critical,
    }
}

/// `about` stands before each reason when the verdict is on more than one value.
pub(super) fn safety(judged: &safety::SafetyVerdict, about: Option<Biomarker>) -> wire::SafetyVerdict {
    let reason = |reason: &safety::Reason| match about {
        Some(biomarker) => format!("{}: {reason}", biomarker.code()),
        None => reason.to_string(),
    };
    wire::SafetyVerdict {
        verdict: verdict(judged.verdict).into(),
        classification: class(judged.class).into(),
        risk: risk(judged.risk).into(),
        reasons: judged.reasons.iter().map(reason).collect(),
    }
}

pub(super) fn range(biomarker: Biomarker, person: &Person) -> Option<wire::ReferenceRange> {
    let found = reference_range(biomarker, person)?;
    Some(wire::ReferenceRange {
        low: found.low,
        high: found.high,
        unit: found.unit.ucum().into(),
        source: found.source.into(),
    })
}

pub(in crate::server) fn warning(code: &str, message: impl Into<String>, field: &str) -> wire::Warning {
    wire::Warning { code: code.into(), message: message.into(), field: field.into() }
}

/// The warning that a model trained on simulated data took part.
pub(super) fn synthetic(model: &wire::ModelReference) -> Option<wire::Warning> {
    model.trained_on_synthetic_data.then(|| {
        let text = format!(
            "model {} was trained on simulated measurements; its figures say how well it does there",
            model.name
        );
        warning("synthetic_model", text, "")
    })
}

/// The warning that inputs were missing, which widens intervals and lowers confidence.
pub(super) fn missing(model: &str, inputs: &[String]) -> Option<wire::Warning> {
    (!inputs.is_empty()).then(|| {
        warning("missing_inputs", format!("{model} answered without {}", inputs.join(", ")), "panel")
    })
}

/// The warning that a case is unlike all that the model has seen, so that it abstains.
pub(super) fn beyond(model: &str, inputs: &[String], field: &str) -> Option<wire::Warning> {
    (!inputs.is_empty()).then(|| {
        let text = format!(
            "{model} abstains: {} lie further from anything it was measured on than it should answer for",
            inputs.join(", ")
        );
        warning("out_of_distribution", text, field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_keeps_its_unit_and_code() {
        let glucose = quantity(Biomarker::Glucose, 99.0);
        assert_eq!((glucose.unit.as_str(), glucose.loinc.as_str()), ("mg/dL", "2345-7"));
        assert_eq!(plain("portion", 30.0, Unit::Gram).unit, "g");
    }

    #[test]
    fn a_critical_value_stays_critical_on_the_wire() {
        let judged = safety::assess(Biomarker::Glucose, 20.0, &Person::default(), None, 0.85);
        let told = safety(&judged, Some(Biomarker::Glucose));
        assert_eq!(told.verdict(), wire::Verdict::Critical);
        assert!(told.reasons.iter().all(|reason| reason.starts_with("glucose: ")));
    }

    #[test]
    fn warnings_appear_only_when_there_is_something_to_warn_of() {
        let mut model = wire::ModelReference { name: "m".into(), ..Default::default() };
        assert!(synthetic(&model).is_none() && missing("m", &[]).is_none());
        model.trained_on_synthetic_data = true;
        assert_eq!(synthetic(&model).map(|w| w.code).as_deref(), Some("synthetic_model"));
        assert!(beyond("m", &[], "panel").is_none());
        let far = beyond("m", &["tsh".into()], "panel").expect("told");
        assert_eq!((far.code.as_str(), far.field.as_str()), ("out_of_distribution", "panel"));
        assert!(missing("m", &["tsh".into()]).is_some_and(|w| w.message.ends_with("tsh")));
    }
}
