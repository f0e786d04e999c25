//! The kernels against sums in f64, at every length, alignment and tie.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::Metric;

/// Unit roundoff of f32.
const ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;
/// What the lengths and offsets below stay within.
const LENGTH_MAX: usize = 2_000;

/// Deterministic values between −1 and 1 without a pattern a kernel could hide behind.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn exact_dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn exact_squared_l2(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// The textbook bound n·u·Σ|aᵢbᵢ| of any order of summing, far above what 32 partial sums reach.
fn dot_bound(a: &[f32], b: &[f32]) -> f64 {
    let magnitude: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) * f64::from(*b)).abs()).sum();
    (a.len() as f64 + 2.0) * ROUNDOFF * magnitude + f64::from(f32::MIN_POSITIVE)
}

/// The same for differences, which are rounded once more before they are squared.
fn l2_bound(a: &[f32], b: &[f32]) -> f64 {
    (a.len() as f64 + 4.0) * ROUNDOFF * exact_squared_l2(a, b) + f64::from(f32::MIN_POSITIVE)
}

fn assert_near(found: f32, exact: f64, bound: f64, what: &str) {
    let error = (f64::from(found) - exact).abs();
    assert!(error <= bound, "{what}: {found} is {error:e} from {exact}, allowed {bound:e}");
}

fn widened(half: &[f16]) -> Vec<f32> {
    half.iter().map(|value| value.to_f32()).collect()
}

/// A check of one pair of slices with every kernel that takes them.
fn check(a: &[f32], b: &[f32]) {
    let what = |kernel: &str| format!("{kernel} of {} values", a.len());
    assert_near(dot(a, b), exact_dot(a, b), dot_bound(a, b), &what("dot"));
    assert_near(portable::dot(a, b), exact_dot(a, b), dot_bound(a, b), &what("portable dot"));
    assert_near(squared_l2(a, b), exact_squared_l2(a, b), l2_bound(a, b), &what("squared_l2"));
    assert_near(portable::squared_l2(a, b), exact_squared_l2(a, b), l2_bound(a, b), &what("portable l2"));
}

fn check_f16(a: &[f32], half: &[f16]) {
    let b = widened(half);
    let what = |kernel: &str| format!("{kernel} of {} values", a.len());
    assert_near(dot_f16(a, half), exact_dot(a, &b), dot_bound(a, &b), &what("dot_f16"));
    assert_near(portable::dot_f16(a, half), exact_dot(a, &b), dot_bound(a, &b), &what("portable"));
    let (exact, bound) = (exact_squared_l2(a, &b), l2_bound(a, &b));
    assert_near(squared_l2_f16(a, half), exact, bound, &what("squared_l2_f16"));
    assert_near(portable::squared_l2_f16(a, half), exact, bound, &what("portable l2"));
}

fn check_i8(a: &[i8], b: &[i8]) {
    let exact: i64 = a.iter().zip(b).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
    assert_eq!(dot_i8(a, b), exact, "{} bytes", a.len());
    assert_eq!(i64::from(portable::dot_i8(a, b)), exact, "{} bytes, portable", a.len());
    #[cfg(target_arch = "x86_64")]
    if let Some(kernels) = x86::detected() {
        assert_eq!(i64::from(kernels.without_vnni().dot_i8(a, b)), exact, "{} bytes, AVX2", a.len());
    }
}

#[test]
fn every_length_agrees_with_f64_at_every_alignment() {
    let (a, b) = (noise(1, LENGTH_MAX + 8), noise(2, LENGTH_MAX + 8));
    let half = to_f16(&b);
    let bytes = |values: &[f32]| values.iter().map(|value| (value * 127.0) as i8).collect::<Vec<_>>();
    let (bytes_a, bytes_b) = (bytes(&a), bytes(&b));
    for length in 0..=LENGTH_MAX {
        // Both offsets run through all eight, differently, as the length grows.
        let (left, right) = (length % 8, length / 8 % 8);
        check(&a[left..left + length], &b[right..right + length]);
        check_f16(&a[left..left + length], &half[right..right + length]);
        check_i8(&bytes_a[left..left + length], &bytes_b[right..right + length]);
    }
}

#[test]
fn the_largest_bytes_do_not_saturate() {
    for length in [1, 31, 64, 896, 4096, 70_000] {
        let (high, low) = (vec![127i8; length], vec![-127i8; length]);
        assert_eq!(dot_i8(&high, &low), -(127 * 127 * length as i64));
        assert_eq!(dot_i8(&low, &low), 127 * 127 * length as i64);
    }
}

#[test]
#[should_panic(expected = "one length")]
fn vectors_of_different_lengths_are_refused() {
    dot(&[1.0, 2.0], &[1.0]);
}

#[test]
fn normalising_gives_length_one_to_all_that_has_a_direction() {
    for scale in [1e-30f32, 1.0, 1e30] {
        let mut vector: Vec<f32> = noise(3, 896).iter().map(|value| value * scale).collect();
        assert!(normalise(&mut vector) > 0.0);
        assert!((exact_dot(&vector, &vector) - 1.0).abs() < 1e-5, "scale {scale}");
    }
    let mut zero = vec![0.0; 4];
    assert_eq!(normalise(&mut zero), 0.0);
    assert_eq!(zero, [0.0; 4]);
}

