//! `manpasik bench serve`: the serving budgets, each as a ratio measured in this run.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use models::{Batch, Bundle, Engine, Tensor};
use proto::inference::ModelInferRequest;

use crate::{
    child::Server,
    fairness,
    load::{Target as Client, request},
    overload,
    report::{Report, Row, Target, machine},
    stats::{Phase, median},
    streams, telemetry,
};

/// Name of the model of a sweep that stands for "tiny".
pub const TINY_MODEL: &str = "sensor-fingerprint";
/// How long the overload lasts.
const OVERLOAD: Duration = Duration::from_secs(10);
/// Connections the load is spread over.
const CONNECTIONS: usize = 4;

/// The parts of the measurement, in their order.
pub const PARTS: [&str; 7] = ["start", "overload", "fairness", "unary", "telemetry", "streams", "image"];

/// From the address of a collector to the arguments of a server that sends to it.
pub type Traced = Box<dyn Fn(&str) -> anyhow::Result<Vec<String>> + Send + Sync>;

/// What to measure and for how long.
pub struct Options {
    /// Arguments that start the server under test on free ports.
    pub server: Vec<String>,
    /// Arguments of another like it that sends traces to a collector at that address.
    pub traced: Traced,
    /// Arguments that start the server on the shipped models alone.
    pub bare: Vec<String>,
    /// Arguments that start the echo.
    pub echo: Vec<String>,
    /// Arguments that start the server of the slow model.
    pub slow: Vec<String>,
    /// Arguments that start the server of two models that need the cores.
    pub two: Vec<String>,
    /// Which of [`PARTS`] to measure; all when empty.
    pub only: Vec<String>,
    /// Length of one phase.
    pub phase: Duration,
    /// Number of alternating pairs.
    pub pairs: usize,
    /// Folder of the food bundle; without it the image row is skipped.
    pub food: Option<PathBuf>,
    /// Instances of the image model that the server runs side by side.
    pub food_instances: usize,
    /// Corrected sweep that the tiny models are asked about, 88 values in ohm.
    pub sweep: Vec<f32>,
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == part)
    }
}

/// Runs the parts asked for; `progress` is told what runs now.
pub async fn run(
    options: &Options,
    onnx: Option<&dyn Engine>,
    progress: impl Fn(&str),
) -> anyhow::Result<Report> {
    let mut report = Report { machine: machine(), rows: Vec::new(), skipped: Vec::new() };
    if options.wants("start") {
        progress("cold starts");
        report.rows.extend(cold_starts(options)?);
    }
    if options.wants("overload") {
        progress("overload");
        report.rows.extend(overload::run(&start(&options.slow)?, OVERLOAD).await?);
    }
    if options.wants("fairness") {
        progress("a flood on one model");
        report.rows.extend(fairness::run(&start(&options.two)?, options.phase, options.pairs).await?);
    }
    if options.wants("telemetry") {
        progress("with and without traces");
        let (tiny, pairs) = (tiny(options)?, options.pairs.max(9));
        let row = telemetry::run(&options.bare, &options.traced, &tiny, options.phase, pairs).await?;
        report.rows.push(row);
    }
    if !["unary", "streams", "image"].iter().any(|part| options.wants(part)) {
        return Ok(report);
    }
    let (ours, echo) = (start(&options.server)?, start(&options.echo)?);
    progress("waiting for the server to rest");
    ours.settle().await;
    let pair = Pair::connect(&ours, &echo).await?;
    if options.wants("unary") {
        report.rows.extend(unary(&pair, options, &progress).await?);
    }
    if options.wants("streams") {
        progress("StreamAnalysis, 16 streams");
        let phase = streams::run(ours.address, 16, 8, &options.sweep, options.phase * 3).await?;
        report.rows.extend(stream_rows(&phase));
    }
    match (&options.food, onnx) {
        _ if !options.wants("image") => {}
        (Some(food), Some(engine)) => {
            progress("image model");
            let direct = Direct::open(food, engine, options.food_instances)?;
            report.rows.push(image(&pair.ours, direct, options).await?);
        }
        _ => report.skipped.push("image model: the food bundle or ONNX Runtime is not installed".into()),
    }
    Ok(report)
}

