//! Arguments of `manpasik bench`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// The serving budgets, beside a bare echo started for the purpose (about five minutes).
    Serve(BenchServe),
    /// This server and others side by side, on the same networks (benches/peers; about a quarter of an hour).
    Peers(BenchPeers),
    /// Load for one server that speaks the Open Inference Protocol: closed or open loop, latencies as JSON.
    Load(BenchLoad),
    /// Most of what the server can do, for an hour, while its model is swapped; fails if a request fails or memory grows.
    Soak(BenchSoak),
    /// The vector store on synthetic vectors, beside the bare index library and plain memory.
    Vectors(BenchVectors),
    /// The registry with many versions: search and lookup of aliases.
    Registry(BenchRegistry),
    /// The bare echo that the others are compared with.
    #[command(hide = true)]
    Echo,
    /// A model of 5 ms per batch of 8, to be overloaded.
    #[command(hide = true)]
    Slow,
    /// Two models that need the cores, of which one is flooded.
    #[command(hide = true)]
    Two,
}

/// Arguments of `bench serve`.
#[derive(Debug, Args)]
pub(crate) struct BenchServe {
    /// Seconds of one phase.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Alternating pairs of which the median is taken.
    #[arg(long, default_value_t = 7)]
    pub(crate) pairs: usize,
    /// Measure only these parts.
    #[arg(long, value_delimiter = ',', value_parser = benches::PARTS)]
    pub(crate) only: Vec<String>,
}

/// Arguments of `bench peers`.
#[derive(Debug, Args)]
pub(crate) struct BenchPeers {
    /// Folder with the other servers and how they are asked.
    #[arg(long, value_name = "DIR", default_value = "benches/peers")]
    pub(crate) peers: PathBuf,
    /// Folder that `benches/peers/models` wrote.
    #[arg(long, value_name = "DIR", default_value = "target/peers/models")]
    pub(crate) models: PathBuf,
    /// Seconds of one phase.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// Rounds of which the median is taken.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Measure only these beside ours, such as `triton`.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
}

/// Arguments of `bench load`.
#[derive(Debug, Args)]
pub(crate) struct BenchLoad {
    /// Where the server listens, such as 127.0.0.1:8080.
    pub(crate) address: SocketAddr,
    /// Model to ask.
    #[arg(long)]
    pub(crate) model: String,
    /// File with the body of the request, as `POST /v2/models/NAME/infer` takes it.
    #[arg(long, value_name = "FILE")]
    pub(crate) request: PathBuf,
    /// How to ask: over gRPC (raw tensors) or HTTP (the body as it is).
    #[arg(long, value_enum, default_value_t = LoadProtocol::Grpc)]
    pub(crate) protocol: LoadProtocol,
    /// Requests outstanding: each is followed by the next as soon as it is answered (closed loop).
    #[arg(long, default_value_t = 16)]
    pub(crate) in_flight: usize,
    /// Requests a second, each sent when it is due and its latency counted from then (open loop); over the closed loop.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Seconds of load, after a fifth as long to warm up.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
}

/// How `bench load` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LoadProtocol {
    /// `ModelInfer`.
    Grpc,
    /// REST.
    Http,
}

/// Arguments of `bench soak`.
#[derive(Debug, Args)]
pub(crate) struct BenchSoak {
    /// Seconds of the run.
    #[arg(long, default_value_t = 3600.0)]
    pub(crate) seconds: f64,
    /// Seconds between two swaps of the model.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) swap_every: f64,
}

/// Arguments of `bench vectors`.
#[derive(Debug, Args)]
pub(crate) struct BenchVectors {
    /// Vectors of a set.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub(crate) points: u64,
    /// Measure a million vectors kept as half floats too (a quarter of an hour, 4 GB).
    #[arg(long)]
    pub(crate) large: bool,
    /// Measure only these parts.
    #[arg(long, value_delimiter = ',', value_parser = benches::vectors::PARTS)]
    pub(crate) only: Vec<String>,
    /// A program that measures another index on the same vectors, such as the one of benches/hnsw_alone.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) peer: Option<PathBuf>,
}

/// Arguments of `bench registry`.
#[derive(Debug, Args)]
pub(crate) struct BenchRegistry {
    /// Versions, a hundred a model.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    pub(crate) versions: u64,
    /// Calls of each kind.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    pub(crate) calls: u64,
    /// A PostgreSQL server, where a schema of its own is made and left; none: SQLite in a file.
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
}
