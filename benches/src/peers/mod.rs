//! `manpasik bench peers`: this server and others, one after another and round after round in one run, each asked the same
//! of the same two networks by the same generator.
//!
//! The others are started by `benches/peers`, which also says how each is asked. In a round every system is started anew,
//! asked with 1, 16, 64 and 256 requests in flight, and ended. Figures are medians over the rounds; ratios are taken within
//! a round.

mod asked;
mod process;
mod table;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use serde::Deserialize;

pub use self::table::{Level, Measured, Table};
use self::{asked::Request, process::System};
use crate::report::machine;

/// Requests in flight, one after another.
pub const LEVELS: [usize; 4] = [1, 16, 64, 256];
/// The same for the image model, of which one answer takes both cores.
const IMAGE_LEVELS: [usize; 2] = [2, 16];
/// What this server is called in the table.
pub const OURS: &str = "manpasik";

/// A server of `peers.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Peer {
    /// Its folder.
    pub name: String,
    /// Name and version as people know it.
    pub server: String,
    /// Path that answers 200 when every model is there.
    pub ready: String,
    /// How each model is asked, the natural way first.
    pub models: BTreeMap<String, Vec<Way>>,
}

/// One way to ask for a model.
#[derive(Debug, Clone, Deserialize)]
pub struct Way {
    /// What is sent.
    pub protocol: Protocol,
    /// Where to.
    pub port: Port,
    /// Path, for HTTP.
    #[serde(default)]
    pub path: String,
    /// Name of the model, in the Open Inference Protocol.
    #[serde(default)]
    pub model: String,
    /// Name of its input.
    pub input: String,
    /// Name of the output that is wanted.
    pub output: String,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// `ModelInfer` of the Open Inference Protocol, raw tensors.
    OipGrpc,
    /// The same over REST, in JSON.
    OipHttp,
    /// `{"input": [...]}`.
    Json,
    /// The tensor's little-endian bytes.
    Raw,
}

impl Protocol {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::OipGrpc => "OIP gRPC",
            Self::OipHttp => "OIP HTTP JSON",
            Self::Json => "HTTP JSON",
            Self::Raw => "HTTP bytes",
        }
    }
}

/// One of the two ports of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Port {
    /// The first.
    Http,
    /// The second.
    Grpc,
}

/// What to measure and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder `benches/peers`.
    pub peers: PathBuf,
    /// The folder that `benches/peers/models` wrote.
    pub models: PathBuf,
    /// Arguments that start this server on those models, but for its ports.
    pub ours: Vec<String>,
    /// Name of the image model here, if it is installed.
    pub image: Option<String>,
    /// Names of peers to measure; all when empty.
    pub only: Vec<String>,
    /// Rounds.
    pub rounds: usize,
    /// Length of one phase.
    pub phase: Duration,
    /// A row of the small network.
    pub row: Vec<f32>,
}

/// Measures every system that can be started; `progress` is told what runs now.
///
/// # Errors
/// `peers.json` cannot be read, or this server cannot be started.
pub async fn run(options: &Options, progress: impl Fn(&str)) -> anyhow::Result<Table> {
    let systems = systems(options)?;
    let mut table = Table::of(machine(), options.rounds);
    for round in 1..=options.rounds.max(1) {
        for peer in &systems {
            progress(&format!("round {round} of {}: {}", options.rounds, peer.server));
            if table.skipped.contains_key(&peer.name) {
                continue;
            }
            match measured(options, peer).await {
                Ok(measured) => table.add(peer, measured),
                Err(error) if peer.name == OURS => return Err(error),
                Err(error) => {
                    table.skipped.insert(peer.name.clone(), format!("{error:#}"));
                }
            }
        }
    }
    Ok(table)
}

/// This server, and those that were asked for.
fn systems(options: &Options) -> anyhow::Result<Vec<Peer>> {
    let path = options.peers.join("peers.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let peers: Vec<Peer> = serde_json::from_slice(&text)
        .with_context(|| format!("`{}` cannot be understood", path.display()))?;
    let wanted = |peer: &Peer| options.only.is_empty() || options.only.contains(&peer.name);
    Ok([ours(options)].into_iter().chain(peers.into_iter().filter(wanted)).collect())
}

/// How this server is asked.
fn ours(options: &Options) -> Peer {
    let ways = |model: &str, input: &str, output: &str| {
        let way = |protocol, port| Way {
            protocol,
            port,
            path: format!("/v2/models/{model}/infer"),
            model: model.to_owned(),
            input: input.to_owned(),
            output: output.to_owned(),
        };
        vec![way(Protocol::OipGrpc, Port::Grpc), way(Protocol::OipHttp, Port::Http)]
    };
    let image = options.image.as_deref().map(|model| ("image".to_owned(), ways(model, "image", "logits")));
    Peer {
        name: OURS.to_owned(),
        server: format!("ManPaSik {}", env!("CARGO_PKG_VERSION")),
        ready: "/v2/health/ready".to_owned(),
        models: [("mlp".to_owned(), ways("mlp-onnx", "print", "probabilities"))]
            .into_iter()
            .chain(image)
            .collect(),
    }
}

/// One round of one system. It is asked to end also when it could not be measured, or it might leave processes behind that
/// keep its ports.
async fn measured(options: &Options, peer: &Peer) -> anyhow::Result<Measured> {
    let system = start(options, peer).await?;
    system.settle().await;
    let measured = asked(options, peer, &system).await;
    system.stop().await;
    measured
}

async fn asked(options: &Options, peer: &Peer, system: &System) -> anyhow::Result<Measured> {
    let mut measured = Measured {
        startup_s: system.startup.as_secs_f64(),
        idle_mib: system.memory_mib(),
        ..Measured::default()
    };
    for (model, ways) in &peer.models {
        let levels: &[usize] = if model == "image" { &IMAGE_LEVELS } else { &LEVELS };
        // The image model is asked the natural way only: as JSON a picture is two megabytes of digits.
        for way in if model == "image" { &ways[..1.min(ways.len())] } else { &ways[..] } {
            let request = Request::new(options, system, way, model).await?;
            request.load(levels[0], options.phase / 2).await?;
            for in_flight in levels {
                let before = system.cpu_s();
                let phase = request.load(*in_flight, options.phase).await?;
                let cpu_s = system.cpu_s() - before;
                measured.levels.push(Level::of(model, way.protocol, *in_flight, &phase, cpu_s));
            }
        }
    }
    measured.loaded_mib = system.memory_mib();
    Ok(measured)
}

async fn start(options: &Options, peer: &Peer) -> anyhow::Result<System> {
    if peer.name == OURS {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        return System::start(&program, &peer.ready, |http, grpc| {
            let ports =
                ["--http".into(), format!("127.0.0.1:{http}"), "--grpc".into(), format!("127.0.0.1:{grpc}")];
            options.ours.iter().cloned().chain(ports).collect()
        })
        .await;
    }
    let program = options.peers.join(&peer.name).join("start");
    let models = |path: &Path| path.display().to_string();
    System::start(&program, &peer.ready, |http, grpc| {
        vec![models(&options.models), http.to_string(), grpc.to_string()]
    })
    .await
    .with_context(|| format!("{} (see benches/peers/README.md)", peer.name))
}
