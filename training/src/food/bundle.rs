//! The food bundle: fetched, converted, checked and written into a folder by set-up, because
//! its weights are too large to keep with the project.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use models::{
    Bundle, Tensor,
    bundle::{
        BatchingConfig, BundleConfig, BundleWriter, EngineKind, Family, Golden, Quantisation,
        config::{DatasetConfig, GoldenConfig, LineageConfig, MetricConfig, SCHEMA_VERSION, TensorConfig},
    },
    calibration::{Calibration, Part, fit_food, wilson},
    engine::OnnxEngine,
    family::food::{EXPLAINED_ROWS, NUTRITION_FILE, NutritionTable},
};

use super::{
    SIDE, convert, nutrition,
    record::{self, Record},
};
use crate::data::{Provenance, Store};

/// Name of the bundle and of the model.
pub const NAME: &str = "food";
const VERSION: &str = "MPS-FOOD-v1.1.0";
/// Share of named foods that must be right where the threshold is set.
const RIGHT_MIN: f64 = 0.9;
/// Share of pictures of other foods that may be named.
const STRANGERS_NAMED_MAX: f64 = 0.2;
/// Share of the right answers that weights of fewer bits may lose.
const LOSS_MAX: f64 = 0.01;
/// Nominal coverage of the intervals.
const COVERAGE: f64 = 0.9;

/// Writes the bundle below `out` unless a sound one is there, and gives its folder.
///
/// # Errors
/// Fetching, conversion, a network that does not run or has lost too much by fewer bits, or writing.
pub fn write_bundle(data_dir: &Path, out: &Path, engine: &OnnxEngine, bits: Quantisation) -> Result<PathBuf> {
    let version = format!("{VERSION}-{}", bits.name());
    let folder = out.join(NAME).join(&version);
    if Bundle::open(&folder).is_ok() {
        return Ok(folder);
    }
    let record = Record::of(bits)?;
    let full = Record::of(Quantisation::Fp32)?;
    let loss = record.loss(&full);
    if loss >= LOSS_MAX {
        bail!("{version} loses {:.1} % of the right answers, so it is not made", 100.0 * loss);
    }
    let store = Store::open(data_dir)?;
    let provenance = store.provenance(super::SOURCE)?;
    let graph = graph(&store, &provenance, data_dir, bits)?;
    let config = config(&version, &provenance, &record)?;
    let mut model = engine.open(&config, &graph).context("the converted network does not load")?;
    let golden = Golden::record(&mut *model, &config.signature()?, vec![golden_image()?])?;
    let fitted = fit_food(&record.named(), &record.other_plants(), RIGHT_MIN, STRANGERS_NAMED_MAX);
    let named = record.share_named(fitted.unsure_below);
    let calibration = Calibration::new(COVERAGE, record.named().len() as u64, Part::Food(fitted))?;
    let card = card(&version, &provenance, &record, named) + &record::difference(&record, &full, graph.len());
    BundleWriter::new(config)
        .weights(graph)
        .golden(&golden)?
        .calibration(String::from_utf8(calibration.to_json()?)?)
        .card(card)
        .file(NUTRITION_FILE, nutrition::TABLE)
        .replace()
        .write(&folder)?;
    Ok(folder)
}

/// Class indices of the foods that the nutrition table knows.
///
/// # Errors
/// Only if the table of this build is damaged.
pub fn classes() -> Result<Vec<usize>> {
    let table = NutritionTable::parse(nutrition::TABLE.as_bytes())?;
    Ok(table.rows().iter().map(|row| row.class_index).collect())
}

fn graph(store: &Store, provenance: &Provenance, data_dir: &Path, bits: Quantisation) -> Result<Vec<u8>> {
    let half = match bits {
        Quantisation::Fp32 => false,
        Quantisation::Fp16 => true,
        Quantisation::Int8 => bail!("the food network has no variant of 8 bits, expected FP32 or FP16"),
    };
    let file = data_dir.join(format!(".food.{}.onnx", std::process::id()));
    convert(&store.member(super::SOURCE, super::MEMBER)?, provenance, &file, half)?;
    let graph = std::fs::read(&file).context("cannot read the converted network")?;
    std::fs::remove_file(&file).context("cannot remove the temporary network")?;
    Ok(graph)
}

