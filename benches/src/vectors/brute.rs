//! Brute force beside a plain copy: how near the scan is to what memory gives.

use std::hint::black_box;
use std::time::Instant;

use embeddings::Metric;
use embeddings::kernel::{Matrix, Rows, Scan, top_k};

use super::data::{DIMENSION, Set};
use crate::report::{Row, Target};
use crate::stats::median;

/// Alternating pairs of a copy and a scan.
const PAIRS: usize = 9;

/// Scans `points` vectors with one query on one core, in turn with copying them.
pub(super) fn measure(set: &Set, points: usize) -> Row {
    let vectors = set.vectors(0..points as u64);
    let query = &set.queries(1)[0];
    let matrix = Matrix::f32(DIMENSION, &vectors);
    let scan = Scan { matrix, metric: Metric::Cosine, rows: Rows::All, k: 10, threads: 1 };
    let mut target = vec![0.0f32; vectors.len()];
    let gigabytes = size_of_val(&*vectors) as f64 / 1e9;
    let (mut copies, mut scans, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let copy = gigabytes / seconds(|| target.copy_from_slice(black_box(&vectors)));
        let found = gigabytes / seconds(|| drop(black_box(top_k(&scan, &[query]))));
        copies.push(copy);
        scans.push(found);
        ratios.push(found / copy);
    }
    let value = format!("{:.1} GB/s read, {:.1} ms", median(&scans), gigabytes * 1e3 / median(&scans));
    let beside = format!("plain copy of the same bytes {:.1} GB/s", median(&copies));
    let measure = format!("brute force over {points} × {DIMENSION}, one core");
    Row::new(&measure, value, beside, median(&ratios), Target::AtLeast(1.0))
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
