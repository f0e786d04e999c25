//! Closed-loop load: a fixed number of requests in flight, each followed by the next as soon
//! as it is answered.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use proto::inference::{
    ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::InferInputTensor,
};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use crate::stats::{Phase, histogram, record};

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest message taken or sent; an image tensor needs under 1 MB.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A client of one server, over its own connections.
#[derive(Clone)]
pub struct Target {
    clients: Vec<GrpcInferenceServiceClient<Channel>>,
}

impl Target {
    /// Connects `connections` times to `address`.
    pub async fn connect(address: SocketAddr, connections: usize) -> anyhow::Result<Self> {
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            let channel = channel(address).await?;
            clients.push(
                GrpcInferenceServiceClient::new(channel)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX)
                    .max_decoding_message_size(MESSAGE_BYTES_MAX),
            );
        }
        Ok(Self { clients })
    }

    /// Sends `request` over and over for `duration` with `in_flight` requests outstanding.
    pub async fn closed_loop(
        &self,
        request: &ModelInferRequest,
        in_flight: usize,
        duration: Duration,
    ) -> anyhow::Result<Phase> {
        let start = Instant::now();
        let until = start + duration;
        let mut tasks = JoinSet::new();
        for index in 0..in_flight {
            let client = self.clients[index % self.clients.len()].clone();
            tasks.spawn(one_loop(client, request.clone(), until));
        }
        let (mut latency_us, mut errors) = (histogram(), 0);
        while let Some(result) = tasks.join_next().await {
            let (part, failed) = result.context("a load task failed")?;
            latency_us.add(&part).context("histograms differ")?;
            errors += failed;
        }
        Ok(Phase { elapsed: start.elapsed(), latency_us, errors })
    }
}

/// One connection to `address`.
pub async fn channel(address: SocketAddr) -> anyhow::Result<Channel> {
    Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .timeout(ANSWER_TIMEOUT)
        .connect()
        .await
        .with_context(|| format!("cannot connect to {address}"))
}

async fn one_loop(
    mut client: GrpcInferenceServiceClient<Channel>,
    request: ModelInferRequest,
    until: Instant,
) -> (hdrhistogram::Histogram<u64>, u64) {
    let (mut latency_us, mut errors) = (histogram(), 0);
    while Instant::now() < until {
        let start = Instant::now();
        match client.model_infer(request.clone()).await {
            Ok(_) => record(&mut latency_us, start.elapsed()),
            Err(_) => errors += 1,
        }
    }
    (latency_us, errors)
}

/// A request with one single-precision input, sent raw.
pub fn request(model: &str, input: &str, shape: &[i64], values: &[f32]) -> ModelInferRequest {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    ModelInferRequest {
        model_name: model.into(),
        inputs: vec![InferInputTensor {
            name: input.into(),
            datatype: "FP32".into(),
            shape: shape.to_vec(),
            ..Default::default()
        }],
        raw_input_contents: vec![bytes.into()],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn the_loop_counts_answers_of_the_echo() {
        let (tell, address) = oneshot::channel();
        let server = tokio::spawn(crate::echo::serve(|bound| tell.send(bound).expect("receiver waits")));
        let target = Target::connect(address.await.expect("the echo binds"), 2).await.expect("connects");
        let request = request("any", "channels", &[1, 88], &[0.5; 88]);
        let phase = target.closed_loop(&request, 4, Duration::from_millis(100)).await.expect("the loop runs");
        assert!(phase.latency_us.len() > 4, "every task answered at least once");
        assert_eq!(phase.errors, 0);
        server.abort();
    }
}
