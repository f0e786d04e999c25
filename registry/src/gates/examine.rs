//! The gates over the files of one version, in order; the first that fails ends it.

use std::{fs, path::Path};

use models::{
    Bundle, Engine, Signature,
    bundle::{CONFIG_FILE, EngineKind, Trust},
    engine::OnnxEngine,
};

use super::{Gate, Outcome, change, checker, contract, machine, mlmodel, mlmodel::MlModel, onnx};
use crate::policy::Policy;

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
    /// What is asked of it.
    pub policy: &'a Policy,
    /// Whether it may come without its maker's signature.
    pub unsigned: bool,
    /// Whether the files are one graph, [`GRAPH`], that says its signature by itself.
    pub bare: bool,
    /// Bundle of the live version, if there is one.
    pub live: Option<&'a Path>,
}

/// Name of a graph that comes without a description.
pub const GRAPH: &str = "model.onnx";

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
    gates.push(size(subject)?);
    let bundle = if subject.files.join(CONFIG_FILE).is_file() {
        own_bundle(subject, trust, gates)?
    } else {
        uploaded_graph(subject, onnx, gates)?
    };
    let engine = engine_of(&bundle, engines)
        .ok_or_else(|| Gate::failed("engine", "this server has no engine of that name"))?;
    let live = subject.live.and_then(|folder| Bundle::open(folder).ok());
    let running = live.as_ref().and_then(|live| Some((live, engine_of(live, engines)?)));
    let golden = golden(&bundle, subject.policy.gates.golden_tolerance_max)?;
    let measured = machine::gates((&bundle, engine), running, &subject.policy.gates);
    let [latency, memory] = measured.map_err(|error| Gate::failed("golden", error.to_string()))?;
    for gate in [golden, contract::gate(&bundle), latency, memory] {
        push(gates, gate)?;
    }
    gates.push(Gate::passed("card", format!("{} bytes", bundle.card().len())));
    gates.push(change::gate(&bundle, live.as_ref(), &subject.policy.changes));
    Ok((bundle.config().version.to_string(), bundle.config().family.name().to_owned()))
}

/// Goes on with what a gate found, unless it failed.
fn push(gates: &mut Vec<Gate>, gate: Gate) -> Result<(), Gate> {
    if gate.outcome == Outcome::Failed {
        return Err(gate);
    }
    gates.push(gate);
    Ok(())
}

fn engine_of<'a>(bundle: &Bundle, engines: &'a [Box<dyn Engine>]) -> Option<&'a dyn Engine> {
    engines.iter().find(|engine| engine.name() == bundle.config().engine.name()).map(|engine| &**engine)
}

/// How many files and bytes there are.
fn size(subject: &Subject<'_>) -> Result<Gate, Gate> {
    let bounds = &subject.policy.gates;
    let (mut files, mut bytes) = (0, 0);
    let counted = count(subject.files, &mut files, &mut bytes);
    counted.map_err(|error| Gate::failed("size", format!("the files cannot be read: {error}")))?;
    if files > bounds.files_max || bytes > bounds.bytes_max {
        let (most, limit) = (bounds.files_max, bounds.bytes_max);
        return Err(Gate::failed(
            "size",
            format!("{files} files of {bytes} bytes; at most {most} and {limit}"),
        ));
    }
    Ok(Gate::passed("size", format!("{files} files, {bytes} bytes")))
}

fn count(folder: &Path, files: &mut usize, bytes: &mut u64) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        if kind.is_dir() {
            count(&entry.path(), files, bytes)?;
        } else {
            (*files, *bytes) = (*files + 1, *bytes + kind.len());
        }
    }
    Ok(())
}

/// Refuses what nobody has signed where the policy does not allow that.
fn signed(is_signed: bool, allowed: bool) -> Result<&'static str, Gate> {
    match (is_signed, allowed) {
        (true, _) => Ok("signed by a trusted key"),
        (false, true) => Ok("not signed; the policy allows that"),
        (false, false) => Err(Gate::failed(
            "integrity",
            "not signed by a trusted key (`manpasik models sign`), and the policy does not allow that (gates.unsigned)",
        )),
    }
}

/// A bundle as it is: hashes, signature, card, and the name it was registered under.
fn own_bundle(subject: &Subject<'_>, trust: &Trust, gates: &mut Vec<Gate>) -> Result<Bundle, Gate> {
    let opened = Bundle::open_trusted(subject.files, trust)
        .map_err(|error| Gate::failed("integrity", error.to_string()))?;
    let signed = signed(opened.signed(), subject.unsigned)?;
    gates.push(Gate::passed("integrity", format!("every file has the hash its manifest says; {signed}")));
    let name = &opened.config().name;
    if name != subject.model {
        return Err(Gate::failed(
            "name",
            format!("the bundle is of `{name}`, registered as `{}`", subject.model),
        ));
    }
    if opened.config().engine == EngineKind::Onnx {
        let graph = opened.weights().map_err(|error| Gate::failed("integrity", error.to_string()))?;
        gates.push(checker::gate(&graph)?);
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
    signed(false, subject.unsigned)?;
    let flavour = |reason: String| Gate::failed("flavour", reason);
    let described = if subject.bare { None } else { Some(described(subject.files).map_err(flavour)?) };
    let file = match &described {
        Some(described) => {
            described.onnx_file().ok_or_else(|| flavour(described.conversion()))?.map_err(flavour)?
        }
        None => GRAPH.to_owned(),
    };
    gates.push(Gate::passed("flavour", format!("onnx, graph in {file}")));
    let engine =
        onnx.ok_or_else(|| Gate::failed("engine", "ONNX Runtime is not installed: run `make setup`"))?;
    let graph = fs::read(subject.files.join(&file)).map_err(|error| flavour(format!("{file}: {error}")))?;
    gates.push(checker::gate(&graph)?);
    let found = engine.inspect(&graph).map_err(|error| Gate::failed("graph", error.to_string()))?;
    gates.push(Gate::passed(
        "graph",
        format!("{} inputs, {} outputs", found.inputs.len(), found.outputs.len()),
    ));
    let signature =
        signature(found, described.as_ref()).map_err(|reason| Gate::failed("signature", reason))?;
    gates.push(Gate::passed("signature", "the graph has the tensors of the MLmodel's signature"));
    onnx::bundle(subject, engine, graph, &signature)
        .map_err(|error| Gate::failed("golden", error.to_string()))
}

/// The graph's own signature, which is that of its description where it has one.
fn signature(graph: Signature, described: Option<&MlModel>) -> Result<Signature, String> {
    if let Some(described) = described {
        let (inputs, outputs) = described.signature()?;
        onnx::agree(&graph, &inputs, &outputs)?;
    }
    onnx::batched(graph)
}

fn described(files: &Path) -> Result<MlModel, String> {
    MlModel::read(&read_text(&files.join(mlmodel::FILE))?)
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

/// How exactly the golden outputs, which every load compares, must be given again.
fn golden(bundle: &Bundle, tolerance_max: f64) -> Result<Gate, Gate> {
    let golden = bundle.golden().map_err(|error| Gate::failed("golden", error.to_string()))?;
    let rows = golden.inputs().first().map_or(0, models::Tensor::rows);
    let tolerance = bundle.config().golden.tolerance;
    if tolerance > tolerance_max {
        let text = format!("the bundle claims a tolerance of {tolerance}, the policy allows {tolerance_max}");
        return Err(Gate::failed("golden", text));
    }
    Ok(Gate::passed("golden", format!("{rows} rows give their outputs again within {tolerance}")))
}
