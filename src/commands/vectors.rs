//! `manpasik vectors`: how large the collections are, whether they are sound, and the way into another store.
//!
//! The embedded store is opened by one process at a time: these commands are for when no server runs on it.

use std::sync::Arc;

use anyhow::{Context, bail};
use embeddings::{CollectionName, Copied, Progress, State, VectorStore, copy_all};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    app,
    cli::VectorsCommand,
    commands::{print, print_json, runtime, table},
    config::{Config, VectorStoreKind},
};

/// Runs one of the vector commands.
pub(crate) fn run(config: &Config, command: &VectorsCommand, json: bool) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        // The target first: what is wrong with it is told before the source is read.
        let target = match command {
            VectorsCommand::Migrate { to } => Some(target(config, *to).await?),
            VectorsCommand::Stats | VectorsCommand::Verify { .. } | VectorsCommand::Rebuild { .. } => None,
        };
        let store = app::vectors::open(config, config.vectors.store).await?;
        let done = match command {
            VectorsCommand::Stats => stats(store.as_ref(), json).await,
            VectorsCommand::Verify { collection } => {
                verify(store.as_ref(), collection.as_deref(), json).await
            }
            VectorsCommand::Rebuild { collection } => {
                rebuild(store.as_ref(), collection.as_deref(), json).await
            }
            VectorsCommand::Migrate { .. } => migrate(&store, target, json).await,
        };
        let closed = store.close().await.context("the vector store was not closed cleanly");
        done.and(closed)
    })
}

/// The collection asked for, or all.
async fn chosen(store: &dyn VectorStore, name: Option<&str>) -> anyhow::Result<Vec<CollectionName>> {
    match name {
        Some(name) => Ok(vec![store.collection(&CollectionName::parse(name)?).await?.name]),
        None => Ok(store.collections().await?.into_iter().map(|collection| collection.name).collect()),
    }
}

/// One collection.
#[derive(Serialize)]
struct Sized {
    collection: String,
    layout: String,
    dimension: usize,
    metric: String,
    storage: String,
    points: u64,
    indexed: u64,
    tail: u64,
    bytes: u64,
    state: &'static str,
}

async fn stats(store: &dyn VectorStore, json: bool) -> anyhow::Result<()> {
    let mut sizes = Vec::new();
    for collection in store.collections().await? {
        let stats = store.stats(&collection.name).await?;
        sizes.push(Sized {
            collection: collection.name.to_string(),
            layout: collection.layout,
            dimension: collection.dimension,
            metric: format!("{:?}", collection.metric).to_lowercase(),
            storage: format!("{:?}", collection.storage).to_lowercase(),
            points: stats.points,
            indexed: stats.indexed,
            tail: stats.tail,
            bytes: stats.bytes,
            state: match stats.state {
                State::Loading => "loading",
                State::Indexing => "indexing",
                State::Ready => "ready",
            },
        });
    }
    if json {
        return print_json(&sizes);
    }
    let header =
        ["collection", "layout", "metric", "storage", "points", "indexed", "not indexed", "MiB", "state"];
    print(&table(&header, sizes.iter().map(row)))
}

fn row(size: &Sized) -> Vec<String> {
    let Sized { collection, layout, dimension: _, metric, storage, points, indexed, tail, bytes, state } =
        size;
    let mebibytes = format!("{:.1}", *bytes as f64 / f64::from(1 << 20));
    let counts = [points, indexed, tail].map(u64::to_string);
    let texts = [collection, layout, metric, storage].map(String::clone);
    texts.into_iter().chain(counts).chain([mebibytes, (*state).to_owned()]).collect()
}

/// What the check of one collection found.
#[derive(Serialize)]
struct Verified {
    collection: String,
    points: u64,
    recall: Option<f64>,
    faults: Vec<String>,
}

async fn verify(store: &dyn VectorStore, name: Option<&str>, json: bool) -> anyhow::Result<()> {
    let mut verified = Vec::new();
    for name in chosen(store, name).await? {
        let report = store.verify(&name).await?;
        let embeddings::Report { points, recall, faults } = report;
        verified.push(Verified { collection: name.to_string(), points, recall, faults });
    }
    let faults: usize = verified.iter().map(|verified| verified.faults.len()).sum();
    if json {
        print_json(&verified)?;
    } else {
        let recall =
            |recall: Option<f64>| recall.map_or("no index".to_owned(), |recall| format!("{recall:.3}"));
        let row = |v: &Verified| {
            let state = if v.faults.is_empty() { "sound".to_owned() } else { v.faults.join("; ") };
            vec![v.collection.clone(), v.points.to_string(), recall(v.recall), state]
        };
        print(&table(&["collection", "points", "recall@10", "state"], verified.iter().map(row)))?;
    }
    if faults > 0 {
        bail!(
            "{faults} fault(s) were found: `manpasik vectors rebuild` builds the indexes anew from the rows"
        );
    }
    Ok(())
}

/// A collection whose index was built anew.
#[derive(Serialize)]
struct Rebuilt {
    collection: String,
    points: u64,
}

async fn rebuild(store: &dyn VectorStore, name: Option<&str>, json: bool) -> anyhow::Result<()> {
    let mut rebuilt = Vec::new();
    for name in chosen(store, name).await? {
        let bar = bar(&format!("rebuilding {name}"));
        store.rebuild(&name, &|progress| show(&bar, progress)).await?;
        bar.finish_and_clear();
        let points = store.stats(&name).await?.points;
        rebuilt.push(Rebuilt { collection: name.to_string(), points });
    }
    if json {
        return print_json(&rebuilt);
    }
    let row = |rebuilt: &Rebuilt| vec![rebuilt.collection.clone(), rebuilt.points.to_string()];
    print(&table(&["rebuilt", "points"], rebuilt.iter().map(row)))
}

/// The store that is copied into.
async fn target(config: &Config, to: VectorStoreKind) -> anyhow::Result<Arc<dyn VectorStore>> {
    if to == config.vectors.store {
        bail!("vectors.store is {to:?} already: name the other one, or another --config");
    }
    app::vectors::open(config, to).await
}

async fn migrate(
    from: &Arc<dyn VectorStore>,
    target: Option<Arc<dyn VectorStore>>,
    json: bool,
) -> anyhow::Result<()> {
    let target = target.context("no target was opened")?;
    let bar = bar("copying");
    let copied = copy_all(from.as_ref(), target.as_ref(), &|progress| show(&bar, progress)).await;
    bar.finish_and_clear();
    let closed = target.close().await.context("the target was not closed cleanly");
    let Copied { collections, tenants, points } = copied?;
    closed?;
    if json {
        return print_json(
            &serde_json::json!({ "collections": collections, "tenants": tenants, "points": points }),
        );
    }
    print(&format!(
        "copied and counted: {points} points of {tenants} tenants in {collections} collections\n\
         set vectors.store to use them"
    ))
}

fn bar(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} points, {eta} left");
    let bar = ProgressBar::no_length().with_message(what.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}
