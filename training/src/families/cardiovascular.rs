//! A heart attack or stroke in the past, from an examination.
//!
//! One survey asks about both; either counts. What the model says is how much a person resembles those who had one.

use std::collections::BTreeSet;

use anyhow::Result;
use clinical::{Biomarker as B, Finding as F};
use models::bundle::{ClassifierConfig, Family, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Part};
use rand_chacha::ChaCha8Rng;

use super::classify::{self, Hiding};
use super::columns::{Column, Panels};
use super::diabetes;
use super::forest;
use super::golden;
use super::matrix::Matrix;
use super::out_of_fold::{Question, Wanted};
use super::parts::Parts;
use super::recipe::{Context, Prepared, Recipe, Spec, Truth};
use super::rivals;
use super::runner::Runner;
use super::trainee::{Trainee, body};
use crate::boosting;
use crate::data::nhanes::{DiabetesAnswer, NhanesRow};
use crate::data::{Fractions, nhanes};
use crate::evaluate::Measure;
use crate::optimise::{Outcome, Plan};

const COLUMNS: [Column; 13] = [
    Column::Age,
    Column::SexMale,
    Column::Marker(B::Bmi),
    Column::Marker(B::Waist),
    Column::Marker(B::SystolicBp),
    Column::Marker(B::DiastolicBp),
    Column::Marker(B::HeartRate),
    Column::Marker(B::Hdl),
    Column::Marker(B::TotalCholesterol),
    Column::Marker(B::HbA1c),
    Column::Finding(F::Smoker),
    Column::Finding(F::ExSmoker),
    Column::Finding(F::DiabetesDiagnosed),
];
/// The trees beside the network.
const BOOST: boosting::Plan =
    boosting::Plan { steps: 300, rate: 0.02, leaves_max: 4, rows_min: 50, ridge: 5.0, columns: 0.5, seed: 0 };
const LABELS: [&str; 2] = ["no_cardiovascular_event", "cardiovascular_event"];

/// The recipe.
pub(crate) struct Cardiovascular;

fn cell(row: &NhanesRow, column: Column) -> Option<f64> {
    let mark = |yes: bool| f64::from(u8::from(yes));
    match column {
        Column::Finding(F::ExSmoker) => match (row.ever_smoked, row.smokes_now) {
            (Some(true), Some(now)) => Some(mark(!now)),
            (Some(false), _) => Some(0.0),
            (Some(true) | None, _) => None,
        },
        Column::Finding(F::DiabetesDiagnosed) => {
            row.diabetes.map(|answer| mark(answer == DiabetesAnswer::Yes))
        }
        Column::Age | Column::SexMale | Column::Marker(_) | Column::Finding(_) => diabetes::cell(row, column),
    }
}

/// Adults who answered both questions, or one of them with yes.
fn class_of(row: &NhanesRow) -> Option<usize> {
    if !row.is_adult() {
        return None;
    }
    match (row.heart_attack, row.stroke) {
        (Some(true), _) | (_, Some(true)) => Some(1),
        (Some(false), Some(false)) => Some(0),
        (None, Some(false) | None) | (Some(false), None) => None,
    }
}

