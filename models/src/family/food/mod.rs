//! Energy of the food on a photo: an image classifier restricted to foods, a nutrition table and a portion.
//!
//! The classifier was trained on a thousand kinds of things; the confidence of a food is its share of the softmax over
//! all of them, so a photo of a cat is no food with much confidence. Several kinds can mean one food (a bolete is a
//! mushroom); their shares add up. Energy is per 100 g times the portion; nobody can see grams on a photo, so without a
//! weighed portion the table's usual one is taken, which the answer says and the interval of the energy allows for.

mod nutrition;
mod patches;
mod picture;

pub use nutrition::{FoodRow, NUTRITION_FILE, NutritionTable};
pub use patches::EXPLAINED_ROWS;
pub use picture::{BYTES_MAX, Limits, SIDE, preprocess};

use super::{Encoded, calibration, output};
use crate::bundle::BundleConfig;
use crate::calibration::{Calibration, Food, Interval, Part};
use crate::explain::Explanation;
use crate::{Bundle, ModelError, Tensor};

/// Foods named in an answer.
pub const CANDIDATES: usize = 5;
/// Largest portion taken, gram.
pub const PORTION_MAX_G: f64 = 5000.0;

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
        let beyond = |row: &FoodRow| row.classes().find(|class| *class >= classes);
        if let Some((row, class)) = table.rows().iter().find_map(|row| Some((row, beyond(row)?))) {
            let reason = format!("class {class} of `{}` is beyond the {classes} classes", row.label);
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

    /// Tensor of a photo: itself and, when `explain`, copies with patches of it greyed out, [`EXPLAINED_ROWS`] in all.
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
        if explain {
            values.extend(patches::copies(&pixels));
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
            self.table.rows().iter().map(|row| (row, share_of(row, &shares[0]))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let best = ranked[0];
        let explanation = encoded.case.explain.then(|| {
            let column: Vec<f64> = shares.iter().map(|shares| share_of(best.0, shares)).collect();
            patches::explain(&best.0.label, &column)
        });
        let likely = self.likely(&ranked, encoded.case);
        let candidate =
            |(row, confidence): &(&FoodRow, f64)| self.candidate(row, *confidence, encoded.case, likely);
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

    /// Interval of an energy that is right but for the portion: none around a weighed one, and around a default one
    /// as far as portions differ.
    #[must_use]
    pub fn portion_interval(&self, energy: f64, portion_is_default: bool) -> Interval {
        let doubt = if portion_is_default { self.food.portion_uncertainty } else { 0.0 };
        Interval { low: energy * (1.0 - doubt), high: energy * (1.0 + doubt), coverage: self.coverage }
    }

    /// Lowest and highest energy, in doubt of the portion, among the most likely foods that together reach the
    /// coverage of all foods; each in its own usual portion unless one was weighed.
    fn likely(&self, ranked: &[(&FoodRow, f64)], case: Case) -> (f64, f64) {
        let all: f64 = ranked.iter().map(|(_, share)| share).sum();
        let (mut reached, mut low, mut high) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        for (row, share) in ranked {
            if reached >= self.coverage * all {
                break;
            }
            reached += share;
            let energy = self.portion_interval(energy(row, case), case.portion_grams.is_none());
            (low, high) = (low.min(energy.low), high.max(energy.high));
        }
        (low, high)
    }

    fn candidate(&self, row: &FoodRow, confidence: f64, case: Case, (low, high): (f64, f64)) -> Candidate {
        let portion_is_default = case.portion_grams.is_none();
        let energy = energy(row, case);
        let own = self.portion_interval(energy, portion_is_default);
        let likely = Interval { low, high, coverage: self.coverage };
        Candidate {
            row: row.clone(),
            confidence,
            confidence_interval: self.food.interval(confidence, self.coverage),
            portion_grams: case.portion_grams.unwrap_or(row.portion_grams),
            portion_is_default,
            energy,
            energy_interval: likely.including(own.low).including(own.high),
        }
    }
}

/// Energy of the portion, kcal.
fn energy(row: &FoodRow, case: Case) -> f64 {
    row.kcal_per_100g * case.portion_grams.unwrap_or(row.portion_grams) / 100.0
}

/// Share of the softmax of everything that means this food.
fn share_of(row: &FoodRow, shares: &[f64]) -> f64 {
    row.classes().filter_map(|class| shares.get(class)).sum()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
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
            // Nothing of the photo shown, and the centre alone.
            values[3] -= 5.0;
            values[6] -= 5.0;
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
        // Unweighed, each in its usual portion, and that in doubt: 2.7 kcal of espresso, 284.62 of pizza.
        let usual = answer(&[5.0, 0.0, 5.0], None, false).candidates[0].energy_interval;
        assert!((usual.low - 0.6 * 2.7).abs() < 1e-9 && (usual.high - 1.4 * 284.62).abs() < 1e-9);
    }

    #[test]
    fn shares_of_all_kinds_of_a_food_add_up() {
        let mut of_both = encoder();
        let table = nutrition::tests::TABLE.replace("portion_g\n", "portion_g\talso_classes\n");
        let table = table.replace("\t107\n", "\t107\tnone\n").replace("\t30\n", "\t30\t1\n");
        of_both.table = NutritionTable::parse(table.as_bytes()).expect("valid");
        let encoded = of_both.encode(&picture::tests::png(4, 4), None, false).expect("encodes");
        let outputs = [Tensor::from_f32(vec![1, 3], &[1.0, 0.9, 0.9]).expect("fits")];
        let best = &of_both.decode(&encoded, &outputs).expect("decodes").candidates[0];
        assert!(best.row.label == "Espresso" && best.confidence > 0.6, "{best:?}");
    }

    #[test]
    fn the_explanation_names_the_part_of_the_image() {
        let explained = answer(&[9.0, 5.0, 0.0], None, true).explanation.expect("asked for");
        // It is the second that the order uncovers, which is when the photo begins to look like pizza.
        assert_eq!(explained.contributions[0].feature, "image top left");
        assert!(explained.contributions[0].contribution > 0.0);
        let sum: f64 = explained.contributions.iter().map(|part| part.contribution).sum();
        let sure = answer(&[9.0, 5.0, 0.0], None, false).candidates[0].confidence;
        assert!((explained.base_value + sum - sure).abs() < 1e-9);
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
