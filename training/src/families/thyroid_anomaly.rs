//! How unlike ordinary panels a thyroid panel is: an autoencoder that only ever saw negative ones.

use std::collections::BTreeSet;

use anyhow::Result;
use clinical::Biomarker as B;
use models::bundle::{AutoencoderConfig, Family, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Part};
use rand_chacha::ChaCha8Rng;

use super::classify::Hiding;
use super::columns::{Column, Panels};
use super::golden;
use super::matrix::Matrix;
use super::parts::Parts;
use super::recipe::{Context, Prepared, Recipe, Spec, Truth};
use super::reconstruct::{self, Reconstruction};
use super::runner::Runner;
use super::thyroid::{cell, person};
use super::trainee::{Trainee, body};
use crate::data::thyroid::ThyroidClass;
use crate::data::{Fractions, thyroid};
use crate::evaluate::Measure;
use crate::evaluate::baseline::{Mahalanobis, Neighbours};
use crate::optimise::{self, Outcome, Plan};

const COLUMNS: [Column; 7] = [
    Column::Age,
    Column::SexMale,
    Column::Marker(B::Tsh),
    Column::Marker(B::T3),
    Column::Marker(B::TotalT4),
    Column::Marker(B::T4Uptake),
    Column::Marker(B::FreeT4Index),
];

/// The recipe.
pub(crate) struct ThyroidAnomaly;

impl ThyroidAnomaly {
    /// The same rows for the simple methods, with NaN for gaps.
    fn table(prepared: &Prepared, rows: &[usize]) -> Vec<Vec<f64>> {
        let panels = Panels {
            columns: COLUMNS.to_vec(),
            values: prepared.inputs[0].clone(),
            present: prepared.inputs[1].clone(),
        };
        panels.with_gaps(rows, &BTreeSet::from([Column::Age, Column::SexMale]))
    }
}

impl Recipe for ThyroidAnomaly {
    fn spec(&self) -> Spec {
        Spec {
            name: "thyroid-anomaly",
            version: "MPS-THYROID-ANOMALY-v1.0.0-FP32",
            family: Family::Anomaly,
            task: "thyroid_panel",
            intended_use: "Says how unlike the panels of people without a thyroid comment a panel is, and which \
                           values make it so. Not for diagnosis.",
            synthetic: false,
            limits: &[
                "One laboratory in Sydney, 1984-1987; assays have changed since.",
                "Measured on panels in which TSH, T3, T4, uptake and index were all present; the anomalies are \
                 those called hypo- or hyperthyroid.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let width = COLUMNS.len() as i64;
        let inputs = vec![TensorConfig::rows("features", &[width]), TensorConfig::rows("present", &[width])];
        (inputs, vec![TensorConfig::rows("error", &[1]), TensorConfig::rows("residual", &[width])])
    }

    fn network(&self) -> NetworkConfig {
        let body = body(&[32, 3, 32], 4);
        NetworkConfig::Autoencoder(AutoencoderConfig { inputs: COLUMNS.len(), masked: true, body })
    }

    fn prepare(&self, context: &Context, _seed: u64) -> Result<Prepared> {
        let dataset = thyroid::load(&context.store)?;
        let mut panels = Panels::new(&COLUMNS);
        dataset.rows.iter().for_each(|row| panels.push(|column| cell(row, column)));
        let complete = |row: usize| panels.present.row(row)[2..].iter().all(|mark| *mark > 0.0);
        let class = |row: usize| dataset.rows[row].class();
        let strange = |row: usize| matches!(class(row), ThyroidClass::Hyper | ThyroidClass::Hypo);
        let mut parts = Parts::of(&dataset, Fractions { train: 0.5, calibration: 0.2 }, 0.15);
        parts.retain(|row| complete(row) && (strange(row) || class(row) == ThyroidClass::Negative));
        parts.train.retain(|row| !strange(*row));
        parts.validation.retain(|row| !strange(*row));
        Ok(Prepared {
            features: panels.features(&parts.train),
            people: dataset.rows.iter().map(person).collect(),
            truth: Truth::Strange((0..dataset.rows.len()).map(strange).collect()),
            inputs: vec![panels.values.clone(), panels.present.clone()],
            provenance: dataset.provenance.clone(),
            dropped: dataset.dropped.clone(),
            test_set: format!("{} complete panels held out by a hash of the record number", parts.test.len()),
            parts,
            labels: Vec::new(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        trainee.standardise_panel(prepared, &COLUMNS)?;
        let hiding = Hiding { single: 0.05, together: Vec::new() };
        let plan = Plan {
            epochs_max: context.effort.choose(120, 2),
            patience_epochs: 20,
            batch_rows: 128,
            weight_decay: 1e-3,
            seed: context.seed,
            ..Plan::default()
        };
        let objective = Reconstruction { prepared, trainee, hiding };
        optimise::fit(self.spec().name, trainee.weights(), &objective, &plan, &context.progress)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        let names: Vec<String> = COLUMNS.iter().map(|column| column.name().to_owned()).collect();
        reconstruct::calibrate(prepared, &names, runner)
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let errors = runner.first(&prepared.pick(&prepared.parts.test))?;
        let normals = Self::table(prepared, &prepared.parts.train);
        let test = Self::table(prepared, &prepared.parts.test);
        let (mahalanobis, neighbours) = (Mahalanobis::fit(&normals), Neighbours::fit(&normals, 5));
        let baselines = [
            ("Mahalanobis distance", test.iter().map(|row| mahalanobis.score(row)).collect()),
            ("5 nearest neighbours", test.iter().map(|row| neighbours.score(row)).collect()),
        ];
        Ok(reconstruct::figures(prepared, &errors, &baselines, calibration))
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        super::aim(measures, "auroc", |v| v >= 0.85, "AUROC of at least 0.85")
    }

    fn golden(&self, prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::panels(prepared, &COLUMNS, rng)
    }
}
