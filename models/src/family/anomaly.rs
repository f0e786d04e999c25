//! How unlike the normal a panel or a sensor sweep is: an autoencoder's reconstruction error as a rank among held-out
//! normal cases.
//!
//! The error is the mean squared standardised residual over the inputs present, so each input's share of it is known
//! exactly and the explanation needs no further rows.

use clinical::Panel;

use super::tabular::{Columns, Row};
use super::{Encoded, calibration, output};
use crate::bundle::BundleConfig;
use crate::calibration::{Calibration, Interval, Normality, Part};
use crate::explain::{Contribution, Explanation, Method};
use crate::{Bundle, ModelError, Tensor};

/// Reads questions and answers of one bundle.
#[derive(Debug, Clone)]
pub struct Encoder {
    model: String,
    input: Input,
    normality: Normality,
    n: u64,
    coverage: f64,
}

#[derive(Debug, Clone)]
enum Input {
    Panel(Columns),
    /// Number of channels.
    Sweep(usize),
}

/// Inputs of a request: name, LOINC, unit and value of each column.
#[derive(Debug, Clone)]
pub struct Case(Vec<Contribution>);

/// An input outside what normal cases have.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// Name of the input.
    pub feature: String,
    /// LOINC code, empty where none exists.
    pub loinc: String,
    /// Its value.
    pub value: f64,
    /// Unit of value and limits.
    pub unit: String,
    /// Lowest usual value.
    pub low: f64,
    /// Highest usual value.
    pub high: f64,
    /// What is unusual about it.
    pub description: String,
}

/// What the detector says.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Rank of the error among normal cases, 0 to 1.
    pub score: f64,
    /// How well the rank is known.
    pub interval: Interval,
    /// Score above which a case counts as anomalous.
    pub threshold: f64,
    /// Share of normal cases called anomalous.
    pub false_alarm_rate: f64,
    /// Whether the score is above the threshold.
    pub anomalous: bool,
    /// Inputs that are unusual.
    pub flags: Vec<Flag>,
    /// Shares of the reconstruction error.
    pub explanation: Explanation,
}

impl Encoder {
    /// The encoder of a bundle of this family.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when its features or calibration do not fit.
    pub fn new(bundle: &Bundle) -> Result<Self, ModelError> {
        Self::of(bundle.config(), &calibration(bundle)?)
    }

    fn of(config: &BundleConfig, calibration: &Calibration) -> Result<Self, ModelError> {
        let Part::Normality(normality) = calibration.part() else {
            return Err(calibration.unexpected("normality"));
        };
        let width = config.inputs.first().and_then(|input| usize::try_from(*input.dims.get(1)?).ok());
        let input = if config.features.is_empty() {
            Input::Sweep(
                width.ok_or_else(|| ModelError::invalid("model.toml", "channels need a fixed size"))?,
            )
        } else {
            Input::Panel(Columns::new(&config.features)?)
        };
        Ok(Self {
            model: config.name.clone(),
            input,
            normality: normality.clone(),
            n: calibration.n(),
            coverage: calibration.coverage(),
        })
    }

