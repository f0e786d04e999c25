//! A panel as a caller sends it, through units, ranges and the safety validator.

use clinical::biomarker::Biomarker;
use clinical::finding::Finding;
use clinical::panel::{Panel, PanelBuilder, PanelError};
use clinical::person::{Person, Sex};
use clinical::range::{Class, RiskLevel, classify, decision_limits, reference_range};
use clinical::safety::{CONFIDENCE_MIN, Verdict, assess};
use clinical::unit::Unit;

fn person(age: f64, sex: Sex) -> Person {
    Person::new(Some(age), Some(sex)).expect("valid person")
}

fn panel(person: Person, values: &[(&str, f64, &str)]) -> Result<Panel, PanelError> {
    let fold = |builder: PanelBuilder, &(code, value, unit): &(&str, f64, &str)| {
        let biomarker = Biomarker::from_code(code).expect("known code");
        builder.value(biomarker, value, Unit::from_ucum(unit).expect("known unit"))
    };
    values.iter().try_fold(Panel::builder(person), fold)?.build()
}

fn verdicts(panel: &Panel) -> Vec<(Biomarker, Verdict)> {
    let judge = |(&biomarker, &value)| {
        (biomarker, assess(biomarker, value, panel.person(), None, CONFIDENCE_MIN).verdict)
    };
    panel.values().iter().map(judge).collect()
}

#[test]
fn an_overt_hypothyroid_panel_in_molar_units() {
    let values = [
        ("tsh", 60.0, "mIU/L"),
        ("total_t4", 30.0, "nmol/L"),
        ("t3", 0.8, "nmol/L"),
        ("t4_uptake", 1.0, "1"),
    ];
    let panel = panel(person(55.0, Sex::Female), &values).expect("valid panel");
    assert_eq!(
        verdicts(&panel),
        [
            (Biomarker::Tsh, Verdict::Alert),
            (Biomarker::T3, Verdict::Alert),
            (Biomarker::TotalT4, Verdict::Alert),
            (Biomarker::T4Uptake, Verdict::Normal),
        ]
    );
}

#[test]
fn a_metabolic_adult_in_mixed_units() {
    let values = [
        ("hba1c", 44.0, "mmol/mol"),
        ("total_cholesterol", 5.5, "mmol/L"),
        ("systolic_bp", 145.0, "mmHg"),
        ("waist", 41.0, "in"),
        ("bmi", 31.0, "kg/m²"),
    ];
    let panel = panel(person(60.0, Sex::Male), &values).expect("valid panel");
    let class = |b| classify(b, panel.value(b).expect("sent"), panel.person()).expect("rule").class;
    assert_eq!(class(Biomarker::HbA1c), Class::Borderline);
    assert_eq!(class(Biomarker::TotalCholesterol), Class::Borderline);
    assert_eq!(class(Biomarker::SystolicBp), Class::Abnormal);
    assert_eq!(class(Biomarker::Waist), Class::Abnormal);
    assert_eq!(class(Biomarker::Bmi), Class::Abnormal);
}

#[test]
fn a_wrong_panel_names_the_field_and_the_reason() {
    let refused = |code, value, unit| {
        let error = panel(Person::default(), &[(code, value, unit)]).expect_err("must be refused");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {source}")
    };
    let text = refused("glucose", -5.0, "mg/dL");
    assert!(text.contains("'glucose'") && text.contains("expected 1 to 2000 mg/dL"), "{text}");
    let text = refused("hba1c", 6.0, "mg/dL");
    assert!(text.contains("'hba1c'") && text.contains("mmol/mol"), "{text}");
    let text = refused("tsh", f64::INFINITY, "m[IU]/L");
    assert!(text.contains("not a finite number"), "{text}");
}

#[test]
fn findings_and_values_are_known_by_code() {
    let builder = Panel::builder(Person::default()).value(Biomarker::Tsh, 2.0, Unit::MilliIuPerL);
    let panel = builder
        .and_then(|b| b.finding(Finding::from_code("on_thyroxine").expect("known"), true))
        .and_then(PanelBuilder::build)
        .expect("valid panel");
    assert_eq!(panel.findings().len(), 1);
    assert_eq!(panel.finding(Finding::OnThyroxine), Some(true));
}

/// The fourteen cartridge biomarkers, each a little and far beyond both ends of its range.
#[test]
fn no_value_outside_the_range_of_a_cartridge_biomarker_is_normal() {
    for cartridge in clinical::cartridge::Cartridge::all() {
        for &biomarker in cartridge.analytes {
            for sex in [Sex::Female, Sex::Male] {
                let person = person(40.0, sex);
                let range = reference_range(biomarker, &person).expect("adults have a range");
                let low = range.low.into_iter().flat_map(|low| [low * 0.98, low * 0.5]);
                let high = range.high.into_iter().flat_map(|high| [high * 1.02, high * 3.0]);
                for value in low.chain(high) {
                    let judged = assess(biomarker, value, &person, None, CONFIDENCE_MIN);
                    assert!(judged.verdict > Verdict::Normal, "{biomarker} {value}");
                }
            }
        }
    }
}

#[test]
fn every_source_is_named_and_every_answer_carries_it() {
    for &biomarker in Biomarker::ALL {
        for limit in decision_limits(biomarker) {
            assert!(limit.source.contains(char::is_numeric), "{biomarker}: guideline and year");
        }
        let middle = reference_range(biomarker, &person(40.0, Sex::Male)).expect("adults have a range");
        let value = match (middle.low, middle.high) {
            (Some(low), Some(high)) => (low + high) / 2.0,
            (Some(low), None) => low * 1.2,
            (None, Some(high)) => high * 0.9,
            (None, None) => panic!("an empty range"),
        };
        let banded = classify(biomarker, value, &person(40.0, Sex::Male)).expect("rule");
        assert_eq!((banded.class, banded.risk), (Class::Normal, RiskLevel::Low), "{biomarker} {value}");
        assert!(!banded.source.is_empty() && banded.range == Some(middle));
    }
}
