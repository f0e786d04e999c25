//! One connection of a closed loop over gRPC. All requests that are in flight on it are the work of one task, which also
//! drives the connection: a task for each, and channels between them, would cost the machine more than many a server.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::Poll,
    time::Instant,
};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream::FuturesUnordered};
use h2::{
    RecvStream,
    client::{Builder, Connection, SendRequest},
};
use hdrhistogram::Histogram;
use prost::Message;
use proto::inference::ModelInferResponse;
use tokio::{net::TcpStream, time::timeout_at};
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Uri, header};

use crate::{
    load::{ANSWER_TIMEOUT, PREFIX_BYTES},
    stats::{histogram, record},
};

/// Windows of flow control: no answer waits for one.
const WINDOW_BYTES: u32 = 16 << 20;

/// See the module.
pub(crate) struct Lane {
    sender: SendRequest<Bytes>,
    connection: Connection<TcpStream, Bytes>,
    call: Call,
    in_flight: usize,
}

/// What is sent each time.
struct Call {
    uri: Uri,
    headers: HeaderMap,
    message: Bytes,
}

/// Latencies and failures.
pub(crate) type Measured = (Histogram<u64>, u64);

impl Lane {
    /// Connects to `address`, to send `message` to `ModelInfer` with `in_flight` outstanding.
    pub(crate) async fn connect(
        address: SocketAddr,
        message: Bytes,
        in_flight: usize,
    ) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut builder = Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (sender, connection) = builder.handshake(stream).await?;
        let uri = format!("http://{address}/inference.GRPCInferenceService/ModelInfer").parse()?;
        let fields = [(header::CONTENT_TYPE, "application/grpc"), (header::TE, "trailers")];
        let headers = fields.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter();
        Ok(Self { sender, connection, call: Call { uri, headers: headers.collect(), message }, in_flight })
    }

    /// Asks over and over until then, and waits for what is still on its way.
    ///
    /// # Errors
    /// The connection ended before: what was measured would be of fewer requests in flight than it says.
    pub(crate) async fn run(self, until: Instant) -> anyhow::Result<Measured> {
        let Self { sender, mut connection, call, in_flight } = self;
        let measured = Mutex::new((histogram(), 0));
        let slot = |_| one_after_another(sender.clone(), &call, until, &measured);
        let mut slots: FuturesUnordered<_> = (0..in_flight).map(slot).collect();
        drop(sender);
        let (mut over, mut cut) = (false, false);
        let all = poll_fn(|context| {
            loop {
                // How it ended, every slot hears for itself.
                over = over || Pin::new(&mut connection).poll(context).is_ready();
                cut = cut || (over && Instant::now() < until);
                let mut goes_on = false;
                while let Poll::Ready(ended) = slots.poll_next_unpin(context) {
                    if ended.is_none() {
                        return Poll::Ready(());
                    }
                    goes_on = true;
                }
                if !goes_on {
                    return Poll::Pending;
                }
            }
        });
        let in_time = timeout_at((until + ANSWER_TIMEOUT).into(), all).await.is_ok();
        let late = if in_time { 0 } else { slots.len() as u64 };
        drop(slots);
        ensure!(!cut, "the server ended a connection in the middle of a phase");
        let (latency_us, errors) = measured.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((latency_us, errors + late))
    }
}

async fn one_after_another(
    mut sender: SendRequest<Bytes>,
    call: &Call,
    until: Instant,
    measured: &Mutex<Measured>,
) {
    while Instant::now() < until {
        let start = Instant::now();
        let answer = answer(&mut sender, call).await;
        let took = start.elapsed();
        let (latency_us, errors) = &mut *measured.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(_) => record(latency_us, took),
            Err(error) => {
                *errors += 1;
                // Nothing more can come of a connection that is over.
                if error.downcast_ref::<h2::Error>().is_some_and(|error| !error.is_reset()) {
                    return;
                }
            }
        }
    }
}

/// Asks once.
async fn answer(sender: &mut SendRequest<Bytes>, call: &Call) -> anyhow::Result<ModelInferResponse> {
    poll_fn(|context| sender.poll_ready(context)).await?;
    let mut request = Request::post(call.uri.clone()).body(())?;
    request.headers_mut().clone_from(&call.headers);
    let (response, mut body) = sender.send_request(request, false)?;
    body.send_data(call.message.clone(), true)?;
    let (head, mut body) = response.await?.into_parts();
    let message = message(&mut body).await?;
    let trailers = body.trailers().await?;
    let status = |headers: &HeaderMap| headers.get("grpc-status").cloned();
    let status = status(&head.headers).or_else(|| trailers.as_ref().and_then(status));
    ensure!(status.as_ref().is_some_and(|status| status == "0"), "answered status {status:?}");
    ensure!(message.len() >= PREFIX_BYTES, "the answer is empty");
    Ok(ModelInferResponse::decode(message.slice(PREFIX_BYTES..))?)
}

async fn message(body: &mut RecvStream) -> anyhow::Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}
