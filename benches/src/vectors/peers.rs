//! usearch alone on the same vectors: a graph over f32, without rows, tenants, filters or a log.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use embeddings::peers::UsearchAlone;
use hdrhistogram::Histogram;

use super::data::{DIMENSION, Set};
use super::truth::{K, recall};
use super::{RECALL, words};
use crate::stats::{histogram, record};

/// Candidates a search keeps, from cheap to thorough.
const EXPANSIONS: [usize; 5] = [32, 64, 128, 256, 512];

/// What usearch alone reaches with the fewest candidates that give enough recall.
pub(super) struct Peer {
    latency_us: Histogram<u64>,
    recall: f64,
    expansion: usize,
    build: Duration,
}

impl Peer {
    pub(super) fn measure(
        set: &Set,
        points: u64,
        queries: &[Vec<f32>],
        truth: &[HashSet<u64>],
    ) -> anyhow::Result<Self> {
        let vectors = set.vectors(0..points);
        let start = Instant::now();
        let peer = UsearchAlone::build(DIMENSION, &vectors, 2)?;
        let build = start.elapsed();
        let mut last = None;
        for expansion in EXPANSIONS {
            let mut latency_us = histogram();
            let mut found = Vec::with_capacity(queries.len());
            for query in queries {
                let start = Instant::now();
                found.push(peer.search(query, K, expansion)?);
                record(&mut latency_us, start.elapsed());
            }
            let recall = recall(truth, &found);
            last = Some(Self { latency_us, recall, expansion, build });
            if recall >= RECALL {
                break;
            }
        }
        last.ok_or_else(|| anyhow::anyhow!("usearch was not asked"))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latency_us, recall, expansion, build } = self;
        let seconds = build.as_secs_f64();
        write!(
            to,
            "usearch alone {}, recall@10 {recall:.3} with {expansion} candidates, built in {seconds:.0} s",
            words(latency_us)
        )
    }
}
