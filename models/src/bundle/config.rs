//! `model.toml`: everything a bundle says about its model, as a person edits and reads it.
//!
//! Unknown keys are refused, so a typing error is never silently ignored. The rules that tie
//! the tables together are in `check.rs`.

use serde::{Deserialize, Serialize};

use super::{BatchingConfig, NetworkConfig, Version, check};
use crate::{DType, ModelError, Signature, TensorSpec};

/// Layout of `model.toml` that this crate reads and writes.
pub const SCHEMA_VERSION: u32 = 1;

/// The whole of `model.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleConfig {
    /// Layout of the file: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Model name: small letters, digits, `-` and `_`.
    pub name: String,
    /// Version id.
    pub version: Version,
    /// What kind of question the model answers.
    pub family: Family,
    /// What runs it.
    pub engine: EngineKind,
    /// The question itself, for example `thyroid_state`.
    pub task: String,
    /// For whom and what the model is meant, in a sentence.
    pub intended_use: String,
    /// Whether it was trained on simulated data.
    pub synthetic: bool,
    /// Names of the first output's classes, values or horizons, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Inputs in the order the engine takes them.
    #[serde(rename = "input")]
    pub inputs: Vec<TensorConfig>,
    /// Outputs in the order the engine gives them.
    #[serde(rename = "output")]
    pub outputs: Vec<TensorConfig>,
    /// The network; for candle only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkConfig>,
    /// Meaning of each column of the first input; none for sensor channels.
    #[serde(default, rename = "feature", skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<FeatureConfig>,
    /// Time grid of a forecaster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastConfig>,
    /// How requests may be put together.
    pub batching: BatchingConfig,
    /// How exactly the golden outputs must be reproduced.
    pub golden: GoldenConfig,
    /// What the model was made from.
    pub lineage: LineageConfig,
    /// Measured quality.
    #[serde(default, rename = "metric", skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricConfig>,
}

/// What kind of question a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// State of a panel of biomarkers.
    Biomarker,
    /// How unlike the normal a row is.
    Anomaly,
    /// Where a series goes.
    Trend,
    /// Risk behind the health score.
    HealthScore,
    /// What is on a plate.
    Food,
    /// What a text means, as a vector.
    Encoder,
    /// Models between the sensor and the value.
    Sensor,
    /// Any signature, no domain meaning.
    Generic,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 8] = [
        Self::Biomarker,
        Self::Anomaly,
        Self::Trend,
        Self::HealthScore,
        Self::Food,
        Self::Encoder,
        Self::Sensor,
        Self::Generic,
    ];

    /// Name in `model.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Biomarker => "biomarker",
            Self::Anomaly => "anomaly",
            Self::Trend => "trend",
            Self::HealthScore => "health_score",
            Self::Food => "food",
            Self::Encoder => "encoder",
            Self::Sensor => "sensor",
            Self::Generic => "generic",
        }
    }
}

/// What runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// Networks of this crate over safetensors.
    Candle,
    /// ONNX Runtime over a graph.
    Onnx,
}

impl EngineKind {
    /// Name in `model.toml`, and of the engine.
    pub fn name(self) -> &'static str {
        match self {
            Self::Candle => "candle",
            Self::Onnx => "onnx",
        }
    }

    /// File of the bundle that holds the weights.
    pub fn weights_file(self) -> &'static str {
        match self {
            Self::Candle => "weights.safetensors",
            Self::Onnx => "model.onnx",
        }
    }
}

/// `[[input]]` or `[[output]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorConfig {
    /// Name on the wire.
    pub name: String,
    /// Datatype of the Open Inference Protocol, for example `FP32`.
    pub dtype: String,
    /// Dimensions, batch first; -1 stands for any size.
    pub dims: Vec<i64>,
    /// UCUM unit, when all elements share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// LOINC code, when all elements share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loinc: Option<String>,
}