async fn unary(pair: &Pair, options: &Options, progress: &impl Fn(&str)) -> anyhow::Result<[Row; 3]> {
    let tiny = tiny(options)?;
    progress("warm-up");
    pair.alternate(&tiny, 16, options.phase, 1).await?;
    progress("unary, 64 in flight");
    let busy = throughput(&pair.alternate(&tiny, 64, options.phase, options.pairs).await?);
    progress("unary, 512 in flight");
    let crowded = crowded(pair, &tiny, options).await?;
    progress("unary, 1 in flight");
    Ok([busy, crowded, tail(&pair.alternate(&tiny, 1, options.phase, options.pairs).await?)])
}

/// One request to the model that stands for "tiny".
fn tiny(options: &Options) -> anyhow::Result<ModelInferRequest> {
    let print = models::family::sensor::print(&options.sweep)?;
    Ok(request(TINY_MODEL, "print", &[1, print.len() as i64], &print))
}

fn start(arguments: &[String]) -> anyhow::Result<Server> {
    Server::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

struct Pair {
    ours: Client,
    echo: Client,
}

impl Pair {
    async fn connect(ours: &Server, echo: &Server) -> anyhow::Result<Self> {
        let ours = Client::connect(ours.address, CONNECTIONS).await?;
        Ok(Self { ours, echo: Client::connect(echo.address, CONNECTIONS).await? })
    }

    /// Pairs of phases, the server under test first in each.
    async fn alternate(
        &self,
        request: &ModelInferRequest,
        in_flight: usize,
        phase: Duration,
        pairs: usize,
    ) -> anyhow::Result<Vec<(Phase, Phase)>> {
        let mut results = Vec::with_capacity(pairs);
        for _ in 0..pairs {
            let ours = self.ours.closed_loop(request, in_flight, phase).await?;
            let echo = self.echo.closed_loop(request, in_flight, phase).await?;
            anyhow::ensure!(ours.errors == 0, "the server under test answered {} errors", ours.errors);
            anyhow::ensure!(echo.errors == 0, "the echo answered {} errors", echo.errors);
            results.push((ours, echo));
        }
        Ok(results)
    }
}

fn medians(pairs: &[(Phase, Phase)], figure: impl Fn(&Phase) -> f64) -> (f64, f64, f64) {
    let of = |pick: &dyn Fn(&(Phase, Phase)) -> f64| median(&pairs.iter().map(pick).collect::<Vec<_>>());
    let ours = of(&|pair| figure(&pair.0));
    let echo = of(&|pair| figure(&pair.1));
    (ours, echo, of(&|pair| figure(&pair.0) / figure(&pair.1)))
}

fn throughput(pairs: &[(Phase, Phase)]) -> Row {
    let (ours, echo, ratio) = medians(pairs, Phase::rate);
    let value = format!("{ours:.0} requests/s");
    let beside = format!("bare echo {echo:.0} requests/s");
    Row::new("OIP unary, 88-float MLP, 64 in flight, throughput", value, beside, ratio, Target::AtLeast(1.0))
}

/// How much longer the slowest wait when eight times as many are in flight.
async fn crowded(pair: &Pair, request: &ModelInferRequest, options: &Options) -> anyhow::Result<Row> {
    let (mut few, mut many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.pairs {
        let p99 = async |in_flight| {
            let phase = pair.ours.closed_loop(request, in_flight, options.phase).await?;
            anyhow::ensure!(phase.errors == 0, "the server under test answered {} errors", phase.errors);
            anyhow::Ok(phase.quantile_us(0.99) / 1e3)
        };
        let (at_64, at_512) = (p99(64).await?, p99(512).await?);
        few.push(at_64);
        many.push(at_512);
        ratios.push(at_512 / at_64);
    }
    let (value, beside) =
        (format!("{:.2} ms", median(&many)), format!("64 in flight {:.2} ms", median(&few)));
    let measure = "OIP unary, 512 in flight, p99: times that of 64 in flight, which are an eighth";
    Ok(Row::new(measure, value, beside, median(&ratios), Target::AtMost(8.0)))
}

fn tail(pairs: &[(Phase, Phase)]) -> Row {
    let (ours, echo, ratio) = medians(pairs, |phase| phase.quantile_us(0.99));
    let (value, beside) = (format!("{ours:.0} µs"), format!("bare echo {echo:.0} µs"));
    Row::new("OIP unary, 1 in flight, p99", value, beside, ratio, Target::AtMost(2.0))
}

fn stream_rows(phase: &Phase) -> [Row; 2] {
    let (rate, p95) = (phase.rate(), phase.quantile_us(0.95) / 1000.0);
    let none = || "absolute".to_owned();
    let measure = "StreamAnalysis, 16 streams, window 8";
    [
        Row::new(measure, format!("{rate:.0} packets/s"), none(), rate, Target::AtLeast(100_000.0)),
        Row::new(&format!("{measure}, P95"), format!("{p95:.2} ms"), none(), p95, Target::AtMost(5.0)),
    ]
}

/// Time to ready and memory then, of servers without the image model, each in a fresh process.
fn cold_starts(options: &Options) -> anyhow::Result<Vec<Row>> {
    let (mut startups, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..options.pairs {
        // One after the other: a data folder belongs to one server at a time.
        let server = start(&options.bare)?;
        startups.push(server.startup.as_secs_f64());
        resident.extend(server.resident_bytes().map(|bytes| bytes as f64));
    }
    let seconds = median(&startups);
    let mib = median(&resident) / f64::from(1 << 20);
    let without = "without the food model";
    Ok(vec![
        Row::new(
            &format!("cold start to ready, {without}"),
            format!("{seconds:.2} s"),
            "absolute".into(),
            seconds,
            Target::AtMost(1.0),
        ),
        Row::new(
            &format!("resident when ready, {without}"),
            format!("{mib:.0} MiB"),
            "absolute".into(),
            mib,
            Target::AtMost(200.0),
        ),
    ])
}

/// The image model run without a server: as many instances, each driven by a thread, as the server has.
struct Direct {
    models: Vec<Box<dyn models::Model>>,
    input: Tensor,
    shape: Vec<i64>,
    name: String,
}

impl Direct {
    fn open(folder: &PathBuf, engine: &dyn Engine, instances: usize) -> anyhow::Result<Self> {
        let bundle = Bundle::open(folder).context("cannot open the food bundle")?;
        let spec = bundle.signature().inputs.first().context("the food model has no input")?;
        let shape: Vec<usize> = spec.dims.iter().map(|dim| usize::try_from(*dim).unwrap_or(1)).collect();
        let values = ramp(shape.iter().product());
        let models = (0..instances).map(|_| bundle.load(engine)).collect::<Result<_, _>>()?;
        Ok(Self {
            models,
            shape: shape.iter().map(|dim| *dim as i64).collect(),
            input: Tensor::from_f32(shape, &values)?,
            name: bundle.config().name.clone(),
        })
    }

    /// Images per second with every instance busy for `duration`.
    fn rate(&mut self, duration: Duration) -> anyhow::Result<f64> {
        let input = &self.input;
        let start = Instant::now();
        let counts: Vec<anyhow::Result<usize>> = std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .models
                .iter_mut()
                .map(|model| {
                    scope.spawn(move || {
                        let mut count = 0;
                        while start.elapsed() < duration {
                            model.run(Batch { tensors: vec![input.clone()] })?;
                            count += 1;
                        }
                        anyhow::Ok(count)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("the model does not panic")).collect()
        });
        let total: usize = counts.into_iter().sum::<anyhow::Result<usize>>()?;
        Ok(total as f64 / start.elapsed().as_secs_f64())
    }
}

/// Values between -1 and 1, so that every filter has something to do.
fn ramp(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index % 255) as f32 / 127.0 - 1.0).collect()
}

async fn image(ours: &Client, direct: Direct, options: &Options) -> anyhow::Result<Row> {
    let values = direct.input.as_f32()?.into_owned();
    let asked = request(&direct.name, "image", &direct.shape, &values);
    let (mut through, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut direct = Some(direct);
    for _ in 0..options.pairs {
        let phase = ours.closed_loop(&asked, 2, options.phase).await?;
        anyhow::ensure!(phase.errors == 0, "the image model answered {} errors", phase.errors);
        let Some(mut model) = direct.take() else { break };
        let length = options.phase;
        let (model, rate) = tokio::task::spawn_blocking(move || {
            let rate = model.rate(length);
            (model, rate)
        })
        .await?;
        let rate = rate?;
        direct = Some(model);
        through.push(phase.rate());
        bare.push(rate);
        ratios.push(phase.rate() / rate);
    }
    let value = format!("{:.1} images/s", median(&through));
    let beside = format!("the same engine without a server {:.1} images/s", median(&bare));
    let measure = "EfficientNet-Lite2 ModelInfer, 2 in flight, throughput";
    Ok(Row::new(measure, value, beside, median(&ratios), Target::AtLeast(0.97)))
}
