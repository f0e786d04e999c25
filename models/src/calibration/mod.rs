//! What a model's answers are worth: the held-out figures behind every interval, prediction set and threshold.
//!
//! `calibration.json` lies beside the weights and is written by training through the `fit_*` functions of this
//! module, so that the code that measures the uncertainty and the code that states it are the same. Everything rests
//! on split-conformal prediction (Vovk, Gammerman & Shafer 2005; Angelopoulos & Bates 2021): cases the model never saw
//! give the size of its errors, and a new case exchangeable with them lies inside the stated limits with at least the
//! stated coverage.

mod classes;
mod cohort;
mod food;
mod forecast;
mod grid;
mod hazard;
mod normality;
mod residuals;
mod risk;
mod stats;
mod support;
mod window;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use classes::winner;
pub use classes::{ClassCase, Classes, ReliabilityBin, class_cohorts, fit_classes};
pub use cohort::{COHORT_CASES_MIN, Cohort, Cohorts, OfCohort};
pub use food::{Food, PORTION_UNCERTAINTY, fit_food};
pub use forecast::{
    BANDS, Forecast, HorizonCase, HorizonWidth, Quantiles, fit_forecast, forecast_cohorts, spread,
};
pub use grid::Grid;
pub use normality::{FeatureNormal, Normality, fit_normality};
pub use residuals::{OutputResidual, Residuals, Scale, fit_residual};
pub use risk::{
    AgeBand, MissingSpread, Reference, Risk, RiskBin, RiskCase, RiskSpread, ScoreWidth, fit_reference,
    fit_risk, observed_risk,
};
pub use stats::{conformal_quantile, wilson};
pub use support::{Seen, Support, TURNED_AWAY};
pub use window::window;

use crate::ModelError;

/// Coverage of intervals and prediction sets unless a trainer has a reason for another.
pub const COVERAGE: f64 = 0.9;
/// Name of the file inside a bundle.
pub const FILE: &str = "calibration.json";
/// Layout of the file this code reads and writes.
const SCHEMA_VERSION: u32 = 1;

/// Lowest and highest value that a future case is expected to have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lowest.
    pub low: f64,
    /// Highest.
    pub high: f64,
    /// Share of future cases expected inside, 0 to 1.
    pub coverage: f64,
}

impl Interval {
    /// The same interval, stretched so that `value` lies in it.
    #[must_use]
    pub fn including(self, value: f64) -> Self {
        Self { low: self.low.min(value), high: self.high.max(value), ..self }
    }

    /// Both ends moved into `low..=high`.
    #[must_use]
    pub fn clamped(self, low: f64, high: f64) -> Self {
        Self { low: self.low.clamp(low, high), high: self.high.clamp(low, high), ..self }
    }
}

/// Content of `calibration.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    schema_version: u32,
    id: String,
    coverage: f64,
    n: u64,
    part: Part,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cohorts: Option<Cohorts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    support: Option<Support>,
}

/// What a family of models needs to know of its errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Part {
    /// Nothing is known; answers carry no interval.
    None,
    /// Classifiers.
    Classes(Classes),
    /// Regressors.
    Residuals(Residuals),
    /// Forecasters.
    Forecast(Forecast),
    /// Autoencoders.
    Normality(Normality),
    /// Survival models.
    Risk(Risk),
    /// The image classifier with its nutrition table.
    Food(Food),
}

impl Part {
    /// The `kind` written in the file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Classes(_) => "classes",
            Self::Residuals(_) => "residuals",
            Self::Forecast(_) => "forecast",
            Self::Normality(_) => "normality",
            Self::Risk(_) => "risk",
            Self::Food(_) => "food",
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::None => Ok(()),
            Self::Classes(part) => part.check(),
            Self::Residuals(part) => part.check(),
            Self::Forecast(part) => part.check(),
            Self::Normality(part) => part.check(),
            Self::Risk(part) => part.check(),
            Self::Food(part) => part.check(),
        }
    }
}

impl Calibration {
    /// A calibration measured on `n` held-out cases, with the identifier that its content gives it.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when a figure is not finite or makes no sense.
    pub fn new(coverage: f64, n: u64, part: Part) -> Result<Self, ModelError> {
        let (id, cohorts, support) = (String::new(), None, None);
        Self { schema_version: SCHEMA_VERSION, id, coverage, n, part, cohorts, support }.named()
    }

    /// The same with figures of the cohorts that have their own, under the identifier of the new content.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when a figure makes no sense or there are too few of them.
    pub fn with_cohorts(self, cohorts: Option<Cohorts>) -> Result<Self, ModelError> {
        Self { cohorts, id: String::new(), ..self }.named()
    }

    /// The same with what the model has seen, under the identifier of the new content.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when a figure makes no sense.
    pub fn with_support(self, support: Option<Support>) -> Result<Self, ModelError> {
        Self { support, id: String::new(), ..self }.named()
    }

