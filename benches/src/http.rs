//! Load over HTTP/1.1: every request in flight has a connection of its own, which it keeps.
//!
//! A request is bytes that were made once, and of an answer only the head is parsed: whoever is measured shares the
//! machine with this.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    load::{ANSWER_TIMEOUT, Ask, closed, open},
    stats::Phase,
};

/// Fields that the head of an answer may have.
const FIELDS_MAX: usize = 64;
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

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
        OverHttp { address: self.address, request: self.request(), connection: None }.answer().await
    }

    fn askers(&self, count: usize) -> Vec<impl Ask + use<>> {
        let request = self.request();
        let asker = |_| OverHttp { address: self.address, request: request.clone(), connection: None };
        (0..count).map(asker).collect()
    }

    fn request(&self) -> Bytes {
        let Self { address, path, headers, body } = self;
        let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n{fields}content-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat().into()
    }
}

/// Whether `GET path` is answered with success.
pub async fn is_ready(address: SocketAddr, path: &str) -> bool {
    let ask = async {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        let mut connection = Connection::open(address).await?;
        connection.stream.write_all(request.as_bytes()).await?;
        anyhow::Ok(connection.head().await?.status)
    };
    matches!(timeout(Duration::from_secs(2), ask).await, Ok(Ok(200)))
}

struct OverHttp {
    address: SocketAddr,
    request: Bytes,
    connection: Option<Connection>,
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
            None => Connection::open(self.address).await?,
        };
        let exchange = connection.exchange(&self.request);
        let (head, body) = timeout(ANSWER_TIMEOUT, exchange).await.context("no answer in time")??;
        if head.stays {
            self.connection = Some(connection);
        }
        let status = head.status;
        ensure!((200..300).contains(&status), "answered {status}: {}", String::from_utf8_lossy(&body));
        ensure!(!body.is_empty(), "the answer is empty");
        Ok(body)
    }
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(usize),
    /// As the chunks say that it comes in.
    Chunks,
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Length,
    /// Whether another request may follow on the connection.
    stays: bool,
}

struct Connection {
    stream: TcpStream,
    /// What was read and not yet used.
    unread: BytesMut,
}

impl Connection {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: BytesMut::with_capacity(4096) })
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(Head, Bytes)> {
        self.stream.write_all(request).await?;
        let head = self.head().await?;
        let body = match head.length {
            Length::Known(length) => self.take(length).await?.freeze(),
            Length::Chunks => self.chunks().await?,
        };
        Ok((head, body))
    }

    async fn chunks(&mut self) -> anyhow::Result<Bytes> {
        let mut whole = BytesMut::new();
        loop {
            match httparse::parse_chunk_size(&self.unread) {
                Ok(httparse::Status::Complete((head, size))) => {
                    self.unread.advance(head);
                    whole.unsplit(self.take(usize::try_from(size)?).await?);
                    ensure!(whole.len() <= ANSWER_BYTES_MAX, "the answer is too long");
                    // Each chunk ends with an empty line, and the one without bytes is the last.
                    self.take(2).await?;
                    if size == 0 {
                        return Ok(whole.freeze());
                    }
                }
                Ok(httparse::Status::Partial) => self.read().await?,
                Err(_) => bail!("the answer has a chunk without a size"),
            }
        }
    }

    async fn take(&mut self, length: usize) -> anyhow::Result<BytesMut> {
        ensure!(length <= ANSWER_BYTES_MAX, "{length} bytes are too long an answer");
        while self.unread.len() < length {
            self.read().await?;
        }
        Ok(self.unread.split_to(length))
    }

    async fn head(&mut self) -> anyhow::Result<Head> {
        loop {
            if let Some((head, bytes)) = head(&self.unread)? {
                self.unread.advance(bytes);
                return Ok(head);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.unread).await? == 0 {
            bail!("the connection was closed before the answer was whole");
        }
        Ok(())
    }
}

/// The head that `bytes` begin with and its length, once it is whole.
fn head(bytes: &[u8]) -> anyhow::Result<Option<(Head, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(end) = response.parse(bytes)? else { return Ok(None) };
    let status = response.code.context("an answer without a status")?;
    let field = |name: &str| response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let says = |name: &str, value: &str| {
        field(name).is_some_and(|field| field.value.eq_ignore_ascii_case(value.as_bytes()))
    };
    let length = match field("content-length") {
        Some(field) => Length::Known(std::str::from_utf8(field.value)?.parse()?),
        None if says("transfer-encoding", "chunked") => Length::Chunks,
        None => bail!("the answer does not say how long it is"),
    };
    Ok(Some((Head { status, length, stays: !says("connection", "close") }, end)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let whole = b"HTTP/1.1 503 Busy\r\nContent-Length: 12\r\nConnection: close\r\n\r\nrest";
        let end = whole.len() - 4;
        assert!((0..end).all(|length| head(&whole[..length]).expect("a part of a head").is_none()));
        let want = Head { status: 503, length: Length::Known(12), stays: false };
        assert_eq!(head(whole).expect("a head"), Some((want, end)));
        let chunked = head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").expect("a head");
        assert_eq!(chunked.map(|(head, _)| (head.length, head.stays)), Some((Length::Chunks, true)));
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "nothing says where it ends");
        assert!(head(b"SSH-2.0-server\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n").is_err());
    }

    /// A server that answers every request on every connection with `status`.
    async fn server(status: &'static str) -> SocketAddr {
        answers(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}")).await
    }

    /// A server that says the same to every request.
    async fn answers(answer: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
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
    async fn an_answer_may_come_in_chunks() {
        let address = answers(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=1\r\n\":1}\r\n0\r\n\r\n"
                .into(),
        );
        let call = call(address.await);
        assert_eq!(call.once().await.expect("whole"), "{\"a\":1}");
        let phase = call.closed_loop(2, Duration::from_millis(40)).await.expect("ran");
        assert!(phase.latency_us.len() > 2 && phase.errors == 0, "the connections go on");
        let broken = answers("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nmany\r\n".into()).await;
        assert!(self::call(broken).once().await.is_err());
    }

    #[tokio::test]
    async fn an_open_loop_asks_as_often_as_it_is_told() {
        let call = call(server("200 OK").await);
        let phase = call.open_loop(500.0, 8, Duration::from_millis(200)).await.expect("ran");
        assert_eq!((phase.latency_us.len(), phase.errors), (100, 0));
    }
}
