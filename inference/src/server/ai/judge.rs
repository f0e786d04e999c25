//! What answers mean for the person: values and classes against the rules of `clinical::safety`, the worse of model
//! and rule.

use clinical::{
    Biomarker, Class, Panel, Person,
    range::{Banded, classify},
    safety::{self, CONFIDENCE_MIN, ModelOpinion, SafetyVerdict},
};
use models::{calibration::Interval, family::sensor::Predicted};
use proto::manpasik::v1 as wire;

use super::write;

/// Points of an interval at which its class is looked up.
const INTERVAL_POINTS: u32 = 41;

/// A value that the request carried, judged by the rules alone.
pub(super) fn given(biomarker: Biomarker, value: f64, person: &Person) -> wire::BiomarkerResult {
    let judged = safety::assess(biomarker, value, person, None, CONFIDENCE_MIN);
    let rules = wire::ModelReference {
        name: "clinical-rules".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..Default::default()
    };
    let confidence = if judged.rule.is_some() { 1.0 } else { 0.0 };
    result(biomarker, value, person, &judged, confidence, rules)
}

/// A value that a model predicted: the model's opinion is the class of its value, as sure as its interval is inside
/// that class.
pub(super) fn predicted(
    predicted: Predicted,
    person: &Person,
    model: &wire::ModelReference,
) -> wire::BiomarkerResult {
    let Predicted { biomarker, value, interval, explanation, beyond: other } = predicted;
    let (judged, confidence) = of_interval(biomarker, value, interval, person);
    wire::BiomarkerResult {
        interval: Some(write::interval(interval)),
        explanation: explanation.map(write::explanation),
        ..unless_beyond(result(biomarker, value, person, &judged, confidence, model.clone()), &other)
    }
}

/// The result, its verdict that of an abstention where the sweep was unlike all the model has seen.
fn unless_beyond(result: wire::BiomarkerResult, channels: &[String]) -> wire::BiomarkerResult {
    let safety = result.safety.map(|safety| match channels {
        [] => safety,
        [..] => beyond(safety, channels),
    });
    wire::BiomarkerResult { safety, ..result }
}

fn result(
    biomarker: Biomarker,
    value: f64,
    person: &Person,
    judged: &SafetyVerdict,
    confidence: f64,
    model: wire::ModelReference,
) -> wire::BiomarkerResult {
    wire::BiomarkerResult {
        quantity: Some(write::quantity(biomarker, value)),
        interval: None,
        classification: write::class(judged.class).into(),
        risk: write::risk(judged.risk).into(),
        reference_range: write::range(biomarker, person),
        interpretation: judged.rule.map_or_else(String::new, |rule| rule.interpretation.code().into()),
        confidence,
        safety: Some(write::safety(judged, None)),
        model: Some(model),
        explanation: None,
    }
}

/// Judges a value with an interval; also gives the confidence of its class: the coverage of the interval times the
/// share of it that lies in the class, which is on the careful side.
pub(super) fn of_interval(
    biomarker: Biomarker,
    value: f64,
    interval: Interval,
    person: &Person,
) -> (SafetyVerdict, f64) {
    let class_of = |value: f64| classify(biomarker, value, person).map(|banded| banded.class);
    let Some(class) = class_of(value) else {
        return (safety::assess(biomarker, value, person, None, CONFIDENCE_MIN), 0.0);
    };
    let step = (interval.high - interval.low) / f64::from(INTERVAL_POINTS - 1);
    let same =
        (0..INTERVAL_POINTS).filter(|i| class_of(interval.low + step * f64::from(*i)) == Some(class)).count();
    let confidence = interval.coverage * same as f64 / f64::from(INTERVAL_POINTS);
    let opinion = ModelOpinion { class, confidence };
    (safety::assess(biomarker, value, person, Some(opinion), CONFIDENCE_MIN), confidence)
}

