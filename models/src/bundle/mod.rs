//! Bundles: a folder that holds one model version and everything needed to trust it.
//!
//! | file | holds |
//! |---|---|
//! | `model.toml` | [`BundleConfig`]: name, version, signature, network, lineage, metrics |
//! | `weights.safetensors` or `model.onnx` | the weights |
//! | `golden.safetensors` | [`Golden`]: inputs and the outputs they must give |
//! | `calibration.json` | conformal quantiles and thresholds, read by the families |
//! | `card.md` | the model card for people |
//! | `reference.json` | what inputs and output looked like in training, where it is told; see [`crate::reference`] |
//! | `manifest.json` | [`Manifest`]: size and SHA-256 of each file |
//! | `manifest.sig` | ed25519 signature of the manifest, when there is a key |

mod batching;
mod check;
pub mod config;
mod files;
mod golden;
mod lengths;
mod manifest;
pub mod network;
mod open;
mod safetensors;
mod sequence;
mod trust;
mod version;
mod write;

pub use batching::{BatchingConfig, QueueConfig, TimeoutAction};
pub use config::{
    BundleConfig, DatasetConfig, EngineKind, Family, FeatureConfig, ForecastConfig, GoldenConfig,
    LineageConfig, MetricConfig, SCHEMA_VERSION, TensorConfig,
};
pub use golden::{GOLDEN_ROWS_MAX, Golden};
pub use lengths::{Filled, LengthConfig};
pub use manifest::{FileEntry, Manifest, PublicKey, SecretKey};
pub use network::{
    Activation, AutoencoderConfig, BodyConfig, ClassifierConfig, EncoderConfig, ForecasterConfig,
    ForestConfig, Link, NetworkConfig, RegressorConfig, RisingConfig, RiskConfig,
};
pub use open::Bundle;
pub use safetensors::{from_safetensors, to_safetensors};
pub use sequence::{SequenceConfig, StateConfig};
pub use trust::{Trust, sign};
pub use version::{Quantisation, Version};
pub use write::BundleWriter;

/// File of the configuration.
pub const CONFIG_FILE: &str = "model.toml";
/// File of the golden tensors.
pub const GOLDEN_FILE: &str = "golden.safetensors";
/// File of the calibration.
pub const CALIBRATION_FILE: &str = "calibration.json";
/// File of the model card.
pub const CARD_FILE: &str = "card.md";
/// File of the training values that later ones are compared with; a bundle can be without.
pub const REFERENCE_FILE: &str = "reference.json";
/// File of the manifest.
pub const MANIFEST_FILE: &str = "manifest.json";
/// File of the manifest's signature.
pub const SIGNATURE_FILE: &str = "manifest.sig";

/// Files of every bundle beside the weights and the manifest.
const REQUIRED_FILES: [&str; 4] = [CONFIG_FILE, GOLDEN_FILE, CALIBRATION_FILE, CARD_FILE];
