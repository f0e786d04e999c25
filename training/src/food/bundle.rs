//! The food bundle: fetched, converted, checked and written into a folder by set-up, because
//! its weights are too large to keep with the project.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use models::{
    Bundle, Tensor,
    bundle::{
        BundleConfig, BundleWriter, EngineKind, Family, Golden,
        config::{
            BatchingConfig, DatasetConfig, GoldenConfig, LineageConfig, MetricConfig, SCHEMA_VERSION,
            TensorConfig,
        },
    },
    calibration::{Calibration, Part, fit_food},
    engine::OnnxEngine,
    family::food::{NUTRITION_FILE, NutritionTable},
};

use super::{SIDE, convert, nutrition, photos::Sighting};
use crate::data::{Provenance, Store};

/// Name of the bundle and of the model.
pub const NAME: &str = "food";
const VERSION: &str = "MPS-FOOD-v1.0.0-FP32";
/// Place of the right food among all foods, as the table of sightings and the reports write it.
pub const FIRST: &str = "first";
/// Not first, but among the five most likely.
pub const AMONG_FIVE: &str = "among five";
/// Sightings of [`super::photos::measure`] with this very network, as `manpasik eval food` lists
/// them: photo, confidence, place of the right food.
const SIGHTINGS: &str = include_str!("../../assets/food_confidence.tsv");
/// Share of named foods that must be right where the threshold is set.
const RIGHT_MIN: f64 = 0.9;
/// Nominal coverage of the intervals.
const COVERAGE: f64 = 0.9;

/// Writes the bundle below `out` unless a sound one is there, and gives its folder.
///
/// # Errors
/// Fetching, conversion, a network that does not run, or writing.
pub fn write_bundle(data_dir: &Path, out: &Path, engine: &OnnxEngine) -> Result<PathBuf> {
    let folder = out.join(NAME).join(VERSION);
    if Bundle::open(&folder).is_ok() {
        return Ok(folder);
    }
    let store = Store::open(data_dir)?;
    let provenance = store.provenance(super::SOURCE)?;
    let graph = graph(&store, &provenance, data_dir)?;
    let sightings = sightings()?;
    let config = config(&provenance, &sightings)?;
    let mut model = engine.open(&config, &graph).context("the converted network does not load")?;
    let golden = Golden::record(&mut *model, &config.signature()?, vec![golden_image()?])?;
    let pairs: Vec<(f64, bool)> = sightings.iter().map(|seen| (seen.confidence, seen.right)).collect();
    let calibration =
        Calibration::new(COVERAGE, pairs.len() as u64, Part::Food(fit_food(&pairs, RIGHT_MIN)))?;
    let card = card(&provenance, &sightings);
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

/// The sightings that this build was calibrated with.
///
/// # Errors
/// Only if the table of this build is damaged.
pub fn sightings() -> Result<Vec<Sighting>> {
    let lines = SIGHTINGS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let &[photo, confidence, place] = cells.as_slice() else { bail!("`{line}` has not three cells") };
            let confidence = confidence.parse().with_context(|| format!("`{confidence}` is no number"))?;
            Ok(Sighting {
                photo: photo.to_owned(),
                confidence,
                right: place == FIRST,
                in_five: [FIRST, AMONG_FIVE].contains(&place),
            })
        })
        .collect()
}

fn graph(store: &Store, provenance: &Provenance, data_dir: &Path) -> Result<Vec<u8>> {
    let file = data_dir.join(format!(".food.{}.onnx", std::process::id()));
    convert(&store.member(super::SOURCE, super::MEMBER)?, provenance, &file)?;
    let graph = std::fs::read(&file).context("cannot read the converted network")?;
    std::fs::remove_file(&file).context("cannot remove the temporary network")?;
    Ok(graph)
}

fn config(provenance: &Provenance, sightings: &[Sighting]) -> Result<BundleConfig> {
    let side = i64::try_from(SIDE)?;
    Ok(BundleConfig {
        schema_version: SCHEMA_VERSION,
        name: NAME.into(),
        version: VERSION.parse()?,
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
        // A convolutional network gains nothing from batches on a processor.
        batching: BatchingConfig { rows_max: 16, linger_us: 0 },
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
        metrics: metrics(sightings),
    })
}

fn share(sightings: &[Sighting], of: impl Fn(&Sighting) -> bool) -> f64 {
    sightings.iter().filter(|seen| of(seen)).count() as f64 / sightings.len().max(1) as f64
}

fn metrics(sightings: &[Sighting]) -> Vec<MetricConfig> {
    let metric = |name: &str, value: f64| MetricConfig {
        name: name.into(),
        value,
        low: None,
        high: None,
        split: format!("{} photos", sightings.len()),
        subgroup: None,
    };
    vec![
        metric("top1_among_foods", share(sightings, |seen| seen.right)),
        metric("top5_among_foods", share(sightings, |seen| seen.in_five)),
    ]
}

/// A made-up picture: waves of colour, nothing that was photographed.
fn golden_image() -> Result<Tensor> {
    let plane = SIDE * SIDE;
    let value = |index: usize| ((index % plane) as f32 * 0.013 + (index / plane) as f32).sin();
    Ok(Tensor::from_f32(vec![1, 3, SIDE, SIDE], &(0..3 * plane).map(value).collect::<Vec<_>>())?)
}

fn card(provenance: &Provenance, sightings: &[Sighting]) -> String {
    format!(
        "# {NAME} {VERSION}\n\n\
         **Intended use.** A first guess at the food on a photo and its energy: kcal per 100 g from a table times \
         a portion. Not for diagnosis, not for dosing.\n\n\
         **Network.** EfficientNet-Lite2 as published for ImageNet-1k, converted without change of weights.\n\n\
         **Source.** {} {}, SHA-256 {}. Licence: {}. {}\n\n\
         **Nutrients.** USDA FoodData Central, public domain; rows marked `near` stand for a food that has no row \
         of its own. Portions marked `ours` are plain servings estimated by us.\n\n\
         **Measured** on {} photos of single ingredients (Indian Food Composition Tables 2017; fetched for \
         measuring, not passed on): right food first {:.0} %, among five {:.0} %. The padding and the filter were \
         chosen with some of these photos in view, and they are few: the 95 % interval of the first figure is about \
         ± 14 points. The same photos set the threshold of \"unsure\".\n\n\
         **Limits.** 45 foods, mostly single items of Western kitchens; no Korean dishes; one food a photo. The \
         portion cannot be seen: without a weight the answer uses a stated default and a wide interval.\n\n\
         **Synthetic data.** None, except the picture the golden outputs are compared on.\n",
        provenance.package,
        provenance.version,
        provenance.sha256,
        provenance.license_data,
        provenance.citation,
        sightings.len(),
        100.0 * share(sightings, |seen| seen.right),
        100.0 * share(sightings, |seen| seen.in_five),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_sightings_and_classes_are_readable() {
        let sightings = sightings().expect("readable");
        assert_eq!(sightings.len(), 27);
        assert!(sightings.iter().all(|seen| (0.0..=1.0).contains(&seen.confidence)));
        assert!(sightings.iter().all(|seen| seen.in_five || !seen.right));
        assert_eq!(classes().expect("readable").len(), 45);
    }

    #[test]
    fn the_golden_picture_has_the_shape_of_the_input() {
        let image = golden_image().expect("a tensor");
        assert_eq!(image.shape(), [1, 3, SIDE, SIDE]);
    }
}
