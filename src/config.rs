//! Configuration: compiled defaults, then a TOML file, then `MANPASIK__SECTION__KEY` from the
//! environment, then the command line.
//!
//! Unknown keys are refused, and every fault found is reported at once, so that nobody fixes
//! a file one error at a time.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context;
use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
    value::{Dict, Value},
};
use models::bundle::{PublicKey, Trust};
use registry::{RegistryError, artifacts::Location};
use serde::{Deserialize, Serialize};

use crate::{
    ensembles::Declared,
    keeping::{Auth, Drift, Predictions, Retention},
    listening::Server,
    paths,
    scheduling::Scheduling,
    secret::Secret,
    telemetry::Telemetry,
};

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Folder for databases, downloads, fetched models and libraries.
    pub(crate) data_dir: PathBuf,
    pub(crate) server: Server,
    pub(crate) auth: Auth,
    pub(crate) models: Models,
    pub(crate) registry: Registry,
    pub(crate) services: Services,
    pub(crate) vectors: Vectors,
    pub(crate) predictions: Predictions,
    pub(crate) drift: Drift,
    pub(crate) log: Log,
    pub(crate) telemetry: Telemetry,
    /// What holds for single models, by their names.
    pub(crate) scheduling: BTreeMap<String, Scheduling>,
    /// Models that answer together, by the names they answer under.
    pub(crate) ensembles: BTreeMap<String, Declared>,
}

/// Where models come from and what runs them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Models {
    /// Folders of bundles; empty: the shipped folder and the one in the data folder.
    pub(crate) bundles: Vec<PathBuf>,
    /// ONNX Runtime library; empty: looked for in the environment and the data folder.
    pub(crate) onnxruntime: PathBuf,
    /// Public keys of makers whose signatures count, 64 hexadecimal digits each (`manpasik models sign`).
    pub(crate) trusted_keys: Vec<String>,
    /// Serve only what a trusted key has signed.
    pub(crate) signed_only: bool,
    /// Threads that share one answer of ONNX Runtime. With all cores a photo is answered soonest; the model gets
    /// as many instances as the cores hold of that.
    pub(crate) onnx_threads: usize,
}

/// Where the registry keeps runs, versions and artifacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registry {
    /// `sqlite:PATH` or `postgres://user:password@host/database`; empty: a SQLite file in the data folder.
    pub(crate) database: Secret,
    /// Folder of artifacts, or `s3://bucket/prefix` with credentials in `AWS_*`; empty: a folder in the data folder.
    pub(crate) artifacts: String,
    /// Address of the bucket's server, such as `https://s3.example.org`; empty: that of `AWS_ENDPOINT_URL`, or Amazon's.
    pub(crate) artifacts_endpoint: String,
    /// How long what nobody needs any more is kept.
    pub(crate) retention: Retention,
}

/// Which platform services this process mounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Services {
    /// Names of services, or `*` for all.
    pub(crate) enabled: Vec<String>,
    /// URI of a remote inference server; empty: the one in this process.
    pub(crate) inference_uri: String,
    /// Token that server asks for; empty: none.
    pub(crate) inference_token: Secret,
}

/// Where vectors are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vectors {
    /// `embedded`: in the data folder; `qdrant`: on a Qdrant server.
    pub(crate) store: VectorStoreKind,
    /// gRPC address of the Qdrant server, such as `http://127.0.0.1:6334`.
    pub(crate) qdrant_url: String,
    /// Key the Qdrant server asks for; empty: none.
    pub(crate) qdrant_api_key: Secret,
}

/// The vector stores there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VectorStoreKind {
    /// In this process, on files of the data folder.
    Embedded,
    /// On the Qdrant server of vectors.qdrant_url.
    Qdrant,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// Directive such as `info,inference=debug`.
    pub(crate) filter: String,
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
    /// A line for every request: its id, model, version, outcome and times, never what was sent. Without it only requests
    /// that failed through no fault of their callers leave one.
    pub(crate) requests: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: paths::default_data_dir(),
            server: Server::default(),
            auth: Auth::default(),
            models: Models {
                bundles: Vec::new(),
                onnxruntime: PathBuf::new(),
                trusted_keys: Vec::new(),
                signed_only: false,
                onnx_threads: onnx_threads(),
            },
            registry: Registry {
                database: Secret::default(),
                artifacts: String::new(),
                artifacts_endpoint: String::new(),
                retention: Retention::default(),
            },
            services: Services {
                enabled: vec!["*".into()],
                inference_uri: String::new(),
                inference_token: Secret::default(),
            },
            vectors: Vectors {
                store: VectorStoreKind::Embedded,
                qdrant_url: String::new(),
                qdrant_api_key: Secret::default(),
            },
            predictions: Predictions { traced: true, payload_logging: false, payload_key: Secret::default() },
            drift: Drift { rows: 1_000, stability_index_max: 0.25, distance_max: 0.15 },
            log: Log { filter: "warn,manpasik=info".into(), json: false, requests: false },
            telemetry: Telemetry::default(),
            scheduling: BTreeMap::new(),
            ensembles: BTreeMap::new(),
        }
    }
}

