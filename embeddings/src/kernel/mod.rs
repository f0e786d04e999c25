//! Exact arithmetic over vectors: products, distances, and the best rows of a whole matrix.
//!
//! Brute force is the yardstick that an index is measured with, and below some thousand rows it is
//! also the faster answer. It reads every row once, so what bounds it is memory, not arithmetic:
//! the kernels only have to keep up with the bus, and smaller numbers (f16, i8) buy speed by
//! moving fewer bytes. All vectors here are finite; whoever takes one from a caller checks that.
//!
//! - [`dot`] and [`squared_l2`] over f32, and the same for a stored half or scaled byte row;
//! - [`Matrix`], rows of one of the three storage kinds, one after another;
//! - [`top_k`], the best rows for several queries in one pass.

mod half_float;
mod int8;
mod matrix;
mod portable;
mod scan;
#[cfg(test)]
mod tests;
mod top;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use half_float::{dot_f16, squared_l2_f16, to_f16};
pub use int8::{dot_i8, quantise_i8};
pub use matrix::{Matrix, Prepared};
pub use scan::{Rows, Scan, top_k};
pub use top::{Found, Top};

/// Sum of the products of two vectors of one length.
///
/// Summed in 32 partial sums, so the error grows with a thirty-second of the length.
///
/// # Panics
/// When the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "both vectors have one length");
    #[cfg(target_arch = "x86_64")]
    if let Some(kernels) = x86::detected() {
        return kernels.dot(a, b);
    }
    portable::dot(a, b)
}

/// Sum of the squared differences of two vectors of one length.
///
/// # Panics
/// When the lengths differ.
pub fn squared_l2(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "both vectors have one length");
    #[cfg(target_arch = "x86_64")]
    if let Some(kernels) = x86::detected() {
        return kernels.squared_l2(a, b);
    }
    portable::squared_l2(a, b)
}

/// Brings a vector to length one, after which its cosine with another such is their [`dot`].
///
/// Returns the length it had; zero says that it has no direction and was left alone. The sum is
/// taken in f64, so that neither a huge nor a tiny vector loses its direction on the way.
pub fn normalise(vector: &mut [f32]) -> f64 {
    let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        for value in vector {
            *value = (f64::from(*value) / norm) as f32;
        }
    }
    norm
}
