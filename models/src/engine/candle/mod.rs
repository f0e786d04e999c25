//! The engine for tables, series, sensor channels and text: networks of this crate over safetensors.
//!
//! candle holds the weights and differentiates in training; serving runs `kernel` over the same
//! tensors, so a row's answer does not depend on the batch it travels in.

mod kernel;
pub mod network;
mod weights;

use network::{Network, Transformer};
use weights::Weights;

use super::{Batch, Device, Engine, Model};
use crate::bundle::{BundleConfig, CONFIG_FILE, NetworkConfig};
use crate::{Bundle, ModelError, Signature, Tensor};

/// Name in `model.toml`.
const NAME: &str = "candle";

/// Runs candle networks: on the calling thread, or their dense blocks on a graphics card.
#[derive(Debug, Clone)]
pub struct CandleEngine {
    device: candle_core::Device,
}

impl Default for CandleEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl CandleEngine {
    /// The engine on the processor; it needs nothing.
    pub fn new() -> Self {
        Self { device: candle_core::Device::Cpu }
    }

    /// The engine on `device`.
    ///
    /// # Errors
    /// [`ModelError::EngineUnavailable`] where there is no such card, or the program was built for none.
    pub fn on(device: Device) -> Result<Self, ModelError> {
        match device {
            Device::Cpu => Ok(Self::new()),
            Device::Cuda(number) => card(number)
                .map(|device| Self { device })
                .map_err(|reason| ModelError::EngineUnavailable { engine: NAME, reason }),
        }
    }

    /// A model from the bytes of `weights.safetensors`, before or without a bundle.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] naming the file: weights that are malformed, not finite, missing,
    /// of another shape than the network's, or left over.
    pub fn open(&self, config: &BundleConfig, weights: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let file = config.engine.weights_file();
        let kind = config.network.as_ref();
        let kind = kind.ok_or_else(|| ModelError::invalid(CONFIG_FILE, "has no [network] table"))?;
        let weights = Weights::read(file, weights, &self.device)?;
        let fault = |error: candle_core::Error| ModelError::invalid(file, error.to_string());
        let network = match kind {
            NetworkConfig::Encoder(_) if !self.device.is_cpu() => {
                return Err(ModelError::EngineUnavailable {
                    engine: NAME,
                    reason: "an encoder of texts runs on the processor only".to_owned(),
                });
            }
            NetworkConfig::Encoder(config) => {
                Kind::Text(Transformer::new(config, &weights.builder()).map_err(fault)?)
            }
            NetworkConfig::Classifier(_)
            | NetworkConfig::Regressor(_)
            | NetworkConfig::Autoencoder(_)
            | NetworkConfig::Forecaster(_)
            | NetworkConfig::Risk(_) => {
                let mut network = Network::new(kind, weights.builder()).map_err(fault)?;
                network.settle().map_err(fault)?;
                Kind::Numbers(network)
            }
        };
        if let Some(name) = weights.unused() {
            let reason = format!("has tensor `{name}`, which the network does not know");
            return Err(ModelError::invalid(file, reason));
        }
        if let Kind::Numbers(network) = &network {
            network.check().map_err(|reason| ModelError::invalid(file, reason))?;
        }
        Ok(Box::new(CandleModel { name: config.name.clone(), signature: config.signature()?, network }))
    }
}

impl Engine for CandleEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, bundle: &Bundle) -> Result<Box<dyn Model>, ModelError> {
        self.open(bundle.config(), &bundle.weights()?)
    }
}

#[cfg(feature = "cuda")]
fn card(number: u16) -> Result<candle_core::Device, String> {
    let device = candle_core::Device::new_cuda(usize::from(number));
    device.map_err(|error| format!("no CUDA device {number}: {error}"))
}

#[cfg(not(feature = "cuda"))]
fn card(number: u16) -> Result<candle_core::Device, String> {
    Err(format!("no CUDA device {number}: {}", super::device::WITHOUT))
}

struct CandleModel {
    name: String,
    signature: Signature,
    network: Kind,
}

/// What the rows of a model are.
enum Kind {
    Numbers(Network),
    Text(Transformer),
}

impl Kind {
    fn run(&self, tensors: &[Tensor]) -> Result<candle_core::Result<Vec<Vec<f32>>>, ModelError> {
        match self {
            Self::Numbers(network) => {
                let inputs = tensors.iter().map(Tensor::as_f32).collect::<Result<Vec<_>, _>>()?;
                let features = inputs.first().map_or(&[][..], |input| input);
                Ok(network.run(features, inputs.get(1).map(|input| &**input)))
            }
            Self::Text(network) => {
                let tokens = tensors.first().map(|tensor| bytemuck::pod_collect_to_vec(tensor.data()));
                Ok(network.run(&tokens.unwrap_or_default()).map(|vectors| vec![vectors]))
            }
        }
    }
}

impl Model for CandleModel {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        let rows = self.signature.check_inputs(&batch.tensors)?;
        let failed = |reason: String| ModelError::Run { model: self.name.clone(), reason };
        let outputs = self.network.run(&batch.tensors)?.map_err(|error| failed(error.to_string()))?;
        let tensors = outputs.iter().zip(&self.signature.outputs).map(|(values, spec)| {
            let inner = spec.dims.iter().skip(1).map(|dim| usize::try_from(*dim).unwrap_or_default());
            Tensor::from_f32(std::iter::once(rows).chain(inner).collect(), values)
        });
        Ok(Batch { tensors: tensors.collect::<Result<_, _>>()? })
    }
}
