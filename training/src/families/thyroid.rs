//! Thyroid state of a panel: negative, hypothyroid or hyperthyroid.
//!
//! The flags of the request form are inputs too, but most callers will not send them: in training all of
//! them are hidden in a third of the rows, and single values in others.

use std::collections::BTreeSet;

use anyhow::Result;
use clinical::{Biomarker as B, Finding as F, Unit};
use models::bundle::{ClassifierConfig, Family, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Part};
use rand_chacha::ChaCha8Rng;

use super::classify::{self, Hiding};
use super::columns::{Column, Panels, canonical};
use super::forest;
use super::golden;
use super::matrix::Matrix;
use super::out_of_fold::{Question, Wanted};
use super::parts::Parts;
use super::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use super::rivals;
use super::runner::Runner;
use super::trainee::{Trainee, body};
use crate::boosting;
use crate::data::thyroid::{ThyroidClass, ThyroidRow};
use crate::data::{Fractions, Sex, thyroid};
use crate::evaluate::Measure;
use crate::optimise::{Outcome, Plan};

pub(crate) const LABS: [B; 6] = [B::Tsh, B::T3, B::TotalT4, B::T4Uptake, B::FreeT4Index, B::Tbg];

/// Findings and the names of their flags in the data.
const FINDINGS: [(F, &str); 14] = [
    (F::OnThyroxine, "on_thyroxine"),
    (F::QueryOnThyroxine, "query_on_thyroxine"),
    (F::OnAntithyroid, "on_antithyroid_meds"),
    (F::Sick, "sick"),
    (F::Pregnant, "pregnant"),
    (F::ThyroidSurgery, "thyroid_surgery"),
    (F::I131Treatment, "I131_treatment"),
    (F::QueryHypothyroid, "query_hypothyroid"),
    (F::QueryHyperthyroid, "query_hyperthyroid"),
    (F::Lithium, "lithium"),
    (F::Goitre, "goitre"),
    (F::Tumor, "tumor"),
    (F::Hypopituitary, "hypopituitary"),
    (F::Psych, "psych"),
];

/// The trees beside the network.
const BOOST: boosting::Plan = boosting::Plan {
    steps: 300,
    rate: 0.03,
    leaves_max: 15,
    rows_min: 20,
    ridge: 0.0,
    columns: 1.0,
    seed: 0,
};
const LABELS: [&str; 3] = ["negative", "hypothyroid", "hyperthyroid"];

/// The recipe.
pub(crate) struct Thyroid;

/// Age, sex, the six values, the fourteen flags.
fn columns() -> Vec<Column> {
    let mut columns = vec![Column::Age, Column::SexMale];
    columns.extend(LABS.map(Column::Marker));
    columns.extend(FINDINGS.map(|(finding, _)| Column::Finding(finding)));
    columns
}

/// What a row of the data says about a column, canonical units.
pub(crate) fn cell(row: &ThyroidRow, column: Column) -> Option<f64> {
    match column {
        Column::Age => Some(row.age_years),
        Column::SexMale => row.sex.map(|sex| f64::from(u8::from(sex == Sex::Male))),
        Column::Marker(B::Tsh) => canonical(B::Tsh, row.tsh_miu_l, Unit::MilliIuPerL),
        Column::Marker(B::T3) => canonical(B::T3, row.t3_nmol_l, Unit::NmolPerL),
        Column::Marker(B::TotalT4) => canonical(B::TotalT4, row.tt4_nmol_l, Unit::NmolPerL),
        Column::Marker(B::T4Uptake) => canonical(B::T4Uptake, row.t4u_ratio, Unit::One),
        Column::Marker(B::FreeT4Index) => canonical(B::FreeT4Index, row.fti, Unit::NmolPerL),
        Column::Marker(B::Tbg) => canonical(B::Tbg, row.tbg_mg_l, Unit::MgPerL),
        Column::Marker(_) => None,
        Column::Finding(finding) => {
            let flag = FINDINGS.iter().find(|(known, _)| *known == finding)?.1;
            Some(f64::from(u8::from(row.flag(flag))))
        }
    }
}

/// Whom a row belongs to.
pub(crate) fn person(row: &ThyroidRow) -> Person {
    let male = row.sex.map(|sex| sex == Sex::Male);
    Person { group: row.record, age_years: Some(row.age_years), male }
}

fn class_of(row: &ThyroidRow) -> Option<usize> {
    match row.class() {
        ThyroidClass::Negative => Some(0),
        ThyroidClass::Hypo => Some(1),
        ThyroidClass::Hyper => Some(2),
        ThyroidClass::Other => None,
    }
}

