//! The rules of `model.toml` that its types cannot express. Each says which key is at fault,
//! what it is and what was expected.

use std::collections::BTreeSet;

use super::config::{
    BundleConfig, DatasetConfig, EngineKind, FeatureConfig, ForecastConfig, MetricConfig, SCHEMA_VERSION,
    TensorConfig,
};
use super::network::{
    Activation, BodyConfig, ClassifierConfig, EncoderConfig, ForestConfig, NetworkConfig, RiskConfig,
};
use crate::DType;

/// Bounds on what a bundle may ask for, so that a hostile `model.toml` cannot exhaust memory.
struct Limits {
    name_chars_max: usize,
    tensors_max: usize,
    rank_max: usize,
    width_max: usize,
    layers_max: usize,
    trees_max: usize,
    leaves_max: usize,
    members_max: usize,
    tolerance_max: f64,
}

const LIMITS: Limits = Limits {
    name_chars_max: 64,
    tensors_max: 64,
    rank_max: 8,
    width_max: 65_536,
    layers_max: 32,
    trees_max: 4096,
    leaves_max: 256,
    members_max: 64,
    tolerance_max: 0.1,
};

type Checked = Result<(), String>;

/// Checks the whole configuration; stops at the first fault.
pub(super) fn config(config: &BundleConfig) -> Checked {
    ensure(config.schema_version == SCHEMA_VERSION, || {
        format!("schema_version is {}, this program reads {SCHEMA_VERSION}", config.schema_version)
    })?;
    name("name", &config.name)?;
    name("task", &config.task)?;
    ensure(!config.intended_use.trim().is_empty(), || "intended_use is empty".to_owned())?;
    tensors("input", &config.inputs)?;
    tensors("output", &config.outputs)?;
    labels(config)?;
    features(config)?;
    network(config)?;
    if let Some(forecast_config) = &config.forecast {
        forecast(config, forecast_config)?;
    }
    running(config)?;
    config.lineage.datasets.iter().try_for_each(dataset)?;
    config.metrics.iter().try_for_each(metric)
}

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(reason()) }
}

fn name(key: &str, value: &str) -> Checked {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let starts = value.starts_with(|c: char| c.is_ascii_lowercase());
    ensure(starts && value.len() <= LIMITS.name_chars_max && value.chars().all(plain), || {
        format!("{key} `{value}` must be small letters, digits, `-` and `_`, at most 64 of them")
    })
}

fn tensors(key: &str, tensors: &[TensorConfig]) -> Checked {
    ensure((1..=LIMITS.tensors_max).contains(&tensors.len()), || {
        format!("there are {} [[{key}]] tables, expected 1 to {}", tensors.len(), LIMITS.tensors_max)
    })?;
    let mut names = BTreeSet::new();
    for tensor in tensors {
        let at = format!("{key} `{}`", tensor.name);
        ensure(!tensor.name.is_empty() && tensor.name.len() <= 256, || format!("{at} needs a name"))?;
        ensure(names.insert(&tensor.name), || format!("{at} is there twice"))?;
        ensure(DType::from_oip(&tensor.dtype).is_some(), || {
            format!("{at} has unknown dtype `{}`, expected for example FP32", tensor.dtype)
        })?;
        let dims = &tensor.dims;
        ensure(dims.first() == Some(&-1), || format!("{at} has dims {dims:?}, the first must be -1"))?;
        let inner = dims[1..].iter().all(|dim| *dim == -1 || *dim >= 1);
        ensure(inner && dims.len() <= LIMITS.rank_max, || {
            format!("{at} has dims {dims:?}, expected sizes of at least 1 or -1")
        })?;
    }
    Ok(())
}

/// Size of a dimension, when it is fixed.
fn fixed(tensor: &TensorConfig, axis: usize) -> Option<usize> {
    tensor.dims.get(axis).and_then(|dim| usize::try_from(*dim).ok())
}

fn labels(config: &BundleConfig) -> Checked {
    let labels = &config.labels;
    if labels.is_empty() {
        return Ok(());
    }
    let first = &config.outputs[0];
    ensure(fixed(first, 1) == Some(labels.len()), || {
        format!("there are {} labels, but output `{}` has dims {:?}", labels.len(), first.name, first.dims)
    })?;
    let unique: BTreeSet<_> = labels.iter().collect();
    ensure(unique.len() == labels.len() && !unique.contains(&String::new()), || {
        "labels must be different and not empty".to_owned()
    })
}

