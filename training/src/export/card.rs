//! `card.md`: what a model is for, what it was made from, what was measured, what it cannot do.
//!
//! It is written from the run and from nothing else, so no figure in it can be out of date.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, ensure};
use models::bundle::BundleConfig;
use models::calibration::{COHORT_CASES_MIN, Cohort, Cohorts, OfCohort};

use crate::data::Provenance;
use crate::evaluate::{EvalReport, Measure};
use crate::families::{Prepared, Spec};
use crate::optimise::Outcome;

/// Everything a card is written from.
pub(crate) struct Card<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) config: &'a BundleConfig,
    pub(crate) prepared: &'a Prepared,
    pub(crate) report: &'a EvalReport,
    pub(crate) outcome: &'a Outcome,
    pub(crate) cohorts: Option<&'a Cohorts>,
}

/// The text of the card.
///
/// # Errors
/// A card that would not say all that a reader has to know, naming what is missing.
pub(crate) fn write(card: &Card<'_>) -> Result<String> {
    let Card { spec, config, .. } = card;
    let missing = missing(spec, &card.prepared.provenance, &card.report.measures);
    ensure!(
        missing.is_empty(),
        "the card of `{}` is not complete, so no bundle is written; missing: {}",
        spec.name,
        missing.join("; ")
    );
    let mut text = format!("# {} {}\n\n{}\n", config.name, config.version, spec.intended_use);
    if spec.synthetic {
        text.push_str("\n**Synthetic: trained and measured on simulated data only.**\n");
    }
    for section in [data(card), measured(card.report), by_subgroup(card.report), limits(card), making(card)] {
        text.push('\n');
        text.push_str(&section);
    }
    Ok(text)
}

/// What a card has to say and these do not: intended use, data and licences, figures with intervals, limits.
fn missing(spec: &Spec, provenance: &[Provenance], measures: &[Measure]) -> Vec<String> {
    let mut missing = Vec::new();
    if !spec.intended_use.to_lowercase().contains("not for") {
        missing.push("an intended use that says what the model is not for".to_owned());
    }
    if spec.limits.iter().all(|limit| limit.trim().is_empty()) {
        missing.push("limits".to_owned());
    }
    if provenance.is_empty() {
        missing.push("where the data comes from".to_owned());
    }
    for Provenance { source, package: _, version, sha256, license_package, license_data, citation } in
        provenance
    {
        let said = [
            ("version", version),
            ("SHA-256", sha256),
            ("licence of the package", license_package),
            ("licence of the data", license_data),
            ("citation", citation),
        ];
        let absent = said.iter().filter(|(_, text)| text.trim().is_empty());
        missing.extend(absent.map(|(what, _)| format!("{what} of `{source}`")));
    }
    let parts: BTreeSet<Option<&str>> =
        measures.iter().map(|measure| measure.subgroup.as_deref()).chain([None]).collect();
    for part in parts {
        let mut of_part = measures.iter().filter(|measure| measure.subgroup.as_deref() == part);
        if !of_part.any(|measure| measure.low.is_some()) {
            let part = part.unwrap_or("the whole test set");
            missing.push(format!("a figure with its interval on {part}"));
        }
    }
    missing
}

fn data(card: &Card<'_>) -> String {
    let mut text = String::from("## Data\n\n");
    for p in &card.prepared.provenance {
        let _ = writeln!(text, "- {} {} (`{}`)", p.package, p.version, p.source);
        let _ = writeln!(
            text,
            "  - licence of the data: {}; of the package: {}",
            p.license_data, p.license_package
        );
        let _ = writeln!(text, "  - SHA-256 `{}`", p.sha256);
        let _ = writeln!(text, "  - {}", p.citation);
    }
    for dropped in card.prepared.dropped.iter().filter(|dropped| dropped.count > 0) {
        let _ = writeln!(text, "- left out: {} ({})", dropped.reason, dropped.count);
    }
    let parts = &card.prepared.parts;
    let _ = writeln!(
        text,
        "- rows: {} to fit on, {} to stop on, {} to calibrate on, {} to test on; test set: {}",
        parts.train.len(),
        parts.validation.len(),
        parts.calibration.len(),
        parts.test.len(),
        card.prepared.test_set
    );
    text.push_str("- the golden rows of this bundle are made up or simulated; no row of the data is in it\n");
    text
}

fn measured(report: &EvalReport) -> String {
    let mut text = String::from(
        "## Measured on the test set\n\n| figure | value | 95 % interval | baseline | rows |\n|---|---|---|---|---|\n",
    );
    for measure in report.measures.iter().filter(|m| m.subgroup.is_none()) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            measure.name,
            number(measure.value),
            interval(measure),
            beside(measure),
            measure.rows
        );
    }
    if report.measures.iter().any(|measure| measure.name == "turned_away") {
        text.push_str(
            "\n`turned_away` is the share of rows so unlike those learnt from that the model abstains: \
             false alarms, since these are rows like them.\n",
        );
    }
    if report.remarks.is_empty() {
        return text;
    }
    text.push('\n');
    report.remarks.iter().for_each(|remark| text.push_str(&format!("- {remark}\n")));
    text
}

fn by_subgroup(report: &EvalReport) -> String {
    let mut text = String::from("## By part of the test set (at least 30 rows)\n\n");
    let parts: Vec<&Measure> = report.measures.iter().filter(|m| m.subgroup.is_some()).collect();
    if parts.is_empty() {
        text.push_str("The rows carry neither age nor sex.\n");
        return text;
    }
    text.push_str("| part | figure | value | 95 % interval | baseline | rows |\n|---|---|---|---|---|---|\n");
    for measure in parts {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            measure.subgroup.as_deref().unwrap_or("-"),
            measure.name,
            number(measure.value),
            interval(measure),
            beside(measure),
            measure.rows
        );
    }
    text
}

