//! Brute force over 100,000 × 896 beside a plain copy of the same bytes, and single products in cache.
//!
//! What the copy reads per second is what the memory gives one core; a scan that reaches it has
//! nothing left to gain but fewer bytes. Values are made up: only the time counts.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use embeddings::Metric;
use embeddings::kernel::{self, Matrix, Rows, Scan};

const ROWS: usize = 100_000;
const DIMENSION: usize = 896;

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at * 2_654_435_761 % 1_000) as f32 / 500.0 - 1.0).collect()
}

fn memory(criterion: &mut Criterion) {
    let floats = values(ROWS * DIMENSION);
    let half = kernel::to_f16(&floats);
    let (bytes, steps): (Vec<Vec<i8>>, Vec<f32>) = floats.chunks(DIMENSION).map(kernel::quantise_i8).unzip();
    let bytes = bytes.concat();
    let mut group = criterion.benchmark_group("100k x 896");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(size_of_val(&*floats) as u64));
    let mut target = vec![0.0f32; floats.len()];
    group.bench_function("plain copy", |bench| bench.iter(|| target.copy_from_slice(black_box(&floats))));
    let matrices = [
        ("f32", Matrix::f32(DIMENSION, &floats)),
        ("f16", Matrix::f16(DIMENSION, &half)),
        ("i8", Matrix::i8(DIMENSION, &bytes, &steps)),
    ];
    let query = values(DIMENSION);
    for (name, matrix) in matrices {
        for (threads, asked) in [(1, 1), (2, 1), (2, 16)] {
            let queries = vec![query.as_slice(); asked];
            let scan = Scan { matrix, metric: Metric::Cosine, rows: Rows::All, k: 10, threads };
            group.throughput(Throughput::Bytes((matrix.rows() * matrix.row_bytes()) as u64));
            let id = BenchmarkId::new(name, format!("{threads} threads, {asked} queries"));
            group.bench_function(id, |bench| bench.iter(|| kernel::top_k(black_box(&scan), &queries)));
        }
    }
}

fn cache(criterion: &mut Criterion) {
    let (a, b) = (values(DIMENSION), values(DIMENSION + 1));
    let b = &b[1..];
    let half = kernel::to_f16(b);
    let ((bytes_a, _), (bytes_b, _)) = (kernel::quantise_i8(&a), kernel::quantise_i8(b));
    let mut group = criterion.benchmark_group("896 values in cache");
    group.bench_function("dot", |bench| bench.iter(|| kernel::dot(black_box(&a), black_box(b))));
    group
        .bench_function("squared_l2", |bench| bench.iter(|| kernel::squared_l2(black_box(&a), black_box(b))));
    group.bench_function("dot_f16", |bench| bench.iter(|| kernel::dot_f16(black_box(&a), black_box(&half))));
    group.bench_function("dot_i8", |bench| {
        bench.iter(|| kernel::dot_i8(black_box(&bytes_a), black_box(&bytes_b)));
    });
}

criterion_group!(benches, memory, cache);
criterion_main!(benches);