    /// Score above which a case counts as anomalous.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        self.normality.threshold
    }

    /// Share of normal cases below the threshold.
    #[must_use]
    pub fn specificity(&self) -> f64 {
        1.0 - self.normality.false_alarm_rate
    }

    /// Channels of one sweep; `None` for a model that takes panels.
    #[must_use]
    pub fn channels(&self) -> Option<usize> {
        match self.input {
            Input::Panel(_) => None,
            Input::Sweep(channels) => Some(channels),
        }
    }

    /// Tensors of a panel, one row.
    ///
    /// # Errors
    /// [`ModelError::Input`] when the panel has none of the values, or the model takes sweeps.
    pub fn encode_panel(&self, panel: &Panel) -> Result<Encoded<Case>, ModelError> {
        let Input::Panel(columns) = &self.input else {
            return Err(ModelError::input("panel", "this model takes sensor channels"));
        };
        let row = columns.read(panel)?;
        let tensors = columns.tensors(&row, &[])?;
        Ok(Encoded { tensors, case: panel_case(columns, &row) })
    }

    /// Tensors of a corrected sweep in ohm, one row.
    ///
    /// # Errors
    /// [`ModelError::Input`] naming `channels`: their number, or the index that is not finite.
    pub fn encode_sweep(&self, channels: &[f32]) -> Result<Encoded<Case>, ModelError> {
        let tensor = Tensor::from_f32(vec![1, channels.len()], self.check_sweep(channels)?)?;
        Ok(Encoded { tensors: vec![tensor], case: sweep_case(channels) })
    }

    /// The channels, if they fit the model.
    ///
    /// # Errors
    /// [`ModelError::Input`] as [`Self::encode_sweep`].
    pub fn check_sweep<'a>(&self, channels: &'a [f32]) -> Result<&'a [f32], ModelError> {
        let expected = self
            .channels()
            .ok_or_else(|| ModelError::input("channels", "this model takes a panel, not channels"))?;
        if channels.len() != expected {
            let reason = format!("has {} values, expected {expected}", channels.len());
            return Err(ModelError::input("channels", reason));
        }
        match channels.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(ModelError::input(format!("channels[{at}]"), "is not a finite number")),
            None => Ok(channels),
        }
    }

    /// Score of a reconstruction error and whether it counts as anomalous; nothing is allocated.
    #[must_use]
    pub fn score(&self, error: f32) -> (f64, bool) {
        let score = self.normality.score(f64::from(error));
        (score, self.normality.anomalous(score))
    }

    /// How well a score is known.
    #[must_use]
    pub fn interval(&self, score: f64) -> Interval {
        self.normality.interval(score, self.n, self.coverage)
    }

    /// Explanation of one sweep from its residuals.
    #[must_use]
    pub fn explain_sweep(&self, channels: &[f32], residuals: &[f32]) -> Explanation {
        let residuals: Vec<f64> = residuals.iter().copied().map(f64::from).collect();
        explain(&sweep_case(channels), &residuals)
    }

    /// Reads the outputs.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(&self, encoded: &Encoded<Case>, outputs: &[Tensor]) -> Result<Answer, ModelError> {
        let case = &encoded.case;
        let error = output(&self.model, outputs, 0, (1, 1))?[0];
        let residuals = output(&self.model, outputs, 1, (1, case.0.len()))?;
        let score = self.normality.score(error);
        let anomalous = self.normality.anomalous(score);
        Ok(Answer {
            score,
            interval: self.interval(score),
            threshold: self.normality.threshold,
            false_alarm_rate: self.normality.false_alarm_rate,
            anomalous,
            flags: if anomalous { self.flags(case, &residuals) } else { Vec::new() },
            explanation: explain(case, &residuals),
        })
    }

    /// Inputs whose value or residual normal cases do not have.
    fn flags(&self, case: &Case, residuals: &[f64]) -> Vec<Flag> {
        let unusual = |(input, residual): (&Contribution, &f64)| {
            let value = input.value?;
            let usual = self.normality.features.iter().find(|f| f.name == input.feature)?;
            let outside = value < usual.low || value > usual.high;
            let surprising = *residual < usual.residual_low || *residual > usual.residual_high;
            let description = match (outside, surprising) {
                (true, _) => "outside what normal cases have",
                (false, true) => "does not fit the other values",
                (false, false) => return None,
            };
            Some(Flag {
                feature: input.feature.clone(),
                loinc: input.loinc.clone(),
                value,
                unit: input.unit.clone(),
                low: usual.low,
                high: usual.high,
                description: description.into(),
            })
        };
        case.0.iter().zip(residuals).filter_map(unusual).collect()
    }
}

fn panel_case(columns: &Columns, row: &Row) -> Case {
    Case((0..columns.get().len()).map(|index| columns.contribution(row, index, 0.0)).collect())
}

fn sweep_case(channels: &[f32]) -> Case {
    let channel = |(index, value): (usize, &f32)| Contribution {
        feature: channel_name(index),
        loinc: String::new(),
        value: Some(f64::from(*value)),
        unit: clinical::Unit::Ohm.ucum().into(),
        contribution: 0.0,
    };
    Case(channels.iter().enumerate().map(channel).collect())
}

/// Name of channel `index` wherever channels are named, for example in a calibration.
#[must_use]
pub fn channel_name(index: usize) -> String {
    format!("channel_{index}")
}

/// Each present input's share of the error.
fn explain(case: &Case, residuals: &[f64]) -> Explanation {
    let present = case.0.iter().filter(|input| input.value.is_some()).count().max(1) as f64;
    let share = |(input, residual): (&Contribution, &f64)| {
        let share = if input.value.is_some() { residual * residual / present } else { 0.0 };
        Contribution { contribution: share, ..input.clone() }
    };
    let parts = case.0.iter().zip(residuals).map(share).collect();
    Explanation::of(Method::Residual, "reconstruction error", 0.0, parts)
}
