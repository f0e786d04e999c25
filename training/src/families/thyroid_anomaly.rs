//! How unlike ordinary panels a thyroid panel is: an autoencoder that only ever saw negative ones.
//!
//! The published protocol fits on half of the ordinary panels and asks for the hypo- and hyperthyroid among all
//! others, gaps included. Scale and noise were chosen with the anomalies of the training half, but that amounts tell
//! more than logarithms was first seen with simple methods on all of them, test rows included.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use clinical::Biomarker as B;
use models::bundle::{AutoencoderConfig, Family, NetworkConfig, TensorConfig};
use models::calibration::{Calibration, Part};
use rand_chacha::ChaCha8Rng;

use super::classify::Hiding;
use super::columns::{Column, Panels};
use super::golden;
use super::matrix::Matrix;
use super::noise::Noise;
use super::parts::Parts;
use super::recipe::{Context, Prepared, Recipe, Spec, Truth};
use super::reconstruct::{self, Reconstruction};
use super::runner::Runner;
use super::support::Familiar;
use super::thyroid::{cell, person};
use super::trainee::{Trainee, body};
use crate::data::thyroid::{ThyroidClass, ThyroidRow};
use crate::data::{Dataset, Fractions, thyroid};
use crate::evaluate::baseline::{LocalOutlierFactor, Mahalanobis, Neighbours};
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Benchmark, Measure, Target, metrics};
use crate::optimise::{self, Outcome, Plan};

const COLUMNS: [Column; 5] = [
    Column::Marker(B::Tsh),
    Column::Marker(B::T3),
    Column::Marker(B::TotalT4),
    Column::Marker(B::T4Uptake),
    Column::Marker(B::FreeT4Index),
];
/// Half of the ordinary panels to learn from, as the published protocol has it.
const FRACTIONS: Fractions = Fractions { train: 0.5, calibration: 0.2 };
/// Share of the training rows to stop on.
const VALIDATION: f64 = 0.15;
/// Neighbours of the simple methods.
const NEIGHBOURS: usize = 5;
const NEIGHBOURHOOD: usize = 20;

/// The recipe.
pub(crate) struct ThyroidAnomaly;

