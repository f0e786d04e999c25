//! The `[network]` table of `model.toml`: which candle network the weights belong to.
//!
//! Only numbers and names stand here; what they mean is `engine::candle::network`. The table
//! repeats the sizes that the signature implies, so that a trainer can build a network before
//! there is a bundle; `check.rs` holds the two against each other.

use serde::{Deserialize, Serialize};

/// Shape of a candle network. Inputs are rows of `inputs` numbers in physical units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NetworkConfig {
    /// Class probabilities.
    Classifier(ClassifierConfig),
    /// Values in physical units.
    Regressor(RegressorConfig),
    /// Reconstruction of its own input.
    Autoencoder(AutoencoderConfig),
    /// Quantiles of future values of a series.
    Forecaster(ForecasterConfig),
    /// One log relative risk.
    Risk(RiskConfig),
    /// Text as a vector of length 1.
    Encoder(EncoderConfig),
}

/// `[network] kind = "classifier"`: the mean over members of the softmax, mixed with trees if there are any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Columns of the input.
    pub inputs: usize,
    /// Whether a second input `present` says which columns hold a value.
    #[serde(default)]
    pub masked: bool,
    /// Classes.
    pub outputs: usize,
    /// Hidden layers.
    pub body: BodyConfig,
    /// Boosted trees beside the perceptrons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forest: Option<ForestConfig>,
}

/// `[network.forest]`: boosted trees over the standardised columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForestConfig {
    /// Trees of all classes together.
    pub trees: usize,
    /// Most leaves of one tree.
    pub leaves: usize,
    /// Share of the trees in the answer, from 0 to 1; the rest is the perceptrons'.
    pub share: f32,
}

impl ForestConfig {
    /// Places of one tree.
    pub fn places(&self) -> usize {
        (2 * self.leaves).saturating_sub(1)
    }

    /// Scores that trees add to: of two classes only the second has one.
    pub fn scores(&self, classes: usize) -> usize {
        if classes == 2 { 1 } else { classes }
    }
}

/// `[network] kind = "regressor"`: `link(raw × output scale + output centre)`, mean over members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegressorConfig {
    /// Columns of the input.
    pub inputs: usize,
    /// Whether a second input `present` says which columns hold a value.
    #[serde(default)]
    pub masked: bool,
    /// Values of one row.
    pub outputs: usize,
    /// What keeps the values in their range.
    #[serde(default)]
    pub link: Link,
    /// Hidden layers.
    pub body: BodyConfig,
}

/// `[network] kind = "autoencoder"`: standardised residual and its mean square over the
/// columns that are present. A narrow hidden layer, or training on disturbed rows, keeps it from copying.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderConfig {
    /// Columns of the input.
    pub inputs: usize,
    /// Whether a second input `present` says which columns hold a value.
    #[serde(default)]
    pub masked: bool,
    /// Hidden layers.
    pub body: BodyConfig,
}

/// `[network] kind = "forecaster"`: non-crossing quantiles for each horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecasterConfig {
    /// Steps of history, oldest first.
    pub inputs: usize,
    /// Horizons ahead.
    pub horizons: usize,
    /// Quantiles of each horizon, in rising order; the middle one is the anchor.
    pub quantiles: usize,
    /// Hidden layers.
    pub body: BodyConfig,
}

/// `[network] kind = "risk"`: one unbounded number, mean over members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskConfig {
    /// Columns of the input.
    pub inputs: usize,
    /// Whether a second input `present` says which columns hold a value.
    #[serde(default)]
    pub masked: bool,
    /// Columns in which the answer never falls. They ask for at most one hidden layer, rectified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rising: Vec<RisingConfig>,
    /// Hidden layers.
    pub body: BodyConfig,
}

/// `[[network.rising]]`: a column in which the answer never falls, from a value on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RisingConfig {
    /// Number of the column.
    pub column: usize,
    /// Value, in physical units, above which it holds; below it the column is free.
    pub from: f64,
    /// Value, in physical units, that an absent one is taken for: the network cannot tell the two apart, so whether
    /// there is a value on record moves nothing, and the answer lies between those to lower and to higher values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<f64>,
}