#[test]
fn a_zero_or_subnormal_vector_survives_quantising() {
    assert_eq!(quantise_i8(&[0.0, -0.0]), (vec![0, 0], 0.0));
    let (bytes, step) = quantise_i8(&[1e-44, -1e-44, 1e-45]);
    assert!(bytes.iter().all(|byte| (-127..=127).contains(byte)) && step.is_finite());
}

proptest! {
    #[test]
    fn wide_ranges_stay_within_the_error_bound(
        pairs in prop::collection::vec((-1e6f32..1e6, -1e6f32..1e6), 0..300)
    ) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        check(&a, &b);
    }

    #[test]
    fn a_quantised_component_is_off_by_half_a_step_at_most(
        vector in prop::collection::vec(-1e6f32..1e6, 1..300)
    ) {
        let (bytes, step) = quantise_i8(&vector);
        for (value, byte) in vector.iter().zip(bytes) {
            let off = (f64::from(*value) - f64::from(byte) * f64::from(step)).abs();
            prop_assert!(off <= f64::from(step) * 0.500_1, "{value} became {byte} of {step}");
        }
    }

    #[test]
    fn a_scan_finds_what_a_full_sort_finds(
        rows in 1usize..400, dimension in 1usize..70, k in 1usize..30, seed in any::<u64>(),
        threads in 1usize..3, metric in prop_oneof![Just(Metric::Cosine), Just(Metric::L2)],
        // Coarse values make rows alike, so that ties are common.
        coarse in any::<bool>(), divisor in 1usize..6,
    ) {
        let mut values = noise(seed, rows * dimension);
        if coarse {
            values.iter_mut().for_each(|value| *value = value.round());
        }
        let queries = [noise(seed ^ 5, dimension), noise(seed ^ 9, dimension)];
        let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        let half = to_f16(&values);
        let (bytes, steps): (Vec<Vec<i8>>, Vec<f32>) = values.chunks(dimension).map(quantise_i8).unzip();
        let bytes = bytes.concat();
        let matrices = [
            Matrix::f32(dimension, &values),
            Matrix::f16(dimension, &half),
            Matrix::i8(dimension, &bytes, &steps),
        ];
        let keep = |row: usize| row.is_multiple_of(divisor);
        let listed: Vec<usize> = (0..rows).rev().filter(|row| keep(*row)).collect();
        for matrix in matrices {
            let scan = Scan { matrix, metric, rows: Rows::Where(&keep), k, threads };
            let found = top_k(&scan, &queries);
            for (query, found) in queries.iter().zip(&found) {
                prop_assert_eq!(found, &sorted(&scan, query, &keep));
            }
            let same = top_k(&Scan { rows: Rows::Listed(&listed), ..scan }, &queries);
            prop_assert_eq!(&found, &same, "a list of the same rows, in another order");
        }
    }
}

fn sorted(scan: &Scan, query: &[f32], keep: &dyn Fn(usize) -> bool) -> Vec<Found> {
    let query = scan.matrix.prepare(query);
    let score = |row| Found { row, score: scan.matrix.score(scan.metric, &query, row) };
    let mut all: Vec<Found> = (0..scan.matrix.rows()).filter(|row| keep(*row)).map(score).collect();
    all.sort_by(|a, b| b.cmp(a));
    all.truncate(scan.k);
    all
}

#[test]
fn several_threads_find_the_same_in_a_matrix_large_enough_for_them() {
    let (dimension, rows) = (896, 2_000);
    let values = noise(7, dimension * rows);
    let queries = [noise(8, dimension), noise(9, dimension)];
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let matrix = Matrix::f32(dimension, &values);
    let scan = |threads| Scan { matrix, metric: Metric::Cosine, rows: Rows::All, k: 10, threads };
    let one = top_k(&scan(1), &queries);
    assert_eq!(one, top_k(&scan(2), &queries));
    assert_eq!(one, top_k(&scan(3), &queries));
    assert_eq!(one[0], sorted(&scan(1), queries[0], &|_| true));
}

#[test]
fn byte_rows_score_as_the_vectors_they_stand_for() {
    let (dimension, rows) = (300, 20);
    let values = noise(11, dimension * rows);
    let (bytes, steps): (Vec<Vec<i8>>, Vec<f32>) = values.chunks(dimension).map(quantise_i8).unzip();
    let bytes = bytes.concat();
    let query = noise(12, dimension);
    for metric in [Metric::Cosine, Metric::L2] {
        let (exact, scaled) = (Matrix::f32(dimension, &values), Matrix::i8(dimension, &bytes, &steps));
        for row in 0..rows {
            let exact = exact.score(metric, &exact.prepare(&query), row);
            let near = scaled.score(metric, &scaled.prepare(&query), row);
            // Half a step of 1/127 on either side, over 300 components of random sign.
            assert!((exact - near).abs() < 0.5, "{metric:?}, row {row}: {exact} became {near}");
        }
    }
}

#[test]
fn nothing_is_found_in_nothing() {
    let scan = |rows, k| Scan { matrix: Matrix::f32(3, &[]), metric: Metric::L2, rows, k, threads: 2 };
    assert_eq!(top_k(&scan(Rows::All, 5), &[&[1.0, 2.0, 3.0]]), [vec![]]);
    assert!(top_k(&scan(Rows::All, 5), &[]).is_empty());
    let one = Scan { matrix: Matrix::f32(1, &[1.0, 2.0]), ..scan(Rows::All, 0) };
    assert_eq!(top_k(&one, &[&[1.0]]), [vec![]], "k of zero");
}
