//! What the network made of every photo, kept with the project: `assets/food_confidence.tsv`.
//!
//! The photos themselves are not needed to make the bundle; a test that has them compares the table with what the
//! network sees and, asked to, writes it anew.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use models::bundle::Quantisation;

use super::photos::{Sighting, Truth};

const TABLE: &str = include_str!("../../assets/food_confidence.tsv");
const HEAD: &str = "# What the food network made of photos: photo, what it shows, then by weights of 32 bits and of 16 \
                    bits the confidence in the winning food and the place of the right one. Generated: do not edit.\n";
/// Candidates that count as found.
const AMONG: usize = 5;

const FOOD: &str = "food";
const PLANT: &str = "other plant";
const ANIMAL: &str = "animal";
const PLACES: [&str; 3] = ["first", "among five", "later"];
const NO_PLACE: &str = "none";

/// One photo.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    shows: &'static str,
    confidence: f64,
    place: &'static str,
}

/// The photos as one variant of the network sees them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record(Vec<Line>);

/// The text of the table from what both variants saw.
///
/// # Errors
/// When they were not shown the same photos.
pub fn table(full: &[Sighting], half: &[Sighting]) -> Result<String> {
    if full.len() != half.len() || full.iter().zip(half).any(|(a, b)| a.photo != b.photo) {
        bail!("the two variants were not shown the same photos");
    }
    let mut text = HEAD.to_owned();
    for (a, b) in full.iter().zip(half) {
        let [(x, there), (y, here)] = [a, b].map(|seen| (seen.confidence, place_of(seen)));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\t{}\t{x:.4}\t{there}\t{y:.4}\t{here}", a.photo, shows(a.truth));
    }
    Ok(text)
}

fn shows(truth: Truth) -> &'static str {
    match truth {
        Truth::Food(_) => FOOD,
        Truth::OtherPlant => PLANT,
        Truth::Animal => ANIMAL,
    }
}

fn place_of(seen: &Sighting) -> &'static str {
    match (seen.truth, seen.place) {
        (Truth::OtherPlant | Truth::Animal, _) => NO_PLACE,
        (Truth::Food(_), Some(0)) => PLACES[0],
        (Truth::Food(_), Some(place)) if place < AMONG => PLACES[1],
        (Truth::Food(_), _) => PLACES[2],
    }
}

impl Record {
    /// The committed table.
    pub(super) fn of(bits: Quantisation) -> Result<Self> {
        let column = match bits {
            Quantisation::Fp32 => 2,
            Quantisation::Fp16 => 4,
            Quantisation::Int8 => bail!("the food network has no variant of 8 bits, expected FP32 or FP16"),
        };
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        let parsed = |line: &str| {
            let cells: Vec<&str> = line.split('\t').collect();
            line_of(&cells, column).with_context(|| format!("`{line}` is no line of the food record"))
        };
        Ok(Self(lines.map(parsed).collect::<Result<_>>()?))
    }

    fn foods(&self) -> impl Iterator<Item = &Line> {
        self.0.iter().filter(|line| line.shows == FOOD)
    }

    fn of_kind(&self, shows: &str) -> Vec<f64> {
        self.0.iter().filter(|line| line.shows == shows).map(|line| line.confidence).collect()
    }

    /// Of every photo of a food, the confidence in the winner and whether it was right.
    pub(super) fn named(&self) -> Vec<(f64, bool)> {
        self.foods().map(|line| (line.confidence, line.place == PLACES[0])).collect()
    }

    /// Confidence in the winner on photos of plants that are none of the foods.
    pub(super) fn other_plants(&self) -> Vec<f64> {
        self.of_kind(PLANT)
    }

    /// Photos of foods with the right food first, among five, and all.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let first = self.foods().filter(|line| line.place == PLACES[0]).count();
        let five = self.foods().filter(|line| PLACES[..2].contains(&line.place)).count();
        (first, five, self.foods().count())
    }

    /// Shares of the photos of foods, of other plants and of animals that are named from `threshold` up.
    pub(super) fn share_named(&self, threshold: f64) -> (f64, f64, f64) {
        let share = |kind: &str| {
            let confidences = self.of_kind(kind);
            let named = confidences.iter().filter(|confidence| **confidence >= threshold).count();
            named as f64 / confidences.len().max(1) as f64
        };
        (share(FOOD), share(PLANT), share(ANIMAL))
    }

    /// Share of the right answers of `full` that this variant lost.
    pub(super) fn loss(&self, full: &Self) -> f64 {
        let (ours, theirs) = (self.counts().0 as f64, full.counts().0 as f64);
        (theirs - ours).max(0.0) / theirs.max(1.0)
    }
}