fn config(version: &str, provenance: &Provenance, record: &Record) -> Result<BundleConfig> {
    let side = i64::try_from(SIDE)?;
    Ok(BundleConfig {
        schema_version: SCHEMA_VERSION,
        name: NAME.into(),
        version: version.parse()?,
        family: Family::Food,
        engine: EngineKind::Onnx,
        task: "food".into(),
        intended_use: "A first guess at what food a photo shows and how much energy a portion of it has; \
                       reference information, not for diagnosis or dosing."
            .into(),
        synthetic: false,
        labels: Vec::new(),
        inputs: vec![TensorConfig::rows("image", &[3, side, side])],
        outputs: vec![TensorConfig::rows("logits", &[1000]), TensorConfig::rows("features", &[1280])],
        network: None,
        features: Vec::new(),
        forecast: None,
        // A convolutional network gains nothing from batches on a processor; an explained photo is the largest call.
        batching: BatchingConfig::new(EXPLAINED_ROWS),
        // Other processors choose other kernels; a wrong network is off by far more.
        golden: GoldenConfig { tolerance: 1e-2 },
        lineage: LineageConfig {
            seed: 0,
            rows_train: 0,
            trained_with: "published weights, converted by `manpasik models fetch food`".into(),
            datasets: vec![DatasetConfig {
                id: provenance.source.clone(),
                version: provenance.version.clone(),
                sha256: provenance.sha256.clone(),
                licence: provenance.license_data.clone(),
            }],
        },
        metrics: metrics(record),
    })
}

fn metrics(record: &Record) -> Vec<MetricConfig> {
    let (right, in_five, photos) = record.counts();
    let metric = |name: &str, count: usize| {
        let (low, high) = wilson(count as f64, photos as f64, 0.95);
        MetricConfig {
            name: name.into(),
            value: count as f64 / photos.max(1) as f64,
            low: Some(low),
            high: Some(high),
            split: format!("{photos} photos"),
            subgroup: None,
        }
    };
    vec![metric("top1_among_foods", right), metric("top5_among_foods", in_five)]
}

/// A made-up picture: waves of colour, nothing that was photographed.
fn golden_image() -> Result<Tensor> {
    let plane = SIDE * SIDE;
    let value = |index: usize| ((index % plane) as f32 * 0.013 + (index / plane) as f32).sin();
    Ok(Tensor::from_f32(vec![1, 3, SIDE, SIDE], &(0..3 * plane).map(value).collect::<Vec<_>>())?)
}

fn card(
    version: &str,
    provenance: &Provenance,
    record: &Record,
    (known, others, animals): (f64, f64, f64),
) -> String {
    let (right, in_five, photos) = record.counts();
    let percent = |count: usize| 100.0 * count as f64 / photos.max(1) as f64;
    let (low, high) = wilson(right as f64, photos as f64, 0.95);
    format!(
        "# {NAME} {version}\n\n\
         **Intended use.** A first guess at the food on a photo and its energy: kcal per 100 g from a table times \
         a portion. Not for diagnosis, not for dosing.\n\n\
         **Network.** EfficientNet-Lite2 as published for ImageNet-1k, converted without change of weights.\n\n\
         **Source.** {} {}, SHA-256 {}. Licence: {}. {}\n\n\
         **Nutrients.** USDA FoodData Central, public domain; rows marked `near` stand for a food that has no row \
         of its own. Portions marked `ours` are plain servings estimated by us.\n\n\
         **Measured** on {photos} photos of single foods (Indian Food Composition Tables 2017, Tux Paint stamps, \
         scikit-image; fetched for measuring, not passed on): right food first {:.1} % (95 % interval {:.1} to {:.1}), \
         among five {:.1} %. The padding and the filter were chosen earlier with some of these photos in view; that \
         fungi count as mushrooms and an ear as corn was decided after the errors on these photos had been seen. Three photos that bear the \
         name of a food were left out as no fair picture of it; with them the figure would be {right} of 56.\n\n\
         **Unsure.** Below the threshold no food is named. It is set so that of photos of other plants at most a fifth \
         are named all the same ({:.0} %); of the {photos} photos {:.0} % are named, of photos of animals and what comes \
         of them, which had no part in setting it, {:.0} %.\n\n\
         **Energy.** The interval holds the other foods it may be and, unless the portion is weighed, portions from 0.6 \
         to 1.4 times the usual one: our assumption, no data here can tell better. A weighed portion is taken as exact.\n\n\
         **Limits.** 45 foods, mostly single items of Western kitchens; no Korean dishes; one food a photo; an edible \
         mushroom is not told from a poisonous one. The \
         portion cannot be seen: without a weight the answer uses a stated default and a wide interval.\n\n\
         **Synthetic data.** None, except the picture the golden outputs are compared on.\n",
        provenance.package,
        provenance.version,
        provenance.sha256,
        provenance.license_data,
        provenance.citation,
        percent(right),
        100.0 * low,
        100.0 * high,
        percent(in_five),
        100.0 * others,
        100.0 * known,
        100.0 * animals,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nutrition_table_has_45_foods_and_four_more_classes() {
        assert_eq!(classes().expect("readable").len(), 45);
        let table = NutritionTable::parse(nutrition::TABLE.as_bytes()).expect("valid");
        let also: Vec<usize> = table.rows().iter().flat_map(|row| row.also.clone()).collect();
        assert_eq!(also, [992, 996, 997, 998]);
    }

    #[test]
    fn the_golden_picture_has_the_shape_of_the_input() {
        let image = golden_image().expect("a tensor");
        assert_eq!(image.shape(), [1, 3, SIDE, SIDE]);
    }
}
