//! What models answered, how it came out, and whether what they were asked still looks like their training.

mod cipher;

use std::collections::BTreeMap;

pub use self::cipher::{Cipher, digest};

/// What one model answered in one request. Requests that ask several models have a part for each.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Identifier that the answer carried.
    pub id: String,
    /// From 0.
    pub part: i32,
    /// Method that was called, such as `AnalyzeMeasurement`.
    pub rpc: String,
    /// Model name.
    pub model: String,
    /// Version that answered.
    pub version: String,
    /// SHA-256 of the encoded request, hexadecimal digits.
    pub input_sha256: String,
    /// Class, or value as text.
    pub output: String,
    /// Ends of the interval of a value.
    pub interval: Option<(f64, f64)>,
    /// Probability of the class, as it was answered.
    pub probability: Option<f64>,
    /// Classes of the prediction set.
    pub classes: Vec<String>,
    /// Sex and age band, where the request told; otherwise empty.
    pub cohort: String,
    /// Who asked; empty while nobody has to say.
    pub tenant: String,
    /// ms since the Unix epoch.
    pub at_ms: i64,
    /// How it came out, once somebody knows.
    pub outcome: Option<String>,
}

/// Request and answer behind a prediction, as they are kept: encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Identifier of the prediction.
    pub id: String,
    /// The request.
    pub request: Vec<u8>,
    /// The answer.
    pub answer: Vec<u8>,
    /// ms since the Unix epoch.
    pub at_ms: i64,
}

/// A window of drift that was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftWindow {
    /// Model name.
    pub model: String,
    /// Version that was asked.
    pub version: String,
    /// Sex and age band; empty: everybody.
    pub cohort: String,
    /// Cases in it.
    pub rows: u64,
    /// Figures of every column, JSON.
    pub figures: String,
    /// ms since the Unix epoch.
    pub closed_ms: i64,
}

/// How well a version did on the answers whose outcome is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Accuracy {
    /// Answers with an outcome.
    pub labelled: u64,
    /// Of classes: answers that were the outcome.
    pub right: u64,
    /// Answers of classes.
    pub classed: u64,
    /// Answers whose interval or set held the outcome.
    pub covered: u64,
    /// Answers that had an interval or a set.
    pub bounded: u64,
    /// Sum of the distances from value to outcome.
    pub error: f64,
    /// Answers of classes by their probability, a tenth each.
    pub tenths: [Tenth; 10],
}

/// Answers whose probability lay within one tenth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tenth {
    /// How many.
    pub answers: u64,
    /// Sum of their probabilities.
    pub probability: f64,
    /// Those that were right.
    pub right: u64,
}

impl Accuracy {
    /// Adds an answer; one without an outcome, or whose outcome is of another kind, is not counted.
    pub fn add(&mut self, prediction: &Prediction) {
        let Some(outcome) = &prediction.outcome else { return };
        match (prediction.output.parse::<f64>(), outcome.parse::<f64>()) {
            (Ok(value), Ok(truth)) => {
                self.error += (value - truth).abs();
                if let Some((low, high)) = prediction.interval {
                    self.bounded += 1;
                    self.covered += u64::from((low..=high).contains(&truth));
                }
            }
            (Err(_), Err(_)) => {
                self.classed += 1;
                let is_right = prediction.output == *outcome;
                self.right += u64::from(is_right);
                if let Some(probability) = prediction.probability {
                    self.weigh(probability, is_right);
                }
                if !prediction.classes.is_empty() {
                    self.bounded += 1;
                    self.covered += u64::from(prediction.classes.contains(outcome));
                }
            }
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => return,
        }
        self.labelled += 1;
    }

    fn weigh(&mut self, probability: f64, is_right: bool) {
        let place = (probability.clamp(0.0, 1.0) * 10.0) as usize;
        let tenth = &mut self.tenths[place.min(9)];
        tenth.answers += 1;
        tenth.probability += probability;
        tenth.right += u64::from(is_right);
    }

    /// Expected calibration error: how far, on average, the probability of a class was from how often it was right, over
    /// ten bins of equal width.
    #[must_use]
    pub fn calibration_error(&self) -> Option<f64> {
        let answers: u64 = self.tenths.iter().map(|tenth| tenth.answers).sum();
        let apart: f64 = self.tenths.iter().map(|tenth| (tenth.probability - tenth.right as f64).abs()).sum();
        (answers > 0).then(|| apart / answers as f64)
    }

    /// Share of classes that were right.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        share(self.right, self.classed)
    }

    /// Share of intervals and sets that held the outcome.
    #[must_use]
    pub fn coverage(&self) -> Option<f64> {
        share(self.covered, self.bounded)
    }

    /// Mean distance from value to outcome.
    #[must_use]
    pub fn mean_error(&self) -> Option<f64> {
        let values = self.labelled - self.classed;
        (values > 0).then(|| self.error / values as f64)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Figures by version and cohort; the empty cohort is everybody.
pub type Accuracies = BTreeMap<(String, String), Accuracy>;

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(output: &str, outcome: Option<&str>) -> Prediction {
        Prediction {
            id: "p".into(),
            part: 0,
            rpc: "AnalyzeMeasurement".into(),
            model: "m".into(),
            version: "v".into(),
            input_sha256: String::new(),
            output: output.into(),
            interval: output.parse::<f64>().ok().map(|value| (value - 1.0, value + 1.0)),
            probability: output.parse::<f64>().is_err().then_some(0.75),
            classes: vec!["sick".into()],
            cohort: String::new(),
            tenant: String::new(),
            at_ms: 1,
            outcome: outcome.map(str::to_owned),
        }
    }

    #[test]
    fn classes_and_values_are_judged_by_their_outcome() {
        let mut figures = Accuracy::default();
        assert_eq!((figures.accuracy(), figures.coverage(), figures.mean_error()), (None, None, None));
        for (output, outcome) in [
            ("sick", Some("sick")),
            ("well", Some("sick")),
            ("sick", None),
            ("5.0", Some("5.5")),
            ("5.0", Some("9")),
        ] {
            figures.add(&answered(output, outcome));
        }
        figures.add(&answered("5.0", Some("sick")));
        assert_eq!(figures.labelled, 4, "an outcome of another kind says nothing");
        assert_eq!(figures.accuracy(), Some(0.5));
        assert_eq!(figures.coverage(), Some(0.75));
        assert_eq!(figures.mean_error(), Some(2.25));
        assert_eq!(figures.calibration_error(), Some(0.25), "said .75 twice, and was right once");
    }

    #[test]
    fn each_tenth_of_probability_is_judged_by_itself() {
        let mut figures = Accuracy::default();
        for (probability, is_right) in [(0.1, true), (0.1, false), (1.0, true), (1.0, false)] {
            figures.weigh(probability, is_right);
        }
        assert_eq!(figures.tenths.map(|tenth| tenth.answers), [0, 2, 0, 0, 0, 0, 0, 0, 0, 2]);
        let error = figures.calibration_error().expect("answers");
        assert!((error - (0.4 + 0.5) / 2.0).abs() < 1e-9, "{error}");
    }
}
