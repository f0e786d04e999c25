//! What a model's inputs and output look like on the data it was made from, for the bundle.

use anyhow::{Context as _, Result, ensure};
use models::Bundle;
use models::bundle::{BundleConfig, BundleWriter, EngineKind, REFERENCE_FILE};
use models::reference::{Layout, Reference};

use super::make::{check, check_data};
use super::matrix::Matrix;
use super::recipe::{Context, Prepared, Recipe};
use super::runner::Runner;

/// Inputs over all rows but those to report on, outputs over those the network was not fitted to; none of a trial's few
/// rows.
pub(super) fn of(
    config: &BundleConfig,
    prepared: &Prepared,
    runner: &mut Runner,
) -> Result<Option<Reference>> {
    let parts = &prepared.parts;
    let learnt: Vec<usize> = parts.train.iter().chain(&parts.validation).copied().collect();
    let layout = Layout::of(config).context("the first input is no table of numbers")?;
    let tensors =
        |rows: &[usize]| prepared.pick(rows).iter().map(Matrix::to_tensor).collect::<Result<Vec<_>>>();
    let answered = runner.first(&prepared.pick(&parts.calibration))?.to_tensor()?;
    let mut cases = layout.cases(&tensors(&learnt)?, &[]);
    cases.extend(layout.cases(&tensors(&parts.calibration)?, &[answered]));
    Ok(Reference::of(&layout, &cases))
}

/// See [`super::Family::refer`].
pub(super) fn add(recipe: &dyn Recipe, bundle: &Bundle, context: &Context) -> Result<Bundle> {
    let config = bundle.config();
    ensure!(config.engine == EngineKind::Candle, "`{}` is not a model of candle", config.name);
    let prepared = recipe.prepare(context, config.lineage.seed)?;
    check(&prepared)?;
    check_data(&config.lineage.datasets, &prepared.provenance)?;
    let reference = of(config, &prepared, &mut Runner::load(bundle)?)?;
    let reference = reference.context("no column has rows enough to compare with")?;
    let mut writer = BundleWriter::new(config.clone()).replace();
    for name in bundle.manifest().files().keys() {
        writer = writer.file(name, bundle.file(name)?);
    }
    Ok(writer.file(REFERENCE_FILE, reference.to_json()?).write(bundle.dir())?)
}
