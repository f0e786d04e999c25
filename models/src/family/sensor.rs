//! The sensor models: from corrected channels to values, to the class of the cartridge, to a quality, and from raw to
//! calibrated channels. All are trained on simulated sweeps, which their bundles say. A sweep further from those than any
//! figure speaks for is answered with a guess, the widest interval or all classes, and the channels that are to blame.

use clinical::Biomarker;
use clinical::layout::{BASE_CHANNELS, BASE_FREQUENCIES, ELECTRODES, Layout};

use super::anomaly::channel_name;
use super::{Encoded, calibration, output};
use crate::bundle::BundleConfig;
use crate::calibration::{Calibration, Classes, Interval, Part, Residuals, Support, winner};
use crate::explain::{Contribution, Explanation, Method, shapley};
use crate::{Bundle, ModelError, Tensor};

/// Channels every sensor model takes.
pub const CHANNELS: usize = BASE_CHANNELS;
/// Statistics that the quality model takes.
pub const STATISTICS: usize = 6;
/// Numbers that the fingerprint model takes: the base channels, and one mark for each layout.
pub const PRINT: usize = CHANNELS + Layout::ALL.len();

/// Checks a sweep in ohm and makes one row of it.
fn row(field: &str, values: &[f32], expected: usize) -> Result<Tensor, ModelError> {
    if values.len() != expected {
        let reason = format!("has {} values, expected {expected}", values.len());
        return Err(ModelError::input(field, reason));
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(ModelError::input(format!("{field}[{at}]"), "is not a finite number")),
        None => Tensor::from_f32(vec![1, expected], values),
    }
}

/// What the fingerprint model takes of a corrected sweep of any layout: its base channels, zeros where it has fewer, and a
/// mark for the layout, which the longer ones are known by.
///
/// # Errors
/// [`ModelError::Input`] naming `channels`, for a number that is not finite or the length of no layout.
pub fn print(sweep: &[f32]) -> Result<Vec<f32>, ModelError> {
    let layout = Layout::ALL.iter().position(|layout| layout.channels() == sweep.len());
    let layout = layout.ok_or_else(|| {
        let known = Layout::ALL.map(|layout| layout.channels().to_string()).join(", ");
        ModelError::input("channels", format!("has {} values, expected one of {known}", sweep.len()))
    })?;
    if let Some(at) = sweep.iter().position(|value| !value.is_finite()) {
        return Err(ModelError::input(format!("channels[{at}]"), "is not a finite number"));
    }
    let mut print = vec![0.0; PRINT];
    print.iter_mut().take(CHANNELS).zip(sweep).for_each(|(to, from)| *to = *from);
    print[CHANNELS + layout] = 1.0;
    Ok(print)
}

/// Names that a model's [`Support`] knows its numbers by: those of its features, or of channels.
#[must_use]
pub fn input_names(config: &BundleConfig, inputs: usize) -> Vec<String> {
    if config.features.is_empty() {
        return (0..inputs).map(channel_name).collect();
    }
    config.features.iter().map(|feature| feature.name.clone()).collect()
}

/// What a sensor model has seen.
#[derive(Debug, Clone)]
struct Known {
    names: Vec<String>,
    support: Option<Support>,
}

impl Known {
    fn of(config: &BundleConfig, calibration: &Calibration, inputs: usize) -> Self {
        Self { names: input_names(config, inputs), support: calibration.support().cloned() }
    }

    /// Names of the numbers of the first row that are too far from all it has seen; none when it may answer.
    fn beyond<T>(&self, encoded: &Encoded<T>) -> Result<Vec<String>, ModelError> {
        let (Some(support), Some(tensor)) = (&self.support, encoded.tensors.first()) else {
            return Ok(Vec::new());
        };
        let values = tensor.as_f32()?;
        let value = |name: &str| {
            let at = self.names.iter().position(|known| known == name)?;
            values.get(at).copied().map(f64::from)
        };
        Ok(support.beyond(&value).unwrap_or_default())
    }
}

/// Predicts the analytes of a cartridge.
#[derive(Debug, Clone)]
pub struct ValuePredictor {
    model: String,
    analytes: Vec<Biomarker>,
    residuals: Residuals,
    coverage: f64,
    known: Known,
}

/// One predicted value.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// What it is a value of.
    pub biomarker: Biomarker,
    /// Canonical unit.
    pub value: f64,
    /// Around the value.
    pub interval: Interval,
    /// Electrodes that moved the value; absent when the bundle names no mean sweep.
    pub explanation: Option<Explanation>,
    /// Channels that are too far from all the model has seen; empty when it may answer. The interval is then all that is
    /// possible.
    pub beyond: Vec<String>,
}

