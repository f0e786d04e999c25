//! `manpasik eval`: what bundles are worth, measured again on their frozen test data, as a table and as a report.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use models::{Bundle, calibration::wilson};
use serde::Serialize;
use training::{
    data::Store,
    evaluate::{self, Benchmark, EvalReport, Measure, page},
    families::{ALL, Context, Effort, SERIES_ANOMALY, series_benchmarks},
    food::{self, Sighting, Truth},
    optimise::Progress,
};

use crate::{
    app::engines,
    cli,
    commands::{print, print_json, table},
    config::Config,
};

/// Measures one bundle or all that a family makes, and writes a report of each.
pub(crate) fn run(config: &Config, eval: &cli::Eval, json: bool) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    let folders = if eval.benchmarks { Vec::new() } else { chosen(config, eval)? };
    for folder in folders {
        let bundle = Bundle::open(&folder)?;
        let report = measure(config, &bundle, json);
        let report = report.with_context(|| format!("measuring `{}`", folder.display()))?;
        let written = page::write(&report, &reports_folder(config, eval))?;
        if !json {
            print(&format!("\n{}\n  report: {}", text(&report), written.html.display()))?;
        }
        reports.push(Measured::new(report, &written));
    }
    let benchmarks = if eval.all || eval.benchmarks { benchmarks(config, eval, json)? } else { Vec::new() };
    if json {
        let keyed: BTreeMap<&str, &Benchmark> =
            benchmarks.iter().map(|benchmark| (benchmark.key.as_str(), benchmark)).collect();
        return print_json(&serde_json::json!({ "models": reports, "benchmarks": keyed }));
    }
    if benchmarks.is_empty() { Ok(()) } else { print(&format!("\n{}", benchmark_table(&benchmarks))) }
}

/// Where reports are written, by model and version.
fn reports_folder(config: &Config, eval: &cli::Eval) -> PathBuf {
    eval.out.clone().unwrap_or_else(|| config.data_dir.join("reports"))
}

/// A report for scripts; the pictures are in the file it names.
#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    report: EvalReport,
    html: String,
    json: String,
}

impl Measured {
    fn new(report: EvalReport, written: &page::Written) -> Self {
        Self {
            report: EvalReport { plots: Vec::new(), ..report },
            html: written.html.display().to_string(),
            json: written.json.display().to_string(),
        }
    }
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
    if wanted(SERIES_ANOMALY) {
        let measured = series_benchmarks(&Store::open(&config.data_dir)?);
        benchmarks.extend(measured.with_context(|| format!("the published protocol of `{SERIES_ANOMALY}`"))?);
    }
    if wanted(food::NAME) {
        let measured = food_benchmarks(config, eval.bundle.is_some());
        benchmarks.extend(measured.context("the published protocol of `food`")?);
    }
    if let (Some(name), true) = (&eval.bundle, benchmarks.is_empty()) {
        bail!("`{name}` has no published protocol; `manpasik eval --all --benchmarks` shows which have");
    }
    Ok(benchmarks)
}

/// Figures of the food model, which is fetched and not shipped; where it is not installed only a question for it by
/// name is refused.
fn food_benchmarks(config: &Config, by_name: bool) -> anyhow::Result<Vec<Benchmark>> {
    let Some(folder) = engines::newest_bundle(config, food::NAME) else {
        if by_name {
            bail!("there is no bundle `food`; run `manpasik models fetch food`");
        }
        tracing::warn!("the food model is left out: run `manpasik models fetch food`");
        return Ok(Vec::new());
    };
    let bundle = Bundle::open(&folder)?;
    let mut model = bundle.load(&engines::onnx(config)?)?;
    food::benchmarks(&Store::open(&config.data_dir)?, &bundle, &mut *model)
}

fn benchmark_table(benchmarks: &[Benchmark]) -> String {
    let header =
        ["benchmark", "value", "95 % interval", "best simple method", "gain", "target", "met", "rows"];
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

/// Measures one bundle on its frozen data; with `json` without showing how far it is.
pub(super) fn measure(config: &Config, bundle: &Bundle, json: bool) -> anyhow::Result<EvalReport> {
    let store = Store::open(&config.data_dir)?;
    if bundle.config().name == food::NAME {
        return photos(config, bundle, &store);
    }
    evaluate::evaluate(bundle, &context(config, store, bundle.config().lineage.seed, json))
}

/// The food model is measured on photos that are fetched for it.
fn photos(config: &Config, bundle: &Bundle, store: &Store) -> anyhow::Result<EvalReport> {
    let mut model = bundle.load(&engines::onnx(config)?)?;
    let sightings = food::measure(store, bundle, &mut *model, true)?;
    let settings = bundle.config();
    let foods: Vec<&Sighting> =
        sightings.iter().filter(|seen| matches!(seen.truth, Truth::Food(_))).collect();
    let found = |count| foods.iter().filter(|seen| seen.place.is_some_and(|place| place < count)).count();
    let mut measures = vec![
        share("top1_among_foods", found(1), foods.len()),
        share("top5_among_foods", found(5), foods.len()),
    ];
    let kinds = [("named_of_foods", None), ("named_of_other_plants", Some(Truth::OtherPlant))];
    for (name, truth) in kinds.into_iter().chain([("named_of_animals", Some(Truth::Animal))]) {
        let is_one =
            |seen: &&Sighting| truth.map_or(matches!(seen.truth, Truth::Food(_)), |t| seen.truth == t);
        let named = sightings.iter().filter(is_one).filter(|seen| !seen.unsure).count();
        measures.push(share(name, named, sightings.iter().filter(is_one).count()));
    }
    measures.extend(foods.iter().map(|seen| sighting(seen)));
    Ok(EvalReport {
        model: settings.name.clone(),
        version: settings.version.to_string(),
        family: settings.family.name().into(),
        task: settings.task.clone(),
        synthetic: settings.synthetic,
        test_set: "53 photos of single foods, and strangers: photos of other plants and of animals".into(),
        rows: sightings.len(),
        measures,
        remarks: vec![
            "The padding and the filter were once chosen with some of the 53 photos in view.".into(),
            "The threshold of \"unsure\" was set on the photos of other plants; animals had no part in it."
                .into(),
        ],
        plots: Vec::new(),
    })
}

fn share(name: &str, count: usize, all: usize) -> Measure {
    let value = count as f64 / all.max(1) as f64;
    Measure::new(name, value, all).between(Some(wilson(count as f64, all as f64, 0.95)))
}

/// Confidence in one photo, in the group of where the right food came.
fn sighting(seen: &Sighting) -> Measure {
    let place = match seen.place {
        Some(0) => "first",
        Some(_) => "among five",
        None => "later",
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
    let beside: Vec<String> = measure.beside().map(|(name, value)| format!("{name} {value:.4}")).collect();
    vec![
        measure.name.clone(),
        format!("{:.4}", measure.value),
        interval.unwrap_or_default(),
        beside.join("\n"),
        measure.subgroup.clone().unwrap_or_else(|| "all".into()),
        measure.rows.to_string(),
    ]
}