fn features(config: &BundleConfig) -> Checked {
    let features = &config.features;
    if features.is_empty() {
        return Ok(());
    }
    let first = &config.inputs[0];
    ensure(fixed(first, 1) == Some(features.len()), || {
        format!("there are {} features, but input `{}` has dims {:?}", features.len(), first.name, first.dims)
    })?;
    let mut names = BTreeSet::new();
    for FeatureConfig { name, low, high, .. } in features {
        ensure(!name.is_empty() && names.insert(name), || format!("feature `{name}` is there twice"))?;
        ensure(ordered(*low, *high), || format!("feature `{name}` has low {low:?} and high {high:?}"))?;
    }
    Ok(())
}

fn ordered(low: Option<f64>, high: Option<f64>) -> bool {
    let finite = |end: Option<f64>| end.is_none_or(f64::is_finite);
    finite(low) && finite(high) && low.zip(high).is_none_or(|(low, high)| low <= high)
}

fn network(config: &BundleConfig) -> Checked {
    match (config.engine, &config.network) {
        (EngineKind::Candle, Some(network)) => candle(config, network),
        (EngineKind::Candle, None) => Err("engine is candle, but there is no [network] table".to_owned()),
        (EngineKind::Onnx, Some(_)) => Err("engine is onnx, which takes no [network] table".to_owned()),
        (EngineKind::Onnx, None) => Ok(()),
    }
}

fn candle(config: &BundleConfig, network: &NetworkConfig) -> Checked {
    network.body().map_or(Ok(()), body)?;
    let width = network.inputs();
    ensure((1..=LIMITS.width_max).contains(&width), || format!("network.inputs is {width}"))?;
    if let NetworkConfig::Forecaster(forecaster) = network {
        ensure(forecaster.quantiles % 2 == 1, || {
            format!("network.quantiles is {}, expected an odd number", forecaster.quantiles)
        })?;
        ensure(config.forecast.is_some(), || "a forecaster needs a [forecast] table".to_owned())?;
    }
    if let NetworkConfig::Classifier(ClassifierConfig { forest: Some(forest), .. }) = network {
        self::forest(forest)?;
    }
    let dtype = match network {
        NetworkConfig::Encoder(network) => {
            encoder(network)?;
            DType::I64
        }
        NetworkConfig::Classifier(_)
        | NetworkConfig::Regressor(_)
        | NetworkConfig::Autoencoder(_)
        | NetworkConfig::Forecaster(_) => DType::F32,
        NetworkConfig::Risk(network) => {
            rising(network)?;
            DType::F32
        }
    };
    let inputs = vec![vec![width]; if network.masked() { 2 } else { 1 }];
    agree("input", &config.inputs, &inputs, dtype)?;
    agree("output", &config.outputs, &network.output_dims(), DType::F32)?;
    let mask_named = !network.masked() || config.inputs[1].name == "present";
    ensure(mask_named, || "the second input of a masked network must be named `present`".to_owned())
}

fn forest(forest: &ForestConfig) -> Checked {
    let ForestConfig { trees, leaves, share } = *forest;
    for (key, size, max) in [("trees", trees, LIMITS.trees_max), ("leaves", leaves, LIMITS.leaves_max)] {
        ensure((1..=max).contains(&size), || format!("network.forest.{key} is {size}, expected 1 to {max}"))?;
    }
    ensure((0.0..=1.0).contains(&share), || format!("network.forest.share is {share}, expected 0 to 1"))
}

fn rising(network: &RiskConfig) -> Checked {
    let RiskConfig { inputs, masked, rising, body } = network;
    let columns: BTreeSet<usize> = rising.iter().map(|rising| rising.column).collect();
    let known = columns.len() == rising.len() && columns.iter().all(|column| column < inputs);
    ensure(known && rising.iter().all(|rising| rising.from.is_finite()), || {
        format!("network.rising must name different columns below {inputs}, each with a finite value")
    })?;
    let stands_in =
        rising.iter().filter_map(|rising| rising.absent).all(|absent| *masked && absent.is_finite());
    ensure(stands_in, || "network.rising.absent must be finite and asks for a masked network".to_owned())?;
    let simple = body.hidden.len() <= 1 && body.activation == Activation::Relu;
    ensure(rising.is_empty() || simple, || {
        "network.rising needs at most one hidden layer with activation relu".to_owned()
    })
}

fn encoder(network: &EncoderConfig) -> Checked {
    let EncoderConfig { inputs, vocabulary, positions, width, layers, heads, feed_forward } = *network;
    for (key, size, max) in [
        ("vocabulary", vocabulary, LIMITS.width_max),
        ("positions", positions, LIMITS.width_max),
        ("width", width, LIMITS.width_max),
        ("feed_forward", feed_forward, LIMITS.width_max),
        ("heads", heads, width),
        ("layers", layers, LIMITS.layers_max),
    ] {
        ensure((1..=max).contains(&size), || format!("network.{key} is {size}, expected 1 to {max}"))?;
    }
    ensure(inputs <= positions, || {
        format!("network.inputs is {inputs}, but the weights know {positions} positions")
    })?;
    ensure(width.is_multiple_of(heads), || {
        format!("network.width is {width}, expected a multiple of {heads} heads")
    })
}

