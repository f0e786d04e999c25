//! `manpasik gate`: looks at the files of one version in a process of its own, under limits, and prints what it found.
//!
//! The registry starts it for every upload. What a malformed or malicious model does here, it does to this process: the
//! limits end it, and the registry writes that down as a failed gate.

use std::{fs, path::Path};

use anyhow::Context;
use models::{Bundle, Engine, bundle::Family, engine::OnnxEngine};
use registry::{
    gates::{Figure, Gate, Report, Subject, accuracy, examine},
    policy::{GateBounds, Policy},
};
use rlimit::{Resource, setrlimit};

use crate::{
    app::engines,
    cli,
    commands::{eval, print},
    config::Config,
};

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
    let policy = match &gate.policy {
        Some(file) => Policy::read(&fs::read_to_string(file)?)?,
        None => Policy::default(),
    };
    limit(&policy.gates)?;
    let engines: Vec<Box<dyn Engine>> = engines::all(config);
    let onnx: Option<OnnxEngine> = engines::onnx(config).ok();
    let unsigned = policy.gates.unsigned.unwrap_or(config.models.trusted_keys.is_empty());
    let subject = Subject {
        model: &gate.model,
        number: gate.number,
        files: &gate.files,
        out: &gate.out,
        policy: &policy,
        unsigned,
        bare: gate.bare,
        live: gate.live.as_deref(),
    };
    let mut found = examine(&subject, &engines, onnx.as_ref(), &config.trust());
    if found.identity.is_some() {
        found.gates.push(frozen(config, &gate.out, gate.live.as_deref(), &policy.gates));
    }
    let report = Report { gates: found.gates, ..Report::default() };
    let gates: serde_json::Value = serde_json::from_str(&report.to_json())?;
    let (version_id, family) = found.identity.unzip();
    print(&serde_json::json!({"gates": gates, "version_id": version_id, "family": family}).to_string())
}

/// The figures of the version and of the live one on the frozen set of their family, measured now, side by side.
fn frozen(config: &Config, out: &Path, live: Option<&Path>, bounds: &GateBounds) -> Gate {
    let skipped = |reason: &str| Gate::skipped("accuracy", reason);
    let Ok(bundle) = Bundle::open(out) else { return skipped("the bundle that was made is not there") };
    if bundle.config().family == Family::Generic {
        return skipped("there is no frozen set for generic models");
    }
    let Some(live) = live.and_then(|folder| Bundle::open(folder).ok()) else {
        return skipped("no version is live to be compared with");
    };
    let measured = |bundle: &Bundle| {
        eval::measure(config, bundle, true).map(|report| {
            let figure = |measure: training::evaluate::Measure| Figure {
                name: measure.name,
                subgroup: measure.subgroup,
                value: measure.value,
                rows: measure.rows,
            };
            report.measures.into_iter().map(figure).collect::<Vec<_>>()
        })
    };
    let before = match measured(&live) {
        Ok(figures) => figures,
        // Without the data, or for a family without any, nobody can tell.
        Err(error) => return skipped(&format!("the frozen set cannot be used here: {error:#}")),
    };
    match measured(&bundle) {
        Ok(figures) => accuracy(&figures, &before, bounds),
        Err(error) => {
            Gate::failed("accuracy", format!("cannot be measured, unlike the live version: {error:#}"))
        }
    }
}

fn limit(bounds: &GateBounds) -> anyhow::Result<()> {
    let cpu = bounds.cpu_seconds_max;
    for (resource, most, end) in [
        // The first ends the process by a signal that says why, the second by force.
        (Resource::CPU, cpu, cpu.saturating_add(5)),
        (Resource::AS, bounds.memory_bytes_max, bounds.memory_bytes_max),
        (Resource::FSIZE, FILE_BYTES_MAX, FILE_BYTES_MAX),
    ] {
        setrlimit(resource, most, end).with_context(|| format!("cannot limit {}", resource.as_name()))?;
    }
    Ok(())
}
