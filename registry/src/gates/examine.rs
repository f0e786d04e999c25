//! The gates over the files of one version, in order; the first that fails ends it.

use std::{fs, path::Path, time::Instant};

use models::{
    Bundle, Engine,
    bundle::{CONFIG_FILE, Trust},
    engine::OnnxEngine,
};

use super::{Gate, mlmodel, mlmodel::MlModel, onnx};

/// Runs over the golden inputs of which the fastest counts.
const LATENCY_RUNS: usize = 20;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Name of the registered model.
    pub model: &'a str,
    /// Number of the version.
    pub number: i64,
    /// Its files.
    pub files: &'a Path,
    /// Where the bundle that serves is written; it must not be there yet.
    pub out: &'a Path,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examined {
    /// The gates, in order.
    pub gates: Vec<Gate>,
    /// Version id and family of the bundle, if all passed.
    pub identity: Option<(String, String)>,
}

/// Looks at a version and writes its bundle. Runs what was uploaded: call it where that can do no harm.
#[must_use]
pub fn examine(
    subject: &Subject<'_>,
    engines: &[Box<dyn Engine>],
    onnx: Option<&OnnxEngine>,
    trust: &Trust,
) -> Examined {
    let mut gates = Vec::new();
    let identity = look(subject, engines, onnx, trust, &mut gates).map_err(|gate| gates.push(gate)).ok();
    Examined { gates, identity }
}

fn look(
    subject: &Subject<'_>,
    engines: &[Box<dyn Engine>],
    onnx: Option<&OnnxEngine>,
    trust: &Trust,
    gates: &mut Vec<Gate>,
) -> Result<(String, String), Gate> {
    let bundle = if subject.files.join(CONFIG_FILE).is_file() {
        own_bundle(subject, trust, gates)?
    } else {
        uploaded_graph(subject, onnx, gates)?
    };
    let engine = engines.iter().find(|engine| engine.name() == bundle.config().engine.name());
    let engine = engine.ok_or_else(|| Gate::failed("engine", "this server has no engine of that name"))?;
    golden_and_latency(&bundle, &**engine, gates)?;
    Ok((bundle.config().version.to_string(), bundle.config().family.name().to_owned()))
}

/// A bundle as it is: hashes, signature, card, and the name it was registered under.
fn own_bundle(subject: &Subject<'_>, trust: &Trust, gates: &mut Vec<Gate>) -> Result<Bundle, Gate> {
    let opened = Bundle::open_trusted(subject.files, trust)
        .map_err(|error| Gate::failed("integrity", error.to_string()))?;
    let signed =
        if opened.signed() { "signed by a trusted key" } else { "not signed; the policy allows that" };
    gates.push(Gate::passed("integrity", format!("every file has the hash its manifest says; {signed}")));
    let name = &opened.config().name;
    if name != subject.model {
        return Err(Gate::failed(
            "name",
            format!("the bundle is of `{name}`, registered as `{}`", subject.model),
        ));
    }
    copy(subject.files, subject.out)
        .map_err(|error| Gate::failed("integrity", format!("cannot be copied: {error}")))?;
    Bundle::open_trusted(subject.out, trust).map_err(|error| Gate::failed("integrity", error.to_string()))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// What MLflow's ONNX flavour logged: graph and signature, put together as a bundle.
fn uploaded_graph(
    subject: &Subject<'_>,
    onnx: Option<&OnnxEngine>,
    gates: &mut Vec<Gate>,
) -> Result<Bundle, Gate> {
    let flavour = |reason: String| Gate::failed("flavour", reason);
    let text = read_text(&subject.files.join(mlmodel::FILE)).map_err(flavour)?;
    let described = MlModel::read(&text).map_err(flavour)?;
    let file = described.onnx_file().ok_or_else(|| flavour(described.conversion()))?.map_err(flavour)?;
    gates.push(Gate::passed("flavour", format!("onnx, graph in {file}")));
    let engine =
        onnx.ok_or_else(|| Gate::failed("engine", "ONNX Runtime is not installed: run `make setup`"))?;
    let graph = fs::read(subject.files.join(&file)).map_err(|error| flavour(format!("{file}: {error}")))?;
    let found = engine.inspect(&graph).map_err(|error| Gate::failed("graph", error.to_string()))?;
    gates.push(Gate::passed(
        "graph",
        format!("{} inputs, {} outputs", found.inputs.len(), found.outputs.len()),
    ));
    let (inputs, outputs) = described.signature().map_err(|reason| Gate::failed("signature", reason))?;
    let signature =
        onnx::agreed(found, &inputs, &outputs).map_err(|reason| Gate::failed("signature", reason))?;
    gates.push(Gate::passed("signature", "the graph has the tensors of the MLmodel's signature"));
    onnx::bundle(subject, engine, graph, &signature)
        .map_err(|error| Gate::failed("golden", error.to_string()))
}

fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return "there is neither a model.toml (a bundle) nor an MLmodel (an MLflow model) among the files".to_owned();
        }
        error.to_string()
    };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > mlmodel::BYTES_MAX {
        return Err(format!("{} has more than {} bytes", mlmodel::FILE, mlmodel::BYTES_MAX));
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// Loads the bundle, which compares the golden outputs, and times them.
fn golden_and_latency(bundle: &Bundle, engine: &dyn Engine, gates: &mut Vec<Gate>) -> Result<(), Gate> {
    let golden = |error: models::ModelError| Gate::failed("golden", error.to_string());
    let mut model = bundle.load(engine).map_err(golden)?;
    let inputs = bundle.golden().map_err(golden)?.inputs().to_vec();
    let rows = inputs.first().map_or(0, models::Tensor::rows);
    let tolerance = bundle.config().golden.tolerance;
    gates.push(Gate::passed("golden", format!("{rows} rows give their outputs again within {tolerance}")));
    let mut best_us = f64::INFINITY;
    for _ in 0..LATENCY_RUNS {
        let start = Instant::now();
        model.run(models::Batch { tensors: inputs.clone() }).map_err(golden)?;
        best_us = best_us.min(start.elapsed().as_secs_f64() * 1e6);
    }
    gates.push(Gate::passed(
        "latency",
        format!("{best_us:.0} us for {rows} rows, the fastest of {LATENCY_RUNS} runs"),
    ));
    gates.push(Gate::passed("card", format!("{} bytes", bundle.card().len())));
    Ok(())
}
