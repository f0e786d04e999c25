//! Reading a candle tensor in place.

use candle_core::{Device, Result, Storage, Tensor};

/// What `read` makes of the elements of a contiguous single-precision tensor; without a copy unless a network in
/// training has it on another device.
pub(super) fn of<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let here = if tensor.device().is_cpu() { tensor.clone() } else { tensor.to_device(&Device::Cpu)? };
    let (storage, layout) = here.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { candle_core::bail!("the tensor is not in main memory") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(read(&storage.as_slice::<f32>()?[start..end])),
        None => candle_core::bail!("the tensor is not contiguous"),
    }
}