/// Sections whose keys are names of models.
const NAMED: [&str; 2] = ["scheduling", "ensembles"];

/// Services that exist.
pub(crate) const SERVICES: [&str; 1] = ["measurement"];

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) file: Option<PathBuf>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) bundles: Vec<PathBuf>,
    pub(crate) log: Option<String>,
}

/// Beyond four threads the layers of an image model are too small to be shared.
fn onnx_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(4)
}

impl Config {
    /// Reads every layer; fails with all faults in one message.
    pub(crate) fn load(overrides: &Overrides) -> anyhow::Result<Self> {
        let mut layers = Figment::new();
        if let Some(file) = &overrides.file {
            std::fs::metadata(file).with_context(|| format!("cannot read `{}`", file.display()))?;
            layers = layers.merge(Toml::file_exact(file));
        }
        Self::from_layers(layers.merge(Env::prefixed("MANPASIK__").split("__")), overrides)
    }

    fn from_layers(given: Figment, overrides: &Overrides) -> anyhow::Result<Self> {
        let defaults = Figment::from(Serialized::defaults(Self::default()));
        let known: Dict = defaults.extract().context("the defaults are not readable")?;
        let mut faults = Vec::new();
        let given_values: Dict = given.extract().context("the configuration is not readable")?;
        unknown_keys("", &given_values, &known, &mut faults);
        let merged = defaults.merge(given);
        if !section_faults(&merged, &mut faults) {
            return Err(faulty(&faults));
        }
        let config: Self = merged.extract().context("the configuration is not readable")?;
        let config = config.with(overrides);
        config.check(&mut faults);
        if faults.is_empty() { Ok(config) } else { Err(faulty(&faults)) }
    }

    fn with(mut self, overrides: &Overrides) -> Self {
        let Overrides { file: _, data_dir, grpc, http, bundles, log } = overrides.clone();
        self.data_dir = data_dir.unwrap_or(self.data_dir);
        self.server.grpc = grpc.unwrap_or(self.server.grpc);
        self.server.http = http.unwrap_or(self.server.http);
        self.log.filter = log.unwrap_or(self.log.filter);
        if !bundles.is_empty() {
            self.models.bundles = bundles;
        }
        self
    }

    fn check(&self, faults: &mut Vec<String>) {
        if self.models.onnx_threads == 0 {
            faults.push("models.onnx_threads: must be at least 1".into());
        }
        for (at, key) in self.models.trusted_keys.iter().enumerate() {
            if let Err(error) = PublicKey::from_hex(key) {
                faults.push(format!("models.trusted_keys[{at}]: {error}"));
            }
        }
        self.server.check(faults);
        self.telemetry.check(faults);
        if let Err(error) = self.registry_url() {
            faults.push(format!("registry.database: {error}"));
        }
        if let Err(error) = self.artifacts() {
            faults.push(error.to_string());
        }
        self.check_vectors(faults);
        self.scheduling.iter().for_each(|(name, scheduling)| scheduling.check(name, faults));
        self.ensembles.iter().for_each(|(name, ensemble)| ensemble.check(name, faults));
        self.check_keeping(faults);
        for name in &self.services.enabled {
            if name != "*" && !SERVICES.contains(&name.as_str()) {
                faults.push(format!(
                    "services.enabled: no service `{name}`; there are {}",
                    SERVICES.join(", ")
                ));
            }
        }
    }

    fn check_vectors(&self, faults: &mut Vec<String>) {
        let url = &self.vectors.qdrant_url;
        let is_url = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
        match self.vectors.store {
            // The text is not repeated: it can hold a password.
            _ if !url.is_empty() && !is_url => {
                faults.push("vectors.qdrant_url: must begin with http:// or https://".into());
            }
            VectorStoreKind::Qdrant if url.is_empty() => faults.push(
                "vectors.qdrant_url: is empty; with vectors.store = \"qdrant\" give the gRPC address, \
                 such as http://127.0.0.1:6334"
                    .into(),
            ),
            VectorStoreKind::Qdrant | VectorStoreKind::Embedded => {}
        }
    }

    /// The registry's database.
    pub(crate) fn registry_url(&self) -> Result<store::Url, store::StoreError> {
        match self.registry.database.reveal() {
            "" => Ok(store::Url::file(&self.data_dir.join("registry.sqlite"))),
            text => Ok(store::Url::parse(text)?.in_schema("registry")),
        }
    }