impl TensorConfig {
    /// Single-precision rows of these dimensions, with any number of rows.
    pub fn rows(name: &str, dims: &[i64]) -> Self {
        let dims = std::iter::once(-1).chain(dims.iter().copied()).collect();
        Self { name: name.to_owned(), dtype: DType::F32.oip().to_owned(), dims, unit: None, loinc: None }
    }

    /// The same with a unit.
    pub fn in_unit(self, unit: &str) -> Self {
        Self { unit: Some(unit.to_owned()), ..self }
    }
}

/// `[[feature]]`: one column of the first input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureConfig {
    /// Code of a biomarker or finding, or `age`, or `sex_male`.
    pub name: String,
    /// UCUM unit that the column is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// LOINC code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loinc: Option<String>,
    /// Lowest value the model was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Highest value the model was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// `[forecast]`: the time grid of history and quantiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastConfig {
    /// Seconds between two steps of the history.
    pub step_seconds: u32,
    /// Steps of history.
    pub history_steps: usize,
    /// Least samples of a sparse history, which is the last samples as they came, at whatever times; none where the
    /// history is an even grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparse_samples_min: Option<usize>,
    /// Seconds from the last step to each horizon, rising.
    pub horizons_seconds: Vec<u32>,
    /// Level of each quantile, rising, within (0, 1).
    pub quantiles: Vec<f64>,
}

/// `[golden]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenConfig {
    /// Largest allowed `|got - want| / max(1, |want|)` of any element.
    pub tolerance: f64,
}

/// `[lineage]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineageConfig {
    /// Seed of everything random in the training.
    pub seed: u64,
    /// Rows trained on.
    pub rows_train: usize,
    /// Program, version and command that made the model.
    pub trained_with: String,
    /// Data trained on.
    #[serde(default)]
    pub datasets: Vec<DatasetConfig>,
}

/// One entry of `[lineage] datasets`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// Name of the data set.
    pub id: String,
    /// Its version or date.
    pub version: String,
    /// SHA-256 of the data as read, in hexadecimal.
    pub sha256: String,
    /// Licence it may be used under.
    pub licence: String,
}

/// `[[metric]]`: one measured number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricConfig {
    /// What was measured, for example `auc`.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Lower end of its interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of its interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Rows measured on, for example `test`.
    pub split: String,
    /// Part of those rows, for example `sex=female`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup: Option<String>,
}

impl BundleConfig {
    /// Reads and checks `model.toml`; the error says which key is wrong and why.
    pub fn from_toml(text: &str) -> Result<Self, ModelError> {
        let config: Self = toml::from_str(text)
            .map_err(|error| ModelError::invalid(super::CONFIG_FILE, error.to_string().trim_end()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks every rule, also those between tables.
    pub fn check(&self) -> Result<(), ModelError> {
        check::config(self).map_err(|reason| ModelError::invalid(super::CONFIG_FILE, reason))
    }

    /// The text of `model.toml`.
    pub fn to_toml(&self) -> Result<String, ModelError> {
        toml::to_string(self).map_err(|error| ModelError::invalid(super::CONFIG_FILE, error.to_string()))
    }

    /// Inputs and outputs as the engines and the wire need them.
    pub fn signature(&self) -> Result<Signature, ModelError> {
        let specs = |tensors: &[TensorConfig]| tensors.iter().map(spec).collect::<Result<Vec<_>, _>>();
        Ok(Signature { inputs: specs(&self.inputs)?, outputs: specs(&self.outputs)? })
    }
}

fn spec(tensor: &TensorConfig) -> Result<TensorSpec, ModelError> {
    let dtype = DType::from_oip(&tensor.dtype).ok_or_else(|| {
        let reason = format!("tensor `{}` has unknown dtype `{}`", tensor.name, tensor.dtype);
        ModelError::invalid(super::CONFIG_FILE, reason)
    })?;
    Ok(TensorSpec {
        name: tensor.name.clone(),
        dtype,
        dims: tensor.dims.clone(),
        unit: tensor.unit.clone(),
        loinc: tensor.loinc.clone(),
    })
}