impl ValuePredictor {
    /// The predictor of a bundle.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when a label is no biomarker or the calibration lacks it.
    pub fn new(bundle: &Bundle) -> Result<Self, ModelError> {
        Self::of(bundle.config(), &calibration(bundle)?)
    }

    fn of(config: &BundleConfig, calibration: &Calibration) -> Result<Self, ModelError> {
        let Part::Residuals(residuals) = calibration.part() else {
            return Err(calibration.unexpected("residuals"));
        };
        let analyte = |label: &String| {
            let known = Biomarker::from_code(label).filter(|_| residuals.output(label).is_some());
            known.ok_or_else(|| {
                ModelError::invalid(
                    "model.toml",
                    format!("label `{label}` is no biomarker with a calibration"),
                )
            })
        };
        let analytes = config.labels.iter().map(analyte).collect::<Result<Vec<_>, _>>()?;
        let baseline = residuals.baseline.len();
        if analytes.is_empty() || (baseline != 0 && baseline != CHANNELS) {
            let reason = format!("needs labels and a baseline of {CHANNELS} values, got {baseline}");
            return Err(ModelError::invalid(crate::calibration::FILE, reason));
        }
        let (coverage, known) = (calibration.coverage(), Known::of(config, calibration, CHANNELS));
        Ok(Self { model: config.name.clone(), analytes, residuals: residuals.clone(), coverage, known })
    }

    /// Every analyte the predictor knows, in output order.
    #[must_use]
    pub fn analytes(&self) -> &[Biomarker] {
        &self.analytes
    }

    /// Tensors of a corrected sweep in ohm: itself, then the copies that explain it, with the mean sweep in place of
    /// electrodes.
    ///
    /// # Errors
    /// [`ModelError::Input`] naming `channels`.
    pub fn encode(&self, channels: &[f32]) -> Result<Encoded<()>, ModelError> {
        let case = row("channels", channels, CHANNELS)?;
        let baseline: Vec<f32> = self.residuals.baseline.iter().map(|value| *value as f32).collect();
        if baseline.is_empty() {
            return Ok(Encoded { tensors: vec![case], case: () });
        }
        let hidden = shapley::Plan::new(ELECTRODES).hidden();
        let rows = hidden.len() + 1;
        let mut values = channels.repeat(rows);
        for (copy, electrodes) in values.chunks_exact_mut(CHANNELS).skip(1).zip(hidden) {
            for electrode in electrodes {
                let own = electrode * BASE_FREQUENCIES..(electrode + 1) * BASE_FREQUENCIES;
                copy[own.clone()].copy_from_slice(&baseline[own]);
            }
        }
        let tensor = Tensor::from_f32(vec![rows, CHANNELS], &values)?;
        Ok(Encoded { tensors: vec![tensor], case: () })
    }

    /// Reads the values of `wanted`, those the cartridge measures, in output order.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(
        &self,
        encoded: &Encoded<()>,
        outputs: &[Tensor],
        wanted: &[Biomarker],
    ) -> Result<Vec<Predicted>, ModelError> {
        let width = self.analytes.len();
        let values = output(&self.model, outputs, 0, (encoded.rows(), width))?;
        let beyond = self.known.beyond(encoded)?;
        let predicted = |(index, biomarker): (usize, &Biomarker)| {
            let column: Vec<f64> = values.chunks_exact(width).map(|row| row[index]).collect();
            let (low, high) = biomarker.plausible();
            let value = column[0].clamp(low, high);
            let residual = self.residuals.output(biomarker.code())?;
            let interval = residual.interval(value, self.coverage).clamped(low, high);
            let possible = Interval { low, high, coverage: self.coverage };
            Some(Predicted {
                biomarker: *biomarker,
                value,
                interval: if beyond.is_empty() { interval } else { possible },
                beyond: beyond.clone(),
                explanation: (column.len() > 1).then(|| electrodes(*biomarker, &column)),
            })
        };
        let of_cartridge = self.analytes.iter().enumerate().filter(|(_, b)| wanted.contains(b));
        Ok(of_cartridge.filter_map(predicted).collect())
    }
}

/// Explanation from the rows of [`ValuePredictor::encode`].
fn electrodes(biomarker: Biomarker, column: &[f64]) -> Explanation {
    let plan = shapley::Plan::new(ELECTRODES);
    let part = |(electrode, contribution): (usize, f64)| Contribution {
        feature: format!("electrode_{electrode}"),
        loinc: String::new(),
        value: None,
        unit: biomarker.unit().ucum().into(),
        contribution,
    };
    let parts = plan.values(column).into_iter().enumerate().map(part).collect();
    Explanation::of(Method::Shapley, biomarker.code(), plan.base(column), parts)
}

/// A classifier over channels or statistics: fingerprint and quality.
#[derive(Debug, Clone)]
pub struct Classifier {
    model: String,
    field: String,
    inputs: usize,
    labels: Vec<String>,
    classes: Classes,
    coverage: f64,
    known: Known,
}

