//! `manpasik models`: what bundles there are, what they say, and whether they can be trusted.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use models::{
    Bundle, Engine,
    bundle::{Quantisation, SecretKey},
};
use registry::versions::Version;
use serde::Serialize;
use training::{
    data::Store,
    families::{ALL, Context, Effort, Family, Figure, Halved},
    optimise::Progress,
};

use crate::{
    app::engines,
    cli::{ModelsCommand, Variant},
    commands::{predictions, print, print_json, registered, table, versions},
    config::Config,
};

/// Runs one of the model commands.
pub(crate) fn run(
    config: &Config,
    command: &ModelsCommand,
    token: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    match command {
        ModelsCommand::Registry(command) => registered::run(config, command, token, json),
        ModelsCommand::Watch(command) => predictions::watch(config, command, token, json),
        ModelsCommand::List => list(config, token, json),
        ModelsCommand::Show { name, version: None } => show(config, name, json),
        ModelsCommand::Show { name, version: Some(number) } => {
            versions::show(config, token, (name, *number), json)
        }
        ModelsCommand::Verify { bundle: Some(name), number: Some(number) } => {
            versions::verify(config, token, (name, *number), json)
        }
        ModelsCommand::Verify { bundle, number: _ } => verify(config, bundle.as_deref(), json),
        ModelsCommand::Fetch { name, variant } => fetch(config, name, *variant),
        ModelsCommand::Quantise { bundle, out } => quantise(config, bundle, out.as_deref(), json),
        ModelsCommand::Reference { bundle } => reference(config, bundle),
        ModelsCommand::Sign { bundle, key, new_key } => sign(config, bundle, key, *new_key, json),
    }
}

/// One line of a listing.
#[derive(Serialize)]
struct Listed {
    name: String,
    version: String,
    family: String,
    engine: String,
    state: &'static str,
    reason: String,
    synthetic: bool,
    /// Number of a registered version; none of a bundle in a folder.
    registered: Option<i64>,
}

fn list(config: &Config, token: Option<&str>, json: bool) -> anyhow::Result<()> {
    let catalogue = registry::Catalogue::scan(&config.bundle_dirs(), &config.trust());
    let mut listed: Vec<Listed> = catalogue.entries().iter().map(listed).collect();
    listed.extend(versions::all(config, token)?.into_iter().map(registered_version));
    if json {
        return print_json(&listed);
    }
    let row = |item: &Listed| {
        let data = match (item.registered, item.synthetic) {
            (Some(_), _) => "",
            (None, true) => "synthetic",
            (None, false) => "real",
        };
        let version = item.registered.map_or_else(|| item.version.clone(), |number| number.to_string());
        [&item.name, &version, &item.family, &item.engine, data, item.state, &item.reason]
            .map(str::to_owned)
            .into()
    };
    let header = ["name", "version", "family", "engine", "trained on", "state", "reason"];
    print(&table(&header, listed.iter().map(row)))
}

fn listed(entry: &registry::Entry) -> Listed {
    let config = entry.bundle().map(|bundle| bundle.config());
    let text = |pick: &dyn Fn(&models::bundle::BundleConfig) -> String| config.map(pick).unwrap_or_default();
    Listed {
        name: entry.name().to_owned(),
        version: entry.version().to_owned(),
        family: text(&|config| config.family.name().to_owned()),
        engine: text(&|config| config.engine.name().to_owned()),
        state: if config.is_some() { "ready" } else { "unavailable" },
        reason: entry.reason().unwrap_or_default().to_owned(),
        synthetic: config.is_some_and(|config| config.synthetic),
        registered: None,
    }
}

/// Its engine and data are in its bundle, which `models show` reads.
fn registered_version(version: Version) -> Listed {
    Listed {
        name: version.model,
        version: version.version_id.unwrap_or_default(),
        family: version.family.unwrap_or_default(),
        engine: String::new(),
        state: version.state.code(),
        reason: version.reason,
        synthetic: false,
        registered: Some(version.number),
    }
}

fn show(config: &Config, name: &str, json: bool) -> anyhow::Result<()> {
    let folder = engines::newest_bundle(config, name).with_context(|| unknown(config, name))?;
    let bundle = Bundle::open(&folder)?;
    if json {
        return print_json(bundle.config());
    }
    print(&toml::to_string_pretty(bundle.config())?)?;
    print(bundle.card())
}

fn verify(config: &Config, bundle: Option<&str>, json: bool) -> anyhow::Result<()> {
    let folders = match bundle {
        Some(named) => vec![folder_of(config, named)?],
        None => engines::all_bundles(config),
    };
    if folders.is_empty() {
        bail!("there is no bundle in {}", searched(config));
    }
    let engines = engines::all(config);
    let mut faults = Vec::new();
    for folder in &folders {
        let outcome = check(config, folder, &engines);
        let word = if outcome.is_ok() { "ok" } else { "FAULT" };
        if !json {
            print(&format!("{word:6} {}", folder.display()))?;
        }
        if let Err(error) = outcome {
            faults.push(format!("{}: {error:#}", folder.display()));
        }
    }
    if json {
        print_json(&serde_json::json!({ "checked": folders.len(), "faults": faults }))?;
    }
    match faults.len() {
        0 => Ok(()),
        count => bail!("{count} of {} bundles failed:\n  {}", folders.len(), faults.join("\n  ")),
    }
}

