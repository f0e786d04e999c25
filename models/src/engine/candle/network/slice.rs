//! Reading a candle tensor in place.

use candle_core::{Result, Storage, Tensor};

/// What `read` makes of the elements of a contiguous single-precision tensor, without a copy.
pub(super) fn of<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { candle_core::bail!("the tensor is not in main memory") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(read(&storage.as_slice::<f32>()?[start..end])),
        None => candle_core::bail!("the tensor is not contiguous"),
    }
}
