//! From an ONNX graph with an MLflow signature to a bundle of family `generic`.

use bytes::Bytes;
use models::{
    Bundle, DType, ModelError, Signature, Tensor, TensorSpec,
    bundle::{
        BatchingConfig, BundleConfig, BundleWriter, EngineKind, Family, Golden, GoldenConfig, LineageConfig,
        SCHEMA_VERSION, TensorConfig,
    },
    engine::OnnxEngine,
};

use super::{examine::Subject, mlmodel::Named};

/// Rows of the probe whose outputs every later load must give again.
const PROBE_ROWS: usize = 4;
/// Stands for a dimension that may be anything, in the probe.
const PROBE_SIZE: usize = 4;
/// Most elements of a probe's tensor.
const PROBE_ELEMENTS_MAX: usize = 1 << 22;
/// How exactly ONNX Runtime gives its own outputs again.
const TOLERANCE: f64 = 1e-5;
/// Most rows of one run.
const ROWS_MAX: usize = 64;

/// Refuses a graph that does not have the tensors of the MLmodel's signature.
pub(super) fn agree(graph: &Signature, inputs: &[Named], outputs: &[Named]) -> Result<(), String> {
    side("input", &graph.inputs, inputs)?;
    side("output", &graph.outputs, outputs)
}

/// The signature of a graph that takes any number of rows.
pub(super) fn batched(graph: Signature) -> Result<Signature, String> {
    for spec in graph.inputs.iter().chain(&graph.outputs) {
        if spec.dims.first().is_none_or(|first| *first >= 0) {
            return Err(format!(
                "tensor `{}` has dimensions {:?}: the first must be free (the rows of a batch); export the graph with \
                 a dynamic first axis",
                spec.name, spec.dims
            ));
        }
    }
    Ok(graph)
}

fn side(side: &str, graph: &[TensorSpec], signature: &[Named]) -> Result<(), String> {
    if signature.is_empty() && side == "output" {
        return Ok(());
    }
    if graph.len() != signature.len() {
        return Err(format!("the graph has {} {side}s, the signature {}", graph.len(), signature.len()));
    }
    for (at, named) in signature.iter().enumerate() {
        let found = match &named.name {
            Some(name) => graph.iter().find(|spec| spec.name == *name),
            None => graph.get(at),
        };
        let shown = named.name.as_deref().unwrap_or("(without a name)");
        let found = found.ok_or_else(|| format!("{side} `{shown}` is not in the graph"))?;
        if let Some(reason) = named.differs(found) {
            return Err(format!("{side} `{shown}` {reason}"));
        }
    }
    Ok(())
}

/// Writes the bundle and loads it again, golden outputs included.
pub(super) fn bundle(
    subject: &Subject<'_>,
    engine: &OnnxEngine,
    graph: Vec<u8>,
    signature: &Signature,
) -> Result<Bundle, ModelError> {
    let config = config(subject, signature)?;
    let mut model = engine.open(&config, &graph)?;
    let golden = Golden::record(&mut *model, signature, probe(signature)?)?;
    golden.verify(&mut *model, signature, TOLERANCE)?;
    let bundle = BundleWriter::new(config)
        .weights(graph)
        .calibration("{}")
        .card(card(subject, signature))
        .golden(&golden)?
        .write(subject.out)?;
    bundle.load(engine)?;
    Ok(bundle)
}

