//! From a recipe to a bundle, and from a bundle to a report.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use models::bundle::{
    BatchingConfig, BundleConfig, BundleWriter, DatasetConfig, EngineKind, Golden, GoldenConfig,
    LineageConfig, MetricConfig, REFERENCE_FILE, SCHEMA_VERSION,
};
use models::calibration::Calibration;
use models::{Bundle, Signature};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::columns;
use super::halve;
use super::matrix::Matrix;
use super::pictures;
use super::recipe::{Context, Effort, Prepared, Recipe};
use super::reference;
use super::runner::Runner;
use super::support;
use super::trainee::Trainee;
use crate::data::Provenance;
use crate::evaluate::plots::Plot;
use crate::evaluate::{EvalReport, Measure};
use crate::export::card::{self, Card};
use crate::optimise::Outcome;

/// Largest deviation of a golden output: room for another processor's order of additions.
const TOLERANCE: f64 = 1e-3;

/// What came of training one model.
#[derive(Debug)]
pub struct TrainReport {
    /// Where the bundle lies.
    pub dir: PathBuf,
    /// How the run went.
    pub outcome: Outcome,
    /// What was measured on the test rows.
    pub report: EvalReport,
    /// Bytes of all files of the bundle.
    pub bytes: u64,
    /// Time from the first row to the written bundle.
    pub wall: Duration,
}

/// Trains, calibrates, measures and writes one model.
pub(super) fn make(recipe: &dyn Recipe, context: &Context) -> Result<TrainReport> {
    let started = Instant::now();
    let spec = recipe.spec();
    let prepared = recipe
        .prepare(context, context.seed)
        .with_context(|| format!("cannot prepare the data of `{}`", spec.name))?;
    check(&prepared)?;
    let network = recipe.network();
    let trainee = Trainee::new(&network)?;
    let outcome = recipe.train(&prepared, &trainee, context)?;
    let mut config = config_of(recipe, &prepared, context)?;
    let weights = trainee.to_bytes()?;
    let mut runner = Runner::of(&config, &weights)?;
    let (part, cases) = recipe.uncertainty(context, &prepared, &mut runner)?;
    let cohorts = recipe.cohorts(&prepared, &mut runner, &part)?;
    let calibration = Calibration::new(recipe.coverage(), cases as u64, part)?
        .with_cohorts(cohorts)?
        .with_support(recipe.support(&prepared).or_else(|| support::of(recipe, &prepared)))?;
    let measures = measured(recipe, &prepared, &mut runner, &calibration)?;
    let half = halve::remark(recipe, &prepared, (&config, &weights), &calibration, &measures)?;
    let mut report = report_of(recipe, &config, &prepared, measures, Vec::new());
    report.remarks.push(half);
    config.metrics = report.measures.iter().map(metric).collect();
    let golden = golden_of(recipe, &prepared, &mut runner, &config.signature()?, context.seed)?;
    let text = card::write(&Card {
        spec: &spec,
        config: &config,
        prepared: &prepared,
        report: &report,
        outcome: &outcome,
        cohorts: calibration.cohorts(),
    })?;
    let dir = context.out.join(spec.name).join(spec.version);
    let reference = reference::of(&config, &prepared, &mut runner)?;
    let mut writer = BundleWriter::new(config)
        .weights(weights)
        .calibration(String::from_utf8(calibration.to_json()?)?)
        .card(text)
        .golden(&golden)?
        .replace();
    if let Some(reference) = reference {
        writer = writer.file(REFERENCE_FILE, reference.to_json()?);
    }
    let bundle = writer.write(&dir)?;
    let bytes = bundle.manifest().files().values().map(|file| file.size).sum();
    Ok(TrainReport { dir, outcome, report, bytes, wall: started.elapsed() })
}

/// Measures `bundle` again on the data its recipe names.
pub(crate) fn report_on(recipe: &dyn Recipe, bundle: &Bundle, context: &Context) -> Result<EvalReport> {
    let config = bundle.config();
    // Simulated rows depend on the seed; the bundle's own keeps its test rows apart from its training rows.
    let prepared = recipe.prepare(context, config.lineage.seed)?;
    check(&prepared)?;
    check_data(&config.lineage.datasets, &prepared.provenance)?;
    let mut runner = Runner::load(bundle)?;
    let calibration = Calibration::from_json(bundle.calibration_json().as_bytes())?;
    let mut measures = measured(recipe, &prepared, &mut runner, &calibration)?;
    measures.extend(recipe.external(context, &mut runner)?);
    let plots = pictures::of(recipe, &prepared, &mut runner, &calibration)?;
    Ok(report_of(recipe, config, &prepared, measures, plots))
}

