//! Load: closed, where a fixed number of requests is in flight and each is followed by the next as soon as it is
//! answered; or open, where requests are due at set times, and a late answer makes no later request look quick.
//!
//! The generator shares the machine with what it measures, so it spends as little as it can: the
//! request is encoded once and the same bytes are sent each time. Answers are decoded. In a closed loop over gRPC all
//! that is in flight on a connection is the work of one task (`lane`).

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use prost::Message;
use proto::inference::{ModelInferRequest, ModelInferResponse, model_infer_request::InferInputTensor};
use tokio::task::JoinSet;
use tonic::{
    body::Body,
    client::GrpcService,
    codegen::http::{HeaderMap, Request, header},
    transport::{Channel, Endpoint},
};

use crate::{
    lane::{Lane, Measured},
    stats::{Phase, histogram, record},
};

/// Longest wait for one answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Most requests of an open loop on their way at a time.
pub const OPEN_MAX: usize = 256;
/// Bytes in front of every message of gRPC: a flag for compression and the length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// A client of one server, over its own connections.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    channels: Vec<Channel>,
}

impl Target {
    /// Connects `connections` times to `address`.
    pub async fn connect(address: SocketAddr, connections: usize) -> anyhow::Result<Self> {
        let mut channels = Vec::with_capacity(connections);
        for _ in 0..connections {
            channels.push(channel(address).await?);
        }
        Ok(Self { address, channels })
    }

    /// Sends `request` over and over for `duration` with `in_flight` requests outstanding.
    pub async fn closed_loop(
        &self,
        request: &ModelInferRequest,
        in_flight: usize,
        duration: Duration,
    ) -> anyhow::Result<Phase> {
        let count = self.channels.len().min(in_flight);
        let mut lanes = Vec::with_capacity(count);
        for lane in 0..count {
            let share = in_flight / count + usize::from(lane < in_flight % count);
            lanes.push(Lane::connect(self.address, framed(request), share).await?);
        }
        let start = Instant::now();
        let until = start + duration;
        let mut tasks = JoinSet::new();
        for lane in lanes {
            tasks.spawn(lane.run(until));
        }
        gathered(tasks, start).await
    }

    /// Sends `rate` requests a second for `duration`, each when it is due, while fewer than [`OPEN_MAX`] are on their
    /// way. A latency counts from when the request was due, to the millisecond: a request that could not be sent in time
    /// has waited as long as a user would have (no coordinated omission).
    pub async fn open_loop(
        &self,
        request: &ModelInferRequest,
        rate: f64,
        duration: Duration,
    ) -> anyhow::Result<Phase> {
        open(self.askers(request, OPEN_MAX), rate, duration).await
    }

    /// Sends `request` once.
    ///
    /// # Errors
    /// No answer came, or one that tells of a failure.
    pub async fn once(&self, request: &ModelInferRequest) -> anyhow::Result<ModelInferResponse> {
        let call = Call { address: self.address, message: framed(request) };
        let mut channel = self.channels.first().context("there is no connection")?.clone();
        call.send(&mut channel).await
    }

    fn askers(&self, request: &ModelInferRequest, count: usize) -> Vec<impl Ask + use<>> {
        let call = Call { address: self.address, message: framed(request) };
        let channels = self.channels.iter().cycle().take(count);
        channels.map(|channel| OverGrpc { channel: channel.clone(), call: call.clone() }).collect()
    }
}

