//! `manpasik gate`: looks at the files of one version in a process of its own, under limits, and prints what it found.
//!
//! The registry starts it for every upload. What a malformed or malicious model does here, it does to this process: the
//! limits end it, and the registry writes that down as a failed gate.

use anyhow::Context;
use models::{Engine, engine::OnnxEngine};
use registry::gates::{Report, Subject, examine};
use rlimit::{Resource, setrlimit};

use crate::{app::engines, cli, commands::print, config::Config};

/// Processor time of an examination, seconds.
const CPU_SECONDS_MAX: u64 = 240;
/// Address space of an examination: libraries and weights, twice while a bundle is written and loaded.
const MEMORY_BYTES_MAX: u64 = 24 << 30;
/// Largest file it may write.
const FILE_BYTES_MAX: u64 = 8 << 30;

/// Settings of the child: what it needs to find engines and trust makers, and nothing that is secret.
pub(crate) fn settings(config: &Config) -> Config {
    let usual = Config::default();
    Config {
        registry: usual.registry,
        vectors: usual.vectors,
        services: usual.services,
        predictions: usual.predictions,
        ..config.clone()
    }
}

/// Examines and prints the report as JSON.
pub(crate) fn run(config: &Config, gate: &cli::Gate) -> anyhow::Result<()> {
    limit()?;
    let engines: Vec<Box<dyn Engine>> = engines::all(config);
    let onnx: Option<OnnxEngine> = engines::onnx(config).ok();
    let subject = Subject { model: &gate.model, number: gate.number, files: &gate.files, out: &gate.out };
    let found = examine(&subject, &engines, onnx.as_ref(), &config.trust());
    let report = Report { gates: found.gates, ..Report::default() };
    let gates: serde_json::Value = serde_json::from_str(&report.to_json())?;
    let (version_id, family) = found.identity.unzip();
    print(&serde_json::json!({"gates": gates, "version_id": version_id, "family": family}).to_string())
}

fn limit() -> anyhow::Result<()> {
    for (resource, most) in [
        (Resource::CPU, CPU_SECONDS_MAX),
        (Resource::AS, MEMORY_BYTES_MAX),
        (Resource::FSIZE, FILE_BYTES_MAX),
    ] {
        setrlimit(resource, most, most).with_context(|| format!("cannot limit {}", resource.as_name()))?;
    }
    Ok(())
}
