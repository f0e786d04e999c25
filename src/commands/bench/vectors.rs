//! `manpasik bench vectors`: an embedded store in a folder of its own, filled and asked.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use embeddings::{EmbeddedStore, Limits, VectorStore};

use crate::{
    cli::BenchVectors,
    commands::{print, print_json, runtime},
};

/// Measures and prints; the store and its folder are gone afterwards.
pub(super) fn run(options: &BenchVectors, json: bool) -> anyhow::Result<()> {
    let BenchVectors { points, large, only, peer } = options;
    let options =
        benches::vectors::Options { points: *points, large: *large, only: only.clone(), peer: peer.clone() };
    let folder = tempfile::tempdir().context("cannot create a folder for the vectors")?;
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let progress = |step: &str| bar.set_message(step.to_owned());
    let report = runtime()?.block_on(async {
        let url = store::Url::file(&folder.path().join("vectors.db"));
        let store = EmbeddedStore::open(&url, &folder.path().join("index"), Limits::default()).await?;
        let store: Arc<dyn VectorStore> = Arc::new(store);
        let report = benches::vectors::run(&options, Arc::clone(&store), progress).await;
        store.close().await?;
        report
    });
    bar.finish_and_clear();
    let report = report?;
    if json { print_json(&report) } else { print(&report.markdown()) }
}
