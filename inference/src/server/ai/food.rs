//! EstimateFoodCalories: what is on a photo and how much energy it holds.

use std::sync::Arc;

use clinical::Unit;
use models::{
    bundle::Family,
    family::food::{Answer, Candidate},
};
use proto::manpasik::v1 as wire;
use tonic::Status;

use crate::InferError;

use super::{
    DISCLAIMER, Inner,
    analyze::mismatched,
    family::{Reader, refused},
    write,
};

/// When a photo that found no place may come again.
const RETRY_MS: u64 = 1000;

impl Inner {
    pub(super) async fn food(
        &self,
        request: wire::EstimateFoodCaloriesRequest,
    ) -> Result<wire::EstimateFoodCaloriesResponse, Status> {
        let wire::EstimateFoodCaloriesRequest { image, portion_grams, explain } = request;
        let models = self.asked(Family::Food);
        let asked = models.first().ok_or_else(|| self.unavailable(Family::Food))?;
        // Decoding takes a processor and memory for a while: off the network threads, few at a time.
        let busy = || Status::from(InferError::Overloaded { model: "food".into(), retry_after_ms: RETRY_MS });
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let permit = Arc::clone(&self.decoders).acquire_owned();
        let permit = tokio::time::timeout(self.handle.limits().deadline_max(), permit).await;
        let permit = permit.map_err(|_| busy())?;
        let permit = permit.map_err(|_| Status::unavailable("the server is shutting down"))?;
        let reader = Arc::clone(&asked.reader);
        let encode = move || {
            let _permit = permit;
            match &*reader {
                Reader::Food(encoder) => Some(encoder.encode(&image, portion_grams, explain)),
                Reader::Biomarker(_) | Reader::Anomaly(_) | Reader::Trend(_) => None,
                Reader::HealthScore(_) | Reader::Value(_) | Reader::Text(_) | Reader::Unasked => None,
            }
        };
        let encoded = tokio::task::spawn_blocking(encode).await;
        let encoded = encoded.map_err(|_| Status::internal("the photo could not be decoded"))?;
        let encoded = encoded.ok_or_else(|| mismatched(asked))?.map_err(refused)?;
        let Reader::Food(encoder) = &*asked.reader else { return Err(mismatched(asked)) };
        let outputs = self.run(&asked.served, &encoded.tensors).await?;
        let answer = encoder.decode(&encoded, &outputs).map_err(refused)?;
        Ok(told(answer, asked.reference.clone()))
    }
}

fn told(answer: Answer, model: wire::ModelReference) -> wire::EstimateFoodCaloriesResponse {
    let Answer { candidates, unsure, explanation } = answer;
    let candidates: Vec<wire::FoodItem> = candidates.into_iter().map(item).collect();
    let best = candidates.first().filter(|_| !unsure).cloned();
    let mut warnings: Vec<_> = write::synthetic(&model).into_iter().collect();
    if unsure {
        let text = "no food is likely enough to be named; choose one of the candidates or send another photo";
        warnings.push(write::warning("unsure", text, "image"));
    }
    if best.as_ref().is_some_and(|item| item.portion_is_default) {
        let text = "the portion is the usual one of this food, not measured; send portion_grams";
        warnings.push(write::warning("default_portion", text, "portion_grams"));
    }
    let verdict = if unsure { wire::Verdict::Uncertain } else { wire::Verdict::Unspecified };
    let reasons = vec!["energy of food is no clinical value; no rule applies".into()];
    wire::EstimateFoodCaloriesResponse {
        item: best,
        unsure,
        candidates,
        safety: Some(wire::SafetyVerdict { verdict: verdict.into(), reasons, ..Default::default() }),
        model: Some(model),
        explanation: explanation.map(write::explanation),
        warnings,
        disclaimer: DISCLAIMER.into(),
    }
}

fn item(candidate: Candidate) -> wire::FoodItem {
    let Candidate {
        row,
        confidence,
        confidence_interval,
        portion_grams,
        portion_is_default,
        energy,
        energy_interval,
    } = candidate;
    let nutrient = |name, per_100g: f64| write::plain(name, per_100g * portion_grams / 100.0, Unit::Gram);
    wire::FoodItem {
        name: row.label,
        confidence,
        confidence_interval: Some(write::interval(confidence_interval)),
        energy_density: Some(write::plain("energy_density", row.kcal_per_100g, Unit::KiloCaloriePer100G)),
        portion: Some(write::plain("portion", portion_grams, Unit::Gram)),
        portion_is_default,
        energy: Some(write::plain("energy", energy, Unit::KiloCalorie)),
        energy_interval: Some(write::interval(energy_interval)),
        nutrients: vec![
            nutrient("protein", row.protein_per_100g),
            nutrient("fat", row.fat_per_100g),
            nutrient("carbohydrate", row.carbohydrate_per_100g),
        ],
        nutrition_source: row.source,
    }
}
