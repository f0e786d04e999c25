//! Opening a bundle folder: nothing is believed before the manifest has vouched for it.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::BundleConfig;
use super::files::{self, sha256, text};
use super::golden::Golden;
use super::manifest::Manifest;
use super::trust::Trust;
use super::{
    CALIBRATION_FILE, CARD_FILE, CONFIG_FILE, GOLDEN_FILE, MANIFEST_FILE, REFERENCE_FILE, REQUIRED_FILES,
    SIGNATURE_FILE,
};
use crate::reference::Reference;
use crate::{Engine, Model, ModelError, Signature};

/// One verified model version: the small files in memory, the weights on disk.
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
    config: BundleConfig,
    signature: Signature,
    calibration: String,
    card: String,
    reference: Option<Reference>,
    manifest: Manifest,
    digest: String,
    signed: bool,
}

impl Bundle {
    /// Opens `dir`: every file is listed and has the promised hash, and `model.toml` is valid.
    /// A signature, if there is one, is not looked at.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ModelError> {
        Self::open_dir(dir.as_ref(), None)
    }

    /// The same, and a signature that is there was made by a trusted key.
    pub fn open_trusted(dir: impl AsRef<Path>, trust: &Trust) -> Result<Self, ModelError> {
        Self::open_dir(dir.as_ref(), Some(trust))
    }

    fn open_dir(dir: &Path, trust: Option<&Trust>) -> Result<Self, ModelError> {
        let manifest_bytes = files::read(dir, MANIFEST_FILE)?;
        let signed = trust.map_or(Ok(false), |trust| {
            let signature = dir.join(SIGNATURE_FILE).exists().then(|| files::read(dir, SIGNATURE_FILE));
            trust.check(&manifest_bytes, signature.transpose()?.as_deref())
        })?;
        let manifest = Manifest::parse(&manifest_bytes)?;
        check_listing(dir, &manifest)?;
        let read = |name: &str| read_verified(dir, &manifest, name);
        let config = BundleConfig::from_toml(&text(CONFIG_FILE, read(CONFIG_FILE)?)?)?;
        for required in REQUIRED_FILES.into_iter().chain([config.engine.weights_file()]) {
            if !manifest.files().contains_key(required) {
                return Err(ModelError::invalid(required, "is missing from the bundle"));
            }
        }
        let signature = config.signature()?;
        let calibration = text(CALIBRATION_FILE, read(CALIBRATION_FILE)?)?;
        check_json(&calibration)?;
        let card = text(CARD_FILE, read(CARD_FILE)?)?;
        if card.trim().is_empty() {
            return Err(ModelError::invalid(CARD_FILE, "is empty"));
        }
        Golden::from_bytes(&read(GOLDEN_FILE)?, &signature)?;
        let told = manifest.files().contains_key(REFERENCE_FILE).then(|| read(REFERENCE_FILE)).transpose()?;
        let reference = told.map(|text| Reference::from_json(&text)).transpose()?;
        for name in manifest.files().keys() {
            read(name)?;
        }
        let digest = sha256(&manifest_bytes);
        let dir = dir.to_owned();
        Ok(Self { dir, config, signature, calibration, card, reference, manifest, digest, signed })
    }

    /// Folder the bundle was opened from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The whole of `model.toml`.
    pub fn config(&self) -> &BundleConfig {
        &self.config
    }

    /// Inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Text of `calibration.json`.
    pub fn calibration_json(&self) -> &str {
        &self.calibration
    }

    /// Text of `card.md`.
    pub fn card(&self) -> &str {
        &self.card
    }

    /// What inputs and output looked like in training, where the bundle says so.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// Sizes and hashes of the files.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the manifest in hexadecimal; two bundles with one digest are the same.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether a key vouched for the manifest.
    pub fn signed(&self) -> bool {
        self.signed
    }

    /// Content of one file, read and verified anew.
    pub fn file(&self, name: &str) -> Result<Vec<u8>, ModelError> {
        read_verified(&self.dir, &self.manifest, name)
    }

    /// Content of the weights or graph.
    pub fn weights(&self) -> Result<Vec<u8>, ModelError> {
        self.file(self.config.engine.weights_file())
    }

    /// The golden tensors.
    pub fn golden(&self) -> Result<Golden, ModelError> {
        Golden::from_bytes(&self.file(GOLDEN_FILE)?, &self.signature)
    }

    /// Loads the model into `engine` and checks that it gives its golden outputs.
    pub fn load(&self, engine: &dyn Engine) -> Result<Box<dyn Model>, ModelError> {
        if engine.name() != self.config.engine.name() {
            let reason = format!("asks for engine {}, not {}", self.config.engine.name(), engine.name());
            return Err(ModelError::invalid(CONFIG_FILE, reason));
        }
        let mut model = engine.load(self)?;
        let (golden, tolerance) = (self.golden()?, self.config.golden.tolerance);
        golden.verify(&mut *model, &self.signature, tolerance)?;
        if let Some(lengths) = &self.config.batching.lengths {
            golden.verify_filled(&mut *model, &self.signature, lengths, tolerance)?;
        }
        Ok(model)
    }
}

fn read_verified(dir: &Path, manifest: &Manifest, name: &str) -> Result<Vec<u8>, ModelError> {
    let content = files::read(dir, name)?;
    manifest.verify(name, &content)?;
    Ok(content)
}

/// Refuses files that the manifest does not list: nobody has vouched for them.
fn check_listing(dir: &Path, manifest: &Manifest) -> Result<(), ModelError> {
    let unreadable = |source| ModelError::Read { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy();
        if name != MANIFEST_FILE && name != SIGNATURE_FILE && !manifest.files().contains_key(&*name) {
            return Err(ModelError::invalid(name, "is in the folder but not listed in manifest.json"));
        }
    }
    Ok(())
}

fn check_json(calibration: &str) -> Result<(), ModelError> {
    serde_json::from_str::<serde::de::IgnoredAny>(calibration)
        .map(|_| ())
        .map_err(|error| ModelError::invalid(CALIBRATION_FILE, error.to_string()))
}
