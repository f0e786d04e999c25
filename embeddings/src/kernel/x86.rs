//! The kernels for x86-64, chosen at run time by what the processor has.
//!
//! AVX2 with fused multiply-add and half-float conversion (Intel since 2013, AMD since 2015) carries
//! all of them; where AVX-512 VNNI exists, bytes are multiplied and summed in one instruction. The
//! float kernels have no AVX-512 form on purpose: from memory they are bound by the bus, and from
//! cache they measured the same on Zen 4 (`cargo bench -p embeddings --bench kernel`).

#![allow(
    unsafe_code,
    reason = "vector loads take raw pointers, and a function compiled for an instruction may only be \
              called where the processor has it; both are local to this file and argued at each block"
)]

use std::arch::x86_64::*;
use std::sync::LazyLock;

use half::f16;

/// Floats in one register.
const LANES: usize = 8;
/// Bytes in one register.
const BYTES: usize = 32;

/// Proof that this processor has what the kernels were compiled for; made only by [`detected`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernels {
    vnni: bool,
}

/// The kernels if this processor can run them.
pub(super) fn detected() -> Option<Kernels> {
    static DETECTED: LazyLock<Option<Kernels>> = LazyLock::new(|| {
        let basic = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let vnni = is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl");
        basic.then_some(Kernels { vnni })
    });
    *DETECTED
}

impl Kernels {
    /// The same without VNNI, to test both byte kernels on one processor.
    #[cfg(test)]
    pub(super) fn without_vnni(self) -> Self {
        Self { vnni: false }
    }

    pub(super) fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: `self` exists only where AVX2 and FMA were detected.
        unsafe { dot(a, b) }
    }

    pub(super) fn squared_l2(self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: `self` exists only where AVX2 and FMA were detected.
        unsafe { squared_l2(a, b) }
    }

    pub(super) fn dot_f16(self, a: &[f32], b: &[f16]) -> f32 {
        // SAFETY: `self` exists only where AVX2, FMA and F16C were detected.
        unsafe { dot_f16(a, b) }
    }

    pub(super) fn squared_l2_f16(self, a: &[f32], b: &[f16]) -> f32 {
        // SAFETY: `self` exists only where AVX2, FMA and F16C were detected.
        unsafe { squared_l2_f16(a, b) }
    }

    /// Values of −127 to 127, at most 65,536 of them, so that the sum cannot leave an i32.
    pub(super) fn dot_i8(self, a: &[i8], b: &[i8]) -> i32 {
        if self.vnni {
            // SAFETY: the flag is set only where AVX-512 VNNI and VL were detected.
            unsafe { dot_i8_vnni(a, b) }
        } else {
            // SAFETY: `self` exists only where AVX2 was detected.
            unsafe { dot_i8(a, b) }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    floats(a, b, |b| load(b), |a, b, sum| _mm256_fmadd_ps(a, b, sum))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn squared_l2(a: &[f32], b: &[f32]) -> f32 {
    floats(
        a,
        b,
        |b| load(b),
        |a, b, sum| {
            let difference = _mm256_sub_ps(a, b);
            _mm256_fmadd_ps(difference, difference, sum)
        },
    )
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    floats(a, b, |b| load_f16(b), |a, b, sum| _mm256_fmadd_ps(a, b, sum))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn squared_l2_f16(a: &[f32], b: &[f16]) -> f32 {
    floats(
        a,
        b,
        |b| load_f16(b),
        |a, b, sum| {
            let difference = _mm256_sub_ps(a, b);
            _mm256_fmadd_ps(difference, difference, sum)
        },
    )
}

/// Folds two vectors into one sum, in four registers of partial sums.
///
/// What is left over after whole registers is padded with zeros, which add nothing to a product
/// and, on both sides, nothing to a difference.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn floats<B: Copy + Default>(
    a: &[f32],
    b: &[B],
    load_b: impl Fn(&[B; LANES]) -> __m256,
    add: impl Fn(__m256, __m256, __m256) -> __m256,
) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 4];
    let (blocks_a, rest_a) = a.as_chunks::<{ 4 * LANES }>();
    let (blocks_b, rest_b) = b.as_chunks::<{ 4 * LANES }>();
    for (a, b) in blocks_a.iter().zip(blocks_b) {
        let (a, b) = (a.as_chunks().0, b.as_chunks().0);
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = add(load(a), load_b(b), *sum);
        }
    }
    let (rest_a, tail_a) = rest_a.as_chunks();
    let (rest_b, tail_b) = rest_b.as_chunks();
    for ((sum, a), b) in sums.iter_mut().zip(rest_a).zip(rest_b) {
        *sum = add(load(a), load_b(b), *sum);
    }
    sums[3] = add(load(&padded(tail_a)), load_b(&padded(tail_b)), sums[3]);
    let [a, b, c, d] = sums;
    sum_of(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)))
}

fn padded<T: Copy + Default, const N: usize>(tail: &[T]) -> [T; N] {
    let mut whole = [T::default(); N];
    whole[..tail.len()].copy_from_slice(tail);
    whole
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(values: &[f32; LANES]) -> __m256 {
    // SAFETY: the reference covers the eight floats read; the load asks for no alignment.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load_f16(values: &[f16; LANES]) -> __m256 {
    // SAFETY: the reference covers the 16 bytes read, and `f16` is a `u16` in memory
    // (`repr(transparent)`); the load asks for no alignment.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(values.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_of(values: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps::<1>(values));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[target_feature(enable = "avx2")]
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let ones = _mm256_set1_epi16(1);
    bytes(a, b, |a, b, sum| {
        // Two products of at most 127 · 127 fit the 16 bits they are added in.
        let pairs = _mm256_maddubs_epi16(a, b);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones))
    })
}

#[target_feature(enable = "avx2,avx512vnni,avx512vl")]
fn dot_i8_vnni(a: &[i8], b: &[i8]) -> i32 {
    bytes(a, b, |a, b, sum| _mm256_dpbusd_epi32(sum, a, b))
}

/// Folds two byte vectors into one sum. The multipliers want an unsigned and a signed side, so the
/// sign of `a` is moved over to `b`, which leaves every product as it was.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes(a: &[i8], b: &[i8], add: impl Fn(__m256i, __m256i, __m256i) -> __m256i) -> i32 {
    let step = |a: &[i8; BYTES], b: &[i8; BYTES], sum| {
        let (a, b) = (load_i8(a), load_i8(b));
        add(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a), sum)
    };
    let mut sums = [_mm256_setzero_si256(); 2];
    let (blocks_a, rest_a) = a.as_chunks::<{ 2 * BYTES }>();
    let (blocks_b, rest_b) = b.as_chunks::<{ 2 * BYTES }>();
    for (a, b) in blocks_a.iter().zip(blocks_b) {
        let (a, b) = (a.as_chunks().0, b.as_chunks().0);
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = step(a, b, *sum);
        }
    }
    let (rest_a, tail_a) = rest_a.as_chunks();
    let (rest_b, tail_b) = rest_b.as_chunks();
    for ((sum, a), b) in sums.iter_mut().zip(rest_a).zip(rest_b) {
        *sum = step(a, b, *sum);
    }
    sums[1] = step(&padded(tail_a), &padded(tail_b), sums[1]);
    sum_of_i32(_mm256_add_epi32(sums[0], sums[1]))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_i8(values: &[i8; BYTES]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes read; the load asks for no alignment.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_of_i32(values: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256::<1>(values));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b_01_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b_00_00_00_01>(two)))
}