/// What a sensor classifier says.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognised {
    /// Every class with its probability.
    pub probabilities: Vec<(String, f64)>,
    /// Index of the most likely class.
    pub winner: usize,
    /// How often an answer this sure was right.
    pub interval: Interval,
    /// Classes that cannot be ruled out.
    pub prediction_set: Vec<String>,
    /// Inputs that are too far from all the model has seen; empty when it may answer. No class is then ruled out.
    pub beyond: Vec<String>,
}

impl Classifier {
    /// The classifier of a bundle (task `sensor_fingerprint` or `sensor_quality`).
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when labels and calibration do not fit.
    pub fn new(bundle: &Bundle) -> Result<Self, ModelError> {
        Self::of(bundle.config(), &calibration(bundle)?)
    }

    fn of(config: &BundleConfig, calibration: &Calibration) -> Result<Self, ModelError> {
        let Part::Classes(classes) = calibration.part() else {
            return Err(calibration.unexpected("classes"));
        };
        let input = config
            .inputs
            .first()
            .and_then(|i| Some((i.name.clone(), usize::try_from(*i.dims.get(1)?).ok()?)));
        let Some((field, inputs)) = input else {
            return Err(ModelError::invalid("model.toml", "the input needs a fixed size"));
        };
        if config.labels.len() != classes.thresholds.len() || config.labels.len() < 2 {
            let reason =
                format!("has {} thresholds for {} labels", classes.thresholds.len(), config.labels.len());
            return Err(ModelError::invalid(crate::calibration::FILE, reason));
        }
        Ok(Self {
            model: config.name.clone(),
            field,
            inputs,
            labels: config.labels.clone(),
            classes: classes.clone(),
            coverage: calibration.coverage(),
            known: Known::of(config, calibration, inputs),
        })
    }

    /// Tensor of one row: for the fingerprint what [`print`] makes of a sweep, for the quality [`statistics`].
    ///
    /// # Errors
    /// [`ModelError::Input`] naming the field.
    pub fn encode(&self, values: &[f32]) -> Result<Encoded<()>, ModelError> {
        Ok(Encoded { tensors: vec![row(&self.field, values, self.inputs)?], case: () })
    }

    /// Reads the outputs.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(&self, encoded: &Encoded<()>, outputs: &[Tensor]) -> Result<Recognised, ModelError> {
        let values = output(&self.model, outputs, 0, (1, self.labels.len()))?;
        let winner = winner(&values);
        let beyond = self.known.beyond(encoded)?;
        let (set, interval) = if beyond.is_empty() {
            (self.classes.prediction_set(&values), self.classes.interval(values[winner], self.coverage))
        } else {
            ((0..values.len()).collect(), Interval { low: 0.0, high: 1.0, coverage: self.coverage })
        };
        Ok(Recognised {
            interval,
            prediction_set: set.into_iter().map(|class| self.labels[class].clone()).collect(),
            winner,
            probabilities: self.labels.iter().cloned().zip(values).collect(),
            beyond,
        })
    }
}

/// The six statistics of a series of sweeps that the quality model takes: mean and standard deviation of the sweep
/// means, largest and mean step between neighbours relative to the mean, relative drift from first to last, and the
/// share of channels that vary by more than a tenth. `None` for fewer than two sweeps.
#[must_use]
pub fn statistics(sweeps: &[&[f32]]) -> Option<[f32; STATISTICS]> {
    let means: Vec<f64> = sweeps
        .iter()
        .map(|sweep| sweep.iter().copied().map(f64::from).sum::<f64>() / sweep.len().max(1) as f64)
        .collect();
    let (first, last) = (means.first()?, means.get(1).and(means.last())?);
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    let scale = mean.abs().max(f64::MIN_POSITIVE);
    let sd = (means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / means.len() as f64).sqrt();
    let steps: Vec<f64> = means.windows(2).map(|pair| (pair[1] - pair[0]).abs() / scale).collect();
    let step_max = steps.iter().copied().fold(0.0, f64::max);
    let step_mean = steps.iter().sum::<f64>() / steps.len() as f64;
    let width = sweeps.iter().map(|sweep| sweep.len()).min()?;
    let restless = (0..width).filter(|&channel| varies(sweeps, channel)).count() as f64 / width.max(1) as f64;
    Some([mean, sd, step_max, step_mean, (last - first) / scale, restless].map(|value| value as f32))
}

/// Whether a channel's range is more than a tenth of its mean.
fn varies(sweeps: &[&[f32]], channel: usize) -> bool {
    let (mut low, mut high, mut sum) = (f32::INFINITY, f32::NEG_INFINITY, 0.0);
    for sweep in sweeps {
        let value = sweep[channel];
        (low, high, sum) = (low.min(value), high.max(value), sum + value);
    }
    high - low > 0.1 * (sum / sweeps.len() as f32).abs()
}

