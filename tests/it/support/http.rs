//! One HTTP/1.1 exchange over a plain socket, so that the tests see the bytes a client sees.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    exchange(address, "GET", path, "application/json", b"")
}

/// `POST path` with a JSON body.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    exchange(address, "POST", path, "application/json", body.as_bytes())
}

/// One request on a connection of its own.
pub(crate) fn exchange(address: SocketAddr, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
    send(address, method, path, &format!("content-type: {kind}\r\n"), body)
}

/// One request of JSON with this header `authorization`.
pub(crate) fn bearing(address: SocketAddr, method: &str, path: &str, header: &str, body: &str) -> Answer {
    let headers = format!("content-type: application/json\r\nauthorization: {header}\r\n");
    send(address, method, path, &headers, body.as_bytes())
}

/// One request with these header lines, each ended.
pub(crate) fn send(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    // A server that refuses a large body may close before it has read all of it.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = &bytes[end + 4..];
    let chunked = head.contains("transfer-encoding: chunked");
    Answer { status, body: if chunked { dechunk(body) } else { body.to_vec() } }
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16).expect("a chunk size");
        let start = end + 2;
        body.extend_from_slice(&rest[start..start + size]);
        rest = &rest[(start + size + 2).min(rest.len())..];
    }
    body
}