/// `[network] kind = "encoder"`: a transformer encoder over token ids, its last layer averaged over the tokens and
/// brought to length 1. Id 0 ends a text that is shorter than `inputs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Most tokens of one text.
    pub inputs: usize,
    /// Token ids there are.
    pub vocabulary: usize,
    /// Positions that the weights know, at least `inputs`.
    pub positions: usize,
    /// Length of the vector, a multiple of `heads`.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Parts that the attention of one layer has.
    pub heads: usize,
    /// Width of the dense block of one layer.
    pub feed_forward: usize,
}

/// `[network.body]`: the shared dense block, an ensemble of equal multilayer perceptrons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyConfig {
    /// Width of each hidden layer; none makes the network linear.
    pub hidden: Vec<usize>,
    /// Non-linearity after each hidden layer.
    #[serde(default)]
    pub activation: Activation,
    /// Share of hidden units dropped in training; nothing is dropped otherwise.
    #[serde(default)]
    pub dropout: f32,
    /// Independently initialised perceptrons, whose answers are averaged.
    #[serde(default = "one")]
    pub members: usize,
    /// Whether a linear map from the input is added to the output.
    #[serde(default)]
    pub skip: bool,
}

impl BodyConfig {
    /// One perceptron with these hidden layers, rectified, without dropout or linear path.
    pub fn new(hidden: impl Into<Vec<usize>>) -> Self {
        Self {
            hidden: hidden.into(),
            activation: Activation::default(),
            dropout: 0.0,
            members: 1,
            skip: false,
        }
    }
}

/// Non-linearity of the hidden layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`; the fastest.
    #[default]
    Relu,
    /// Gaussian error linear unit, tanh form.
    Gelu,
}

/// What maps the raw output of a regressor to its values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Any number.
    #[default]
    Linear,
    /// `exp`: positive values that err in proportion.
    Exp,
    /// `ln(1 + exp)`: positive values that err by amounts.
    Softplus,
}

impl NetworkConfig {
    /// Columns of the first input.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Classifier(ClassifierConfig { inputs, .. })
            | Self::Regressor(RegressorConfig { inputs, .. })
            | Self::Autoencoder(AutoencoderConfig { inputs, .. })
            | Self::Forecaster(ForecasterConfig { inputs, .. })
            | Self::Risk(RiskConfig { inputs, .. })
            | Self::Encoder(EncoderConfig { inputs, .. }) => *inputs,
        }
    }

    /// Whether there is a second input `present`.
    pub fn masked(&self) -> bool {
        match self {
            Self::Classifier(ClassifierConfig { masked, .. })
            | Self::Regressor(RegressorConfig { masked, .. })
            | Self::Autoencoder(AutoencoderConfig { masked, .. })
            | Self::Risk(RiskConfig { masked, .. }) => *masked,
            Self::Forecaster(_) | Self::Encoder(_) => false,
        }
    }

    /// Hidden layers; an encoder has layers of its own kind.
    pub fn body(&self) -> Option<&BodyConfig> {
        match self {
            Self::Classifier(ClassifierConfig { body, .. })
            | Self::Regressor(RegressorConfig { body, .. })
            | Self::Autoencoder(AutoencoderConfig { body, .. })
            | Self::Forecaster(ForecasterConfig { body, .. })
            | Self::Risk(RiskConfig { body, .. }) => Some(body),
            Self::Encoder(_) => None,
        }
    }

    /// Dimensions of each output without the batch dimension, in signature order.
    pub fn output_dims(&self) -> Vec<Vec<usize>> {
        match self {
            Self::Classifier(ClassifierConfig { outputs, .. })
            | Self::Regressor(RegressorConfig { outputs, .. }) => {
                vec![vec![*outputs]]
            }
            Self::Autoencoder(AutoencoderConfig { inputs, .. }) => vec![vec![1], vec![*inputs]],
            Self::Forecaster(ForecasterConfig { horizons, quantiles, .. }) => {
                vec![vec![*horizons, *quantiles]]
            }
            Self::Risk(_) => vec![vec![1]],
            Self::Encoder(EncoderConfig { width, .. }) => vec![vec![*width]],
        }
    }
}

fn one() -> usize {
    1
}
