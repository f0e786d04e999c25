//! Weights in half precision: a smaller file, computed with as before, and what it costs on the frozen test set.
//!
//! The matrices of a network are stored as FP16 and widened when they are loaded. Biases, scales and everything that
//! counts or points (the buffers of trees) stay: they are few, and an error in them moves every answer. A variant is
//! written only when its headline figure, the first of the report, is less than [`LOSS_MAX`] from that of the full
//! weights, both measured in the same run.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use half::f16;
use models::bundle::{
    BundleConfig, BundleWriter, EngineKind, Quantisation, REFERENCE_FILE, from_safetensors, to_safetensors,
};
use models::calibration::Calibration;
use models::{Bundle, DType, Tensor};

use super::make::{check, check_data, measured, metric};
use super::recipe::{Context, Prepared, Recipe};
use super::runner::Runner;
use crate::evaluate::Measure;

/// Share of the headline figure that fewer bits may change.
pub const LOSS_MAX: f64 = 0.01;

/// A variant that was written.
#[derive(Debug)]
pub struct Halved {
    /// Where the bundle lies.
    pub dir: PathBuf,
    /// Figures on the whole test set by both.
    pub figures: Vec<Figure>,
    /// Bytes of the weights, full and halved.
    pub bytes: (usize, usize),
}

/// One figure by the full weights and by the halved ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Name of the figure.
    pub name: String,
    /// By weights of 32 bits.
    pub full: f64,
    /// By weights of 16 bits.
    pub half: f64,
}

impl Figure {
    /// The difference as a share of the full figure.
    #[must_use]
    pub fn loss(&self) -> f64 {
        (self.half - self.full).abs() / self.full.abs().max(f64::MIN_POSITIVE)
    }
}

/// Writes the variant of `bundle` below `context.out`.
pub(crate) fn halve(recipe: &dyn Recipe, bundle: &Bundle, context: &Context) -> Result<Halved> {
    let full = bundle.config();
    ensure!(full.engine == EngineKind::Candle, "`{}` is not a model of candle", full.name);
    ensure!(
        full.version.quantisation() == Quantisation::Fp32,
        "{} has fewer bits already; give a bundle of FP32",
        full.version
    );
    let prepared = recipe.prepare(context, full.lineage.seed)?;
    check(&prepared)?;
    check_data(&full.lineage.datasets, &prepared.provenance)?;
    let calibration = Calibration::from_json(bundle.calibration_json().as_bytes())?;
    let weights = bundle.weights()?;
    let narrow = halved(&weights)?;
    let ours = measured(recipe, &prepared, &mut Runner::load(bundle)?, &calibration)?;
    let mut runner = Runner::of(full, &narrow)?;
    let theirs = measured(recipe, &prepared, &mut runner, &calibration)?;
    let figures = compared(&ours, &theirs);
    let version = full.version.to_string().replace("-FP32", "-FP16");
    permitted(&version, &figures)?;
    let config = BundleConfig {
        version: version.parse()?,
        metrics: theirs.iter().map(metric).collect(),
        ..full.clone()
    };
    let golden = runner.record(&config.signature()?, bundle.golden()?.inputs().to_vec())?;
    let bytes = (weights.len(), narrow.len());
    let dir = context.out.join(&config.name).join(&version);
    let card = card(bundle.card(), &full.version.to_string(), &version, &figures, bytes);
    let mut writer = BundleWriter::new(config)
        .weights(narrow)
        .calibration(bundle.calibration_json())
        .card(card)
        .golden(&golden)?
        .replace();
    if let Some(reference) = bundle.reference() {
        writer = writer.file(REFERENCE_FILE, reference.to_json()?);
    }
    writer.write(&dir)?;
    Ok(Halved { dir, figures, bytes })
}

/// What half precision would cost a model that has just been trained, for its card.
pub(super) fn remark(
    recipe: &dyn Recipe,
    prepared: &Prepared,
    (config, weights): (&BundleConfig, &[u8]),
    calibration: &Calibration,
    full: &[Measure],
) -> Result<String> {
    let mut runner = Runner::of(config, &halved(weights)?)?;
    let figures = compared(full, &recipe.measure(prepared, &mut runner, calibration)?);
    let Figure { name, full, half } = figures.first().context("a report has a figure")?;
    let loss = 100.0 * figures[0].loss();
    Ok(format!("With weights of 16 bits {name} is {half:.5} instead of {full:.5}: {loss:.3} % off."))
}

/// The weights with their matrices in half precision.
///
/// # Errors
/// Weights that are no safetensors or do not fit into half precision.
fn halved(weights: &[u8]) -> Result<Vec<u8>> {
    let tensors = from_safetensors("weights", weights)?;
    let narrow = tensors.into_iter().map(|(name, tensor)| {
        let tensor = if is_matrix(&name, &tensor) { narrowed(&name, &tensor)? } else { tensor };
        Ok((name, tensor))
    });
    let narrow = narrow.collect::<Result<Vec<(String, Tensor)>>>()?;
    Ok(to_safetensors(narrow.iter().map(|(name, tensor)| (name.clone(), tensor)))?)
}