fn config(subject: &Subject<'_>, signature: &Signature) -> Result<BundleConfig, ModelError> {
    let tensors = |specs: &[TensorSpec]| {
        let tensor = |spec: &TensorSpec| TensorConfig {
            name: spec.name.clone(),
            dtype: spec.dtype.oip().to_owned(),
            dims: spec.dims.clone(),
            unit: None,
            loinc: None,
        };
        specs.iter().map(tensor).collect()
    };
    let config = BundleConfig {
        schema_version: SCHEMA_VERSION,
        name: subject.model.to_owned(),
        version: format!("MPS-GENERIC-v{}.0.0-FP32", subject.number).parse()?,
        family: Family::Generic,
        engine: EngineKind::Onnx,
        task: "generic".into(),
        intended_use:
            "Uploaded by its maker; no clinical meaning is known to this server. Not for diagnosis.".into(),
        synthetic: false,
        labels: Vec::new(),
        inputs: tensors(&signature.inputs),
        outputs: tensors(&signature.outputs),
        network: None,
        features: Vec::new(),
        forecast: None,
        batching: BatchingConfig::new(ROWS_MAX),
        golden: GoldenConfig { tolerance: TOLERANCE },
        lineage: LineageConfig {
            seed: 0,
            rows_train: 0,
            trained_with: format!("uploaded as version {} of `{}`", subject.number, subject.model),
            datasets: Vec::new(),
        },
        metrics: Vec::new(),
    };
    config.check()?;
    Ok(config)
}

/// A fixed pattern, no data: small numbers that fit an index as well as a measurement.
fn probe(signature: &Signature) -> Result<Vec<Tensor>, ModelError> {
    signature.inputs.iter().map(tensor).collect()
}

fn tensor(spec: &TensorSpec) -> Result<Tensor, ModelError> {
    let size = |at: usize, dim: i64| match usize::try_from(dim) {
        Ok(size) => size,
        Err(_) if at == 0 => PROBE_ROWS,
        Err(_) => PROBE_SIZE,
    };
    let shape: Vec<usize> = spec.dims.iter().enumerate().map(|(at, dim)| size(at, *dim)).collect();
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    let count = count.filter(|count| *count <= PROBE_ELEMENTS_MAX).ok_or_else(|| {
        ModelError::input(
            &spec.name,
            format!("has more than {PROBE_ELEMENTS_MAX} elements for {PROBE_ROWS} rows"),
        )
    })?;
    let data = elements(spec, count)?;
    Tensor::new(spec.dtype, shape, data)
}

fn elements(spec: &TensorSpec, count: usize) -> Result<Bytes, ModelError> {
    let real = |at: usize| f32::from(u8::try_from(at % 7).unwrap_or(0)) * 0.25 - 0.5;
    let whole = |at: usize| u8::try_from(at % 2).unwrap_or(0);
    let bytes: Vec<u8> = match spec.dtype {
        DType::F32 => (0..count).flat_map(|at| real(at).to_le_bytes()).collect(),
        DType::F64 => (0..count).flat_map(|at| f64::from(real(at)).to_le_bytes()).collect(),
        DType::U8 | DType::I8 | DType::Bool => (0..count).map(whole).collect(),
        DType::U16 | DType::I16 => (0..count).flat_map(|at| u16::from(whole(at)).to_le_bytes()).collect(),
        DType::U32 | DType::I32 => (0..count).flat_map(|at| u32::from(whole(at)).to_le_bytes()).collect(),
        DType::U64 | DType::I64 => (0..count).flat_map(|at| u64::from(whole(at)).to_le_bytes()).collect(),
        DType::F16 | DType::Bf16 | DType::Bytes => {
            return Err(ModelError::input(
                &spec.name,
                format!("{} is not served by the generic family", spec.dtype.oip()),
            ));
        }
    };
    Ok(bytes.into())
}

fn card(subject: &Subject<'_>, signature: &Signature) -> String {
    let list = |specs: &[TensorSpec]| {
        let line = |spec: &TensorSpec| format!("- `{}`: {} {:?}\n", spec.name, spec.dtype.oip(), spec.dims);
        specs.iter().map(line).collect::<String>()
    };
    format!(
        "# {} version {}\n\nAn ONNX graph uploaded through MLflow. Its maker gave no card: what it was trained on, how well it \
         does and for whom are not known to this server.\n\nIntended use: not stated. Not for diagnosis.\n\n## Inputs\n\n{}\n\
         ## Outputs\n\n{}\n## Golden outputs\n\nThose of a fixed pattern of {PROBE_ROWS} rows, which is no data: they show \
         that the same graph is loaded again, not that it is right.\n",
        subject.model,
        subject.number,
        list(&signature.inputs),
        list(&signature.outputs)
    )
}
