//! What telemetry costs a client: the same server with and without traces to a collector, in turn.

use std::time::Duration;

use proto::inference::ModelInferRequest;
use tokio::sync::oneshot;

use crate::{
    child::Server,
    collector,
    load::Target as Client,
    report::{Row, Target},
    stats::{interval, median},
};

const IN_FLIGHT: usize = 64;
const CONNECTIONS: usize = 4;

/// Pairs of phases, traced first in each; `traced` gives the arguments of a server that sends to that address.
pub(crate) async fn run(
    plain: &[String],
    traced: &(dyn Fn(&str) -> anyhow::Result<Vec<String>> + Sync),
    request: &ModelInferRequest,
    phase: Duration,
    pairs: usize,
) -> anyhow::Result<Row> {
    let (tell, told) = oneshot::channel();
    let sink = tokio::spawn(collector::serve(|address| {
        // Whoever waits for it is below.
        let _ = tell.send(address);
    }));
    let collector = format!("http://{}", told.await?);
    let start =
        |arguments: &[String]| Server::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let (on, off) = (start(&traced(&collector)?)?, start(plain)?);
    let connect = async |server: &Server| Client::connect(server.address, CONNECTIONS).await;
    let (with, without) = (connect(&on).await?, connect(&off).await?);
    let rate = async |client: &Client, length| {
        let phase = client.closed_loop(request, IN_FLIGHT, length).await?;
        anyhow::ensure!(phase.errors == 0, "the server answered {} errors", phase.errors);
        anyhow::Ok(phase.rate())
    };
    for client in [&with, &without] {
        rate(client, phase / 3).await?;
    }
    let (mut rates, mut plain_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let (traced, plain) = (rate(&with, phase).await?, rate(&without, phase).await?);
        rates.push(traced);
        plain_rates.push(plain);
        ratios.push(traced / plain);
    }
    sink.abort();
    let (low, high) = interval(&ratios);
    let value = format!("{:.0} requests/s, {low:.3} to {high:.3} times as many (95 %)", median(&rates));
    let beside = format!("without traces {:.0} requests/s", median(&plain_rates));
    let measure = "traces of one request in a thousand to a collector, 64 in flight, throughput";
    Ok(Row::new(measure, value, beside, median(&ratios), Target::AtLeast(0.95)))
}
