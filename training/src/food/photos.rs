//! Labelled photos on which the food model is measured: ingredients of the Indian Food
//! Composition Tables whose kind is also a class of the classifier.
//!
//! The photos may be read but not passed on, so they are fetched for measuring and never kept
//! with the project. What was measured on them is: `assets/food_confidence.tsv`.

use anyhow::{Context, Result};
use models::{Batch, Model, Tensor, family::food};

use crate::data::Store;

const SOURCE: &str = "food-photos";

/// Photo code and class index. Codes are those of the composition tables.
const PHOTOS: [(&str, usize); 27] = [
    ("A007", 987),
    ("A008", 987),
    ("C015", 936),
    ("C016", 936),
    ("D033", 945),
    ("D034", 945),
    ("D035", 945),
    ("D036", 938),
    ("D043", 943),
    ("D044", 943),
    ("D051", 955),
    ("D077", 939),
    ("D078", 939),
    ("E002", 948),
    ("E009", 954),
    ("E010", 954),
    ("E012", 954),
    ("E016", 956),
    ("E020", 952),
    ("E030", 955),
    ("E047", 950),
    ("E053", 953),
    ("E055", 957),
    ("E063", 949),
    ("J001", 947),
    ("J002", 947),
    ("J003", 947),
];

/// What the model made of one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Code of the photo in the composition tables.
    pub photo: String,
    /// Softmax share of the food that won among the foods.
    pub confidence: f64,
    /// Whether it was the right one.
    pub right: bool,
    /// Whether the right one is among the five most likely foods.
    pub in_five: bool,
}

/// Fetches the photos and shows each to `model`; `foods` are the class indices of foods.
///
/// # Errors
/// Fetching, a photo that cannot be decoded, or a model that fails.
pub fn measure(store: &Store, model: &mut dyn Model, foods: &[usize]) -> Result<Vec<Sighting>> {
    let mut sightings = Vec::new();
    for (code, class) in PHOTOS {
        let photo = store.member(SOURCE, &format!("package/assets/{code}.jpeg"))?;
        let side = food::SIDE;
        let image = Tensor::from_f32(vec![1, 3, side, side], &food::preprocess(&photo)?)?;
        let outputs = model.run(Batch { tensors: vec![image] })?;
        let logits = outputs.tensors.first().context("the model gives no logits")?.as_f32()?.into_owned();
        sightings.push(look(code, &logits, foods, class));
    }
    Ok(sightings)
}

fn look(photo: &str, logits: &[f32], foods: &[usize], class: usize) -> Sighting {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let share = |index: usize| f64::from((logits[index] - highest).exp());
    let total: f64 = (0..logits.len()).map(share).sum();
    let mut ranked: Vec<usize> = foods.iter().copied().filter(|index| *index < logits.len()).collect();
    ranked.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let best = ranked.first().copied();
    Sighting {
        photo: photo.to_owned(),
        confidence: best.map_or(0.0, |best| share(best) / total),
        right: best == Some(class),
        in_five: ranked.iter().take(5).any(|index| *index == class),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_winner_is_sought_among_foods_and_its_share_among_everything() {
        let logits = [2.0, 1.0, 0.0, 0.0];
        let seen = look("a", &logits, &[1, 2], 1);
        assert!(seen.right && seen.in_five);
        let total: f64 = logits.iter().map(|logit: &f32| f64::from(*logit).exp()).sum();
        assert!((seen.confidence - 1f64.exp() / total).abs() < 1e-6);
        assert!(!look("a", &logits, &[1, 2], 0).in_five);
    }
}