    /// Whether there is a registry to look into; a look makes none.
    pub(crate) fn has_registry(&self) -> bool {
        !self.registry.database.reveal().is_empty() || self.data_dir.join("registry.sqlite").is_file()
    }

    /// The registry's artifacts.
    pub(crate) fn artifacts(&self) -> Result<Location, RegistryError> {
        let Registry { artifacts, artifacts_endpoint, .. } = &self.registry;
        if artifacts.is_empty() && artifacts_endpoint.is_empty() {
            return Ok(Location::Folder(self.data_dir.join("artifacts")));
        }
        Location::read(artifacts, artifacts_endpoint)
    }

    /// Folders to look for bundles in.
    pub(crate) fn bundle_dirs(&self) -> Vec<PathBuf> {
        if self.models.bundles.is_empty() {
            paths::default_bundle_dirs(&self.data_dir)
        } else {
            self.models.bundles.clone()
        }
    }

    /// Whose bundles are believed. Keys that are none were refused when the configuration was read.
    pub(crate) fn trust(&self) -> Trust {
        let keys = self.models.trusted_keys.iter().filter_map(|key| PublicKey::from_hex(key).ok());
        Trust::new(keys.collect(), self.models.signed_only)
    }

    /// The ONNX Runtime library that was configured, if any.
    pub(crate) fn onnxruntime(&self) -> Option<&Path> {
        Some(self.models.onnxruntime.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// Whether `service` is mounted in this process.
    pub(crate) fn mounts(&self, service: &str) -> bool {
        self.services.enabled.iter().any(|name| name == "*" || name == service)
    }

    /// The configuration as TOML, the way a file would hold it.
    pub(crate) fn dump(&self) -> anyhow::Result<String> {
        toml::to_string_pretty(self).context("cannot write the configuration as TOML")
    }
}

fn faulty(faults: &[String]) -> anyhow::Error {
    anyhow::anyhow!("the configuration has {} fault(s):\n  {}", faults.len(), faults.join("\n  "))
}

fn unknown_keys(prefix: &str, given: &Dict, known: &Dict, faults: &mut Vec<String>) {
    for (key, value) in given {
        match (value, known.get(key)) {
            (_, None) => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                faults.push(format!("{prefix}{key}: unknown key; known here: {}", names.join(", ")));
            }
            // Names of models are anybody's choice; what stands under them is read strictly.
            _ if prefix.is_empty() && NAMED.contains(&key.as_str()) => {}
            (Value::Dict(_, given), Some(Value::Dict(_, known))) => {
                unknown_keys(&format!("{prefix}{key}."), given, known, faults);
            }
            (_, Some(_)) => {}
        }
    }
}

/// Adds a fault for each section whose values have the wrong type; true when there is none.
fn section_faults(merged: &Figment, faults: &mut Vec<String>) -> bool {
    let before = faults.len();
    let checks = [
        merged.extract_inner::<PathBuf>("data_dir").err(),
        merged.extract_inner::<Server>("server").err(),
        merged.extract_inner::<Auth>("auth").err(),
        merged.extract_inner::<Models>("models").err(),
        merged.extract_inner::<Services>("services").err(),
        merged.extract_inner::<Vectors>("vectors").err(),
        merged.extract_inner::<Predictions>("predictions").err(),
        merged.extract_inner::<Drift>("drift").err(),
        merged.extract_inner::<Log>("log").err(),
        merged.extract_inner::<Telemetry>("telemetry").err(),
        merged.extract_inner::<BTreeMap<String, Scheduling>>("scheduling").err(),
        merged.extract_inner::<BTreeMap<String, Declared>>("ensembles").err(),
    ];
    for error in checks.into_iter().flatten() {
        let message = error.to_string();
        if !message.contains("unknown field") || NAMED.iter().any(|section| message.contains(section)) {
            faults.push(message);
        }
    }
    before == 0 && faults.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Config> {
        Config::from_layers(Figment::new().merge(Toml::string(text)), &Overrides::default())
    }

    #[test]
    fn defaults_are_valid_and_survive_a_round_trip() {
        let config = load("").expect("defaults are valid");
        assert_eq!(config, Config::default());
        assert_eq!(load(&config.dump().expect("dumps")).expect("reads its own dump"), config);
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let text = "colour = 1\n[server]\ngrpc = \"nowhere\"\nport = 3\n[models]\nonnx_threads = \"many\"\n";
        let message = load(text).expect_err("four faults").to_string();
        for part in ["colour: unknown key", "server.port: unknown key", "grpc", "onnx_threads"] {
            assert!(message.contains(part), "`{part}` is missing in:\n{message}");
        }
    }

    #[test]
    fn addresses_beyond_loopback_ask_for_tokens_whatever_is_said() {
        assert!(!load("").expect("valid").asks_for_tokens());
        assert!(load("[auth]\nrequired = true\n").expect("valid").asks_for_tokens());
        let open = "[server]\nhttp = \"0.0.0.0:80\"\n[auth]\nrequired = false\n";
        assert!(load(open).expect("valid").asks_for_tokens());
    }

    #[test]
    fn unknown_services_and_long_memories_of_tokens_are_refused() {
        let text = "[auth]\ntoken_cache_ms = 600000\n[services]\nenabled = [\"billing\"]\n";
        let message = load(text).expect_err("two faults").to_string();
        assert!(message.contains("token_cache_ms: must be at most 60000"), "{message}");
        assert!(message.contains("no service `billing`"), "{message}");
    }

    #[test]
    fn a_model_may_be_scheduled_by_its_name() {
        let text = "[scheduling.food]\ninstances = 2\ntimeout_us = 500\n";
        let config = load(text).expect("valid");
        assert_eq!(config.scheduling["food"].instances, Some(2));
        for (wrong, word) in
            [("timeout_action = \"drop\"", "drop"), ("instances = 0", "instances"), ("speed = 9", "speed")]
        {
            let message = load(&format!("[scheduling.food]\n{wrong}\n")).expect_err("refused").to_string();
            assert!(message.contains("scheduling") && message.contains(word), "{message}");
        }
    }

    #[test]
    fn an_ensemble_is_declared_by_its_steps() {
        let step =
            "[[ensembles.both.step]]\nmodel = \"a\"\ninputs = { x = \"raw\" }\noutputs = { y = \"out\" }\n";
        let head = |outputs: &str| format!("[ensembles.both]\noutputs = [{outputs}]\n{step}");
        assert!(load(&head("\"out\"")).expect("valid").ensembles.contains_key("both"));
        for (text, word) in [
            (head("\"other\""), "`other` comes from no step"),
            (head("\"out\"") + "speed = 9\n", "speed"),
            ("[ensembles.both]\noutputs = []\nstep = []\n".to_owned(), "0 steps"),
        ] {
            let message = load(&text).expect_err("refused").to_string();
            assert!(message.contains("ensembles") && message.contains(word), "{message}");
        }
    }

    #[test]
    fn one_line_chooses_the_vector_store_and_its_key_is_not_shown() {
        let text = "[vectors]\nstore = \"qdrant\"\n";
        let message = load(text).expect_err("where is it?").to_string();
        assert!(message.contains("vectors.qdrant_url: is empty"), "{message}");
        let text = format!("{text}qdrant_url = \"http://host:6334\"\nqdrant_api_key = \"hunter2\"\n");
        let config = load(&text).expect("valid");
        assert_eq!(config.vectors.store, VectorStoreKind::Qdrant);
        assert_eq!(config.vectors.qdrant_api_key.reveal(), "hunter2");
        let shown = format!("{}{config:?}", config.dump().expect("dumps"));
        assert!(!shown.contains("hunter2"), "{shown}");
        let message = load("[vectors]\nstore = \"files\"\n").expect_err("no such store").to_string();
        assert!(message.contains("embedded") && message.contains("qdrant"), "{message}");
        let message = load("[vectors]\nqdrant_url = \"pass:word@host\"\n").expect_err("no URL").to_string();
        assert!(!message.contains("pass:word"), "{message}");
    }

    #[test]
    fn artifacts_are_in_the_data_folder_or_where_one_key_says() {
        let own = Config::default().data_dir.join("artifacts");
        assert_eq!(load("").expect("valid").artifacts().expect("a folder"), Location::Folder(own));
        let text = "[registry]\nartifacts = \"s3://models/a\"\n";
        assert!(matches!(load(text).expect("valid").artifacts(), Ok(Location::Bucket { .. })));
        for wrong in ["artifacts = \"s3://\"", "artifacts_endpoint = \"http://s3.example.org\""] {
            let message = load(&format!("[registry]\n{wrong}\n")).expect_err("refused").to_string();
            assert!(message.contains("registry.artifacts"), "{message}");
        }
    }

    #[test]
    fn the_command_line_wins() {
        let overrides = Overrides { grpc: "127.0.0.1:9".parse().ok(), ..Default::default() };
        let layers = Figment::new().merge(Toml::string("[server]\ngrpc = \"127.0.0.1:8\""));
        let config = Config::from_layers(layers, &overrides).expect("valid");
        assert_eq!(config.server.grpc.port(), 9);
    }
}