/// The recipe's own figures on the test rows, and how many of them the model turns away.
pub(super) fn measured(
    recipe: &dyn Recipe,
    prepared: &Prepared,
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<Measure>> {
    let mut measures = recipe.measure(prepared, runner, calibration)?;
    measures.extend(support::figures(recipe, prepared, calibration));
    Ok(measures)
}

pub(super) fn check(prepared: &Prepared) -> Result<()> {
    let parts = &prepared.parts;
    for (name, part) in [
        ("train", &parts.train),
        ("validation", &parts.validation),
        ("calibration", &parts.calibration),
        ("test", &parts.test),
    ] {
        let sources: Vec<&str> = prepared.provenance.iter().map(|p| p.source.as_str()).collect();
        ensure!(
            !part.is_empty(),
            "the {name} part of `{}` is empty: the data has too few usable rows",
            sources.join("`, `")
        );
    }
    Ok(())
}

/// The figures of a bundle mean its own data only.
pub(super) fn check_data(promised: &[DatasetConfig], found: &[Provenance]) -> Result<()> {
    for dataset in promised {
        let same = found.iter().any(|p| p.source == dataset.id && p.sha256 == dataset.sha256);
        ensure!(
            same,
            "the bundle was made from `{}` {}, which is not the data at hand",
            dataset.id,
            dataset.sha256
        );
    }
    Ok(())
}

pub(super) fn config_of(recipe: &dyn Recipe, prepared: &Prepared, context: &Context) -> Result<BundleConfig> {
    let spec = recipe.spec();
    let (inputs, outputs) = recipe.signature();
    if inputs.iter().any(|input| input.name == "features") {
        columns::check_names(&prepared.features)?;
    }
    let dataset = |p: &Provenance| DatasetConfig {
        id: p.source.clone(),
        version: format!("{} {}", p.package, p.version),
        sha256: p.sha256.clone(),
        licence: format!("data: {}; package: {}", p.license_data, p.license_package),
    };
    let labelled =
        outputs.first().is_some_and(|output| output.dims.get(1) == Some(&(prepared.labels.len() as i64)));
    Ok(BundleConfig {
        schema_version: SCHEMA_VERSION,
        name: spec.name.into(),
        version: spec.version.parse()?,
        family: spec.family,
        engine: EngineKind::Candle,
        task: spec.task.into(),
        intended_use: spec.intended_use.into(),
        synthetic: spec.synthetic,
        labels: if labelled { prepared.labels.clone() } else { Vec::new() },
        inputs,
        outputs,
        network: Some(recipe.network()),
        features: prepared.features.clone(),
        forecast: recipe.forecast(),
        batching: BatchingConfig { rows_max: spec.rows_max, linger_us: 0 },
        golden: GoldenConfig { tolerance: TOLERANCE },
        lineage: LineageConfig {
            seed: context.seed,
            rows_train: prepared.parts.train.len(),
            trained_with: format!(
                "manpasik {}: manpasik train {} --seed {}{}",
                env!("CARGO_PKG_VERSION"),
                spec.name,
                context.seed,
                if context.effort == Effort::Trial { " --trial" } else { "" }
            ),
            datasets: prepared.provenance.iter().map(dataset).collect(),
        },
        metrics: Vec::new(),
    })
}

fn report_of(
    recipe: &dyn Recipe,
    config: &BundleConfig,
    prepared: &Prepared,
    measures: Vec<Measure>,
    plots: Vec<Plot>,
) -> EvalReport {
    let mut remarks = recipe.remarks(&measures);
    remarks.extend(calibration_remarks(&measures));
    EvalReport {
        model: config.name.clone(),
        version: config.version.to_string(),
        family: config.family.name().into(),
        task: config.task.clone(),
        synthetic: config.synthetic,
        test_set: prepared.test_set.clone(),
        rows: prepared.parts.test.len(),
        remarks,
        measures,
        plots,
    }
}

/// Probabilities that are further from what they say than they should be, where there are rows enough to tell.
fn calibration_remarks(measures: &[Measure]) -> Vec<String> {
    const ERROR_MAX: f64 = 0.03;
    const ROWS_MIN: usize = 1_000;
    let far = measures.iter().filter(|measure| {
        let whole = measure.subgroup.is_none() && measure.rows >= ROWS_MIN;
        whole && measure.name.starts_with("ece") && measure.value > ERROR_MAX
    });
    far.map(|measure| {
        let Measure { name, value, .. } = measure;
        format!("The aim of a calibration error ({name}) of at most {ERROR_MAX} was missed: {value:.4}.")
    })
    .collect()
}

pub(super) fn metric(measure: &Measure) -> MetricConfig {
    MetricConfig {
        name: measure.name.clone(),
        value: measure.value,
        low: measure.low,
        high: measure.high,
        split: "test".into(),
        subgroup: measure.subgroup.clone(),
    }
}

fn golden_of(
    recipe: &dyn Recipe,
    prepared: &Prepared,
    runner: &mut Runner,
    signature: &Signature,
    seed: u64,
) -> Result<Golden> {
    let rows = recipe.golden(prepared, &mut ChaCha8Rng::seed_from_u64(seed));
    let inputs = rows.iter().map(Matrix::to_tensor).collect::<Result<Vec<_>>>()?;
    runner.record(signature, inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_calibration_is_told_where_there_are_rows_enough() {
        let ece = |value, rows| Measure::new("ece_a1c", value, rows);
        assert_eq!(calibration_remarks(&[ece(0.04, 1_000)]).len(), 1);
        for fine in [ece(0.03, 5_000), ece(0.2, 999), ece(0.2, 5_000).within("sex=male")] {
            assert!(calibration_remarks(&[fine]).is_empty());
        }
    }

    #[test]
    fn other_data_than_the_bundles_own_is_refused() {
        let provenance = |sha256: &str| Provenance {
            source: "thyroid".into(),
            package: "p".into(),
            version: "1".into(),
            sha256: sha256.into(),
            license_package: "MIT".into(),
            license_data: "CC".into(),
            citation: "c".into(),
        };
        let promised = [DatasetConfig {
            id: "thyroid".into(),
            version: "1".into(),
            sha256: "aa".into(),
            licence: "MIT".into(),
        }];
        assert!(check_data(&promised, &[provenance("aa")]).is_ok());
        let error = check_data(&promised, &[provenance("bb")]).expect_err("another hash").to_string();
        assert!(error.contains("thyroid"), "{error}");
    }
}
