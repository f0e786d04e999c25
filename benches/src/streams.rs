//! Stream load: packets on several `StreamAnalysis` streams with a window of unanswered ones.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use proto::manpasik::v1::{
    StreamAnalysisRequest, StreamPacket, StreamStart, ai_inference_service_client::AiInferenceServiceClient,
    stream_analysis_request, stream_analysis_response,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::{
    load::channel,
    stats::{Phase, histogram, record},
};

/// Streams `channels` over and over on `streams` streams for `duration`, each with at most
/// `window` packets unanswered. Streams share four connections.
pub async fn run(
    address: SocketAddr,
    streams: usize,
    window: usize,
    channels: &[f32],
    duration: Duration,
) -> anyhow::Result<Phase> {
    let mut connections = Vec::new();
    for _ in 0..4.min(streams) {
        connections.push(AiInferenceServiceClient::new(channel(address).await?));
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for index in 0..streams {
        let client = connections[index % connections.len()].clone();
        tasks.spawn(one_stream(client, window, channels.to_vec(), start + duration));
    }
    let mut latency_us = histogram();
    while let Some(result) = tasks.join_next().await {
        let part = result.context("a stream task failed")??;
        latency_us.add(&part).context("histograms differ")?;
    }
    Ok(Phase { elapsed: start.elapsed(), latency_us, errors: 0 })
}

async fn one_stream(
    mut client: AiInferenceServiceClient<Channel>,
    window: usize,
    channels: Vec<f32>,
    until: Instant,
) -> anyhow::Result<Histogram<u64>> {
    let (send, receive) = mpsc::channel(window + 1);
    send.send(start_message()).await?;
    let mut answers = client.stream_analysis(ReceiverStream::new(receive)).await?.into_inner();
    let mut sent_at = Vec::with_capacity(window);
    for sequence in 0..window as u64 {
        sent_at.push(Instant::now());
        send.send(packet(sequence, &channels)).await?;
    }
    let (mut next, mut latency_us) = (window as u64, histogram());
    while let Some(answer) = answers.message().await? {
        let Some(stream_analysis_response::Message::Analysis(analysis)) = answer.message else { continue };
        let slot = (analysis.sequence % window as u64) as usize;
        record(&mut latency_us, sent_at[slot].elapsed());
        if Instant::now() >= until {
            return Ok(latency_us);
        }
        sent_at[(next % window as u64) as usize] = Instant::now();
        send.send(packet(next, &channels)).await?;
        next += 1;
    }
    bail!("the server ended the stream early")
}

fn start_message() -> StreamAnalysisRequest {
    let start = StreamStart { cartridge_code: "01:01".into(), ..Default::default() };
    StreamAnalysisRequest { message: Some(stream_analysis_request::Message::Start(start)) }
}

fn packet(sequence: u64, channels: &[f32]) -> StreamAnalysisRequest {
    let packet = StreamPacket { sequence, channels: channels.to_vec() };
    StreamAnalysisRequest { message: Some(stream_analysis_request::Message::Packet(packet)) }
}