impl Recipe for Thyroid {
    fn spec(&self) -> Spec {
        Spec {
            name: "thyroid",
            version: "MPS-THYROID-v1.2.0-FP32",
            family: Family::Biomarker,
            task: "thyroid_state",
            intended_use: "Reads a thyroid panel of an adult as negative, hypothyroid or hyperthyroid for \
                           orientation. Not for diagnosis.",
            synthetic: false,
            limits: &[
                "The panels are of one laboratory in Sydney, 1984-1987; assays have changed since.",
                "Panels with other comments only (binding protein, replacement therapy, general illness, discordant \
                 assays) are neither trained on nor tested; of two alternatives the thyroid one counts.",
                "Free T4 is not an input; the free thyroxine index is.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        classify::panel_signature(columns().len(), LABELS.len())
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Classifier(ClassifierConfig {
            inputs: columns().len(),
            masked: true,
            outputs: LABELS.len(),
            body: body(&[64, 64], 8),
            forest: Some(forest::config(&BOOST, LABELS.len(), 0.9)),
        })
    }

    fn prepare(&self, context: &Context, _seed: u64) -> Result<Prepared> {
        let dataset = thyroid::load(&context.store)?;
        let mut panels = Panels::new(&columns());
        dataset.rows.iter().for_each(|row| panels.push(|column| cell(row, column)));
        let classes: Vec<Option<usize>> = dataset.rows.iter().map(class_of).collect();
        let mut parts = Parts::of(&dataset, Fractions::default(), 0.15)?;
        parts.retain(|row| classes[row].is_some());
        Ok(Prepared {
            features: panels.features(&parts.train),
            inputs: vec![panels.values, panels.present],
            truth: Truth::Class(classes.into_iter().map(Option::unwrap_or_default).collect()),
            people: dataset.rows.iter().map(person).collect(),
            provenance: dataset.provenance,
            dropped: dataset.dropped,
            test_set: format!("{} panels held out by a hash of the record number", parts.test.len()),
            parts,
            labels: LABELS.map(str::to_owned).to_vec(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        trainee.standardise_panel(prepared, &columns())?;
        let findings = (2 + LABS.len()..columns().len()).collect();
        let hiding = Hiding { single: 0.1, together: vec![(findings, 0.33)] };
        let plan = Plan { epochs_max: 60, patience_epochs: 12, weight_decay: 0.02, ..Plan::default() };
        let outcome = classify::train(self.spec().name, prepared, trainee, &hiding, plan, context)?;
        forest::grow(prepared, trainee, &hiding, &BOOST, context)?;
        Ok(outcome)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        classify::calibrate(prepared, LABELS.len(), runner)
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let rows = &prepared.parts.test;
        let probabilities = runner.first(&prepared.pick(rows))?;
        let rivals = rivals::of_panels(prepared, &columns(), LABELS.len(), &BTreeSet::new());
        Ok(classify::figures_of_classes(prepared, rows, &probabilities, &rivals, calibration))
    }

    fn questions(&self) -> Vec<Question> {
        vec![Question {
            task: "thyroid",
            columns: columns(),
            known: None,
            hidden: BTreeSet::new(),
            figures: vec![
                Wanted { name: "macro_auroc", of: |judged, at| judged.macro_auroc(at), target: 0.998 },
                Wanted { name: "macro_f1", of: |judged, at| judged.macro_f1(at), target: 0.945 },
            ],
        }]
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        super::aim(measures, "macro_auroc", |v| v >= 0.98, "macro AUROC of at least 0.98")
    }

    fn golden(&self, prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::panels(prepared, &columns(), rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(codes: &str) -> ThyroidRow {
        ThyroidRow {
            record: 1,
            age_years: 50.0,
            sex: Some(Sex::Female),
            flags: 0b100,
            tsh_miu_l: Some(2.0),
            t3_nmol_l: None,
            tt4_nmol_l: Some(100.0),
            t4u_ratio: Some(1.0),
            fti: Some(100.0),
            tbg_mg_l: None,
            codes: codes.into(),
        }
    }

    #[test]
    fn letters_become_classes_and_doubt_is_left_out() {
        let classes = ["-", "F", "A", "K", "C|F", "C|I"].map(|codes| class_of(&row(codes)));
        assert_eq!(classes, [Some(0), Some(1), Some(2), None, None, Some(2)]);
    }

    #[test]
    fn every_column_is_filled_in_canonical_units() {
        let row = row("-");
        assert_eq!(cell(&row, Column::SexMale), Some(0.0));
        assert_eq!(cell(&row, Column::Finding(F::OnAntithyroid)), Some(1.0));
        assert_eq!(cell(&row, Column::Finding(F::Smoker)), None);
        let t4 = cell(&row, Column::Marker(B::TotalT4)).expect("measured");
        assert!((t4 - 7.77).abs() < 0.01, "micrograms per decilitre: {t4}");
        assert_eq!(cell(&row, Column::Marker(B::T3)), None);
        assert_eq!(columns().len(), 22);
    }
}
