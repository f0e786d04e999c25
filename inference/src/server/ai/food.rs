//! EstimateFoodCalories: what is on a photo and how much energy it holds.

use std::sync::Arc;

use bytes::Bytes;
use clinical::Unit;
use embeddings::Tenant;
use models::{
    Tensor,
    bundle::Family,
    family::{
        Encoded,
        food::{Answer, CANDIDATES, Candidate, Case, Encoder},
    },
};
use proto::manpasik::v1 as wire;
use tonic::Status;

use crate::{
    InferError,
    server::{
        foods::{self, Dish, Photo},
        stored::failed,
    },
};

use super::{
    AiService, DISCLAIMER, Inner,
    analyze::mismatched,
    asking,
    family::{Asked, Reader, refused},
    write,
};

/// When a photo that found no place may come again.
const RETRY_MS: u64 = 1000;
/// Portion of an enrolled dish unless it was weighed, gram: no table knows the usual one.
const PORTION_GRAMS: f64 = 100.0;

/// A photo that went through the food model.
struct Seen {
    asked: Asked,
    encoded: Encoded<Case>,
    outputs: Vec<Tensor>,
}

impl Seen {
    fn encoder(&self) -> Result<&Encoder, Status> {
        match &*self.asked.reader {
            Reader::Food(encoder) => Ok(encoder),
            Reader::Biomarker(_) | Reader::Anomaly(_) | Reader::Trend(_) | Reader::HealthScore(_) => {
                Err(mismatched(&self.asked))
            }
            Reader::Value(_) | Reader::Text(_) | Reader::Unasked => Err(mismatched(&self.asked)),
        }
    }

    /// The photo as the vector that dishes are compared by.
    fn photo(&self) -> Result<Photo, Status> {
        let vector = self.encoder()?.features(&self.encoded, &self.outputs).map_err(refused)?;
        Ok(Photo { vector, version: self.asked.reference.version.clone() })
    }
}

impl AiService {
    /// The vector of a photo by the image model that serves.
    pub(in crate::server) async fn features(
        &self,
        image: Bytes,
    ) -> Result<(Photo, wire::ModelReference), Status> {
        let seen = self.0.see(image, None, false).await?;
        Ok((seen.photo()?, seen.asked.reference))
    }
}

impl Inner {
    pub(super) async fn food(
        &self,
        request: wire::EstimateFoodCaloriesRequest,
    ) -> Result<wire::EstimateFoodCaloriesResponse, Status> {
        let wire::EstimateFoodCaloriesRequest { image, portion_grams, explain, user_id } = request;
        asking::of_user(&user_id);
        let user = if user_id.is_empty() { None } else { Some(foods::user(user_id)?) };
        let seen = self.see(image, portion_grams, explain).await?;
        let answer = seen.encoder()?.decode(&seen.encoded, &seen.outputs).map_err(refused)?;
        let answer = told(answer, seen.asked.reference.clone());
        let Some(user) = user else { return Ok(answer) };
        match self.enrolled(&user, &seen).await {
            Ok(Some((dish, likeness))) => {
                Ok(as_enrolled(answer, dish, likeness, portion_grams, seen.encoder()?))
            }
            Ok(None) => Ok(answer),
            // The classifier's answer is worth having without them.
            Err(status) => Ok(without_dishes(answer, &status)),
        }
    }

    /// The person's dish that the photo shows.
    async fn enrolled(&self, user: &Tenant, seen: &Seen) -> Result<Option<(Dish, f32)>, Status> {
        self.dishes()?.nearest(user, seen.photo()?).await.map_err(|error| failed(&error))
    }

    async fn see(&self, image: Bytes, portion_grams: Option<f64>, explain: bool) -> Result<Seen, Status> {
        let asked = self.asked(Family::Food).into_iter().next();
        let asked = asked.ok_or_else(|| self.unavailable(Family::Food))?;
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
        let encoded = encoded.ok_or_else(|| mismatched(&asked))?.map_err(refused)?;
        let outputs = self.run(&asked, &encoded.tensors).await?;
        Ok(Seen { asked, encoded, outputs })
    }
}

/// The answer with the enrolled dish in front of what the classifier thinks.
fn as_enrolled(
    mut answer: wire::EstimateFoodCaloriesResponse,
    dish: Dish,
    likeness: f32,
    portion_grams: Option<f64>,
    encoder: &Encoder,
) -> wire::EstimateFoodCaloriesResponse {
    let Dish { name, kcal_per_100g, .. } = dish;
    let grams = portion_grams.unwrap_or(PORTION_GRAMS);
    let energy = kcal_per_100g * grams / 100.0;
    let item = wire::FoodItem {
        name,
        confidence: likeness.into(),
        energy_density: Some(write::plain("energy_density", kcal_per_100g, Unit::KiloCaloriePer100G)),
        portion: Some(write::plain("portion", grams, Unit::Gram)),
        portion_is_default: portion_grams.is_none(),
        energy: Some(write::plain("energy", energy, Unit::KiloCalorie)),
        energy_interval: Some(write::interval(encoder.portion_interval(energy, portion_grams.is_none()))),
        nutrition_source: "enrolled by the user".into(),
        method: wire::FoodMethod::Enrolled.into(),
        ..Default::default()
    };
    answer.warnings.retain(|warning| !["unsure", "default_portion"].contains(&warning.code.as_str()));
    let text = "the energy is the one enrolled with the dish and taken as exact; the interval allows for the portion alone";
    answer.warnings.push(write::warning("enrolled", text, "user_id"));
    if item.portion_is_default {
        let text = "the portion is 100 g, not measured, which the interval allows for; send portion_grams";
        answer.warnings.push(write::warning("default_portion", text, "portion_grams"));
    }
    if let Some(safety) = &mut answer.safety {
        safety.verdict = wire::Verdict::Unspecified.into();
    }
    answer.unsure = false;
    answer.candidates.insert(0, item.clone());
    answer.candidates.truncate(CANDIDATES);
    answer.item = Some(item);
    answer
}

fn without_dishes(
    mut answer: wire::EstimateFoodCaloriesResponse,
    status: &Status,
) -> wire::EstimateFoodCaloriesResponse {
    let text = format!("enrolled dishes could not be looked at: {}", status.message());
    answer.warnings.push(write::warning("no_dishes", text, "user_id"));
    answer
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
        let text = "the portion is the usual one of this food, not measured, which the interval allows for; \
                    send portion_grams";
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
        prediction_id: String::new(),
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
        method: wire::FoodMethod::Classified.into(),
    }
}
