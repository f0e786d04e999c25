//! What a client sends along when it asks for a model to be loaded: a configuration in Triton's JSON, and files.
//!
//! Of the configuration everything is honoured or refused by its name, but for what says nothing (`""`, `0`, `[]`, `{}`),
//! so that a configuration this server gave can be sent back changed.

mod said;
mod scheduled;

use bytes::Bytes;
use models::{
    TensorSpec,
    bundle::{BatchingConfig, QueueConfig, TimeoutAction},
};
use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) use self::said::Config;
use self::said::{
    Action, Batching, Group, Latest, Queue, Specific, Tensor, VersionPolicy, Whole, prune, silent,
};
use self::scheduled::Steps;
use super::config;
use crate::{Candidate, Ensemble, InferError, ModelSource, ensemble};

/// Name of the parameter with the configuration.
const CONFIG: &str = "config";
/// What stands before the path of a file.
pub(super) const FILE: &str = "file:";
/// The one file that makes a model.
const GRAPH: &str = "model.onnx";
/// Most instances a client may ask for.
const INSTANCES_MAX: usize = 16;
/// Answers that are kept where a client asks for a cache.
const CACHE_BYTES: usize = 16 << 20;

/// The value of a parameter.
#[derive(Debug)]
pub(super) enum Given {
    Text(String),
    File(Bytes),
    Other,
}

/// Parameters of a load, whichever face they came over.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    config: Option<Config>,
    graph: Option<(u64, Bytes)>,
}

impl Parameters {
    /// Whether a parameter is one of these.
    pub(super) fn has(name: &str) -> bool {
        name == CONFIG || name.starts_with(FILE)
    }

    /// Takes one of them, whose files hold at most so many bytes.
    pub(super) fn take(
        &mut self,
        model: &str,
        name: &str,
        given: Given,
        bytes_max: usize,
    ) -> Result<(), InferError> {
        match (name.strip_prefix(FILE), given) {
            (None, Given::Text(text)) => self.config = Some(Config::read(model, &text)?),
            (Some(path), Given::File(graph)) => {
                let version = path.strip_suffix(GRAPH).and_then(|folder| folder.strip_suffix('/'));
                let version = version.and_then(|folder| folder.parse().ok());
                let version =
                    version.ok_or_else(|| refused(name, "is none of a model: that is file:1/model.onnx"))?;
                if graph.len() > bytes_max {
                    return Err(refused(name, &format!("has {} bytes, at most {bytes_max}", graph.len())));
                }
                if self.graph.replace((version, graph)).is_some() {
                    return Err(refused(name, "is one file too many: a model is made of one"));
                }
            }
            (None, Given::File(_) | Given::Other) => return Err(refused(name, "must be a text of JSON")),
            (Some(_), Given::Text(_) | Given::Other) => {
                return Err(refused(name, "must be the bytes of a file (over REST in base64)"));
            }
        }
        Ok(())
    }

    /// Models that it would hand requests on to.
    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        let steps = self.config.as_ref().and_then(|config| config.ensemble_scheduling.as_ref());
        steps.into_iter().flat_map(Steps::models)
    }

    /// Configuration, and version and graph; a graph without a configuration is refused, as Triton does.
    pub(super) fn parts(self) -> Result<(Config, Option<(u64, Bytes)>), InferError> {
        match self {
            Self { config: None, graph: Some(_) } => {
                Err(refused(CONFIG, "is required where files are sent along; {} will do"))
            }
            Self { config, graph } => Ok((config.unwrap_or_default(), graph)),
        }
    }
}

impl Whole {
    /// What was said, unless it says nothing.
    fn said(self, field: &str) -> Result<Option<usize>, InferError> {
        match usize::try_from(self.0) {
            Ok(0) => Ok(None),
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(refused(field, "must not be negative")),
        }
    }
}

