//! `manpasik bench soak`: most of what the server can do, for a long time, while the model is swapped for itself again
//! and again. Nothing may fail, and memory may not grow.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use proto::inference::{
    ModelInferRequest, RepositoryModelLoadRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient as Oip,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    child::Server,
    load::{Target as Client, channel},
    report::{Report, Row, Target, machine},
    serve::TINY_MODEL,
    stats::Phase,
};

/// How long the capacity is measured before.
const CAPACITY: Duration = Duration::from_secs(4);
/// Requests in flight while it is.
const IN_FLIGHT: usize = 64;
/// Part of the capacity that is asked for.
const LOAD: f64 = 0.7;
/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_secs(1);
/// Growth of the resident memory over the second half of the run that is noise, MiB: pages that an allocator keeps back.
const GROWTH_MIB_MAX: f64 = 8.0;

/// What to do and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// Arguments that start the server.
    pub server: Vec<String>,
    /// Length of the run.
    pub duration: Duration,
    /// Time between two swaps.
    pub swap_every: Duration,
    /// One request to [`TINY_MODEL`].
    pub request: ModelInferRequest,
}

/// Runs it; `progress` is told how far it is.
///
/// # Errors
/// A server that does not start, or cannot be asked.
pub async fn run(options: &Options, progress: impl Fn(&str)) -> anyhow::Result<Report> {
    let arguments: Vec<&str> = options.server.iter().map(String::as_str).collect();
    let server = Server::start(&arguments)?;
    let client = Client::connect(server.address, 4).await?;
    progress("capacity");
    let capacity = client.closed_loop(&options.request, IN_FLIGHT, CAPACITY).await?.rate();
    let load = client.open_loop(&options.request, capacity * LOAD, options.duration);
    let swaps = swap(server.address, options.swap_every, options.duration);
    let memory = watch(&server, options.duration, progress);
    let (phase, swaps, memory) = tokio::join!(load, swaps, memory);
    let (phase, swaps) = (phase?, swaps?);
    let rows = vec![answers(&phase, capacity), swapped(swaps), growth(&memory)];
    Ok(Report { machine: machine(), rows, skipped: Vec::new() })
}

/// Loads the model anew every so often; how often it was, and how often that failed.
async fn swap(address: SocketAddr, every: Duration, duration: Duration) -> anyhow::Result<(u64, u64)> {
    let mut client = Oip::new(channel(address).await?);
    let (until, mut done, mut failed) = (Instant::now() + duration, 0, 0);
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    while Instant::now() + every < until {
        tick.tick().await;
        let request = RepositoryModelLoadRequest { model_name: TINY_MODEL.into(), ..Default::default() };
        match client.repository_model_load(request).await {
            Ok(_) => done += 1,
            Err(_) => failed += 1,
        }
    }
    Ok((done, failed))
}

/// Resident memory second by second, MiB.
async fn watch(server: &Server, duration: Duration, progress: impl Fn(&str)) -> Vec<f64> {
    let (start, mut seen) = (Instant::now(), Vec::new());
    let mut tick = interval(LOOK);
    while start.elapsed() < duration {
        tick.tick().await;
        let Some(bytes) = server.resident_bytes() else { break };
        let mib = bytes as f64 / f64::from(1 << 20);
        seen.push(mib);
        progress(&format!(
            "{:.0} of {:.0} s, {mib:.1} MiB",
            start.elapsed().as_secs_f64(),
            duration.as_secs_f64()
        ));
    }
    seen
}

fn answers(phase: &Phase, capacity: f64) -> Row {
    let name = format!("errors at {:.0} % of the capacity", LOAD * 100.0);
    let (answered, p99_ms) = (phase.latency_us.len(), phase.quantile_us(0.99) / 1e3);
    let value = format!("{} of {answered} answers; {:.0}/s, p99 {p99_ms:.1} ms", phase.errors, phase.rate());
    Row::new(&name, value, format!("capacity {capacity:.0}/s"), phase.errors as f64, Target::AtMost(0.0))
}

fn swapped((done, failed): (u64, u64)) -> Row {
    let value = format!("{failed} failed, {done} done");
    Row::new(
        "swaps of the model under load that failed",
        value,
        String::new(),
        failed as f64,
        Target::AtMost(0.0),
    )
}

/// Growth over the second half, by the line through it: the first half is for caches and pools to fill.
fn growth(memory: &[f64]) -> Row {
    let half = memory.get(memory.len() / 2..).unwrap_or_default();
    let grown = slope(half) * half.len() as f64;
    let (first, last) = (half.first().copied().unwrap_or(f64::NAN), half.last().copied().unwrap_or(f64::NAN));
    let value = format!("{grown:+.2} MiB in {} s", half.len());
    let beside = format!("{first:.1} MiB, at the end {last:.1} MiB");
    let name = "growth of memory over the second half, MiB";
    Row::new(name, value, beside, grown, Target::AtMost(GROWTH_MIB_MAX))
}

/// Slope of the line through equally spaced values, by least squares.
fn slope(values: &[f64]) -> f64 {
    let middle = (values.len().saturating_sub(1)) as f64 / 2.0;
    let (mut up, mut down) = (0.0, 0.0);
    for (at, value) in values.iter().enumerate() {
        let apart = at as f64 - middle;
        up += apart * value;
        down += apart * apart;
    }
    if down > 0.0 { up / down } else { 0.0 }
}

/// Fails with what was not met, so that whoever runs it need not read.
///
/// # Errors
/// A row of `report` that missed its target.
pub fn judge(report: &Report) -> anyhow::Result<()> {
    let missed = report.rows.iter().find(|row| !row.met);
    missed
        .map_or(Ok(()), |row| Err(anyhow::anyhow!("{}: {} ({})", row.measure, row.value, row.target)))
        .context("the soak found a fault")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_is_told_from_memory_that_moves() {
        let leaking: Vec<f64> = (0..120).map(|second| 100.0 + f64::from(second) * 0.5).collect();
        let moving: Vec<f64> = (0..120).map(|second| 100.0 + f64::from(second % 7)).collect();
        assert!((slope(&leaking) - 0.5).abs() < 1e-9);
        assert!(!growth(&leaking).met && growth(&moving).met);
        assert_eq!((slope(&[]), slope(&[5.0])), (0.0, 0.0));
    }

    #[test]
    fn one_row_that_is_missed_fails_the_run() {
        let row = |result| Row::new("errors", String::new(), String::new(), result, Target::AtMost(0.0));
        let report = |rows| Report { machine: String::new(), rows, skipped: Vec::new() };
        assert!(judge(&report(vec![row(0.0)])).is_ok());
        assert!(judge(&report(vec![row(0.0), row(1.0)])).is_err());
    }
}