/// Opens a bundle, which checks its hashes and signature, and loads it, which checks its golden outputs.
fn check(config: &Config, folder: &Path, engines: &[Box<dyn Engine>]) -> anyhow::Result<()> {
    let bundle = Bundle::open_trusted(folder, &config.trust())?;
    let wanted = bundle.config().engine.name();
    let engine = engines.iter().find(|engine| engine.name() == wanted).context("no engine of that name")?;
    bundle.load(engine.as_ref())?;
    Ok(())
}

fn fetch(config: &Config, name: &str, variant: Variant) -> anyhow::Result<()> {
    let out = config.data_dir.join("bundles");
    let bits = match variant {
        Variant::Fp32 => Quantisation::Fp32,
        Variant::Fp16 => Quantisation::Fp16,
    };
    let folder = match name {
        "food" => training::food::write_bundle(&config.data_dir, &out, &engines::onnx(config)?, bits)?,
        "text" if variant != Variant::Fp32 => bail!("`text` has one variant, fp32"),
        "text" => training::text::write_bundle(&config.data_dir, &out)?,
        _ => bail!("`{name}` is not a model that is fetched, expected food or text (the others are shipped)"),
    };
    print(&format!("{name} model ready in {}", folder.display()))
}

/// How `bundle` is made, with the data it is made from at hand.
fn made(config: &Config, bundle: &Bundle, out: Option<&Path>) -> anyhow::Result<(&'static Family, Context)> {
    let name = &bundle.config().name;
    let family = ALL.iter().find(|family| family.name == *name);
    let family = family.with_context(|| {
        format!("`{name}` is not a model that `manpasik train` makes; of food there is `models fetch food --variant fp16`")
    })?;
    let context = Context {
        store: Store::open(&config.data_dir)?,
        out: out.map_or_else(|| config.data_dir.join("bundles"), Path::to_path_buf),
        seed: bundle.config().lineage.seed,
        progress: Progress::hidden(),
        effort: Effort::Full,
    };
    Ok((family, context))
}

fn reference(config: &Config, bundle: &str) -> anyhow::Result<()> {
    let bundle = Bundle::open(folder_of(config, bundle)?)?;
    let (family, context) = made(config, &bundle, None)?;
    let written = family.refer(&bundle, &context)?;
    print(&format!("{} now says what its training values looked like", written.dir().display()))
}

fn quantise(config: &Config, bundle: &str, out: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let bundle = Bundle::open(folder_of(config, bundle)?)?;
    let (family, context) = made(config, &bundle, out)?;
    let Halved { dir, figures, bytes: (was, is) } = family.halve(&bundle, &context)?;
    let figures = figures.iter();
    if json {
        let row = |figure: &Figure| (figure.name.clone(), [figure.full, figure.half, figure.loss()].into());
        let rows: serde_json::Map<String, serde_json::Value> = figures.map(row).collect();
        return print_json(&serde_json::json!({ "bundle": dir, "bytes": [was, is], "figures": rows }));
    }
    let row = |figure: &Figure| {
        let loss = format!("{:.3} %", 100.0 * figure.loss());
        vec![figure.name.clone(), format!("{:.5}", figure.full), format!("{:.5}", figure.half), loss]
    };
    print(&table(&["figure", "32 bits", "16 bits", "difference"], figures.map(row)))?;
    print(&format!("weights of {is} bytes instead of {was}, ready in {}", dir.display()))
}

fn sign(config: &Config, bundle: &str, file: &Path, new_key: bool, json: bool) -> anyhow::Result<()> {
    let folder = folder_of(config, bundle)?;
    let key = if new_key { write_key(file)? } else { read_key(file)? };
    models::bundle::sign(&folder, &key)?;
    let public = key.public().to_hex();
    if json {
        return print_json(&serde_json::json!({ "bundle": folder, "public_key": public }));
    }
    print(&format!("signed {}\nservers trust it with models.trusted_keys = [\"{public}\"]", folder.display()))
}

fn read_key(file: &Path) -> anyhow::Result<SecretKey> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the key `{shown}`; --new-key makes one"))?;
    SecretKey::from_hex(&text).with_context(|| format!("`{shown}` holds no key"))
}

/// Writes a new key that only its owner may read, and never over another.
fn write_key(file: &Path) -> anyhow::Result<SecretKey> {
    let key = SecretKey::generate();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut file| writeln!(file, "{}", key.to_hex()));
    written.with_context(|| format!("cannot write a new key to `{}`", file.display()))?;
    Ok(key)
}

/// The folder of a bundle given by its path or its name.
fn folder_of(config: &Config, named: &str) -> anyhow::Result<PathBuf> {
    if Path::new(named).is_dir() {
        return Ok(named.into());
    }
    engines::newest_bundle(config, named).with_context(|| unknown(config, named))
}

fn unknown(config: &Config, name: &str) -> String {
    format!("no bundle `{name}` in {}; `manpasik models list` names what there is", searched(config))
}

/// The folders that bundles are looked for in.
fn searched(config: &Config) -> String {
    let dirs: Vec<String> = config.bundle_dirs().iter().map(|dir| dir.display().to_string()).collect();
    dirs.join(" or ")
}
