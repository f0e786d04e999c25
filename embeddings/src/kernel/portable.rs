//! The kernels in plain Rust, for processors without the instructions of the fast ones.
//!
//! They keep as many partial sums as the fast ones, which lets the compiler use what vector
//! instructions the target has and bounds the error alike.

use half::f16;

/// Partial sums kept side by side.
const LANES: usize = 32;

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |a, b| (*a, *b), |a, b, sum| a.mul_add(b, sum))
}

pub(super) fn squared_l2(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |a, b| (*a, *b), |a, b, sum| (a - b).mul_add(a - b, sum))
}

pub(super) fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    fold(a, b, |a, b| (*a, b.to_f32()), |a, b, sum| a.mul_add(b, sum))
}

pub(super) fn squared_l2_f16(a: &[f32], b: &[f16]) -> f32 {
    fold(a, b, |a, b| (*a, b.to_f32()), |a, b, sum| (a - b).mul_add(a - b, sum))
}

/// At most 65,536 values, so that the sum cannot leave an i32.
pub(super) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

fn fold<A, B>(
    a: &[A],
    b: &[B],
    widen: impl Fn(&A, &B) -> (f32, f32),
    add: impl Fn(f32, f32, f32) -> f32,
) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (chunks_a, chunks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = chunks_a.remainder().iter().zip(chunks_b.remainder());
    for (sum, (a, b)) in sums.iter_mut().zip(rest) {
        let (a, b) = widen(a, b);
        *sum = add(a, b, *sum);
    }
    for (a, b) in chunks_a.zip(chunks_b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            let (a, b) = widen(a, b);
            *sum = add(a, b, *sum);
        }
    }
    sums.iter().sum()
}
