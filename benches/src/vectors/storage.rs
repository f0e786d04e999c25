//! What a storage of fewer bits costs: recall of comparing all, so that nothing but the bits is measured.

use std::collections::HashSet;

use embeddings::Metric;
use embeddings::kernel::{Matrix, Rows, Scan, quantise_i8, to_f16, top_k};

use super::data::{DIMENSION, Set};
use super::truth::{K, recall};
use crate::report::{Row, Target};

/// Recall that a storage is expected to keep, by its name.
const KEPT: [(&str, f64); 2] = [("f16", 0.99), ("i8", 0.95)];

/// Compares `points` vectors of a set with `queries`, kept as f16 and as i8, against f32.
pub(super) fn measure(set: &Set, name: &str, points: usize, queries: &[Vec<f32>]) -> Vec<Row> {
    let vectors = set.vectors(0..points as u64);
    let truth: Vec<HashSet<u64>> = nearest(Matrix::f32(DIMENSION, &vectors), queries)
        .into_iter()
        .map(|rows| rows.into_iter().collect())
        .collect();
    let half = to_f16(&vectors);
    let (bytes, steps): (Vec<_>, Vec<_>) = vectors.chunks(DIMENSION).map(quantise_i8).unzip();
    let bytes = bytes.concat();
    let kept = [Matrix::f16(DIMENSION, &half), Matrix::i8(DIMENSION, &bytes, &steps)];
    let row = |((storage, target), matrix): ((&str, f64), Matrix<'_>)| {
        let found = recall(&truth, &nearest(matrix, queries));
        let measure =
            format!("synthetic, {points} × {DIMENSION}, {name}: recall@10 of comparing all as {storage}");
        let beside = format!("as f32 1.000, {} bytes a vector", DIMENSION * size_of::<f32>());
        let value = format!("{found:.3}, {} bytes a vector", matrix.row_bytes());
        Row::new(&measure, value, beside, found, Target::AtLeast(target))
    };
    KEPT.into_iter().zip(kept).map(row).collect()
}

fn nearest(matrix: Matrix<'_>, queries: &[Vec<f32>]) -> Vec<Vec<u64>> {
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let scan = Scan { matrix, metric: Metric::Cosine, rows: Rows::All, k: K, threads: 2 };
    let rows = |found: Vec<embeddings::kernel::Found>| found.into_iter().map(|found| found.row as u64);
    top_k(&scan, &queries).into_iter().map(|found| rows(found).collect()).collect()
}