fn is_matrix(name: &str, tensor: &Tensor) -> bool {
    name.ends_with("weight") && tensor.dtype() == DType::F32 && tensor.shape().len() > 1
}

fn narrowed(name: &str, tensor: &Tensor) -> Result<Tensor> {
    let values = tensor.as_f32()?;
    let narrow: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
    ensure!(
        narrow.iter().all(|value| value.is_finite()),
        "tensor `{name}` holds values beyond half precision"
    );
    let bytes: Vec<u8> = narrow.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(Tensor::new(DType::F16, tensor.shape().to_vec(), bytes.into())?)
}

/// The figures of the whole test set that both have, in order.
fn compared(full: &[Measure], half: &[Measure]) -> Vec<Figure> {
    let whole = |measure: &&Measure| measure.subgroup.is_none();
    let pair = |ours: &Measure| {
        let theirs = half.iter().filter(whole).find(|theirs| theirs.name == ours.name)?;
        Some(Figure { name: ours.name.clone(), full: ours.value, half: theirs.value })
    };
    full.iter().filter(whole).filter_map(pair).collect()
}

fn permitted(version: &str, figures: &[Figure]) -> Result<()> {
    let headline = figures.first().context("there is no figure to compare")?;
    let Figure { name, full, half } = headline;
    ensure!(
        headline.loss() < LOSS_MAX,
        "{version} is not written: {name} is {half:.4} instead of {full:.4}, {:.2} % off; less than {:.0} % is allowed",
        100.0 * headline.loss(),
        100.0 * LOSS_MAX
    );
    Ok(())
}

/// The card of the full model under the name of the variant, with what is different.
fn card(full: &str, version: &str, variant: &str, figures: &[Figure], (was, is): (usize, usize)) -> String {
    let mut text = full.replacen(version, variant, 1);
    let _ = write!(
        text,
        "\n## Number format\n\nThe matrices are stored with 16 bits and computed with as 32; the weights have {is} bytes \
         instead of {was}. The tables above are those of {version}. Both on the same test rows in the same run:\n\n\
         | figure | 32 bits | 16 bits | difference |\n|---|---|---|---|\n"
    );
    for figure in figures {
        let Figure { name, full, half } = figure;
        let _ = writeln!(text, "| {name} | {full:.5} | {half:.5} | {:.3} % |", 100.0 * figure.loss());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(full: f64, half: f64) -> Figure {
        Figure { name: "auroc".into(), full, half }
    }

    #[test]
    fn matrices_are_halved_and_everything_else_stays() {
        let tensor =
            |shape: &[usize], values: &[f32]| Tensor::from_f32(shape.to_vec(), values).expect("tensor");
        let (matrix, bias) = (tensor(&[1, 2], &[1.0 / 3.0, -2.5]), tensor(&[2], &[0.1, 0.2]));
        let places = tensor(&[1, 2], &[2049.0, 70_000.0]);
        let all = [("a.weight", &matrix), ("a.bias", &bias), ("forest.column", &places)];
        let bytes = |all: &[(&str, &Tensor)]| {
            to_safetensors(all.iter().map(|(name, tensor)| ((*name).to_owned(), *tensor))).expect("bytes")
        };
        let narrow = from_safetensors("w", &halved(&bytes(&all)).expect("halved")).expect("read");
        assert_eq!((&narrow["a.bias"], &narrow["forest.column"]), (&bias, &places));
        assert_eq!((narrow["a.weight"].dtype(), narrow["a.weight"].shape()), (DType::F16, &[1, 2][..]));
        let values = narrow["a.weight"].to_f64().expect("numbers");
        assert!((values[0] - 1.0 / 3.0).abs() < 2e-4 && values[1] == -2.5, "{values:?}");
        let error = halved(&bytes(&[("b.weight", &places)])).expect_err("too large").to_string();
        assert!(error.contains("b.weight"), "{error}");
    }

    #[test]
    fn a_variant_that_loses_a_hundredth_is_refused_by_its_headline() {
        assert!(permitted("v", &[figure(0.9, 0.8911), figure(0.5, 0.1)]).is_ok());
        let error = permitted("MPS-A-v1.0.0-FP16", &[figure(0.9, 0.88)]).expect_err("refused").to_string();
        assert!(error.contains("MPS-A-v1.0.0-FP16 is not written") && error.contains("2.22 %"), "{error}");
        assert!(permitted("v", &[]).is_err());
    }

    #[test]
    fn only_figures_of_the_whole_are_compared() {
        let measures =
            |value| vec![Measure::new("auroc", value, 9), Measure::new("auroc", 0.1, 3).within("sex=male")];
        assert_eq!(compared(&measures(0.9), &measures(0.8)), [figure(0.9, 0.8)]);
    }

    #[test]
    fn the_card_names_the_variant_and_holds_both_figures() {
        let text = card("# m V32\n\n## Measured\n", "V32", "V16", &[figure(0.9, 0.8991)], (100, 60));
        assert!(text.starts_with("# m V16\n") && text.contains("those of V32"), "{text}");
        assert!(
            text.contains("| auroc | 0.90000 | 0.89910 | 0.100 % |") && text.contains("60 bytes"),
            "{text}"
        );
    }
}
