//! Rows kept as half floats: half the bytes, eleven bits of precision.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::portable;
#[cfg(target_arch = "x86_64")]
use super::x86;

/// The nearest half floats. Components beyond ±65,504 become infinite: bring a vector to length
/// one first, or keep it as f32.
pub fn to_f16(vector: &[f32]) -> Vec<f16> {
    let mut half = vec![f16::ZERO; vector.len()];
    half.convert_from_f32_slice(vector);
    half
}

/// Sum of the products of a vector and a stored half-float row, added in f32.
///
/// # Panics
/// When the lengths differ.
pub fn dot_f16(vector: &[f32], row: &[f16]) -> f32 {
    assert_eq!(vector.len(), row.len(), "vector and row have one length");
    #[cfg(target_arch = "x86_64")]
    if let Some(kernels) = x86::detected() {
        return kernels.dot_f16(vector, row);
    }
    portable::dot_f16(vector, row)
}

/// Sum of the squared differences of a vector and a stored half-float row, added in f32.
///
/// # Panics
/// When the lengths differ.
pub fn squared_l2_f16(vector: &[f32], row: &[f16]) -> f32 {
    assert_eq!(vector.len(), row.len(), "vector and row have one length");
    #[cfg(target_arch = "x86_64")]
    if let Some(kernels) = x86::detected() {
        return kernels.squared_l2_f16(vector, row);
    }
    portable::squared_l2_f16(vector, row)
}