/// Judges a classifier's label against the rules for the values that decide its question. Without any of them there
/// is no rule, and the verdict is uncertain.
pub(super) fn of_label(task: &str, label: &str, probability: f64, panel: &Panel) -> wire::SafetyVerdict {
    let opinion = ModelOpinion { class: class_of_label(label), confidence: probability };
    let deciding = deciding(task);
    let judge = |biomarker: Biomarker, value: f64| {
        let opinion = agreed(opinion, label, classify(biomarker, value, panel.person()));
        let judged = safety::assess(biomarker, value, panel.person(), Some(opinion), CONFIDENCE_MIN);
        (judged, biomarker)
    };
    let values = panel.values().iter().filter(|(biomarker, _)| deciding.contains(biomarker));
    match values
        .map(|(biomarker, value)| judge(*biomarker, *value))
        .max_by_key(|(judged, _)| (judged.verdict, judged.risk))
    {
        Some((judged, biomarker)) => write::safety(&judged, Some(biomarker)),
        None => wire::SafetyVerdict {
            verdict: wire::Verdict::Uncertain.into(),
            classification: write::class(opinion.class.max(Class::Borderline)).into(),
            risk: wire::RiskLevel::Moderate.into(),
            reasons: vec![format!(
                "no rule could check the model: the panel has none of {}",
                deciding.iter().map(|biomarker| biomarker.code()).collect::<Vec<_>>().join(", ")
            )],
        },
    }
}

/// The verdict on a case of which `inputs` are unlike all that the model has seen: never milder than uncertain. Without
/// any it stays.
pub(super) fn beyond(mut verdict: wire::SafetyVerdict, inputs: &[String]) -> wire::SafetyVerdict {
    if inputs.is_empty() {
        return verdict;
    }
    if matches!(
        verdict.verdict(),
        wire::Verdict::Unspecified | wire::Verdict::Normal | wire::Verdict::Caution
    ) {
        verdict.set_verdict(wire::Verdict::Uncertain);
    }
    let reason = format!("unlike anything the model was measured on, so it abstains: {}", inputs.join(", "));
    verdict.reasons.push(reason);
    verdict
}

/// Biomarkers whose decision limits answer the question of a classifier.
fn deciding(task: &str) -> &'static [Biomarker] {
    match task {
        "thyroid_state" => &[Biomarker::Tsh, Biomarker::T3, Biomarker::TotalT4, Biomarker::FreeT4Index],
        "diabetes" => &[Biomarker::HbA1c, Biomarker::FastingGlucose, Biomarker::Glucose],
        "cardiovascular_history" => {
            &[Biomarker::SystolicBp, Biomarker::DiastolicBp, Biomarker::TotalCholesterol, Biomarker::Ldl]
        }
        _ => Biomarker::ALL,
    }
}

/// "No disease" says nothing against a borderline value: the label has no third class to choose.
fn agreed(opinion: ModelOpinion, label: &str, rule: Option<Banded>) -> ModelOpinion {
    let borderline = rule.is_some_and(|rule| rule.class == Class::Borderline);
    let class = if borderline && label.starts_with("no_") { Class::Borderline } else { opinion.class };
    ModelOpinion { class, ..opinion }
}

/// What a label means; one that is not known to be harmless counts as abnormal.
fn class_of_label(label: &str) -> Class {
    match label {
        "normal"
        | "negative"
        | "euthyroid"
        | "none"
        | "no"
        | "no_diabetes"
        | "no_diabetes_diagnosis"
        | "no_cardiovascular_event"
        | "healthy" => Class::Normal,
        "prediabetes" | "borderline" => Class::Borderline,
        _ => Class::Abnormal,
    }
}

/// The worst verdict of the rules over every value of a panel, with the reasons of all values outside normal.
pub(super) fn of_panel(panel: &Panel) -> wire::SafetyVerdict {
    let judge = |(biomarker, value): (&Biomarker, &f64)| {
        let mut judged = safety::assess(*biomarker, *value, panel.person(), None, CONFIDENCE_MIN);
        judged.reasons.retain(|reason| *reason != safety::Reason::RuleOnly);
        (judged, *biomarker)
    };
    let all: Vec<_> = panel.values().iter().map(judge).collect();
    let worst = all.iter().max_by_key(|(judged, _)| (judged.verdict, judged.risk));
    let told = worst.map_or_else(Default::default, |(judged, _)| write::safety(judged, None));
    let reasons = all.iter().flat_map(|(judged, biomarker)| write::safety(judged, Some(*biomarker)).reasons);
    wire::SafetyVerdict { reasons: reasons.collect(), ..told }
}

