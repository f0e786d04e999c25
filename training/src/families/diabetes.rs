//! Diagnosed diabetes from an examination: with HbA1c where it was measured, and without.
//!
//! HbA1c is hidden in half of the training rows, so that one network answers both questions, and is
//! measured both ways on the same people.

use std::collections::BTreeSet;

use anyhow::Result;
use clinical::{Biomarker as B, Finding as F};
use models::bundle::{ClassifierConfig, Family, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Part};
use rand_chacha::ChaCha8Rng;

use super::classify::{self, Hiding};
use super::columns::{Column, Panels};
use super::forest;
use super::golden;
use super::matrix::Matrix;
use super::out_of_fold::{Question, Wanted};
use super::parts::Parts;
use super::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use super::rivals::{self, beside};
use super::runner::Runner;
use super::trainee::{Trainee, body};
use crate::boosting;
use crate::data::nhanes::{DiabetesAnswer, NhanesRow};
use crate::data::{Fractions, Sex, nhanes};
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::metrics::BinaryFigure;
use crate::evaluate::plots::Rival;
use crate::evaluate::{Measure, metrics};
use crate::optimise::{Outcome, Plan};

const A1C: Column = Column::Marker(B::HbA1c);
const COLUMNS: [Column; 11] = [
    Column::Age,
    Column::SexMale,
    A1C,
    Column::Marker(B::Bmi),
    Column::Marker(B::Waist),
    Column::Marker(B::SystolicBp),
    Column::Marker(B::DiastolicBp),
    Column::Marker(B::HeartRate),
    Column::Marker(B::Hdl),
    Column::Marker(B::TotalCholesterol),
    Column::Finding(F::Smoker),
];
/// The trees beside the network.
const BOOST: boosting::Plan =
    boosting::Plan { steps: 300, rate: 0.02, leaves_max: 4, rows_min: 50, ridge: 5.0, columns: 0.5, seed: 0 };
const LABELS: [&str; 2] = ["no_diabetes", "diabetes"];

/// The recipe.
pub(crate) struct Diabetes;

/// What a row of the survey says about a column.
pub(crate) fn cell(row: &NhanesRow, column: Column) -> Option<f64> {
    match column {
        Column::Age => Some(row.age_years),
        Column::SexMale => Some(f64::from(u8::from(row.sex == Sex::Male))),
        Column::Marker(B::HbA1c) => row.hba1c_percent,
        Column::Marker(B::Bmi) => row.bmi_kg_m2,
        Column::Marker(B::Waist) => row.waist_cm,
        Column::Marker(B::SystolicBp) => row.systolic_mmhg,
        Column::Marker(B::DiastolicBp) => row.diastolic_mmhg,
        Column::Marker(B::HeartRate) => row.pulse_per_min,
        Column::Marker(B::Hdl) => row.hdl_mg_dl,
        Column::Marker(B::TotalCholesterol) => row.total_cholesterol_mg_dl,
        Column::Finding(F::Smoker) => row.smokes_now.map(|yes| f64::from(u8::from(yes))),
        Column::Marker(_) | Column::Finding(_) => None,
    }
}

/// Adults who were told yes or no; "borderline" is neither.
fn class_of(row: &NhanesRow) -> Option<usize> {
    match row.diabetes {
        Some(DiabetesAnswer::No) if row.is_adult() => Some(0),
        Some(DiabetesAnswer::Yes) if row.is_adult() => Some(1),
        Some(DiabetesAnswer::No | DiabetesAnswer::Yes | DiabetesAnswer::Borderline) | None => None,
    }
}

/// Whom a row belongs to.
pub(crate) fn person(row: &NhanesRow) -> Person {
    Person { group: u64::from(row.seqn), age_years: Some(row.age_years), male: Some(row.sex == Sex::Male) }
}