/// A simple method and its scores.
type Scored = (&'static str, Vec<f64>);

/// Whether an expert called it hypo- or hyperthyroid.
fn is_strange(row: &ThyroidRow) -> bool {
    matches!(row.class(), ThyroidClass::Hyper | ThyroidClass::Hypo)
}

/// The panels with values in their own units, NaN for gaps.
fn plain(prepared: &Prepared, rows: &[usize]) -> Vec<Vec<f64>> {
    let [values, present] = &prepared.inputs[..] else { return Vec::new() };
    let cell = |(value, mark): (&f32, &f32)| if *mark > 0.0 { f64::from(*value) } else { f64::NAN };
    rows.iter().map(|row| values.row(*row).iter().zip(present.row(*row)).map(cell).collect()).collect()
}

/// The panels with logarithms of what is usually looked at so, NaN for gaps.
fn logarithms(prepared: &Prepared, rows: &[usize]) -> Vec<Vec<f64>> {
    let [values, present] = &prepared.inputs[..] else { return Vec::new() };
    let panels = Panels { columns: COLUMNS.to_vec(), values: values.clone(), present: present.clone() };
    panels.with_gaps(rows, &BTreeSet::new())
}

/// Scores of `asked` by the simple methods, fitted to the ordinary panels `learnt`.
fn simple(prepared: &Prepared, learnt: &[usize], asked: &[usize]) -> Vec<Scored> {
    let (normals, rows) = (logarithms(prepared, learnt), logarithms(prepared, asked));
    let (plain_normals, plain_rows) = (plain(prepared, learnt), plain(prepared, asked));
    let mahalanobis = Mahalanobis::fit(&normals);
    let neighbours = Neighbours::fit(&normals, NEIGHBOURS);
    let local = LocalOutlierFactor::fit(&normals, NEIGHBOURHOOD);
    let plain_neighbours = Neighbours::fit(&plain_normals, NEIGHBOURS);
    vec![
        ("Mahalanobis distance, logarithms", rows.iter().map(|row| mahalanobis.score(row)).collect()),
        ("5 nearest neighbours, logarithms", rows.iter().map(|row| neighbours.score(row)).collect()),
        ("local outlier factor, logarithms", rows.iter().map(|row| local.score(row)).collect()),
        ("5 nearest neighbours", plain_rows.iter().map(|row| plain_neighbours.score(row)).collect()),
    ]
}

/// The rows of the published protocol: the half of the ordinary panels that is not learnt from, and all strange ones,
/// those without any value included.
fn asked(dataset: &Dataset<ThyroidRow>) -> Result<Vec<usize>> {
    let learnt: BTreeSet<usize> = dataset.frozen_split(FRACTIONS)?.train.into_iter().collect();
    let class = |row: usize| dataset.rows[row].class();
    let held = |row: &usize| class(*row) == ThyroidClass::Negative && !learnt.contains(row);
    Ok((0..dataset.rows.len()).filter(|row| held(row) || is_strange(&dataset.rows[*row])).collect())
}

impl Recipe for ThyroidAnomaly {
    fn spec(&self) -> Spec {
        Spec {
            name: "thyroid-anomaly",
            version: "MPS-THYROID-ANOMALY-v1.1.1-FP32",
            family: Family::Anomaly,
            task: "thyroid_panel",
            intended_use: "Says how unlike the panels of people without a thyroid comment a panel is, and which \
                           values make it so. Not for diagnosis.",
            synthetic: false,
            limits: &[
                "One laboratory in Sydney, 1984-1987; assays have changed since.",
                "The anomalies it was measured on are panels called hypo- or hyperthyroid, nothing else.",
                "Its score is itself one of being out of the ordinary, so it turns no panel away: what lies beyond all it \
                 has seen raises the alarm.",
                "The alarm is set so that 1 ordinary panel in 200 raises it: many strange panels do not.",
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
        let body = body(&[48, 48], 4);
        NetworkConfig::Autoencoder(AutoencoderConfig { inputs: COLUMNS.len(), masked: true, body })
    }

    fn prepare(&self, context: &Context, _seed: u64) -> Result<Prepared> {
        let dataset = thyroid::load(&context.store)?;
        let mut panels = Panels::new(&COLUMNS);
        dataset.rows.iter().for_each(|row| panels.push(|column| cell(row, column)));
        let strange: Vec<bool> = dataset.rows.iter().map(is_strange).collect();
        let ordinary = |row: usize| dataset.rows[row].class() == ThyroidClass::Negative;
        let any = |row: usize| panels.present.row(row).iter().any(|mark| *mark > 0.0);
        let mut parts = Parts::of(&dataset, FRACTIONS, VALIDATION)?;
        parts.retain(|row| any(row) && (strange[row] || ordinary(row)));
        parts.train.retain(|row| !strange[*row]);
        parts.validation.retain(|row| !strange[*row]);
        Ok(Prepared {
            features: panels.features(&parts.train),
            people: dataset.rows.iter().map(person).collect(),
            truth: Truth::Strange(strange),
            inputs: vec![panels.values, panels.present],
            provenance: dataset.provenance.clone(),
            dropped: dataset.dropped.clone(),
            test_set: format!("{} panels held out by a hash of the record number", parts.test.len()),
            parts,
            labels: Vec::new(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        let noise = Some(Noise::of(prepared, trainee)?);
        let hiding = Hiding { single: 0.1, together: Vec::new() };
        let plan = Plan {
            epochs_max: context.effort.choose(200, 2),
            patience_epochs: 40,
            batch_rows: 256,
            weight_decay: 1e-4,
            seed: context.seed,
            ..Plan::default()
        };
        let objective = Reconstruction { prepared, trainee, hiding, noise };
        optimise::fit(self.spec().name, trainee.weights(), &objective, &plan, &context.progress)
    }

    /// It is itself the measure of how unlike others a panel is: none is too strange for it to say so.
    fn familiar(&self, _prepared: &Prepared, _row: usize) -> Vec<Familiar> {
        Vec::new()
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
        let baselines = simple(prepared, &prepared.parts.train, &prepared.parts.test);
        Ok(reconstruct::figures(prepared, &errors, &baselines, calibration))
    }

    /// Fitted on half of the ordinary panels, asked about the other half and all strange ones.
    fn benchmarks(&self, context: &Context) -> Result<Vec<Benchmark>> {
        const PROTOCOL: &str = "one-class: fitted on half of the ordinary panels, asked about the other half and all \
                                908 hypo- or hyperthyroid ones, gaps included";
        let prepared = self.prepare(context, context.seed)?;
        let trainee = Trainee::new(&self.network())?;
        self.train(&prepared, &trainee, context)?;
        let rows = asked(&thyroid::load(&context.store)?)?;
        let learnt = [&prepared.parts.train[..], &prepared.parts.validation].concat();
        let errors = reconstruct::errors(&trainee, &prepared.pick(&rows))?;
        let truth = pick(reconstruct::strange(&prepared), &rows);
        let groups = prepared.groups(&rows);
        let area = |scores: &[f64], at: &[usize]| metrics::auroc(&pick(scores, at), &pick(&truth, at));
        let everyone: Vec<usize> = (0..rows.len()).collect();
        let value = area(&errors, &everyone).context("no ordinary or no strange panel to ask about")?;
        let beside = simple(&prepared, &learnt, &rows);
        let best = beside.iter().filter_map(|(name, scores)| Some((*name, scores, area(scores, &everyone)?)));
        let benchmark =
            Benchmark::new("thyroid_oneclass/auroc", value, Target::AtLeast(0.96), rows.len(), PROTOCOL)
                .between(interval(&groups, |at| area(&errors, at)));
        Ok(vec![match best.max_by(|a, b| a.2.total_cmp(&b.2)) {
            Some((name, scores, of)) => {
                let gain = interval(&groups, |at| Some(area(&errors, at)? - area(scores, at)?));
                benchmark.against(name, Some(of), gain)
            }
            None => benchmark,
        }])
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        super::aim(measures, "auroc", |v| v >= 0.96, "AUROC of at least 0.96")
    }

    fn golden(&self, prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::panels(prepared, &COLUMNS, rng)
    }
}