    fn named(mut self) -> Result<Self, ModelError> {
        self.check()?;
        self.id = hex::encode(&Sha256::digest(&self.to_json()?)[..6]);
        Ok(self)
    }

    /// Reads `calibration.json`. That the bytes are the ones training wrote is the manifest's business; here every
    /// figure is checked to make sense.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] naming what is wrong.
    pub fn from_json(text: &[u8]) -> Result<Self, ModelError> {
        let calibration: Self =
            serde_json::from_slice(text).map_err(|error| ModelError::invalid(FILE, error.to_string()))?;
        if calibration.schema_version != SCHEMA_VERSION {
            let got = calibration.schema_version;
            return Err(ModelError::invalid(
                FILE,
                format!("schema_version is {got}, expected {SCHEMA_VERSION}"),
            ));
        }
        if calibration.id.is_empty() {
            return Err(ModelError::invalid(FILE, "id is empty"));
        }
        calibration.check()?;
        Ok(calibration)
    }

    /// The bytes of `calibration.json`.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when a figure cannot be written.
    pub fn to_json(&self) -> Result<Vec<u8>, ModelError> {
        serde_json::to_vec_pretty(self).map_err(|error| ModelError::invalid(FILE, error.to_string()))
    }

    /// Short identifier, a hash of the content.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Share of future cases that intervals and sets are expected to hold, 0 to 1.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        self.coverage
    }

    /// Number of held-out cases.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// What was measured.
    #[must_use]
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// The figures of `cohort`, where it has its own.
    #[must_use]
    pub fn of_cohort(&self, cohort: Option<Cohort>) -> Option<&[f64]> {
        self.cohorts.as_ref().and_then(|cohorts| cohorts.of(cohort))
    }

    /// Figures of cohorts, where there are any.
    #[must_use]
    pub fn cohorts(&self) -> Option<&Cohorts> {
        self.cohorts.as_ref()
    }

    /// What the model has seen, where it says so.
    #[must_use]
    pub fn support(&self) -> Option<&Support> {
        self.support.as_ref()
    }

    /// The error of a family that finds another part than it needs.
    pub(crate) fn unexpected(&self, expected: &str) -> ModelError {
        ModelError::invalid(FILE, format!("kind is `{}`, expected `{expected}`", self.part.kind()))
    }

    fn check(&self) -> Result<(), ModelError> {
        if !(self.coverage > 0.0 && self.coverage < 1.0) {
            return Err(ModelError::invalid(
                FILE,
                format!("coverage is {}, expected between 0 and 1", self.coverage),
            ));
        }
        let support = self.support.as_ref().map_or(Ok(()), Support::check);
        let wanted = match &self.part {
            Part::Classes(classes) => Some(classes.thresholds.len()),
            Part::Forecast(forecast) => Some(forecast.horizons.len()),
            Part::None | Part::Residuals(_) | Part::Normality(_) | Part::Risk(_) | Part::Food(_) => None,
        };
        let cohorts = self.cohorts.as_ref().map_or(Ok(()), |cohorts| cohorts.check(wanted));
        self.part.check().and(cohorts).and(support).map_err(|reason| ModelError::invalid(FILE, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn residuals(half_width: f64) -> Part {
        let output = OutputResidual { output: "glucose".into(), scale: Scale::Relative, half_width };
        Part::Residuals(Residuals { outputs: vec![output], baseline: Vec::new() })
    }

    #[test]
    fn what_is_written_reads_back_with_the_same_identifier() {
        let written = Calibration::new(COVERAGE, 500, residuals(0.07)).expect("valid");
        let read = Calibration::from_json(&written.to_json().expect("writes")).expect("reads");
        assert_eq!(read, written);
        assert_eq!(read.id().len(), 12);
    }

    #[test]
    fn the_identifier_follows_the_content() {
        let one = Calibration::new(COVERAGE, 500, residuals(0.07)).expect("valid");
        let other = Calibration::new(COVERAGE, 500, residuals(0.08)).expect("valid");
        assert_ne!(one.id(), other.id());
    }

    #[test]
    fn senseless_files_are_refused() {
        assert!(Calibration::new(1.0, 5, Part::None).is_err());
        assert!(Calibration::new(0.9, 5, residuals(f64::NAN)).is_err());
        assert!(Calibration::new(0.9, 5, residuals(-1.0)).is_err());
        for text in ["", "{}", r#"{"schema_version":2,"id":"a","coverage":0.9,"n":1,"part":{"kind":"none"}}"#]
        {
            assert!(Calibration::from_json(text.as_bytes()).is_err(), "{text}");
        }
        let fine = r#"{"schema_version":1,"id":"a","coverage":0.9,"n":1,"part":{"kind":"none"}}"#;
        assert!(Calibration::from_json(fine.as_bytes()).is_ok());
    }
}
