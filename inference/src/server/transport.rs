//! Connections: one loop that accepts, bounds and drains them, for gRPC and HTTP alike.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use axum::BoxError;
use hyper::{
    body::{Body, Incoming},
    http::{Request, Response},
    service::Service,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::service::Routes;

use super::{
    front::{Front, Http},
    guard::Guard,
    inplace::{InPlace, Open},
    oip::Oip,
    tls::Tls,
};
use crate::Limits;

/// First windows of HTTP/2 flow control: an image or a batch of rows goes in one flight.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Largest frame of HTTP/2: in the usual 16 KiB an image would arrive in fifty pieces, each waking two threads.
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// How long a client may be silent before it is asked whether it lives, and how often until it is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_PAUSE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_RETRIES: u32 = 3;
/// Time for the head of an HTTP/1 request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where connections come from: a bound socket, and how they are encrypted, if they are.
pub struct Port {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
}

impl Port {
    /// A port of encrypted connections; without `tls` of plain ones.
    pub fn new(listener: TcpListener, tls: Option<Arc<Tls>>) -> Self {
        Self { listener, tls }
    }
}

impl From<TcpListener> for Port {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener, None)
    }
}

/// What answers the requests of a connection; every connection has a clone.
trait Served<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S, B> Served<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Serves the Open Inference Protocol, and `routes`, on `port` until `shutdown`, to those whom `guard` admits;
/// otherwise like [`serve_http`].
pub async fn serve_grpc(
    port: impl Into<Port>,
    oip: impl Into<Oip>,
    routes: Routes,
    guard: Option<Arc<dyn Guard>>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let oip = oip.into();
    let limits = oip.handle().limits().clone();
    // No client of gRPC reads the date, and both sides would pay for it with every answer.
    let dated = false;
    serve(port.into(), Front::new(oip, routes, guard), dated, limits, shutdown).await
}

/// Serves `routes` on `port` until `shutdown`, then accepts nothing more and lets every
/// connection finish its requests within the grace period. Both HTTP versions are spoken.
pub async fn serve_http(
    port: impl Into<Port>,
    routes: impl Into<Http>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    serve(port.into(), routes.into(), true, limits, shutdown).await
}

async fn serve<S, B>(
    Port { listener, tls }: Port,
    service: S,
    dated: bool,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Served<B>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (draining, drain) = watch::channel(false);
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let (mut connections, open) = (JoinSet::new(), Open::default());
    let mut shutdown = pin!(shutdown);
    loop {
        let permit = tokio::select! {
            () = &mut shutdown => break,
            permit = Arc::clone(&room).acquire_owned() => permit.map_err(io::Error::other)?,
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (tls, service, drain) = (tls.clone(), service.clone(), drain.clone());
                let place = InPlace::new(&open);
                let builder = builder(&limits, place.clone(), dated);
                connections.spawn(async move {
                    if let Some(stream) = greeted(stream, tls).await {
                        connection(stream, service, (builder, place), drain).await;
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    draining.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.shutdown_grace(), finished).await.is_err() {
        tracing::warn!(open = connections.len(), "connections cut at the end of the grace period");
    }
    Ok(())
}

fn builder(limits: &Limits, place: InPlace, dated: bool) -> auto::Builder<InPlace> {
    let mut builder = auto::Builder::new(place);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .auto_date_header(dated)
        .max_concurrent_streams(limits.streams_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX);
    builder
}

/// A connection as its requests travel over it; `None` where the client does not agree on the encryption.
async fn greeted(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
) -> Option<Either<TcpStream, Box<TlsStream<TcpStream>>>> {
    if let Err(error) = tune(&stream) {
        tracing::debug!(%error, "cannot set the options of a connection");
    }
    let Some(tls) = tls else { return Some(Either::Left(stream)) };
    match tls.greet(stream).await {
        Ok(stream) => Some(Either::Right(Box::new(stream))),
        Err(error) => {
            tracing::debug!(%error, "a connection was not encrypted");
            None
        }
    }
}

async fn connection<S, B>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    service: S,
    (builder, place): (auto::Builder<InPlace>, InPlace),
    mut drain: watch::Receiver<bool>,
) where
    S: Served<B>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut draining = false;
    let drained = async {
        // An error means that the server is gone, which asks for the same.
        drop(drain.wait_for(|draining| *draining).await);
    };
    let mut drained = pin!(drained);
    let whole = std::future::poll_fn(|context| {
        if !draining && drained.as_mut().poll(context).is_ready() {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    });
    let result = place.drive(pin!(whole)).await;
    if let Err(error) = result {
        tracing::debug!(error, "connection ended");
    }
}

/// Small answers do not wait for the acknowledgement of earlier ones, and a client that vanished is noticed.
/// The system asks after it: a ping of HTTP/2 would take a lock and a look at the clock for every frame.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE_PAUSE)
        .with_retries(KEEP_ALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keep_alive)
}
