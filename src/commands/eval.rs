//! `manpasik eval`: what bundles are worth, measured again on their frozen test data.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use models::Bundle;
use training::{
    data::Store,
    evaluate::{self, Benchmark, EvalReport, Measure},
    families::{ALL, Context, Effort},
    food::{self, Sighting},
    optimise::Progress,
};

use crate::{
    app::engines,
    cli,
    commands::{print, print_json, table},
    config::Config,
};

/// Measures one bundle or all that a family makes.
pub(crate) fn run(config: &Config, eval: &cli::Eval, json: bool) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    let folders = if eval.benchmarks { Vec::new() } else { chosen(config, eval)? };
    for folder in folders {
        let bundle = Bundle::open(&folder)?;
        let report = measure(config, &bundle, json);
        let report = report.with_context(|| format!("measuring `{}`", folder.display()))?;
        if !json {
            print(&format!("\n{}", text(&report)))?;
        }
        reports.push(report);
    }
    let benchmarks = if eval.all || eval.benchmarks { benchmarks(config, eval, json)? } else { Vec::new() };
    if json {
        let keyed: BTreeMap<&str, &Benchmark> =
            benchmarks.iter().map(|benchmark| (benchmark.key.as_str(), benchmark)).collect();
        return print_json(&serde_json::json!({ "models": reports, "benchmarks": keyed }));
    }
    if benchmarks.is_empty() { Ok(()) } else { print(&format!("\n{}", benchmark_table(&benchmarks))) }
}

/// Figures of published protocols, of the model named or of all.
fn benchmarks(config: &Config, eval: &cli::Eval, json: bool) -> anyhow::Result<Vec<Benchmark>> {
    let wanted = |name: &str| eval.bundle.as_ref().is_none_or(|bundle| bundle == name);
    let mut benchmarks = Vec::new();
    for family in ALL.iter().filter(|family| wanted(family.name)) {
        let context = context(config, Store::open(&config.data_dir)?, 1, json);
        let measured = family.benchmarks(&context);
        benchmarks.extend(measured.with_context(|| format!("the published protocol of `{}`", family.name))?);
    }
    if let (Some(name), true) = (&eval.bundle, benchmarks.is_empty()) {
        bail!("`{name}` has no published protocol; `manpasik eval --all --benchmarks` shows which have");
    }
    Ok(benchmarks)
}

fn benchmark_table(benchmarks: &[Benchmark]) -> String {
    let header = ["benchmark", "value", "95 % interval", "best simple method", "gain", "target", "met", "rows"];
    let between = |ends: Option<(f64, f64)>, sign: bool| match ends {
        Some((low, high)) if sign => format!("{low:+.4} – {high:+.4}"),
        Some((low, high)) => format!("{low:.4} – {high:.4}"),
        None => String::new(),
    };
    let row = |benchmark: &Benchmark| {
        let baseline = benchmark.baseline.zip(benchmark.baseline_name.as_ref());
        vec![
            benchmark.key.clone(),
            format!("{:.4}", benchmark.value),
            between(benchmark.low.zip(benchmark.high), false),
            baseline.map(|(value, name)| format!("{name} {value:.4}")).unwrap_or_default(),
            between(benchmark.gain, true),
            benchmark.target.to_string(),
            if benchmark.met { "yes" } else { "no" }.to_owned(),
            benchmark.rows.to_string(),
        ]
    };
    table(&header, benchmarks.iter().map(row))
}

fn context(config: &Config, store: Store, seed: u64, json: bool) -> Context {
    Context {
        store,
        out: config.data_dir.join("bundles"),
        seed,
        progress: if json { Progress::hidden() } else { Progress::visible() },
        effort: Effort::Full,
    }
}

fn chosen(config: &Config, eval: &cli::Eval) -> anyhow::Result<Vec<PathBuf>> {
    match &eval.bundle {
        Some(path) if Path::new(path).is_dir() => Ok(vec![path.into()]),
        Some(name) => {
            let folder = engines::newest_bundle(config, name);
            Ok(vec![folder.with_context(|| format!("no sound bundle `{name}`; see `manpasik models list`"))?])
        }
        None => {
            let names = ALL.iter().map(|family| family.name).chain([food::NAME]);
            let found: Vec<PathBuf> = names.filter_map(|name| engines::newest_bundle(config, name)).collect();
            if found.is_empty() {
                bail!("there is no bundle to measure; see `manpasik models list`");
            }
            Ok(found)
        }
    }
}

fn measure(config: &Config, bundle: &Bundle, json: bool) -> anyhow::Result<EvalReport> {
    let store = Store::open(&config.data_dir)?;
    if bundle.config().name == food::NAME {
        return photos(config, bundle, &store);
    }
    evaluate::evaluate(bundle, &context(config, store, bundle.config().lineage.seed, json))
}

/// The food model is measured on photos that are fetched for it.
fn photos(config: &Config, bundle: &Bundle, store: &Store) -> anyhow::Result<EvalReport> {
    let mut model = bundle.load(&engines::onnx(config)?)?;
    let sightings = food::measure(store, &mut *model, &food::classes()?)?;
    let settings = bundle.config();
    let share = |right: usize| right as f64 / sightings.len().max(1) as f64;
    let measures = [
        ("top1_among_foods", share(sightings.iter().filter(|seen| seen.right).count())),
        ("top5_among_foods", share(sightings.iter().filter(|seen| seen.in_five).count())),
    ];
    let mut measures: Vec<Measure> =
        measures.map(|(name, value)| Measure::new(name, value, sightings.len())).into();
    measures.extend(sightings.iter().map(sighting));
    Ok(EvalReport {
        model: settings.name.clone(),
        version: settings.version.to_string(),
        family: settings.family.name().into(),
        task: settings.task.clone(),
        synthetic: settings.synthetic,
        test_set: "photos of single ingredients, Indian Food Composition Tables 2017".into(),
        rows: sightings.len(),
        measures,
        remarks: vec![
            "The padding, the filter and the threshold of \"unsure\" were chosen with these photos in view."
                .into(),
        ],
    })
}

/// Confidence in one photo, in the group of where the right food came.
fn sighting(seen: &Sighting) -> Measure {
    let place = match (seen.right, seen.in_five) {
        (true, _) => food::FIRST,
        (false, true) => food::AMONG_FIVE,
        (false, false) => "later",
    };
    Measure::new(format!("confidence {}", seen.photo), seen.confidence, 1).within(place)
}

/// A report as a table with its remarks below.
pub(crate) fn text(report: &EvalReport) -> String {
    let synthetic = if report.synthetic { ", SYNTHETIC data" } else { "" };
    let header = ["measure", "value", "95 % interval", "beside", "group", "rows"];
    let mut text = format!(
        "{} {} on {} ({} rows{synthetic})\n{}",
        report.model,
        report.version,
        report.test_set,
        report.rows,
        table(&header, report.measures.iter().map(row))
    );
    for remark in &report.remarks {
        text += &format!("\n  {remark}");
    }
    text
}

fn row(measure: &Measure) -> Vec<String> {
    let interval = measure.low.zip(measure.high).map(|(low, high)| format!("{low:.3} – {high:.3}"));
    let baseline = measure.baseline.zip(measure.baseline_name.as_ref());
    vec![
        measure.name.clone(),
        format!("{:.4}", measure.value),
        interval.unwrap_or_default(),
        baseline.map(|(value, name)| format!("{name} {value:.4}")).unwrap_or_default(),
        measure.subgroup.clone().unwrap_or_else(|| "all".into()),
        measure.rows.to_string(),
    ]
}
