//! Load over HTTP/1.1: every request in flight has a connection of its own, which it keeps.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Uri,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    load::{ANSWER_TIMEOUT, Ask, closed, open},
    stats::Phase,
};

/// One request, made once and sent again and again.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where to.
    pub address: SocketAddr,
    /// Path and query.
    pub path: String,
    /// Header lines besides `host`, lengths and the like.
    pub headers: Vec<(&'static str, String)>,
    /// What is posted.
    pub body: Bytes,
}

impl Call {
    /// Sends it over and over for `duration` with `in_flight` requests outstanding.
    pub async fn closed_loop(&self, in_flight: usize, duration: Duration) -> anyhow::Result<Phase> {
        closed(self.askers(in_flight), duration).await
    }

    /// Sends it `rate` times a second for `duration`, over at most `connections`; see
    /// [`Target::open_loop`](crate::load::Target::open_loop).
    pub async fn open_loop(
        &self,
        rate: f64,
        connections: usize,
        duration: Duration,
    ) -> anyhow::Result<Phase> {
        open(self.askers(connections), rate, duration).await
    }

    /// Sends it once and gives the body of the answer, which must be one of success.
    pub async fn once(&self) -> anyhow::Result<Bytes> {
        OverHttp { call: self.clone(), connection: None }.answer().await
    }

    fn askers(&self, count: usize) -> Vec<impl Ask + use<>> {
        (0..count).map(|_| OverHttp { call: self.clone(), connection: None }).collect()
    }

    fn request(&self) -> anyhow::Result<Request<Full<Bytes>>> {
        let uri: Uri = self.path.parse().with_context(|| format!("`{}` is no path", self.path))?;
        let mut request =
            Request::builder().method(Method::POST).uri(uri).header(header::HOST, self.address.to_string());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Ok(request.body(Full::new(self.body.clone()))?)
    }
}

/// Whether `GET path` is answered with success.
pub async fn is_ready(address: SocketAddr, path: &str) -> bool {
    let ask = async {
        let request = Request::get(path).header(header::HOST, address.to_string());
        let response = connect(address).await?.send_request(request.body(Full::default())?).await?;
        anyhow::Ok(response.status().is_success())
    };
    matches!(timeout(Duration::from_secs(2), ask).await, Ok(Ok(true)))
}

struct OverHttp {
    call: Call,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Ask for OverHttp {
    async fn ask(&mut self) -> anyhow::Result<()> {
        self.answer().await.map(drop)
    }
}

impl OverHttp {
    async fn answer(&mut self) -> anyhow::Result<Bytes> {
        // What fails leaves its connection in an unknown state.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.call.address).await?,
        };
        let exchange = async {
            connection.ready().await?;
            let response = connection.send_request(self.call.request()?).await?;
            let status = response.status();
            let body = <Incoming as BodyExt>::collect(response.into_body()).await?.to_bytes();
            ensure!(status.is_success(), "answered {status}: {}", String::from_utf8_lossy(&body));
            ensure!(!body.is_empty(), "the answer is empty");
            anyhow::Ok(body)
        };
        let body = timeout(ANSWER_TIMEOUT, exchange).await.context("no answer in time")??;
        self.connection = Some(connection);
        Ok(body)
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends when the sender is dropped.
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A server that answers every request on every connection with `status`.
    async fn server(status: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
                        stream.write_all(answer.as_bytes()).await.expect("written");
                    }
                });
            }
        });
        address
    }

    fn call(address: SocketAddr) -> Call {
        let headers = vec![("content-type", "application/json".to_owned())];
        Call { address, path: "/v2/models/m/infer".into(), headers, body: "{}".into() }
    }

    #[tokio::test]
    async fn answers_are_counted_and_failures_apart() {
        let well = call(server("200 OK").await).closed_loop(3, Duration::from_millis(80)).await.expect("ran");
        assert!(well.latency_us.len() > 3 && well.errors == 0);
        let address = server("503 Service Unavailable").await;
        let ill = call(address).closed_loop(2, Duration::from_millis(40)).await.expect("ran");
        assert!(ill.latency_us.is_empty() && ill.errors > 0);
        assert!(call(address).once().await.expect_err("503").to_string().contains("503"));
        assert!(!is_ready(address, "/ready").await && is_ready(server("200 OK").await, "/ready").await);
    }

    #[tokio::test]
    async fn an_open_loop_asks_as_often_as_it_is_told() {
        let call = call(server("200 OK").await);
        let phase = call.open_loop(500.0, 8, Duration::from_millis(200)).await.expect("ran");
        assert_eq!((phase.latency_us.len(), phase.errors), (100, 0));
    }
}
