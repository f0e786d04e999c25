//! Bundles: a folder that holds one model version and everything needed to trust it.

use crate::Signature;

/// One verified bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Inputs and outputs.
    pub signature: Signature,
}
