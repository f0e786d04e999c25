//! `manpasik bench vectors`: the vector store's targets, on synthetic vectors, beside usearch alone,
//! brute force, and another index where one is given as a program (`benches/hnsw_alone`).
//!
//! True neighbours come from the exact kernels over the vectors as given, so what a storage of fewer
//! bits loses counts as lost. Absolute times depend on the machine; the peers and the copy beside
//! them tell how much is the machine's.

mod brute;
pub mod data;
mod peers;
mod program;
mod storage;
mod subject;
mod truth;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use embeddings::{Storage, VectorStore};
use hdrhistogram::Histogram;

use crate::child::resident_bytes;
use crate::report::{Report, Row, Target, machine};
use data::{DIMENSION, Kind, Set};
use peers::Peer;
use subject::Subject;
use truth::{Neighbours, Truth, recall};

/// The parts of the measurement, in their order.
pub const PARTS: [&str; 4] = ["brute", "clustered", "isotropic", "large"];
/// Points of the large set.
const LARGE: u64 = 1_000_000;
/// Questions asked one after another, for latency and recall.
const QUESTIONS: usize = 300;
/// Questions asked at once.
const TOGETHER: usize = 100;
/// Points written one by one, each looked for at once.
const SINGLES: u64 = 200;
/// Recall that every index is measured at.
const RECALL: f64 = 0.95;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Points of a set.
    pub points: u64,
    /// Which of [`PARTS`]; when empty all but the large set, which takes many minutes.
    pub only: Vec<String>,
    /// The large set too.
    pub large: bool,
    /// A program that measures another index, see [`program`].
    pub peer: Option<PathBuf>,
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        match part {
            "large" if self.large => true,
            "large" => self.only.iter().any(|wanted| wanted == part),
            part => self.only.is_empty() || self.only.iter().any(|wanted| wanted == part),
        }
    }
}

/// Runs the parts asked for on `store`, which should be empty; `progress` is told what runs now.
#[allow(clippy::disallowed_methods, reason = "the generator has the runtime to itself")]
pub async fn run(
    options: &Options,
    store: Arc<dyn VectorStore>,
    progress: impl Fn(&str),
) -> anyhow::Result<Report> {
    let mut report = Report { machine: machine(), rows: Vec::new(), skipped: Vec::new() };
    if options.wants("brute") {
        progress("brute force");
        let points = usize::try_from(options.points)?;
        report.rows.push(tokio::task::block_in_place(|| brute::measure(&Set::new(Kind::Clustered), points)));
    }
    for (part, kind) in [("clustered", Kind::Clustered), ("isotropic", Kind::Isotropic)] {
        if options.wants(part) {
            progress("storage of fewer bits");
            report.rows.extend(tokio::task::block_in_place(|| fewer_bits(kind, options.points)));
            let plan = Plan {
                kind,
                points: options.points,
                storage: Storage::F32,
                large: false,
                peer: options.peer.clone(),
            };
            report.rows.extend(plan.run(&store, &progress).await?);
        }
    }
    if options.wants("large") {
        let plan =
            Plan { kind: Kind::Clustered, points: LARGE, storage: Storage::F16, large: true, peer: None };
        report.rows.extend(plan.run(&store, &progress).await?);
    }
    Ok(report)
}

fn fewer_bits(kind: Kind, points: u64) -> Vec<Row> {
    let set = Set::new(kind);
    storage::measure(&set, kind.name(), points as usize, &set.queries(QUESTIONS))
}

/// One set on one collection.
struct Plan {
    kind: Kind,
    points: u64,
    storage: Storage,
    large: bool,
    peer: Option<PathBuf>,
}

impl Plan {
    async fn run(&self, store: &Arc<dyn VectorStore>, progress: &impl Fn(&str)) -> anyhow::Result<Vec<Row>> {
        let set = Set::new(self.kind);
        let queries = set.queries(QUESTIONS);
        let mut truth = Truth::new(&queries);
        let before = resident_bytes(std::process::id()).unwrap_or(0);
        let subject = Subject::create(Arc::clone(store), self.kind.name(), self.storage).await?;
        let writing = subject.fill(&set, self.points, &mut truth, progress).await?;
        let indexing = subject.indexed(progress).await?;
        let after = resident_bytes(std::process::id()).unwrap_or(0);
        let neighbours = truth.neighbours();
        let rate = self.points as f64 / writing.as_secs_f64();
        let mut rows = vec![self.row(
            "durable upserts, batches of 1,000",
            format!("{rate:.0}/s, then {:.0} s until all are indexed", indexing.as_secs_f64()),
            "absolute",
            rate,
            Target::AtLeast(5_000.0),
        )];
        progress("searches");
        rows.extend(self.searches(&subject, &queries, &neighbours, &set).await?);
        rows.extend(self.writes(&subject, &set).await?);
        let mib = after.saturating_sub(before) as f64 / f64::from(1 << 20);
        let raw = (self.points as usize * DIMENSION * size_of::<f32>()) as f64 / f64::from(1 << 20);
        rows.push(self.row(
            "growth of resident memory, MiB",
            format!("{mib:.0} MiB"),
            &format!("the vectors as f32 {raw:.0} MiB"),
            mib,
            Target::AtMost(if self.large { 4_096.0 } else { 1_024.0 }),
        ));
        subject.drop_collection().await?;
        Ok(rows)
    }