impl Config {
    fn read(model: &str, text: &str) -> Result<Self, InferError> {
        let mut said: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| refused(CONFIG, &format!("cannot be read: {error}")))?;
        said.retain(|_, value| !silent(value));
        for (key, value) in &mut said {
            // Here a `false` and an empty choice mean something.
            if !matches!(key.as_str(), "response_cache" | "version_policy" | "ensemble_scheduling") {
                prune(value);
            }
        }
        let config = Self::deserialize(Value::Object(said))
            .map_err(|error| refused(CONFIG, &format!("cannot be honoured: {error}")))?;
        let is_ensemble = config.ensemble_scheduling.is_some();
        if is_ensemble != (config.platform == ensemble::PLATFORM) {
            return Err(refused("config.platform", "and ensemble_scheduling: an ensemble has both"));
        }
        let is_known = |text: &str, known: [&str; 4]| text.is_empty() || known.contains(&text);
        if !is_known(&config.name, [model; 4]) {
            return Err(refused("config.name", &format!("is `{}`, the model's is `{model}`", config.name)));
        }
        let backends = ["onnxruntime", "onnxruntime_onnx", "onnx", "candle"];
        for (field, text) in [("config.backend", &config.backend), ("config.platform", &config.platform)] {
            if !(is_known(text, backends) || is_ensemble && text == ensemble::PLATFORM) {
                return Err(refused(field, &format!("is `{text}`; this server has onnxruntime and candle")));
            }
        }
        let files = [GRAPH, "weights.safetensors", "", ""];
        if !is_known(&config.default_model_filename, files) {
            return Err(refused("config.default_model_filename", &format!("can only be {GRAPH}")));
        }
        Ok(config)
    }

    /// The ensemble `model` that this configuration declares, if it does.
    pub(super) fn ensemble(&self, model: &str) -> Result<Option<Ensemble>, InferError> {
        let outputs = || self.output.iter().map(|output| output.name.clone()).collect();
        self.ensemble_scheduling.as_ref().map(|steps| steps.ensemble(model, outputs())).transpose()
    }

    /// The candidates that this configuration lets be served, the way it says.
    pub(super) fn apply(&self, found: Vec<Candidate>) -> Result<Vec<Candidate>, InferError> {
        let candidates: Vec<Candidate> = self.versions(found)?;
        if candidates.is_empty() {
            return Err(refused("config.version_policy", "leaves no version"));
        }
        candidates
            .into_iter()
            .map(|Candidate { source, live }| Ok(Candidate { source: self.over(source)?, live }))
            .collect()
    }

    fn versions(&self, mut found: Vec<Candidate>) -> Result<Vec<Candidate>, InferError> {
        match &self.version_policy {
            None | Some(VersionPolicy::All {}) => {}
            Some(VersionPolicy::Latest(Latest { num_versions })) => {
                let most = num_versions.said("config.version_policy.latest.num_versions")?.unwrap_or(1);
                // The live one is the highest; the others come in rising order.
                found.sort_by_key(|candidate| candidate.live);
                found.drain(..found.len().saturating_sub(most));
            }
            Some(VersionPolicy::Specific(Specific { versions })) => {
                let wanted: Vec<String> = versions.iter().map(|version| version.0.to_string()).collect();
                found.retain(|candidate| wanted.contains(&candidate.source.version));
                if let Some(last) = found.last_mut() {
                    last.live = true;
                }
            }
        }
        Ok(found)
    }

    fn over(&self, source: ModelSource) -> Result<ModelSource, InferError> {
        self.agrees(&source)?;
        let (mut batching, mut instances) = (source.batching.clone(), source.instances);
        if let Some(rows) = self.max_batch_size.said("config.max_batch_size")? {
            if rows > batching.rows_max {
                let text = format!("is {rows}, the model takes at most {}", batching.rows_max);
                return Err(refused("config.max_batch_size", &text));
            }
            batching.rows_max = rows;
            batching.preferred_rows.retain(|preferred| *preferred <= rows);
        }
        if !self.instance_group.is_empty() {
            instances = self.instances()?;
        }
        if let Some(cache) = &self.response_cache {
            batching.cache_bytes_max = match (cache.enable, batching.cache_bytes_max) {
                (false, _) => 0,
                (true, 0) => CACHE_BYTES,
                (true, bytes) => bytes,
            };
        }
        if let Some(said) = &self.dynamic_batching {
            said.over(&mut batching)?;
        }
        if let Some(said) = &self.sequence_batching {
            said.over(&mut batching)?;
        }
        batching.check().map_err(|reason| refused(CONFIG, &reason))?;
        batching.check_tensors(&source.signature).map_err(|reason| refused(CONFIG, &reason))?;
        Ok(ModelSource { batching, instances, ..source })
    }

    fn instances(&self) -> Result<usize, InferError> {
        let mut count = 0;
        for Group { name: _, count: own, kind } in &self.instance_group {
            if !matches!(kind.as_str(), "" | "KIND_AUTO" | "KIND_CPU") {
                return Err(refused(
                    "config.instance_group.kind",
                    &format!("is {kind}; models run on the CPU"),
                ));
            }
            count += own.said("config.instance_group.count")?.unwrap_or(1);
        }
        if count > INSTANCES_MAX {
            return Err(refused(
                "config.instance_group.count",
                &format!("is {count}, at most {INSTANCES_MAX}"),
            ));
        }
        Ok(count)
    }

    /// Refuses tensors that the model does not have.
    fn agrees(&self, source: &ModelSource) -> Result<(), InferError> {
        // With a largest batch the dimensions are those of a row, without one all of them.
        let skip = usize::from(self.max_batch_size.0 > 0);
        let sides = [
            ("input", &self.input, &source.signature.inputs),
            ("output", &self.output, &source.signature.outputs),
        ];
        for (side, said, own) in sides {
            for tensor in said {
                let spec = own.iter().find(|spec| spec.name == tensor.name);
                if let Some(reason) = tensor.differs(spec, skip) {
                    return Err(refused(&format!("config.{side}"), &format!("`{}` {reason}", tensor.name)));
                }
            }
        }
        Ok(())
    }
}

