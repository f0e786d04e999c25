//! Fairness: a flood on one model while another is used as before.
//!
//! Both models compute, so they need the cores and not only time. The one under test has as much work as one core
//! can do, the other more than all cores can. Phases with and without the flood alternate on one server.

use std::time::Duration;

use anyhow::Context;
use proto::inference::{
    InferParameter, ModelInferRequest, ModelStatisticsRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient, infer_parameter::ParameterChoice,
};
use tonic::transport::Channel;

use crate::{
    child::Server,
    load::{Target as Client, channel, request},
    report::{Row, Target},
    stats::{Phase, median},
};

/// Name of the model that is used as before: one instance.
pub const STEADY_MODEL: &str = "steady";
/// Name of the model that is flooded: an instance for each core.
pub const FLOODED_MODEL: &str = "flooded";
/// Time that one batch of the steady model computes.
pub const STEADY_COST: Duration = Duration::from_millis(2);
/// Time that one batch of the flooded model computes.
pub const FLOODED_COST: Duration = Duration::from_millis(8);
/// Rows of one batch of the flooded model.
pub const FLOODED_ROWS: usize = 8;

/// Requests of the steady model that are under way: a queue stands in front of it.
const STEADY_IN_FLIGHT: usize = 3;
/// Requests of the flood that are under way, eight batches.
const FLOOD_IN_FLIGHT: usize = 64;
/// The level of priority that may fill the queue instead of being refused.
const BULK: u64 = 3;
/// How long the flood stands before it counts.
const LEAD: Duration = Duration::from_millis(200);

/// What one phase showed of the steady model.
struct Seen {
    queue_us: f64,
    phase: Phase,
}

/// Alternating phases of the steady model alone and beside the flood, `pairs` of them.
pub async fn run(server: &Server, phase: Duration, pairs: usize) -> anyhow::Result<Vec<Row>> {
    let steady = Client::connect(server.address, 1).await?;
    let flooded = Client::connect(server.address, 2).await?;
    let mut statistics = GrpcInferenceServiceClient::new(channel(server.address).await?);
    let (mut queue, mut answer, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let alone = measure(&steady, &mut statistics, phase).await?;
        let client = flooded.clone();
        let lasts = phase + LEAD * 2;
        let flood = tokio::spawn(async move { client.closed_loop(&flood(), FLOOD_IN_FLIGHT, lasts).await });
        tokio::time::sleep(LEAD).await;
        let beside = measure(&steady, &mut statistics, phase).await?;
        let flood = flood.await.context("the flood failed")??;
        anyhow::ensure!(flood.errors == 0, "{} requests of the flood were refused", flood.errors);
        queue.push(beside.queue_us / alone.queue_us);
        answer.push(beside.phase.quantile_us(0.5) / alone.phase.quantile_us(0.5));
        seen.push((alone, beside));
    }
    let middle = |figure: &dyn Fn(&(Seen, Seen)) -> f64| median(&seen.iter().map(figure).collect::<Vec<_>>());
    let told = |beside: f64, alone: f64| (format!("{beside:.0} µs"), format!("alone {alone:.0} µs"));
    let (value, beside) = told(middle(&|(_, it)| it.queue_us), middle(&|(it, _)| it.queue_us));
    let waits = "model beside a flood on another, wait in the queue";
    let first = Row::new(waits, value, beside, median(&queue), Target::AtMost(1.2));
    let half = |seen: &Seen| seen.phase.quantile_us(0.5);
    let (value, beside) = told(middle(&|(_, it)| half(it)), middle(&|(it, _)| half(it)));
    let ends = "model beside a flood on another, end to end, p50";
    Ok(vec![first, Row::new(ends, value, beside, median(&answer), Target::AtMost(2.0))])
}

async fn measure(
    steady: &Client,
    statistics: &mut GrpcInferenceServiceClient<Channel>,
    phase: Duration,
) -> anyhow::Result<Seen> {
    let one = request(STEADY_MODEL, "x", &[1, 1], &[1.0]);
    let before = queued(statistics).await?;
    let phase = steady.closed_loop(&one, STEADY_IN_FLIGHT, phase).await?;
    let after = queued(statistics).await?;
    anyhow::ensure!(phase.errors == 0, "the steady model answered {} errors", phase.errors);
    Ok(Seen { queue_us: (after.1 - before.1) / (after.0 - before.0).max(1.0) / 1000.0, phase })
}

/// Answered requests of the steady model and their nanoseconds in the queue, up to now.
async fn queued(statistics: &mut GrpcInferenceServiceClient<Channel>) -> anyhow::Result<(f64, f64)> {
    let asked = ModelStatisticsRequest { name: STEADY_MODEL.into(), version: String::new() };
    let told = statistics.model_statistics(asked).await?.into_inner().model_stats;
    let queue = told.first().and_then(|model| model.inference_stats?.queue).context("no statistics")?;
    Ok((queue.count as f64, queue.ns as f64))
}

fn flood() -> ModelInferRequest {
    let bulk = InferParameter { parameter_choice: Some(ParameterChoice::Uint64Param(BULK)) };
    let mut one = request(FLOODED_MODEL, "x", &[1, 1], &[1.0]);
    one.parameters.insert("priority".into(), bulk);
    one
}
