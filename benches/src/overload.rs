//! Overload: ten times more requests than a model can answer, sent on a schedule whether or not
//! earlier ones have been answered.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use proto::inference::{ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    child::Server,
    load::{Target as Client, channel, request},
    report::{Row, Target},
    stats::{histogram, record},
};

/// Name of the model that is overloaded: 5 ms per batch of at most 8 rows.
pub const SLOW_MODEL: &str = "slow";
/// Requests a millisecond: ten times the 1.6 that 8 rows in 5 ms make.
const REQUESTS_PER_MS: usize = 16;
/// Connections the load is spread over.
const CONNECTIONS: usize = 4;
/// Metadata key that tells a refused caller when to come back.
const RETRY_AFTER: &str = "retry-after-ms";

/// What became of the requests.
struct Outcome {
    admitted_us: Histogram<u64>,
    refused: u64,
}

/// Overloads `server` for `duration` and compares the admitted with an unloaded phase before.
pub async fn run(server: &Server, duration: Duration) -> anyhow::Result<Vec<Row>> {
    let one = request(SLOW_MODEL, "x", &[1, 1], &[1.0]);
    let calm = Client::connect(server.address, 1).await?.closed_loop(&one, 1, Duration::from_secs(2)).await?;
    let before = server.resident_bytes();
    let outcome = flood(server, &one, duration).await?;
    let p99 = |times: &Histogram<u64>| times.value_at_quantile(0.99) as f64 / 1000.0;
    let (unloaded, loaded) = (p99(&calm.latency_us), p99(&outcome.admitted_us));
    let name = "10 × the capacity of a model of 5 ms per batch of 8";
    let answered = outcome.admitted_us.len();
    let value = format!("{loaded:.1} ms ({answered} admitted, {} refused with retry-after)", outcome.refused);
    let beside = format!("unloaded {unloaded:.1} ms");
    let measure = format!("{name}, p99 of the admitted");
    let mut rows = vec![Row::new(&measure, value, beside, loaded / unloaded, Target::AtMost(5.0))];
    if let (Some(before), Some(after)) = (before, server.resident_bytes()) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (value, beside) = (format!("{:.0} MiB", mib(after)), format!("{:.0} MiB before", mib(before)));
        let growth = mib(after) - mib(before);
        rows.push(Row::new(
            &format!("{name}, growth of memory, MiB"),
            value,
            beside,
            growth,
            Target::AtMost(100.0),
        ));
    }
    Ok(rows)
}

async fn flood(server: &Server, one: &ModelInferRequest, duration: Duration) -> anyhow::Result<Outcome> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(GrpcInferenceServiceClient::new(channel(server.address).await?));
    }
    let (mut calls, mut outcome) = (JoinSet::new(), Outcome { admitted_us: histogram(), refused: 0 });
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..duration.as_millis() {
        tick.tick().await;
        for index in 0..REQUESTS_PER_MS {
            calls.spawn(call(clients[index % CONNECTIONS].clone(), one.clone()));
        }
        while let Some(answer) = calls.try_join_next() {
            outcome.count(answer.context("a load task failed")?)?;
        }
    }
    while let Some(answer) = calls.join_next().await {
        outcome.count(answer.context("a load task failed")?)?;
    }
    Ok(outcome)
}

async fn call(
    mut client: GrpcInferenceServiceClient<Channel>,
    one: ModelInferRequest,
) -> Result<Duration, Status> {
    let start = Instant::now();
    client.model_infer(one).await.map(|_| start.elapsed())
}

impl Outcome {
    /// Every answer is a result or a refusal that says when to come back.
    fn count(&mut self, answer: Result<Duration, Status>) -> anyhow::Result<()> {
        match answer {
            Ok(latency) => record(&mut self.admitted_us, latency),
            Err(status) if status.code() == Code::ResourceExhausted => {
                status.metadata().get(RETRY_AFTER).context("a refusal without retry-after-ms")?;
                self.refused += 1;
            }
            Err(status) => bail!("overload was answered with {status}"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_and_polite_refusals_count() {
        let mut outcome = Outcome { admitted_us: histogram(), refused: 0 };
        outcome.count(Ok(Duration::from_millis(3))).expect("a result");
        let mut refusal = Status::resource_exhausted("busy");
        assert!(outcome.count(Err(refusal.clone())).is_err(), "no time to come back");
        refusal.metadata_mut().insert(RETRY_AFTER, 5.into());
        outcome.count(Err(refusal)).expect("a polite refusal");
        assert!(outcome.count(Err(Status::internal("broken"))).is_err());
        assert_eq!((outcome.admitted_us.len(), outcome.refused), (1, 1));
    }
}
