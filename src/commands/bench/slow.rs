//! Servers of models made up for the benchmark: one to be overloaded, two of which one is flooded.

use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use benches::{
    fairness::{FLOODED_COST, FLOODED_MODEL, FLOODED_ROWS, STEADY_COST, STEADY_MODEL},
    overload::SLOW_MODEL,
};
use inference::{Candidate, Limits, ModelSource, Server, server};
use models::{Batch, DType, Model, ModelError, Signature, TensorSpec};
use tokio::net::TcpListener;

use crate::commands::print;

/// Time of one batch of the model that is overloaded.
const COST: Duration = Duration::from_millis(5);
/// Rows of one batch of it.
const ROWS_MAX: usize = 8;

/// Gives back what it gets, late.
struct Slow;

impl Model for Slow {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        thread::sleep(COST);
        Ok(batch)
    }
}

/// Gives back what it gets after it has kept a core busy for so long.
struct Busy(Duration);

impl Model for Busy {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        // Work is done in steps, as much whether or not the thread is interrupted.
        for _ in 0..self.0.as_micros() {
            std::hint::black_box(step());
        }
        Ok(batch)
    }
}

/// Roughly a microsecond of arithmetic.
fn step() -> u64 {
    (0..1000u64).fold(1, |sum, at| std::hint::black_box(sum ^ at).rotate_left(7))
}

/// How long a step takes here: the shortest of many trials, for one that was interrupted says nothing about the work.
fn microseconds_of_a_step() -> f64 {
    const STEPS: u32 = 500;
    let trial = || {
        let started = Instant::now();
        for _ in 0..STEPS {
            std::hint::black_box(step());
        }
        started.elapsed()
    };
    let shortest = (0..50).map(|_| trial()).min().unwrap_or_default();
    (shortest.as_secs_f64() * 1e6 / f64::from(STEPS)).max(0.001)
}

/// Serves the model that is overloaded on a free loopback port until the process ends.
pub(super) async fn serve() -> anyhow::Result<()> {
    serve_models(vec![source(SLOW_MODEL, ROWS_MAX, || Box::new(Slow))]).await
}

/// Serves the two models of the fairness bench likewise.
pub(super) async fn serve_two() -> anyhow::Result<()> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let scale = microseconds_of_a_step();
    let (steady, flooded) = (STEADY_COST.div_f64(scale), FLOODED_COST.div_f64(scale));
    let steady = source(STEADY_MODEL, 1, move || Box::new(Busy(steady)));
    let flooded = source(FLOODED_MODEL, FLOODED_ROWS, move || Box::new(Busy(flooded)));
    serve_models(vec![steady, ModelSource { instances: cores, ..flooded }]).await
}

fn source(
    name: &str,
    rows_max: usize,
    model: impl Fn() -> Box<dyn Model> + Send + Sync + 'static,
) -> ModelSource {
    let spec =
        || TensorSpec { name: "x".into(), dtype: DType::F32, dims: vec![-1, 1], unit: None, loinc: None };
    let signature = Signature { inputs: vec![spec()], outputs: vec![spec()] };
    ModelSource::new(name, "1", signature, rows_max, Box::new(move || Ok(model())))
}

async fn serve_models(sources: Vec<ModelSource>) -> anyhow::Result<()> {
    let candidates = sources.into_iter().map(|source| Candidate { source, live: true }).collect();
    let inference = Server::serve(Limits::default(), Vec::new(), candidates, Vec::new());
    let handle = inference.handle();
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot bind a loopback port")?;
    print(&format!("listening grpc={}", listener.local_addr()?))?;
    let routes = server::grpc_routes(&handle);
    server::serve_grpc(listener, handle, routes, None, std::future::pending()).await?;
    Ok(())
}
