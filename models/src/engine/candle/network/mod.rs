//! The networks behind the candle families, the same code for training and serving.
//!
//! A network takes physical units and standardises them itself. Two ways lead through it:
//! [`Network::run`], plain arithmetic over slices, serves; [`Network::prepare`] and
//! [`Network::forward_logits`] train, over candle tensors with gradients. Tensors are taken from a
//! `VarBuilder` by these names:
//!
//! | name | shape | |
//! |---|---|---|
//! | `body.{i}.weight`, `body.{i}.bias` | `[members, in, out]`, `[members, 1, out]` | trained |
//! | `skip.weight` | `[members, in, out]` | trained |
//! | `standardise.center`, `.scale`, `.log` | `[inputs]`, forecaster `[1]` without `log` | set once |
//! | `forest.*` | see [`Forest`], classifier only | grown once |
//! | `output.center`, `output.scale` | `[outputs]`, regressor only | set once |
//!
//! Trained tensors start at zero and must be drawn before training. All others have neutral
//! defaults; they are read at each use, so setting them after the network was built counts.
//!
//! [`Transformer`] stands beside them: it takes tokens, is only served, and keeps the published names.

mod autoencoder;
mod classifier;
mod dense;
mod forecaster;
mod forest;
mod regressor;
mod risk;
mod slice;
mod standardise;
mod transformer;

pub use autoencoder::Autoencoder;
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
pub use classifier::Classifier;
pub use dense::Dense;
pub use forecaster::Forecaster;
pub use forest::Forest;
use rand_chacha::ChaCha8Rng;
pub use regressor::Regressor;
pub use risk::Risk;
pub use standardise::{LOG_FLOOR, STANDARD_MAX, Standardise};
pub use transformer::Transformer;

use crate::bundle::NetworkConfig;

/// A network of any kind.
#[derive(Debug)]
pub enum Network {
    /// Class probabilities.
    Classifier(Classifier),
    /// Values in physical units.
    Regressor(Regressor),
    /// Reconstruction of its own input.
    Autoencoder(Autoencoder),
    /// Quantiles of future values.
    Forecaster(Forecaster),
    /// One log relative risk.
    Risk(Risk),
}

impl Network {
    /// The network of `config` over the tensors of `vars`.
    #[expect(clippy::needless_pass_by_value, reason = "a handle, taken as candle's own layers take it")]
    pub fn new(config: &NetworkConfig, vars: VarBuilder<'_>) -> Result<Self> {
        Ok(match config {
            NetworkConfig::Classifier(config) => Self::Classifier(Classifier::new(config, &vars)?),
            NetworkConfig::Regressor(config) => Self::Regressor(Regressor::new(config, &vars)?),
            NetworkConfig::Autoencoder(config) => Self::Autoencoder(Autoencoder::new(config, &vars)?),
            NetworkConfig::Forecaster(config) => Self::Forecaster(Forecaster::new(config, &vars)?),
            NetworkConfig::Risk(config) => Self::Risk(Risk::new(config, &vars)?),
            NetworkConfig::Encoder(_) => {
                candle_core::bail!("an encoder is a `Transformer`, which takes no numbers")
            }
        })
    }

    /// Outputs in signature order, each row after row, of rows of physical units. `present` is
    /// for masked networks: 0 where a value is missing, whatever number stands there.
    pub fn run(&self, features: &[f32], present: Option<&[f32]>) -> Result<Vec<Vec<f32>>> {
        let prepared = self.standardised(features, present)?;
        match self {
            Self::Classifier(network) => Ok(vec![network.run(&prepared)?]),
            Self::Regressor(network) => Ok(vec![network.run(&prepared)?]),
            Self::Autoencoder(network) => network.run(&prepared),
            Self::Forecaster(network) => Ok(vec![network.run(&prepared)?]),
            Self::Risk(network) => Ok(vec![network.run(&prepared)?]),
        }
    }

    /// The same rows as the body takes them, `[rows, width]`, for [`Self::forward_logits`].
    pub fn prepare(&self, features: &[f32], present: Option<&[f32]>) -> Result<Tensor> {
        let prepared = self.standardised(features, present)?;
        let width = self.body().inputs();
        let rows = prepared.len() / width;
        Tensor::from_vec(prepared, (rows, width), self.body().device())
    }

    /// Raw answers of every member with gradients, `[members, rows, …]`: logits of a classifier,
    /// values before the link of a regressor, the standardised reconstruction of an
    /// autoencoder, ordered quantiles `[…, horizons, quantiles]` of a forecaster as
    /// (value − last value) / scale, the log risk. With `dropout` hidden units are dropped by it.
    pub fn forward_logits(&self, prepared: &Tensor, dropout: Option<&mut ChaCha8Rng>) -> Result<Tensor> {
        match self {
            Self::Forecaster(network) => network.order(&network.body.forward(prepared, dropout)?),
            Self::Risk(network) => network.forward(prepared, dropout),
            Self::Classifier(_) | Self::Regressor(_) | Self::Autoencoder(_) => {
                self.body().forward(prepared, dropout)
            }
        }
    }

    /// The shared dense block.
    pub fn body(&self) -> &Dense {
        match self {
            Self::Classifier(network) => &network.body,
            Self::Regressor(network) => &network.body,
            Self::Autoencoder(network) => &network.body,
            Self::Forecaster(network) => &network.body,
            Self::Risk(network) => &network.body,
        }
    }

    /// For weights that no longer move: what is worked out of them is worked out once.
    pub(super) fn settle(&mut self) -> Result<()> {
        match self {
            Self::Risk(network) => network.settle(),
            Self::Classifier(_) | Self::Regressor(_) | Self::Autoencoder(_) | Self::Forecaster(_) => Ok(()),
        }
    }

    /// Buffers that would make every answer infinite are a fault of the weights.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let positive = |name: &str, scale: &Tensor| {
            let holds = slice::of(scale, |scale| scale.iter().all(|scale| *scale > 0.0));
            match holds {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!("tensor `{name}` has an element that is not above 0")),
                Err(error) => Err(format!("tensor `{name}` cannot be read: {error}")),
            }
        };
        match self {
            Self::Classifier(network) => {
                let fault = network.forest.as_ref().and_then(Forest::fault);
                fault.map_or(Ok(()), |fault| Err(format!("the forest is unsound: {fault}")))?;
                positive("standardise.scale", network.standardise.scale())
            }
            Self::Regressor(network) => positive("standardise.scale", network.standardise.scale()),
            Self::Autoencoder(network) => positive("standardise.scale", network.standardise.scale()),
            Self::Forecaster(network) => positive("standardise.scale", &network.scale),
            Self::Risk(network) => positive("standardise.scale", network.standardise.scale()),
        }
    }

    fn standardised(&self, features: &[f32], present: Option<&[f32]>) -> Result<Vec<f32>> {
        match self {
            Self::Classifier(network) => network.standardise.run(features, present),
            Self::Regressor(network) => network.standardise.run(features, present),
            Self::Autoencoder(network) => network.standardise.run(features, present),
            Self::Forecaster(network) => network.standardise(features),
            Self::Risk(network) => network.prepare(features, present),
        }
    }
}