fn limits(card: &Card<'_>) -> String {
    let mut text = String::from("## Limits\n\n- Reference information, not for diagnosis.\n");
    card.spec.limits.iter().for_each(|limit| text.push_str(&format!("- {limit}\n")));
    text
}

fn making(card: &Card<'_>) -> String {
    let lineage = &card.config.lineage;
    format!(
        "## How it was made\n\n`{}`\n\n{} epochs, best after {} (validation figure {}). Intervals are percentile \
         bootstraps over people, or rows where rows are independent; prediction intervals and sets are \
         split-conformal, at 90 % where nothing else is said, fitted on the calibration rows{}.\n",
        lineage.trained_with,
        card.outcome.epochs,
        card.outcome.best_epoch,
        number(card.outcome.best),
        within(card.cohorts)
    )
}

/// Where sets and intervals were fitted apart.
fn within(cohorts: Option<&Cohorts>) -> String {
    let Some(cohorts) = cohorts else { return String::new() };
    let named = |of: &OfCohort| {
        let Cohort { male, age_from, age_to } = of.cohort;
        format!("{} of {age_from} to {age_to} ({})", if male { "men" } else { "women" }, of.n)
    };
    let named: Vec<String> = cohorts.all().iter().map(named).collect();
    format!(", and apart for those with at least {COHORT_CASES_MIN} of them: {}", named.join(", "))
}

fn beside(measure: &Measure) -> String {
    let methods: Vec<String> =
        measure.beside().map(|(name, value)| format!("{} ({name})", number(value))).collect();
    if methods.is_empty() { "-".to_owned() } else { methods.join(", ") }
}

fn interval(measure: &Measure) -> String {
    match (measure.low, measure.high) {
        (Some(low), Some(high)) => format!("{} to {}", number(low), number(high)),
        (None, _) | (_, None) => "-".to_owned(),
    }
}

/// Four digits after the point below ten, two above.
fn number(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.4}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> EvalReport {
        EvalReport {
            model: "m".into(),
            version: "v".into(),
            family: "biomarker".into(),
            task: "t".into(),
            synthetic: false,
            test_set: "100 rows".into(),
            rows: 100,
            measures: vec![
                Measure::new("auroc", 0.91234, 100)
                    .between(Some((0.9, 0.95)))
                    .against("age alone", Some(0.8)),
                Measure::new("auroc", 0.88, 40).within("sex=female"),
            ],
            remarks: vec!["The aim was missed.".into()],
            plots: vec![],
        }
    }

    #[test]
    fn figures_stand_with_interval_and_baseline() {
        let text = measured(&report());
        assert!(text.contains("| auroc | 0.9123 | 0.9000 to 0.9500 | 0.8000 (age alone) | 100 |"), "{text}");
        assert!(text.contains("- The aim was missed."));
        assert!(!text.contains("0.8800"), "parts stand in their own table");
    }

    #[test]
    fn cohorts_with_figures_of_their_own_are_named_and_abstaining_is_explained() {
        let cases = vec![(Cohort::of(Some(50.0), Some(true)), ()); 60];
        let cohorts = Cohorts::fit(&cases, |_| Some(vec![0.5]));
        let said = within(cohorts.as_ref());
        assert!(said.ends_with("at least 50 of them: men of 40 to 60 (60)"), "{said}");
        assert_eq!(within(None), "");
        assert!(!measured(&report()).contains("abstains"));
        let mut with = report();
        with.measures.push(Measure::new("turned_away", 0.004, 100));
        assert!(measured(&with).contains("abstains"));
    }

    #[test]
    fn parts_stand_in_their_own_table() {
        assert!(by_subgroup(&report()).contains("| sex=female | auroc | 0.8800 | - | - | 40 |"));
        let whole = EvalReport { measures: vec![], ..report() };
        assert!(by_subgroup(&whole).contains("neither age nor sex"));
    }

    #[test]
    fn a_card_without_what_a_reader_has_to_know_is_refused_by_name() {
        let spec = || Spec {
            name: "m",
            version: "v",
            family: models::bundle::Family::Biomarker,
            task: "t",
            intended_use: "For orientation. Not for diagnosis.",
            synthetic: false,
            limits: &["One laboratory."],
            rows_max: 1,
        };
        let provenance = || Provenance {
            source: "thyroid".into(),
            package: "p".into(),
            version: "1".into(),
            sha256: "aa".into(),
            license_package: "MIT".into(),
            license_data: "CC BY 4.0".into(),
            citation: "c".into(),
        };
        let figure = || Measure::new("auroc", 0.9, 100).between(Some((0.8, 0.95)));
        assert_eq!(missing(&spec(), &[provenance()], &[figure()]), [""; 0]);
        let mute = Spec { intended_use: "For everything.", limits: &[], ..spec() };
        let said = missing(&mute, &[], &[]).join("; ");
        for what in ["intended use", "limits", "where the data comes from", "the whole test set"] {
            assert!(said.contains(what), "{what}: {said}");
        }
        let bare = Provenance { license_data: " ".into(), ..provenance() };
        assert_eq!(missing(&spec(), &[bare], &[figure()]), ["licence of the data of `thyroid`"]);
        let part = Measure::new("auroc", 0.9, 40).within("sex=female");
        let said = missing(&spec(), &[provenance()], &[figure(), part]);
        assert_eq!(said, ["a figure with its interval on sex=female"]);
    }

    #[test]
    fn numbers_are_as_long_as_they_need() {
        assert_eq!([number(0.5), number(15.234), number(-3.0)], ["0.5000", "15.23", "-3.0000"]);
    }
}
