//! Where networks are trained: on the processor, or, built with the feature `cuda`, on the first graphics card.
//!
//! Every tensor of training is made on [`device`]; weights are drawn on the processor, so both start alike. A bundle is
//! calibrated, measured and served on the processor either way.

use std::sync::OnceLock;

use candle_core::Device;

static DEVICE: OnceLock<Device> = OnceLock::new();

/// The device of this process, chosen at the first call. Where a graphics card was asked for and there is none, a warning
/// says why the processor is used.
pub(crate) fn device() -> &'static Device {
    DEVICE.get_or_init(chosen)
}

/// What trains, for a line to the reader.
#[must_use]
pub fn device_name() -> &'static str {
    if device().is_cpu() { "the processor" } else { "the graphics card (CUDA device 0)" }
}

#[cfg(feature = "cuda")]
fn chosen() -> Device {
    Device::new_cuda(0).unwrap_or_else(|error| {
        tracing::warn!("no CUDA device 0, so training uses the processor: {error}");
        Device::Cpu
    })
}

#[cfg(not(feature = "cuda"))]
fn chosen() -> Device {
    Device::Cpu
}

/// Seeds what the device itself draws; the processor draws nothing that is not seeded elsewhere.
///
/// # Errors
/// A device that takes no seed.
pub(super) fn seed(seed: u64) -> candle_core::Result<()> {
    if device().is_cpu() { Ok(()) } else { device().set_seed(seed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_serves_all_and_has_a_name() {
        assert!(device().same_device(device()));
        assert_eq!(device_name() == "the processor", device().is_cpu());
        assert!(cfg!(feature = "cuda") || device().is_cpu());
        assert!(seed(7).is_ok());
    }
}