impl Recipe for Diabetes {
    fn spec(&self) -> Spec {
        Spec {
            name: "diabetes",
            version: "MPS-DIABETES-v1.2.0-FP32",
            family: Family::Biomarker,
            task: "diabetes",
            intended_use: "Estimates for an adult how likely a diagnosis of diabetes is, from an examination with \
                           or without HbA1c, for orientation. Not for diagnosis.",
            synthetic: false,
            limits: &[
                "The label is what people said a doctor had told them: undiagnosed diabetes counts as none, and \
                 treated diabetes may show normal values.",
                "One survey of the United States, 2017-2018, without its weights: figures describe participants, \
                 not a population.",
                "Ages of 80 and above are recorded as 80. Women during pregnancy are not told apart.",
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
            body: body(&[48, 48], 8),
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
            people: dataset.rows.iter().map(person).collect(),
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
        let hiding = Hiding { single: 0.1, together: vec![(vec![2], 0.45)] };
        let plan = Plan { learning_rate: 1e-3, weight_decay: 0.05, patience_epochs: 15, ..Plan::default() };
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
        let mut measures = Vec::new();
        for (name, hidden) in [("a1c", BTreeSet::new()), ("no_a1c", BTreeSet::from([A1C]))] {
            let panels = Panels {
                columns: COLUMNS.to_vec(),
                values: prepared.inputs[0].clone(),
                present: prepared.inputs[1].clone(),
            };
            let inputs = vec![panels.values.pick(rows), panels.hiding(rows, &hidden)];
            let probabilities = runner.first(&inputs)?;
            let rivals = rivals::of_panels(prepared, &COLUMNS, LABELS.len(), &hidden);
            measures.extend(figures(name, prepared, &probabilities, &rivals));
            let sets = classify::sets(prepared, rows, &probabilities, calibration);
            // The sets were fitted with HbA1c where it was measured; how they do without it is said beside.
            measures.extend(sets.into_iter().map(|measure| match hidden.is_empty() {
                true => measure,
                false => Measure { name: format!("{}_{name}", measure.name), ..measure },
            }));
        }
        Ok(measures)
    }

    fn questions(&self) -> Vec<Question> {
        let question = |task, hidden, target| Question {
            task,
            columns: COLUMNS.to_vec(),
            known: Some(A1C),
            hidden,
            figures: vec![Wanted { name: "auroc", of: |judged, at| judged.macro_auroc(at), target }],
        };
        vec![
            question("diabetes_a1c", BTreeSet::new(), 0.942),
            question("diabetes_no_a1c", BTreeSet::from([A1C]), 0.820),
        ]
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        let mut remarks = super::aim(measures, "auroc_a1c", |v| v >= 0.92, "AUROC of about 0.93 with HbA1c");
        remarks.extend(super::aim(
            measures,
            "auroc_no_a1c",
            |v| v >= 0.80,
            "AUROC of about 0.81 without HbA1c",
        ));
        remarks
    }

    fn golden(&self, prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::panels(prepared, &COLUMNS, rng)
    }
}

/// Figures of the second class on the test rows; `name` is put behind each where it is not empty.
pub(crate) fn figures(
    name: &str,
    prepared: &Prepared,
    probabilities: &Matrix,
    rivals: &[Rival],
) -> Vec<Measure> {
    let rows = &prepared.parts.test;
    let positive: Vec<bool> = pick(prepared.truth.classes(), rows).iter().map(|class| *class == 1).collect();
    let ours = probabilities.column(1);
    let second = |scores: &[f64]| scores.chunks_exact(2).map(|row| row[1]).collect::<Vec<f64>>();
    let groups = prepared.groups(rows);
    let n = rows.len();
    let named = |figure: &str| if name.is_empty() { figure.to_owned() } else { format!("{figure}_{name}") };
    let mut measures = Vec::new();
    let figures: [(&str, BinaryFigure); 3] =
        [("auroc", metrics::auroc), ("auprc", metrics::auprc), ("brier", |p, y| Some(metrics::brier(p, y)))];
    for (figure, of) in figures {
        let Some(value) = of(&ours, &positive) else { continue };
        let spread = interval(&groups, |at| of(&pick(&ours, at), &pick(&positive, at)));
        let measure = Measure::new(named(figure), value, n).between(spread);
        measures.push(beside(measure, rivals, |scores| of(&second(scores), &positive)));
    }
    let error = classify::calibration_error(prepared, rows, probabilities);
    measures.push(Measure { name: named("ece"), ..error });
    for (subgroup, at) in prepared.subgroups(rows) {
        let of = |scores: &[f64], at: &[usize]| metrics::auroc(&pick(scores, at), &pick(&positive, at));
        let Some(value) = of(&ours, &at) else { continue };
        let spread = interval(&pick(&groups, &at), |drawn| of(&ours, &pick(&at, drawn)));
        let measure = Measure::new(named("auroc"), value, at.len()).between(spread).within(&subgroup);
        measures.push(beside(measure, rivals, |scores| of(&second(scores), &at)));
    }
    measures
}
