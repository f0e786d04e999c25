//! `card.md`: what a model is for, what it was made from, what was measured, what it cannot do.
//!
//! It is written from the run and from nothing else, so no figure in it can be out of date.

use std::fmt::Write as _;

use models::bundle::BundleConfig;

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
}

/// The text of the card.
pub(crate) fn write(card: &Card<'_>) -> String {
    let Card { spec, config, .. } = card;
    let mut text = format!("# {} {}\n\n{}\n", config.name, config.version, spec.intended_use);
    if spec.synthetic {
        text.push_str("\n**Synthetic: trained and measured on simulated data only.**\n");
    }
    for section in [data(card), measured(card.report), by_subgroup(card.report), limits(card), making(card)] {
        text.push('\n');
        text.push_str(&section);
    }
    text
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
        let baseline = match (&measure.baseline, &measure.baseline_name) {
            (Some(value), Some(name)) => format!("{} ({name})", number(*value)),
            (Some(_), None) | (None, _) => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {baseline} | {} |",
            measure.name,
            number(measure.value),
            interval(measure),
            measure.rows
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
    text.push_str("| part | figure | value | interval | baseline | rows |\n|---|---|---|---|---|---|\n");
    for measure in parts {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            measure.subgroup.as_deref().unwrap_or("-"),
            measure.name,
            number(measure.value),
            interval(measure),
            measure.baseline.map_or_else(|| "-".to_owned(), number),
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
         split-conformal, at 90 % where nothing else is said, fitted on the calibration rows.\n",
        lineage.trained_with,
        card.outcome.epochs,
        card.outcome.best_epoch,
        number(card.outcome.best)
    )
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
    fn parts_stand_in_their_own_table() {
        assert!(by_subgroup(&report()).contains("| sex=female | auroc | 0.8800 | - | - | 40 |"));
        let whole = EvalReport { measures: vec![], ..report() };
        assert!(by_subgroup(&whole).contains("neither age nor sex"));
    }

    #[test]
    fn numbers_are_as_long_as_they_need() {
        assert_eq!([number(0.5), number(15.234), number(-3.0)], ["0.5000", "15.23", "-3.0000"]);
    }
}
