//! hnsw_rs alone, for `manpasik bench vectors --peer`: the graph over the same vectors, without what a store adds.
//!
//! Called with a folder and the dimension. The folder holds `vectors.f32` and `queries.f32`, numbers row after
//! row, and `truth.u64`, for each question the places of its true neighbours, all little-endian. It prints one line
//! with what the fewest candidates reach that give enough recall.

use std::{collections::HashSet, env, fs, path::Path, time::Instant};

use anndists::dist::DistDot;
use anyhow::{Context, ensure};
use hnsw_rs::prelude::Hnsw;

/// Neighbours of a node and candidates looked at when a vector is added: the store's own settings.
const CONNECTIVITY: usize = 16;
const EXPANSION_ADD: usize = 128;
/// Layers that the library keeps at most.
const LAYERS: usize = 16;
/// Candidates a search keeps, from cheap to thorough.
const EXPANSIONS: [usize; 5] = [32, 64, 128, 256, 512];
/// Recall that every index is measured at.
const RECALL: f64 = 0.95;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, dimension] = arguments.as_slice() else { anyhow::bail!("usage: hnsw_alone FOLDER DIMENSION") };
    let (folder, dimension) = (Path::new(folder), dimension.parse::<usize>().context("DIMENSION is a number")?);
    let vectors: Vec<f32> = read(&folder.join("vectors.f32"))?;
    let queries: Vec<f32> = read(&folder.join("queries.f32"))?;
    let truth: Vec<u64> = read(&folder.join("truth.u64"))?;
    let questions = queries.len() / dimension;
    ensure!(questions > 0 && truth.len().is_multiple_of(questions), "truth.u64 does not fit queries.f32");
    let truth: Vec<HashSet<u64>> =
        truth.chunks(truth.len() / questions).map(|places| places.iter().copied().collect()).collect();

    let rows: Vec<Vec<f32>> = vectors.chunks_exact(dimension).map(<[f32]>::to_vec).collect();
    drop(vectors);
    let start = Instant::now();
    let index = Hnsw::<f32, DistDot>::new(CONNECTIVITY, rows.len(), LAYERS, EXPANSION_ADD, DistDot {});
    let places: Vec<(&Vec<f32>, usize)> = rows.iter().zip(0..).collect();
    index.parallel_insert(&places);
    let built = start.elapsed().as_secs_f64();
    for expansion in EXPANSIONS {
        let (recall, [p50, p95, p99]) = measure(&index, &queries, dimension, &truth, expansion);
        if recall >= RECALL || Some(&expansion) == EXPANSIONS.last() {
            println!(
                "hnsw_rs alone p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms, recall@10 {recall:.3} with {expansion} \
                 candidates, built in {built:.0} s"
            );
            break;
        }
    }
    Ok(())
}

/// Recall, and latencies in milliseconds, of every question once.
fn measure(
    index: &Hnsw<'_, f32, DistDot>,
    queries: &[f32],
    dimension: usize,
    truth: &[HashSet<u64>],
    expansion: usize,
) -> (f64, [f64; 3]) {
    let (mut hits, mut wanted, mut took) = (0, 0, Vec::new());
    for (query, truth) in queries.chunks_exact(dimension).zip(truth) {
        let start = Instant::now();
        let found = index.search(query, truth.len(), expansion);
        took.push(start.elapsed().as_secs_f64() * 1000.0);
        hits += found.iter().filter(|found| truth.contains(&(found.d_id as u64))).count();
        wanted += truth.len();
    }
    took.sort_by(f64::total_cmp);
    let quantile = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
    (f64::from(hits as u32) / f64::from(wanted as u32), [0.5, 0.95, 0.99].map(quantile))
}

fn read<T: bytemuck::AnyBitPattern>(path: &Path) -> anyhow::Result<Vec<T>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
}
