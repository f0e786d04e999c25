//! Energy of the food on a photo: an image classifier restricted to foods, a nutrition table and a portion.
//!
//! The classifier was trained on a thousand kinds of things; the confidence of a food is its share of the softmax over
//! all of them, so a photo of a cat is no food with much confidence. Energy is per 100 g times the portion; nobody can
//! see grams on a photo, so without a weighed portion the table's usual one is taken, which the answer says.

mod nutrition;
mod picture;

pub use nutrition::{FoodRow, NUTRITION_FILE, NutritionTable};
pub use picture::{BYTES_MAX, Limits, SIDE, preprocess};

use super::{Encoded, calibration, output};
use crate::bundle::BundleConfig;
use crate::calibration::{Calibration, Food, Interval, Part};
use crate::explain::{Contribution, Explanation, Method};
use crate::{Bundle, ModelError, Tensor};

/// Foods named in an answer.
pub const CANDIDATES: usize = 5;
/// Largest portion taken, gram.
pub const PORTION_MAX_G: f64 = 5000.0;
/// Tiles per side that the explanation hides in turn.
const TILES: usize = 3;
/// The neutral pixel: what is left of 127 after normalisation.
const NEUTRAL: f32 = 0.0;

/// Reads questions and answers of one bundle.
#[derive(Debug, Clone)]
pub struct Encoder {
    model: String,
    classes: usize,
    table: NutritionTable,
    food: Food,
    coverage: f64,
}

/// The photo behind a request.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    portion_grams: Option<f64>,
    explain: bool,
}

/// One possible food.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Row of the table.
    pub row: FoodRow,
    /// Share of the softmax over everything the classifier knows.
    pub confidence: f64,
    /// How often an answer this sure was right.
    pub confidence_interval: Interval,
    /// Gram.
    pub portion_grams: f64,
    /// Whether the portion is the table's usual one.
    pub portion_is_default: bool,
    /// Energy of the portion, kcal.
    pub energy: f64,
    /// Around the energy: the other foods it may be and the portion it may be.
    pub energy_interval: Interval,
}

/// What is on the photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Most likely foods, best first.
    pub candidates: Vec<Candidate>,
    /// Whether none of them is likely enough to be named.
    pub unsure: bool,
    /// Which parts of the image mattered, when asked for.
    pub explanation: Option<Explanation>,
}

impl Encoder {
    /// The encoder of a bundle of this family.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when the nutrition table or the calibration does not fit.
    pub fn new(bundle: &Bundle) -> Result<Self, ModelError> {
        let table = NutritionTable::parse(&bundle.file(NUTRITION_FILE)?)?;
        Self::of(bundle.config(), &calibration(bundle)?, table)
    }

    pub(super) fn of(
        config: &BundleConfig,
        calibration: &Calibration,
        table: NutritionTable,
    ) -> Result<Self, ModelError> {
        let Part::Food(food) = calibration.part() else {
            return Err(calibration.unexpected("food"));
        };
        let classes = config.outputs.first().and_then(|out| usize::try_from(*out.dims.get(1)?).ok());
        let classes = classes
            .ok_or_else(|| ModelError::invalid("model.toml", "the first output needs a fixed size"))?;
        if let Some(row) = table.rows().iter().find(|row| row.class_index >= classes) {
            let reason =
                format!("class {} of `{}` is beyond the {classes} classes", row.class_index, row.label);
            return Err(ModelError::invalid(NUTRITION_FILE, reason));
        }
        Ok(Self {
            model: config.name.clone(),
            classes,
            table,
            food: food.clone(),
            coverage: calibration.coverage(),
        })
    }

