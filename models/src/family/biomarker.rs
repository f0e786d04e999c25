//! State of a panel of biomarkers: a classifier with a conformal prediction set and a measured interval around the
//! winning probability.

use clinical::Panel;

use super::tabular::{Columns, Row};
use super::{Encoded, calibration, output};
use crate::bundle::BundleConfig;
use crate::calibration::{Calibration, Classes, Cohort, Interval, Part, winner};
use crate::explain::Explanation;
use crate::{Bundle, ModelError, Tensor};

/// Reads questions and answers of one bundle.
#[derive(Debug, Clone)]
pub struct Encoder {
    model: String,
    columns: Columns,
    labels: Vec<String>,
    classes: Classes,
    calibration: Calibration,
}

/// The panel behind a request.
#[derive(Debug, Clone)]
pub struct Case {
    row: Row,
    cohort: Option<Cohort>,
}

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
            calibration: calibration.clone(),
        })
    }

    /// Tensors of the panel: itself, then the copies with values hidden that explain it.
    ///
    /// # Errors
    /// [`ModelError::Input`] when the panel has none of the values the model looks at.
    pub fn encode(&self, panel: &Panel) -> Result<Encoded<Case>, ModelError> {
        let row = self.columns.read(panel)?;
        let tensors = self.columns.tensors(&row, &self.columns.hidden(&row))?;
        let cohort = Cohort::of_person(panel.person());
        Ok(Encoded { tensors, case: Case { row, cohort } })
    }

    /// Reads the outputs.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(&self, encoded: &Encoded<Case>, outputs: &[Tensor]) -> Result<Answer, ModelError> {
        let width = self.labels.len();
        let values = output(&self.model, outputs, 0, (encoded.rows(), width))?;
        let Case { row, cohort } = &encoded.case;
        let winner = winner(&values[..width]);
        let of_winner: Vec<f64> = values.chunks_exact(width).map(|row| row[winner]).collect();
        let output_name = format!("probability of {}", self.labels[winner]);
        let support = self.calibration.support();
        let beyond =
            support.and_then(|support| support.beyond(&self.columns.reader(row))).unwrap_or_default();
        let (set, interval) = self.uncertainty(&values[..width], *cohort, !beyond.is_empty());
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
    /// Classes that cannot be ruled out for someone of `cohort`, and how often an answer this sure was right. Of a case
    /// like none that was measured nothing is known but the guess.
    fn uncertainty(&self, values: &[f64], cohort: Option<Cohort>, beyond: bool) -> (Vec<usize>, Interval) {
        let coverage = self.calibration.coverage();
        if beyond {
            return ((0..values.len()).collect(), Interval { low: 0.0, high: 1.0, coverage });
        }
        let thresholds = self.calibration.of_cohort(cohort).unwrap_or(&self.classes.thresholds);
        let interval = self.classes.interval(values[winner(values)], coverage);
        (self.classes.prediction_set_by(thresholds, values), interval)
    }
}
