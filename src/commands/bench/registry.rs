//! `manpasik bench registry`: a registry filled with made-up versions, and how long its questions take then.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use registry::{
    Act, Principal, Registry, RegistryError,
    artifacts::Location,
    search::{Condition, Of, Op, Value},
    versions::{NewVersion, Query},
};
use serde_json::json;

use crate::{
    app::recorder::now_ms,
    cli::BenchRegistry,
    commands::{print, print_json, runtime, table},
};

/// Versions of one model.
const VERSIONS: u64 = 100;
/// Of so many versions one has the tag that is searched for.
const RARE: u64 = 1_000;
/// Rows of an answer, as MLflow's clients ask for them.
const PAGE: u64 = 100;
/// Longest 99th percentile, ms.
const TARGET_MS: f64 = 10.0;

/// Times of one kind of question, rising.
struct Measured {
    what: &'static str,
    times: Vec<Duration>,
}

impl Measured {
    fn percentile_ms(&self, percent: usize) -> f64 {
        let place = (self.times.len() * percent).div_ceil(100).saturating_sub(1);
        self.times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

/// Fills a registry, asks it, and prints what it found.
pub(super) fn run(options: &BenchRegistry, json: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot create a folder for the registry")?;
    let url = match &options.database {
        Some(url) => store::Url::parse(url)?.in_schema(&format!("bench_{}", std::process::id())),
        None => store::Url::file(&folder.path().join("registry.sqlite")),
    };
    let measured = runtime()?.block_on(async {
        let registry = Registry::open(&url, &Location::Folder(folder.path().join("artifacts"))).await?;
        fill(&registry, options.versions / VERSIONS).await?;
        let measured = ask(&registry, options).await?;
        registry.close().await?;
        anyhow::Ok(measured)
    })?;
    if json {
        let row = |of: &Measured| {
            (of.what.to_owned(), json!({ "p50_ms": of.percentile_ms(50), "p99_ms": of.percentile_ms(99) }))
        };
        return print_json(&measured.iter().map(row).collect::<serde_json::Map<_, _>>());
    }
    let row = |of: &Measured| {
        let (median, slow) = (of.percentile_ms(50), of.percentile_ms(99));
        let met = if slow < TARGET_MS { "yes" } else { "no" };
        vec![of.what.to_owned(), format!("{median:.2}"), format!("{slow:.2}"), met.to_owned()]
    };
    print(&table(&["question", "p50, ms", "p99, ms", "p99 < 10 ms"], measured.iter().map(row)))
}

async fn fill(registry: &Registry, models: u64) -> anyhow::Result<()> {
    let who = Principal::local();
    let act = Act { by: &who, at_ms: now_ms(), why: "" };
    let body = futures::stream::iter([Ok::<_, std::io::Error>("weights".into())]);
    registry.artifacts().put("0/run/artifacts/model.onnx", body, None, now_ms()).await?;
    for model in 0..models {
        let name = name(model);
        registry.model_create(act, &name, "", &BTreeMap::from([("team".into(), "labs".into())])).await?;
        for number in 0..VERSIONS {
            let rare = (model * VERSIONS + number).is_multiple_of(RARE);
            let tag = ("reviewed".to_owned(), if rare { "yes" } else { "no" }.to_owned());
            let new = NewVersion {
                model: name.clone(),
                source: "runs:/run/artifacts".into(),
                folder: "0/run/artifacts".into(),
                run_id: Some(format!("run-{model}-{number}")),
                tags: BTreeMap::from([tag]),
                ..NewVersion::default()
            };
            registry.version_create(act, &new).await?;
        }
        registry.alias_set(act, &name, "champion", i64::try_from(VERSIONS / 2)?).await?;
    }
    Ok(())
}

fn name(model: u64) -> String {
    format!("model-{model:05}")
}

/// What clients ask, each about another model every time.
async fn ask(registry: &Registry, options: &BenchRegistry) -> anyhow::Result<Vec<Measured>> {
    let models = options.versions / VERSIONS;
    let text = |of: Of, op: Op, text: String| Condition { of, op, value: Value::Text(text) };
    let name_is = |at: u64| text(Of::Attribute("name".into()), Op::Equal, name(at));
    let page = |conditions: Vec<Condition>| Query { conditions, limit: PAGE, ..Query::default() };
    let of_run = |at: u64| text(Of::Attribute("run_id".into()), Op::Equal, format!("run-{at}-7"));
    let rare = || text(Of::Tag("reviewed".into()), Op::Equal, "yes".into());
    let like = |at: u64| text(Of::Attribute("name".into()), Op::Like, format!("model-{:04}%", at / 10));
    Ok(vec![
        timed("alias", options.calls, async |at| {
            registry.alias(&name(at % models), "champion").await.map(drop)
        })
        .await?,
        timed("versions of a model", options.calls, async |at| {
            registry.versions(&page(vec![name_is(at % models)])).await.map(drop)
        })
        .await?,
        timed("versions of a run", options.calls, async |at| {
            registry.versions(&page(vec![of_run(at % models)])).await.map(drop)
        })
        .await?,
        timed("versions by a rare tag", options.calls, async |_| {
            registry.versions(&page(vec![rare()])).await.map(drop)
        })
        .await?,
        timed("latest versions", options.calls, async |_| {
            registry.versions(&page(Vec::new())).await.map(drop)
        })
        .await?,
        timed("models by a pattern", options.calls, async |at| {
            registry.models(&page(vec![like(at % models)])).await.map(drop)
        })
        .await?,
        timed("all models", options.calls, async |_| registry.models(&page(Vec::new())).await.map(drop))
            .await?,
    ])
}

async fn timed(
    what: &'static str,
    calls: u64,
    question: impl AsyncFn(u64) -> Result<(), RegistryError>,
) -> anyhow::Result<Measured> {
    let mut times = Vec::new();
    for at in 0..calls {
        // Neighbours in time are not neighbours in the tables.
        let before = Instant::now();
        question(at.wrapping_mul(7_919)).await?;
        times.push(before.elapsed());
    }
    times.sort_unstable();
    Ok(Measured { what, times })
}