impl Tensor {
    fn differs(&self, spec: Option<&TensorSpec>, skip: usize) -> Option<String> {
        let Some(spec) = spec else { return Some("is not in the model".to_owned()) };
        let own = config::data_type(spec.dtype).as_str_name();
        if !self.data_type.is_empty() && self.data_type != own {
            return Some(format!("is {own} in the model, not {}", self.data_type));
        }
        let dims: Vec<i64> = spec.dims.iter().skip(skip).copied().collect();
        let said: Vec<i64> = self.dims.iter().map(|dim| dim.0).collect();
        let agree = |(one, other): (&i64, &i64)| *one < 0 || *other < 0 || one == other;
        let is_alike = said.len() == dims.len() && said.iter().zip(&dims).all(agree);
        (!said.is_empty() && !is_alike).then(|| format!("has dimensions {dims:?} in the model, not {said:?}"))
    }
}

impl Batching {
    fn over(&self, batching: &mut BatchingConfig) -> Result<(), InferError> {
        let Self {
            preferred_batch_size,
            max_queue_delay_microseconds,
            priority_levels,
            default_priority_level,
            default_queue_policy,
        } = self;
        for (field, said, own) in [
            ("priority_levels", priority_levels, config::PRIORITY_LEVELS),
            ("default_priority_level", default_priority_level, config::PRIORITY_DEFAULT),
        ] {
            if said.0 != 0 && u64::try_from(said.0) != Ok(own) {
                return Err(refused(
                    &format!("config.dynamic_batching.{field}"),
                    &format!("is always {own}"),
                ));
            }
        }
        let field = "config.dynamic_batching.preferred_batch_size";
        let preferred = preferred_batch_size.iter().map(|rows| rows.said(field));
        let preferred: Vec<usize> = preferred.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        if !preferred.is_empty() {
            batching.preferred_rows = preferred;
        }
        let micros = |said: &Whole, field: &str| {
            said.said(&format!("config.dynamic_batching.{field}"))
                .map(|found| found.map(|found| found as u64))
        };
        let linger = micros(max_queue_delay_microseconds, "max_queue_delay_microseconds")?;
        batching.linger_us = linger.unwrap_or(batching.linger_us);
        let Some(said) = default_queue_policy else { return Ok(()) };
        let Queue { timeout_action, default_timeout_microseconds, allow_timeout_override, max_queue_size } =
            said;
        let timeout =
            micros(default_timeout_microseconds, "default_queue_policy.default_timeout_microseconds")?;
        let depth = max_queue_size.said("config.dynamic_batching.default_queue_policy.max_queue_size")?;
        // As in the protocol, what a policy does not say is 0, "no" and "reject".
        batching.queue = QueueConfig {
            depth_max: depth.unwrap_or(0),
            timeout_us: timeout.unwrap_or(0),
            timeout_action: match timeout_action {
                Some(Action::Delay) => TimeoutAction::Delay,
                Some(Action::Reject) | None => TimeoutAction::Reject,
            },
            timeout_override: *allow_timeout_override,
        };
        Ok(())
    }
}

fn refused(field: &str, reason: &str) -> InferError {
    InferError::input(field, reason)
}

#[cfg(test)]
mod tests {
    use models::{DType, Signature};

    use super::*;

