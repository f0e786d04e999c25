//! Rows kept as bytes with one scale each: a quarter of the bytes, seven bits and a sign.
//!
//! A component is off by at most half a step, and a step is the largest component divided by 127.
//! Over many components the errors mostly cancel; docs/benchmarks.md has what it costs in recall.

use super::portable;
#[cfg(target_arch = "x86_64")]
use super::x86;

/// Products summed in an i32 before they move to an i64: 127² · 65,536 is half of what it holds.
const CHUNK: usize = 1 << 16;

/// Bytes of −127 to 127 and the step between them: component ≈ byte · step.
///
/// A vector of zeros has step zero.
pub fn quantise_i8(vector: &[f32]) -> (Vec<i8>, f32) {
    let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let step = largest / 127.0;
    if step == 0.0 {
        return (vec![0; vector.len()], 0.0);
    }
    // Rounding may reach 128 where the step itself is subnormal; the clamp keeps the kernels' range.
    let byte = |value: &f32| (value / step).round().clamp(-127.0, 127.0) as i8;
    (vector.iter().map(byte).collect(), step)
}

/// Sum of the products of two byte vectors of [`quantise_i8`]; exact.
///
/// A byte of −128, which quantising never makes, may give a wrong sum.
///
/// # Panics
/// When the lengths differ.
pub fn dot_i8(a: &[i8], b: &[i8]) -> i64 {
    assert_eq!(a.len(), b.len(), "both vectors have one length");
    a.chunks(CHUNK).zip(b.chunks(CHUNK)).map(|(a, b)| i64::from(chunk(a, b))).sum()
}

fn chunk(a: &[i8], b: &[i8]) -> i32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernels) = x86::detected() {
        return kernels.dot_i8(a, b);
    }
    portable::dot_i8(a, b)
}