fn line_of(cells: &[&str], column: usize) -> Option<Line> {
    let one_of = |known: &[&'static str], cell: &str| known.iter().copied().find(|known| *known == cell);
    let confidence: f64 = cells.get(column)?.parse().ok()?;
    Some(Line {
        shows: one_of(&[FOOD, PLANT, ANIMAL], cells.get(1)?)?,
        confidence: (0.0..=1.0).contains(&confidence).then_some(confidence)?,
        place: one_of(&[PLACES[0], PLACES[1], PLACES[2], NO_PLACE], cells.get(column + 1)?)?,
    })
}

/// Paragraph of the card about the number format of the weights.
pub(super) fn difference(record: &Record, full: &Record, bytes: usize) -> String {
    let moved = record.0.iter().zip(&full.0).map(|(a, b)| (a.confidence - b.confidence).abs());
    let places = record.0.iter().zip(&full.0).filter(|(a, b)| a.place != b.place).count();
    let what = if record == full {
        "The weights are of 32 bits.".to_owned()
    } else {
        format!(
            "The weights are stored with 16 bits and computed with as 32. Against 32 bits, on the same {} photos, the \
             place of the right food differs on {places}, right answers are {:.2} % fewer, and the confidence moves by \
             at most {:.4}.",
            full.0.len(),
            100.0 * record.loss(full),
            moved.fold(0.0, f64::max),
        )
    };
    format!("\n**Number format.** {what} The graph has {:.1} MB.\n", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_record_has_all_photos_of_either_variant() {
        for bits in [Quantisation::Fp32, Quantisation::Fp16] {
            let record = Record::of(bits).expect("readable");
            assert_eq!(record.counts().2, 53);
            assert!(record.other_plants().len() > 200 && record.of_kind(ANIMAL).len() > 200);
            assert!(record.loss(&Record::of(Quantisation::Fp32).expect("readable")) < 0.01);
        }
        assert!(Record::of(Quantisation::Int8).is_err());
    }

    #[test]
    fn the_table_is_written_from_what_both_variants_saw() {
        let seen = |photo: &str, truth, confidence, place| Sighting {
            photo: photo.to_owned(),
            truth,
            confidence,
            place,
            unsure: false,
            place_alone: None,
        };
        let full = [
            seen("a", Truth::Food(1), 0.5, Some(0)),
            seen("b", Truth::Food(2), 0.25, Some(4)),
            seen("c", Truth::Animal, 0.125, None),
        ];
        let text = table(&full, &full).expect("the same photos");
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines[0], "a\tfood\t0.5000\tfirst\t0.5000\tfirst");
        assert_eq!(lines[1], "b\tfood\t0.2500\tamong five\t0.2500\tamong five");
        assert_eq!(lines[2], "c\tanimal\t0.1250\tnone\t0.1250\tnone");
        assert!(table(&full, &full[1..]).is_err());
    }

    #[test]
    fn lost_answers_and_named_strangers_are_shares() {
        let line = |shows, confidence, place| Line { shows, confidence, place };
        let record = |place| {
            Record(vec![
                line(FOOD, 0.9, PLACES[0]),
                line(FOOD, 0.8, place),
                line(PLANT, 0.6, NO_PLACE),
                line(PLANT, 0.1, NO_PLACE),
                line(ANIMAL, 0.1, NO_PLACE),
            ])
        };
        assert!((record(PLACES[1]).loss(&record(PLACES[0])) - 0.5).abs() < 1e-12);
        assert_eq!(record(PLACES[0]).loss(&record(PLACES[1])), 0.0, "a gain is no loss");
        assert_eq!(record(PLACES[0]).share_named(0.5), (1.0, 0.5, 0.0));
        let text = difference(&record(PLACES[1]), &record(PLACES[0]), 12_300_000);
        assert!(
            text.contains("50.00 %") && text.contains("12.3 MB") && text.contains("differs on 1"),
            "{text}"
        );
    }
}