/// Adds that a detector found a case unlike the normal ones. It knows no rule, so it can only make a verdict worse.
pub(super) fn with_anomaly(mut told: wire::SafetyVerdict, anomalous: bool) -> wire::SafetyVerdict {
    if anomalous {
        told.reasons.push("unlike the normal cases the model was trained on: measure again".into());
        if matches!(
            told.verdict(),
            wire::Verdict::Unspecified | wire::Verdict::Normal | wire::Verdict::Caution
        ) {
            told.set_verdict(wire::Verdict::Uncertain);
            told.set_classification(wire::Classification::Borderline);
        }
    }
    told
}

/// The verdict on a sensor sweep, for which no clinical rule exists.
pub(super) fn of_sweep(anomalous: bool) -> wire::SafetyVerdict {
    let fine = wire::SafetyVerdict {
        verdict: wire::Verdict::Normal.into(),
        classification: wire::Classification::Normal.into(),
        risk: wire::RiskLevel::Low.into(),
        reasons: vec!["about the signal only, not about health".into()],
    };
    with_anomaly(fine, anomalous)
}

#[cfg(test)]
mod tests {
    use clinical::{Sex, panel::PanelBuilder};

    use super::*;

    fn panel(biomarker: Biomarker, value: f64) -> Panel {
        let person = Person::new(Some(50.0), Some(Sex::Male)).expect("valid");
        let built = Panel::builder(person).value(biomarker, value, biomarker.unit());
        built.and_then(PanelBuilder::build).expect("valid")
    }

    #[test]
    fn a_model_cannot_talk_a_rule_away() {
        let told = of_label("diabetes", "normal", 0.99, &panel(Biomarker::HbA1c, 9.0));
        assert!(matches!(told.verdict(), wire::Verdict::Alert | wire::Verdict::Critical));
        assert!(told.reasons.iter().any(|reason| reason.contains("model says normal")));
    }

    #[test]
    fn without_a_deciding_value_nothing_is_normal() {
        let told = of_label("diabetes", "normal", 0.99, &panel(Biomarker::Bmi, 22.0));
        assert_eq!(told.verdict(), wire::Verdict::Uncertain);
        assert!(told.reasons[0].contains("hba1c"));
    }

    #[test]
    fn confidence_falls_near_a_limit() {
        let person = Person::default();
        let around = |value: f64| {
            let interval = Interval { low: value - 8.0, high: value + 8.0, coverage: 0.9 };
            of_interval(Biomarker::FastingGlucose, value, interval, &person).1
        };
        assert!((around(85.0) - 0.9).abs() < 1e-9);
        assert!(around(99.0) < 0.7);
    }

    #[test]
    fn given_values_are_judged_on_both_sides() {
        for (value, expected) in [(300.0, "H"), (90.0, "N"), (20.0, "LL")] {
            let judged = given(Biomarker::Glucose, value, &Person::default());
            assert!(judged.interpretation.starts_with(expected), "{value}: {}", judged.interpretation);
            assert!(judged.model.is_some_and(|model| !model.version.is_empty()));
        }
    }

    #[test]
    fn the_worst_value_of_a_panel_decides_and_each_unusual_one_is_named() {
        let person = Person::new(Some(50.0), Some(Sex::Male)).expect("valid");
        let values = [(Biomarker::HbA1c, 9.0), (Biomarker::Bmi, 33.0), (Biomarker::Hdl, 50.0)];
        let builder = values.iter().try_fold(Panel::builder(person), |b, (m, v)| b.value(*m, *v, m.unit()));
        let told = of_panel(&builder.and_then(PanelBuilder::build).expect("valid"));
        assert_eq!((told.verdict(), told.risk()), (wire::Verdict::Alert, wire::RiskLevel::High));
        let named = |code: &str| told.reasons.iter().any(|reason| reason.starts_with(code));
        assert!(named("hba1c: ") && named("bmi: ") && !named("hdl"), "{:?}", told.reasons);
    }

    #[test]
    fn an_anomaly_only_makes_it_worse() {
        let worst = with_anomaly(of_panel(&panel(Biomarker::Glucose, 20.0)), true);
        assert_eq!(worst.verdict(), wire::Verdict::Critical);
        assert_eq!(of_sweep(true).verdict(), wire::Verdict::Uncertain);
        assert_eq!(of_sweep(false).verdict(), wire::Verdict::Normal);
    }
}