/// One who asks and waits for the answer, again and again.
pub trait Ask: Send + 'static {
    /// Asks once; fails when no answer came, or one that tells of a failure.
    fn ask(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Every asker asks over and over for `duration`.
pub async fn closed<A: Ask>(askers: Vec<A>, duration: Duration) -> anyhow::Result<Phase> {
    let start = Instant::now();
    let until = start + duration;
    let mut tasks = JoinSet::new();
    for asker in askers {
        tasks.spawn(async move { Ok(one_loop(asker, until).await) });
    }
    gathered(tasks, start).await
}

/// The askers together ask `rate` times a second for `duration`, each time when it is due and counted from then.
pub async fn open<A: Ask>(askers: Vec<A>, rate: f64, duration: Duration) -> anyhow::Result<Phase> {
    let start = Instant::now();
    let until = start + duration;
    let between = Duration::try_from_secs_f64(1.0 / rate).context("the rate must be above 0")?;
    let step = between * u32::try_from(askers.len()).context("too many askers")?;
    let mut tasks = JoinSet::new();
    for (asker, turn) in askers.into_iter().zip(0..) {
        let due = Due { first: start + between * turn, step, until };
        tasks.spawn(async move { Ok(on_time(asker, due).await) });
    }
    gathered(tasks, start).await
}

/// What all tasks of a phase measured.
async fn gathered(mut tasks: JoinSet<anyhow::Result<Measured>>, start: Instant) -> anyhow::Result<Phase> {
    let (mut latency_us, mut errors) = (histogram(), 0);
    while let Some(result) = tasks.join_next().await {
        let (part, failed) = result.context("a load task failed")??;
        latency_us.add(&part).context("histograms differ")?;
        errors += failed;
    }
    Ok(Phase { elapsed: start.elapsed(), latency_us, errors })
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

async fn one_loop(mut asker: impl Ask, until: Instant) -> Measured {
    let (mut latency_us, mut errors) = (histogram(), 0);
    while Instant::now() < until {
        let start = Instant::now();
        match asker.ask().await {
            Ok(()) => record(&mut latency_us, start.elapsed()),
            Err(_) => errors += 1,
        }
    }
    (latency_us, errors)
}

/// When the requests of one task are due.
struct Due {
    first: Instant,
    step: Duration,
    until: Instant,
}

async fn on_time(mut asker: impl Ask, due: Due) -> Measured {
    let (mut latency_us, mut errors) = (histogram(), 0);
    let mut at = due.first;
    while at < due.until {
        tokio::time::sleep_until(at.into()).await;
        match asker.ask().await {
            Ok(()) => record(&mut latency_us, at.elapsed()),
            Err(_) => errors += 1,
        }
        at += due.step;
    }
    (latency_us, errors)
}

/// Asks over a channel that it may share with others.
struct OverGrpc {
    channel: Channel,
    call: Call,
}

impl Ask for OverGrpc {
    async fn ask(&mut self) -> anyhow::Result<()> {
        self.call.send(&mut self.channel).await.map(drop)
    }
}

/// One `ModelInfer`, encoded.
#[derive(Clone)]
struct Call {
    address: SocketAddr,
    message: Bytes,
}

impl Call {
    async fn send(&self, channel: &mut Channel) -> anyhow::Result<ModelInferResponse> {
        std::future::poll_fn(|context| GrpcService::poll_ready(channel, context)).await?;
        let uri = format!("http://{}/inference.GRPCInferenceService/ModelInfer", self.address);
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(Body::new(Full::new(self.message.clone())))?;
        let (head, body) = GrpcService::call(channel, request).await?.into_parts();
        let body = body.collect().await?;
        let status = |headers: &HeaderMap| headers.get("grpc-status").cloned();
        let status = status(&head.headers).or_else(|| body.trailers().and_then(status));
        ensure!(status.as_ref().is_some_and(|status| status == "0"), "answered status {status:?}");
        let message = body.to_bytes();
        ensure!(message.len() >= PREFIX_BYTES, "the answer is empty");
        Ok(ModelInferResponse::decode(message.slice(PREFIX_BYTES..))?)
    }
}

/// The message as it goes into the body of the request.
fn framed(request: &ModelInferRequest) -> Bytes {
    let length = request.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(&request.encode_to_vec());
    frame.freeze()
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

    #[tokio::test]
    async fn a_connection_that_breaks_off_fails_the_phase() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.expect("greeted");
                    // The first request is left without an answer, and then the connection goes.
                    let _ = tokio::time::timeout(Duration::from_millis(50), connection.accept()).await;
                });
            }
        });
        let target = Target::connect(address, 1).await.expect("connects");
        let request = request("any", "channels", &[1, 88], &[0.5; 88]);
        let phase = target.closed_loop(&request, 2, Duration::from_secs(10)).await;
        assert!(phase.expect_err("nothing to measure").to_string().contains("ended a connection"));
        server.abort();
    }

    #[tokio::test]
    async fn an_open_loop_sends_what_is_due_and_no_more() {
        let (tell, address) = oneshot::channel();
        let server = tokio::spawn(crate::echo::serve(|bound| tell.send(bound).expect("receiver waits")));
        let target = Target::connect(address.await.expect("the echo binds"), 2).await.expect("connects");
        let request = request("any", "channels", &[1, 88], &[0.5; 88]);
        let phase =
            target.open_loop(&request, 500.0, Duration::from_millis(200)).await.expect("the loop runs");
        assert_eq!((phase.latency_us.len(), phase.errors), (100, 0));
        assert!(target.open_loop(&request, 0.0, Duration::from_millis(1)).await.is_err());
        server.abort();
    }
}