    #[allow(clippy::disallowed_methods, reason = "the generator has the runtime to itself")]
    async fn searches(
        &self,
        subject: &Subject,
        queries: &[Vec<f32>],
        truth: &Neighbours,
        set: &Set,
    ) -> anyhow::Result<Vec<Row>> {
        // The first searches load caches.
        subject.search(queries, false).await?;
        let all = subject.search(queries, false).await?;
        let grouped = subject.search(queries, true).await?;
        let together = subject.search_together(&queries[..TOGETHER]).await?;
        let found = recall(&truth.all, &all.found);
        let found_grouped = recall(&truth.grouped, &grouped.found);
        let peer = tokio::task::block_in_place(|| self.peers(set, queries, &truth.all))?;
        let p50 = quantile_ms(&all.latency_us, 0.5);
        let p50_max = match self.kind {
            Kind::Clustered => 1.0,
            Kind::Isotropic => 5.0,
        };
        let ratio = quantile_ms(&grouped.latency_us, 0.5) / p50;
        let latency = format!("{}, recall@10 {found:.3}", words(&all.latency_us));
        let p95 = quantile_ms(&together, 0.95);
        let mut rows = vec![
            self.row("recall@10", format!("{found:.3}"), &peer, found, Target::AtLeast(RECALL)),
            self.row(
                "filtered to 2 %, recall@10",
                format!("{found_grouped:.3}"),
                "exact kernel",
                found_grouped,
                Target::AtLeast(RECALL),
            ),
            self.row(
                "filtered to 2 %, p50 over unfiltered",
                words(&grouped.latency_us),
                &latency,
                ratio,
                Target::AtMost(2.0),
            ),
            self.row(
                "100 searches at once, p95, ms",
                words(&together),
                "absolute",
                p95,
                Target::AtMost(200.0),
            ),
        ];
        if !self.large {
            rows.insert(0, self.row("search p50, ms", latency, &peer, p50, Target::AtMost(p50_max)));
        }
        Ok(rows)
    }

    /// Other indexes on the same vectors, in words.
    fn peers(&self, set: &Set, queries: &[Vec<f32>], truth: &[HashSet<u64>]) -> anyhow::Result<String> {
        if self.large {
            return Ok("usearch alone not measured".to_owned());
        }
        let usearch = Peer::measure(set, self.points, queries, truth)?.to_string();
        match &self.peer {
            Some(program) => {
                Ok(format!("{usearch}; {}", program::measure(program, set, self.points, queries, truth)?))
            }
            None => Ok(usearch),
        }
    }

    async fn writes(&self, subject: &Subject, set: &Set) -> anyhow::Result<Option<Row>> {
        if self.large {
            return Ok(None);
        }
        let visible = subject.visible(set, self.points, SINGLES).await?;
        let p99 = quantile_ms(&visible, 0.99);
        Ok(Some(self.row(
            "insert until found, p99, ms",
            words(&visible),
            "absolute",
            p99,
            Target::AtMost(100.0),
        )))
    }

    fn row(&self, measure: &str, value: String, beside: &str, result: f64, target: Target) -> Row {
        let storage = match self.storage {
            Storage::F32 => "",
            Storage::F16 => " as f16",
            Storage::I8 => " as i8",
        };
        let measure =
            format!("synthetic, {} × {DIMENSION}{storage}, {}: {measure}", self.points, self.kind.name());
        Row::new(&measure, value, beside.to_owned(), result, target)
    }
}

fn quantile_ms(latency_us: &Histogram<u64>, share: f64) -> f64 {
    latency_us.value_at_quantile(share) as f64 / 1000.0
}

fn words(latency_us: &Histogram<u64>) -> String {
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| quantile_ms(latency_us, share));
    format!("p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms")
}
