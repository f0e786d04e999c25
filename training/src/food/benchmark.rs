//! The figures of the food model: the right food first and among five, and photos found again among other photos.

use anyhow::Result;
use models::{Bundle, Model, calibration::wilson};

use super::photos::{Sighting, measure};
use super::retrieval;
use crate::data::Store;
use crate::evaluate::{Benchmark, Target, bootstrap};

/// Candidates that count as found.
const AMONG: usize = 5;
/// Coverage of the intervals.
const COVERAGE: f64 = 0.95;
const PHOTOS: &str = "53 photos of single foods, the bundle as it is served: one view, padded to a square; the \
                      preprocessing was fixed before they were looked at again";
const ALONE: &str = "the same network, each class alone";
const FOUND: &str = "45 cut-outs looked for among 306 photos of plants by the cosine of the served features";
const COSINE: &str = "cosine of the EfficientNet-Lite2 features, which is what is served";

/// The figures of `bundle`, whose network is `model`.
///
/// # Errors
/// Those of fetching the photos and of running the model.
pub fn benchmarks(store: &Store, bundle: &Bundle, model: &mut dyn Model) -> Result<Vec<Benchmark>> {
    let sightings = measure(store, bundle, model, false)?;
    let places = retrieval::places(store, bundle, model)?;
    Ok([classified(&sightings), found(&places)].concat())
}

fn classified(sightings: &[Sighting]) -> Vec<Benchmark> {
    let within = |place: Option<usize>, count: usize| place.is_some_and(|place| place < count);
    let figure = |key: &str, count, least| {
        let ours: Vec<bool> = sightings.iter().map(|seen| within(seen.place, count)).collect();
        let alone: Vec<bool> = sightings.iter().map(|seen| within(seen.place_alone, count)).collect();
        share(key, &ours, least, PHOTOS).against(ALONE, Some(mean(&alone)), gain(&ours, &alone))
    };
    vec![figure("food/top1", 1, 0.9), figure("food/top5", AMONG, 1.0)]
}

fn found(places: &[usize]) -> Vec<Benchmark> {
    let figure = |key: &str, count, least| {
        let hits: Vec<bool> = places.iter().map(|place| *place < count).collect();
        let value = mean(&hits);
        share(key, &hits, least, FOUND).against(COSINE, Some(value), gain(&hits, &hits))
    };
    vec![figure("food_retrieval/top1", 1, 0.5), figure("food_retrieval/top5", AMONG, 0.75)]
}

/// A share of hits with Wilson's interval: a bootstrap of all hits would claim to be certain.
fn share(key: &str, hits: &[bool], least: f64, protocol: &str) -> Benchmark {
    let successes = hits.iter().filter(|hit| **hit).count() as f64;
    Benchmark::new(key, mean(hits), Target::AtLeast(least), hits.len(), protocol).between(Some(wilson(
        successes,
        hits.len() as f64,
        COVERAGE,
    )))
}

fn gain(ours: &[bool], other: &[bool]) -> Option<(f64, f64)> {
    let groups: Vec<u64> = (0..ours.len() as u64).collect();
    bootstrap::interval(&groups, |rows| {
        Some(mean(&bootstrap::pick(ours, rows)) - mean(&bootstrap::pick(other, rows)))
    })
}

fn mean(hits: &[bool]) -> f64 {
    hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::photos::Truth;
    use super::*;

    fn seen(place: Option<usize>, place_alone: Option<usize>) -> Sighting {
        let photo = "a".to_owned();
        Sighting { photo, truth: Truth::Food(1), confidence: 0.5, place, unsure: false, place_alone }
    }

    #[test]
    fn each_figure_stands_beside_the_classes_alone() {
        let sightings =
            [seen(Some(0), Some(4)), seen(Some(0), Some(0)), seen(Some(3), Some(7)), seen(None, None)];
        let figures = classified(&sightings);
        let of = |key: &str| figures.iter().find(|figure| figure.key == key).expect("there");
        assert!((of("food/top1").value - 0.5).abs() < 1e-12 && of("food/top1").baseline == Some(0.25));
        assert!((of("food/top5").value - 0.75).abs() < 1e-12 && of("food/top5").baseline == Some(0.5));
        assert!(of("food/top1").gain.is_some_and(|(low, high)| low <= 0.25 && high >= 0.25));
        assert!(of("food/top1").low.is_some_and(|low| low > 0.0 && low < 0.5));
    }

    #[test]
    fn searches_count_by_the_place_of_the_first_of_its_kind() {
        let values: Vec<f64> = found(&[0, 4, 5]).iter().map(|figure| figure.value).collect();
        assert!((values[0] - 1.0 / 3.0).abs() < 1e-12 && (values[1] - 2.0 / 3.0).abs() < 1e-12);
    }
}