    /// Tensor of a photo: itself and, when `explain`, copies with one tile of it greyed out.
    ///
    /// # Errors
    /// [`ModelError::Input`] naming `image` or `portion_grams`.
    pub fn encode(
        &self,
        image: &[u8],
        portion_grams: Option<f64>,
        explain: bool,
    ) -> Result<Encoded<Case>, ModelError> {
        if let Some(grams) = portion_grams.filter(|grams| !(*grams > 0.0 && *grams <= PORTION_MAX_G)) {
            let reason = format!("is {grams}, expected above 0 and at most {PORTION_MAX_G}");
            return Err(ModelError::input("portion_grams", reason));
        }
        let pixels = preprocess(image)?;
        let mut values = pixels.clone();
        for tile in 0..if explain { TILES * TILES } else { 0 } {
            let mut copy = pixels.clone();
            grey(&mut copy, tile);
            values.extend(copy);
        }
        let rows = values.len() / pixels.len();
        let tensor = Tensor::from_f32(vec![rows, 3, SIDE, SIDE], &values)?;
        Ok(Encoded { tensors: vec![tensor], case: Case { portion_grams, explain } })
    }

    /// Reads the outputs.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(&self, encoded: &Encoded<Case>, outputs: &[Tensor]) -> Result<Answer, ModelError> {
        let logits = output(&self.model, outputs, 0, (encoded.rows(), self.classes))?;
        let shares: Vec<Vec<f64>> = logits.chunks_exact(self.classes).map(softmax).collect();
        let mut ranked: Vec<(&FoodRow, f64)> =
            self.table.rows().iter().map(|row| (row, shares[0][row.class_index])).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let best = ranked[0];
        let explanation = encoded.case.explain.then(|| {
            let column: Vec<f64> = shares.iter().map(|share| share[best.0.class_index]).collect();
            tiles(&best.0.label, &column)
        });
        let densities = self.densities(&ranked);
        let candidate =
            |(row, confidence): &(&FoodRow, f64)| self.candidate(row, *confidence, encoded.case, densities);
        Ok(Answer {
            unsure: best.1 < self.food.unsure_below,
            candidates: ranked.iter().take(CANDIDATES).map(candidate).collect(),
            explanation,
        })
    }

    /// The pooled layer before the classifier, of the case itself: photos of alike food have vectors that point alike.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the network has no such output or it is not finite.
    pub fn features(&self, encoded: &Encoded<Case>, outputs: &[Tensor]) -> Result<Vec<f32>, ModelError> {
        let width = outputs.get(1).and_then(|features| features.shape().get(1).copied()).unwrap_or(0);
        if width == 0 {
            let reason = "it has no output of features".to_owned();
            return Err(ModelError::Run { model: self.model.clone(), reason });
        }
        let features = output(&self.model, outputs, 1, (encoded.rows(), width))?;
        Ok(features.into_iter().take(width).map(|value| value as f32).collect())
    }

    /// Lowest and highest energy per 100 g among the most likely foods that together reach the coverage of all foods.
    fn densities(&self, ranked: &[(&FoodRow, f64)]) -> (f64, f64) {
        let all: f64 = ranked.iter().map(|(_, share)| share).sum();
        let (mut reached, mut low, mut high) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        for (row, share) in ranked {
            if reached >= self.coverage * all {
                break;
            }
            reached += share;
            (low, high) = (low.min(row.kcal_per_100g), high.max(row.kcal_per_100g));
        }
        (low, high)
    }

    fn candidate(&self, row: &FoodRow, confidence: f64, case: Case, (low, high): (f64, f64)) -> Candidate {
        let portion_grams = case.portion_grams.unwrap_or(row.portion_grams);
        let portion_is_default = case.portion_grams.is_none();
        let doubt = if portion_is_default { self.food.portion_uncertainty } else { 0.0 };
        let portions = portion_grams / 100.0;
        let energy = row.kcal_per_100g * portions;
        let interval = Interval {
            low: low * portions * (1.0 - doubt),
            high: high * portions * (1.0 + doubt),
            coverage: self.coverage,
        };
        Candidate {
            row: row.clone(),
            confidence,
            confidence_interval: self.food.interval(confidence, self.coverage),
            portion_grams,
            portion_is_default,
            energy,
            energy_interval: interval.including(energy * (1.0 - doubt)).including(energy * (1.0 + doubt)),
        }
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Rows and columns of tile `tile` of the square.
fn tile_bounds(tile: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let cut = |index: usize| index * SIDE / TILES..(index + 1) * SIDE / TILES;
    (cut(tile / TILES), cut(tile % TILES))
}

fn grey(pixels: &mut [f32], tile: usize) {
    let (rows, columns) = tile_bounds(tile);
    for channel in 0..3 {
        for row in rows.clone() {
            let start = (channel * SIDE + row) * SIDE;
            pixels[start + columns.start..start + columns.end].fill(NEUTRAL);
        }
    }
}

/// Explanation from the rows of [`Encoder::encode`]; the base is the share with the most telling tile hidden.
fn tiles(label: &str, column: &[f64]) -> Explanation {
    const ROWS: [&str; TILES] = ["top", "middle", "bottom"];
    const COLUMNS: [&str; TILES] = ["left", "centre", "right"];
    let part = |tile: usize| Contribution {
        feature: format!("image {} {}", ROWS[tile / TILES], COLUMNS[tile % TILES]),
        loinc: String::new(),
        value: None,
        unit: "1".into(),
        contribution: column[0] - column[tile + 1],
    };
    let base = column[1..].iter().copied().fold(column[0], f64::min);
    Explanation::of(
        Method::Shapley,
        &format!("confidence of {label}"),
        base,
        (0..TILES * TILES).map(part).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::COVERAGE;

    /// An encoder over three classes: pizza, something that is no food, espresso.
    fn encoder() -> Encoder {
        let table = NutritionTable::parse(nutrition::tests::TABLE.as_bytes()).expect("valid");
        let food = Food { unsure_below: 0.5, bins: Vec::new(), portion_uncertainty: 0.4 };
        Encoder { model: "food".into(), classes: 3, table, food, coverage: COVERAGE }
    }

    fn answer(logits: &[f32], portion: Option<f64>, explain: bool) -> Answer {
        let encoder = encoder();
        let encoded = encoder.encode(&picture::tests::png(40, 30), portion, explain).expect("encodes");
        let rows = encoded.rows();
        let mut values = logits.repeat(rows);
        if explain {
            values[3] -= 5.0;
        }
        let outputs = [Tensor::from_f32(vec![rows, 3], &values).expect("fits")];
        encoder.decode(&encoded, &outputs).expect("decodes")
    }

    #[test]
    fn a_sure_photo_is_named_with_the_energy_of_its_portion() {
        let sure = answer(&[0.0, 0.0, 9.0], None, false);
        let best = &sure.candidates[0];
        assert!(!sure.unsure && best.row.label == "Espresso" && best.portion_is_default);
        assert!((best.energy - 2.7).abs() < 1e-9);
        assert!(
            (best.energy_interval.low - 1.62).abs() < 1e-9 && (best.energy_interval.high - 3.78).abs() < 1e-9
        );
        let weighed = answer(&[9.0, 0.0, 0.0], Some(200.0), false);
        assert!(
            (weighed.candidates[0].energy - 532.0).abs() < 1e-9 && !weighed.candidates[0].portion_is_default
        );
        assert_eq!(weighed.candidates[0].energy_interval.low, weighed.candidates[0].energy_interval.high);
    }

    #[test]
    fn something_that_is_no_food_leaves_it_unsure() {
        let cat = answer(&[0.0, 9.0, 0.0], None, false);
        assert!(cat.unsure && cat.candidates.len() == 2);
        assert!(cat.candidates[0].confidence < 0.01, "a share of everything, not of the foods");
    }

    #[test]
    fn a_doubtful_photo_has_the_energy_of_either_food() {
        let either = answer(&[5.0, 0.0, 5.0], Some(100.0), false);
        let interval = either.candidates[0].energy_interval;
        assert!((interval.low - 9.0).abs() < 1e-9 && (interval.high - 266.0).abs() < 1e-9);
    }

    #[test]
    fn the_explanation_names_the_part_of_the_image() {
        let explained = answer(&[9.0, 5.0, 0.0], None, true).explanation.expect("asked for");
        assert_eq!(explained.contributions[0].feature, "image top left");
        assert!(explained.contributions[0].contribution > 0.0);
    }

    #[test]
    fn impossible_portions_are_refused() {
        for grams in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            let error =
                encoder().encode(&picture::tests::png(4, 4), Some(grams), false).expect_err("refused");
            assert!(error.to_string().starts_with("portion_grams: "), "{error}");
        }
    }
}
