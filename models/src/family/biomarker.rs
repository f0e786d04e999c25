//! State of a panel of biomarkers: a classifier with a conformal prediction set and a measured interval around the
//! winning probability.

use clinical::Panel;

use super::tabular::{Columns, Row};
use super::{Encoded, calibration, output};
use crate::bundle::BundleConfig;
use crate::calibration::{Calibration, Classes, Interval, Part, Support, winner};
use crate::explain::Explanation;
use crate::{Bundle, ModelError, Tensor};

/// Reads questions and answers of one bundle.
#[derive(Debug, Clone)]
pub struct Encoder {
    model: String,
    columns: Columns,
    labels: Vec<String>,
    classes: Classes,
    coverage: f64,
    support: Option<Support>,
}

/// The panel behind a request.
#[derive(Debug, Clone)]
pub struct Case(Row);

/// What the classifier says.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Every class with its probability, in output order.
    pub probabilities: Vec<(String, f64)>,
    /// Index of the most likely class.
    pub winner: usize,
    /// How often an answer this sure was right.
    pub interval: Interval,
    /// Classes that cannot be ruled out.
    pub prediction_set: Vec<String>,
    /// What moved the winning probability.
    pub explanation: Explanation,
    /// Inputs the panel did not have.
    pub missing: Vec<String>,
    /// Inputs that are further from all the model has seen than it should answer for; empty when it may.
    pub beyond: Vec<String>,
}

impl Answer {
    /// The most likely class.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.probabilities[self.winner].0
    }

    /// Its probability.
    #[must_use]
    pub fn probability(&self) -> f64 {
        self.probabilities[self.winner].1
    }
}

impl Encoder {
    /// The encoder of a bundle of this family.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when its features, labels or calibration do not fit.
    pub fn new(bundle: &Bundle) -> Result<Self, ModelError> {
        Self::of(bundle.config(), &calibration(bundle)?)
    }

    fn of(config: &BundleConfig, calibration: &Calibration) -> Result<Self, ModelError> {
        let Part::Classes(classes) = calibration.part() else {
            return Err(calibration.unexpected("classes"));
        };
        if config.labels.len() != classes.thresholds.len() || config.labels.len() < 2 {
            let (labels, thresholds) = (config.labels.len(), classes.thresholds.len());
            let reason = format!("has {thresholds} thresholds, model.toml has {labels} labels");
            return Err(ModelError::invalid(crate::calibration::FILE, reason));
        }
        Ok(Self {
            model: config.name.clone(),
            columns: Columns::new(&config.features)?,
            labels: config.labels.clone(),
            classes: classes.clone(),
            coverage: calibration.coverage(),
            support: calibration.support().cloned(),
        })
    }

    /// Tensors of the panel: itself, then the copies with values hidden that explain it.
    ///
    /// # Errors
    /// [`ModelError::Input`] when the panel has none of the values the model looks at.
    pub fn encode(&self, panel: &Panel) -> Result<Encoded<Case>, ModelError> {
        let row = self.columns.read(panel)?;
        let tensors = self.columns.tensors(&row, &self.columns.hidden(&row))?;
        Ok(Encoded { tensors, case: Case(row) })
    }

    /// Reads the outputs.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(&self, encoded: &Encoded<Case>, outputs: &[Tensor]) -> Result<Answer, ModelError> {
        let width = self.labels.len();
        let values = output(&self.model, outputs, 0, (encoded.rows(), width))?;
        let Case(row) = &encoded.case;
        let winner = winner(&values[..width]);
        let of_winner: Vec<f64> = values.chunks_exact(width).map(|row| row[winner]).collect();
        let output_name = format!("probability of {}", self.labels[winner]);
        let beyond = self.support.as_ref().and_then(|support| support.beyond(&self.columns.reader(row)));
        let beyond = beyond.unwrap_or_default();
        // Of a case like none that was measured nothing is known but the guess.
        let (set, interval) = if beyond.is_empty() {
            let interval = self.classes.interval(values[winner], self.coverage);
            (self.classes.prediction_set(&values[..width]), interval)
        } else {
            ((0..width).collect(), Interval { low: 0.0, high: 1.0, coverage: self.coverage })
        };
        Ok(Answer {
            probabilities: self.labels.iter().cloned().zip(values[..width].iter().copied()).collect(),
            winner,
            interval,
            prediction_set: set.into_iter().map(|class| self.labels[class].clone()).collect(),
            explanation: self.columns.explain(row, &output_name, &of_winner),
            missing: self.columns.missing(row),
            beyond,
        })
    }
}