impl Recipe for Cardiovascular {
    fn spec(&self) -> Spec {
        Spec {
            name: "cardiovascular",
            version: "MPS-CARDIOVASCULAR-v1.1.0-FP32",
            family: Family::Biomarker,
            task: "cardiovascular_history",
            intended_use: "Estimates for an adult how much an examination resembles those of people who had a heart \
                           attack or stroke, for orientation. It looks back and is no risk of future events. Not \
                           for diagnosis.",
            synthetic: false,
            limits: &[
                "The label is what survivors said a doctor had told them; who died of an event is not in the survey.",
                "Treatment follows an event: treated pressure and cholesterol may be lower than before it.",
                "One survey of the United States, 2017-2018, without its weights. Ages of 80 and above are \
                 recorded as 80.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        classify::panel_signature(COLUMNS.len(), LABELS.len())
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Classifier(ClassifierConfig {
            inputs: COLUMNS.len(),
            masked: true,
            outputs: LABELS.len(),
            body: body(&[], 1),
            forest: Some(forest::config(&BOOST, LABELS.len(), 0.5)),
        })
    }

    fn prepare(&self, context: &Context, _seed: u64) -> Result<Prepared> {
        let dataset = nhanes::load(&context.store)?;
        let mut panels = Panels::new(&COLUMNS);
        dataset.rows.iter().for_each(|row| panels.push(|column| cell(row, column)));
        let classes: Vec<Option<usize>> = dataset.rows.iter().map(class_of).collect();
        let mut parts = Parts::of(&dataset, Fractions::default(), 0.15)?;
        parts.retain(|row| classes[row].is_some());
        Ok(Prepared {
            features: panels.features(&parts.train),
            people: dataset.rows.iter().map(diabetes::person).collect(),
            inputs: vec![panels.values, panels.present],
            truth: Truth::Class(classes.into_iter().map(Option::unwrap_or_default).collect()),
            provenance: dataset.provenance,
            dropped: dataset.dropped,
            test_set: format!("{} adults held out by a hash of the respondent number", parts.test.len()),
            parts,
            labels: LABELS.map(str::to_owned).to_vec(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        trainee.standardise_panel(prepared, &COLUMNS)?;
        let hiding = Hiding { single: 0.1, together: Vec::new() };
        let plan = Plan { learning_rate: 1e-2, weight_decay: 1e-3, patience_epochs: 15, ..Plan::default() };
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
        let rivals = rivals::of_panels(prepared, &COLUMNS, LABELS.len(), &BTreeSet::new());
        let mut measures = diabetes::figures("", prepared, &probabilities, &rivals);
        measures.extend(classify::sets(prepared, rows, &probabilities, calibration));
        Ok(measures)
    }

    fn questions(&self) -> Vec<Question> {
        vec![Question {
            task: "cardiovascular",
            columns: COLUMNS.to_vec(),
            known: None,
            hidden: BTreeSet::new(),
            figures: vec![Wanted { name: "auroc", of: |judged, at| judged.macro_auroc(at), target: 0.805 }],
        }]
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        super::aim(measures, "auroc", |v| v >= 0.80, "AUROC of about 0.80")
    }

    fn golden(&self, prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::panels(prepared, &COLUMNS, rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(heart_attack: Option<bool>, stroke: Option<bool>) -> NhanesRow {
        NhanesRow {
            seqn: 1,
            age_years: 60.0,
            sex: crate::data::Sex::Male,
            bmi_kg_m2: None,
            waist_cm: None,
            height_cm: None,
            weight_kg: None,
            systolic_mmhg: None,
            diastolic_mmhg: None,
            pulse_per_min: None,
            hba1c_percent: None,
            hdl_mg_dl: None,
            total_cholesterol_mg_dl: None,
            diabetes: Some(DiabetesAnswer::Borderline),
            heart_attack,
            stroke,
            ever_smoked: Some(true),
            smokes_now: Some(false),
            self_rated: None,
        }
    }

    #[test]
    fn one_yes_is_enough_and_one_no_is_not() {
        let answers = [
            (Some(true), None, Some(1)),
            (Some(false), Some(true), Some(1)),
            (Some(false), Some(false), Some(0)),
            (Some(false), None, None),
            (None, None, None),
        ];
        for (heart_attack, stroke, class) in answers {
            assert_eq!(class_of(&row(heart_attack, stroke)), class);
        }
        assert_eq!(class_of(&NhanesRow { age_years: 12.0, ..row(Some(true), None) }), None);
    }

    #[test]
    fn who_smoked_before_and_who_never_did_are_told_apart() {
        let before = row(None, None);
        let ex = Column::Finding(F::ExSmoker);
        assert_eq!(cell(&before, ex), Some(1.0));
        assert_eq!(cell(&NhanesRow { smokes_now: Some(true), ..before }, ex), Some(0.0));
        assert_eq!(cell(&NhanesRow { ever_smoked: Some(false), ..before }, ex), Some(0.0));
        assert_eq!(cell(&NhanesRow { ever_smoked: None, ..before }, ex), None);
        assert_eq!(
            cell(&before, Column::Finding(F::DiabetesDiagnosed)),
            Some(0.0),
            "borderline is no diagnosis"
        );
    }
}