/// Turns the sweep of an ordinary cartridge into that of an ideal one.
#[derive(Debug, Clone)]
pub struct Calibrator {
    model: String,
    residuals: Residuals,
    coverage: f64,
    known: Known,
}

/// A calibrated sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// In ohm.
    pub channels: Vec<f32>,
    /// Around each channel.
    pub intervals: Vec<Interval>,
    /// Channels that are too far from all the model has seen; empty when it may answer. What stands in `channels` is
    /// then the sweep as it came, and no interval has an end.
    pub beyond: Vec<String>,
}

impl Calibrator {
    /// The calibrator of a bundle (task `sensor_calibration`).
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when the calibration lacks a channel.
    pub fn new(bundle: &Bundle) -> Result<Self, ModelError> {
        let (config, calibration) = (bundle.config(), calibration(bundle)?);
        let Part::Residuals(residuals) = calibration.part() else {
            return Err(calibration.unexpected("residuals"));
        };
        if residuals.outputs.len() != CHANNELS {
            let reason =
                format!("has residuals of {} channels, expected {CHANNELS}", residuals.outputs.len());
            return Err(ModelError::invalid(crate::calibration::FILE, reason));
        }
        let (coverage, known) = (calibration.coverage(), Known::of(config, &calibration, CHANNELS));
        Ok(Self { model: config.name.clone(), residuals: residuals.clone(), coverage, known })
    }

    /// Tensor of one corrected sweep in ohm.
    ///
    /// # Errors
    /// [`ModelError::Input`] naming `channels`.
    pub fn encode(&self, channels: &[f32]) -> Result<Encoded<()>, ModelError> {
        Ok(Encoded { tensors: vec![row("channels", channels, CHANNELS)?], case: () })
    }

    /// Reads the outputs.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(&self, encoded: &Encoded<()>, outputs: &[Tensor]) -> Result<Calibrated, ModelError> {
        let values = output(&self.model, outputs, 0, (1, CHANNELS))?;
        let beyond = self.known.beyond(encoded)?;
        let coverage = self.coverage;
        if let (false, Some(given)) = (beyond.is_empty(), encoded.tensors.first()) {
            let open = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY, coverage };
            return Ok(Calibrated {
                channels: given.as_f32()?.to_vec(),
                intervals: vec![open; CHANNELS],
                beyond,
            });
        }
        let of = |(residual, value): (&crate::calibration::OutputResidual, &f64)| {
            residual.interval(*value, coverage)
        };
        let intervals = self.residuals.outputs.iter().zip(&values).map(of).collect();
        Ok(Calibrated { channels: values.into_iter().map(|value| value as f32).collect(), intervals, beyond })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_of_the_wrong_size_or_not_finite_name_the_channel() {
        let mut channels = vec![100.0; CHANNELS];
        let checked = |channels: &[f32]| row("channels", channels, CHANNELS);
        assert!(checked(&channels).is_ok() && print(&channels).is_ok());
        channels[7] = f32::INFINITY;
        assert!(checked(&channels).is_err_and(|e| e.to_string().starts_with("channels[7]")));
        assert!(print(&channels).is_err_and(|e| e.to_string().starts_with("channels[7]")));
        assert!(checked(&channels[1..]).is_err_and(|e| e.to_string().contains("87 values, expected 88")));
        assert!(
            print(&channels[1..]).is_err_and(|e| e.to_string().contains("87 values, expected one of 8, 88"))
        );
    }

    #[test]
    fn a_print_is_the_base_channels_and_a_mark_for_the_layout() {
        for (at, layout) in Layout::ALL.into_iter().enumerate() {
            let sweep: Vec<f32> = (0..layout.channels()).map(|value| value as f32 + 1.0).collect();
            let print = print(&sweep).expect("a layout");
            assert_eq!(print.len(), PRINT);
            let marks: Vec<usize> =
                (0..Layout::ALL.len()).filter(|mark| print[CHANNELS + mark] == 1.0).collect();
            assert_eq!(marks, [at]);
            let there = sweep.len().min(CHANNELS);
            assert_eq!((&print[..there], print[there..CHANNELS].iter().sum::<f32>()), (&sweep[..there], 0.0));
        }
    }

    #[test]
    fn statistics_tell_a_still_series_from_a_drifting_one() {
        let still = vec![100.0f32; 4];
        assert_eq!(statistics(&[&still, &still]), Some([100.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
        let moved = vec![150.0f32; 4];
        let drifting = statistics(&[&still, &moved]).expect("two sweeps");
        assert!((drifting[4] - 0.4).abs() < 1e-6 && (drifting[5] - 1.0).abs() < 1e-6);
        assert_eq!(statistics(&[&still]), None);
    }
}