    fn source() -> ModelSource {
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            dtype: DType::F32,
            dims: vec![-1, 3],
            unit: None,
            loinc: None,
        };
        let signature = Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] };
        let load = Box::new(|| Err(models::ModelError::invalid("none", "not loaded here")));
        ModelSource::new("m", "1", signature, 64, load)
    }

    fn apply(text: &str) -> Result<ModelSource, InferError> {
        let found = vec![Candidate { source: source(), live: true }];
        let mut applied = Config::read("m", text)?.apply(found)?;
        Ok(applied.remove(0).source)
    }

    #[test]
    fn what_can_be_honoured_is() {
        let text = r#"{"name":"m","backend":"onnxruntime","max_batch_size":8,
            "input":[{"name":"x","data_type":"TYPE_FP32","dims":["3"]}],"version_policy":{"latest":{"num_versions":1}},
            "instance_group":[{"count":2,"kind":"KIND_CPU"}],"response_cache":{"enable":true},
            "dynamic_batching":{"preferred_batch_size":[2,4],"max_queue_delay_microseconds":"50",
              "default_queue_policy":{"timeout_action":"DELAY","max_queue_size":7}},
            "optimization":{"priority":"","graph":{}},"model_warmup":[],"cc_model_filenames":{}}"#;
        let source = apply(text).expect("honoured");
        let BatchingConfig { rows_max, linger_us, preferred_rows, cache_bytes_max, queue, .. } =
            source.batching;
        assert_eq!((rows_max, linger_us, preferred_rows, source.instances), (8, 50, vec![2, 4], 2));
        assert_eq!((queue.depth_max, queue.timeout_action), (7, TimeoutAction::Delay));
        assert!(cache_bytes_max > 0);
        assert_eq!(apply("{}").expect("nothing said").batching.rows_max, 64);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_its_name() {
        for (text, word) in [
            (r#"{"sequence_batching":{"max_sequence_idle_microseconds":5}}"#, "sequence_batching"),
            (r#"{"model_warmup":[{"name":"w"}]}"#, "model_warmup"),
            (r#"{"dynamic_batching":{"preserve_ordering":true}}"#, "preserve_ordering"),
            (r#"{"instance_group":[{"kind":"KIND_GPU"}]}"#, "KIND_GPU"),
            (r#"{"instance_group":[{"count":1000}]}"#, "instance_group"),
            (r#"{"backend":"python"}"#, "python"),
            (r#"{"name":"other"}"#, "other"),
            (r#"{"max_batch_size":1000}"#, "max_batch_size"),
            (r#"{"max_batch_size":-1}"#, "max_batch_size"),
            (r#"{"input":[{"name":"z"}]}"#, "z"),
            (r#"{"input":[{"name":"x","data_type":"TYPE_INT8"}]}"#, "TYPE_FP32"),
            (r#"{"input":[{"name":"x","dims":[-1,4]}]}"#, "dimensions"),
            (r#"{"version_policy":{"specific":{"versions":[9]}}}"#, "version_policy"),
            (r#"{"dynamic_batching":{"priority_levels":9}}"#, "priority_levels"),
            ("[]", "config"),
            ("{", "config"),
        ] {
            let refused = apply(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refused.contains(word), "{text}: `{refused}` lacks `{word}`");
        }
    }

    #[test]
    fn a_model_is_made_of_one_graph_and_a_configuration() {
        let take = |names: &[&str]| {
            let mut parameters = Parameters::default();
            let given = |name: &str| match name {
                CONFIG => Given::Text("{}".into()),
                _ => Given::File(Bytes::from_static(b"graph")),
            };
            names.iter().try_for_each(|name| parameters.take("m", name, given(name), 5))?;
            parameters.parts().map(|(_, graph)| graph.map(|(version, _)| version))
        };
        assert_eq!(take(&["config", "file:3/model.onnx"]).expect("taken"), Some(3));
        for names in [
            &["file:1/model.onnx"][..],
            &["config", "file:model.onnx"],
            &["config", "file:../1/model.onnx"],
            &["config", "file:1/weights.bin"],
            &["config", "file:1/model.onnx", "file:2/model.onnx"],
        ] {
            assert!(take(names).is_err(), "{names:?}");
        }
        let large = Parameters::default().take(
            "m",
            "file:1/model.onnx",
            Given::File(Bytes::from_static(b"large")),
            4,
        );
        assert!(large.is_err_and(|error| error.to_string().contains("at most 4")));
    }
}