fn body(body: &BodyConfig) -> Checked {
    let widths = body.hidden.iter().all(|width| (1..=LIMITS.width_max).contains(width));
    ensure(widths && body.hidden.len() <= LIMITS.layers_max, || {
        format!("network.body.hidden is {:?}, expected widths of at least 1", body.hidden)
    })?;
    ensure((1..=LIMITS.members_max).contains(&body.members), || {
        format!("network.body.members is {}, expected 1 to {}", body.members, LIMITS.members_max)
    })?;
    ensure((0.0..1.0).contains(&body.dropout), || {
        format!("network.body.dropout is {}, expected at least 0 and below 1", body.dropout)
    })
}

/// Tensors of the signature against what the network takes or gives.
fn agree(key: &str, tensors: &[TensorConfig], want: &[Vec<usize>], dtype: DType) -> Checked {
    ensure(tensors.len() == want.len(), || {
        format!("the network has {} {key}s, but there are {} [[{key}]] tables", want.len(), tensors.len())
    })?;
    for (tensor, want) in tensors.iter().zip(want) {
        let same = tensor.dims.len() == want.len() + 1
            && want.iter().enumerate().all(|(axis, size)| fixed(tensor, axis + 1) == Some(*size))
            && want.iter().all(|size| (1..=LIMITS.width_max).contains(size));
        ensure(same, || {
            format!("{key} `{}` has dims {:?}, the network has [-1, {want:?}]", tensor.name, tensor.dims)
        })?;
        ensure(tensor.dtype == dtype.oip(), || {
            let want = dtype.oip();
            format!("{key} `{}` is {}, this network takes or gives {want}", tensor.name, tensor.dtype)
        })?;
    }
    Ok(())
}

fn forecast(config: &BundleConfig, forecast: &ForecastConfig) -> Checked {
    let ForecastConfig { step_seconds, history_steps, sparse_samples_min, horizons_seconds, quantiles } =
        forecast;
    let enough = sparse_samples_min.is_none_or(|least| (1..=*history_steps).contains(&least));
    ensure(enough, || {
        format!("forecast.sparse_samples_min is {sparse_samples_min:?}, expected 1 to {history_steps}")
    })?;
    ensure(*step_seconds > 0, || "forecast.step_seconds is 0".to_owned())?;
    let (input, output) = (&config.inputs[0], &config.outputs[0]);
    ensure(fixed(input, 1) == Some(*history_steps), || {
        format!("forecast.history_steps is {history_steps}, input `{}` has {:?}", input.name, input.dims)
    })?;
    let sizes = (fixed(output, 1), fixed(output, 2));
    ensure(sizes == (Some(horizons_seconds.len()), Some(quantiles.len())), || {
        format!(
            "forecast has {} horizons and {} quantiles, output `{}` has dims {:?}",
            horizons_seconds.len(),
            quantiles.len(),
            output.name,
            output.dims
        )
    })?;
    let horizons = horizons_seconds.first().is_some_and(|first| *first > 0)
        && horizons_seconds.is_sorted_by(|earlier, later| earlier < later);
    ensure(horizons, || "forecast.horizons_seconds must rise from above 0".to_owned())?;
    let levels = quantiles.iter().all(|level| *level > 0.0 && *level < 1.0)
        && quantiles.is_sorted_by(|lower, upper| lower < upper);
    ensure(levels, || format!("forecast.quantiles are {quantiles:?}, they must rise within (0, 1)"))
}

fn running(config: &BundleConfig) -> Checked {
    config.batching.check()?;
    let signature = config.signature().map_err(|error| error.to_string())?;
    config.batching.check_tensors(&signature)?;
    let tolerance = config.golden.tolerance;
    ensure((0.0..=LIMITS.tolerance_max).contains(&tolerance), || {
        format!("golden.tolerance is {tolerance}, expected 0 to {}", LIMITS.tolerance_max)
    })
}

fn dataset(dataset: &DatasetConfig) -> Checked {
    let DatasetConfig { id, version, sha256, licence } = dataset;
    ensure(![id, version, licence].into_iter().any(String::is_empty), || {
        format!("data set `{id}` needs an id, a version and a licence")
    })?;
    ensure(hex::decode(sha256).is_ok_and(|bytes| bytes.len() == 32), || {
        format!("data set `{id}` has sha256 `{sha256}`, expected 64 hexadecimal digits")
    })
}

fn metric(metric: &MetricConfig) -> Checked {
    let MetricConfig { name, value, low, high, .. } = metric;
    ensure(!name.is_empty() && value.is_finite() && ordered(*low, *high), || {
        format!("metric `{name}` has value {value}, low {low:?} and high {high:?}")
    })
}
