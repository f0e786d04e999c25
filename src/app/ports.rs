//! The ports: bound before anything else, so that an address that is taken is told at once, and served until the end.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::Context;
use axum::Router;
use inference::{
    Limits,
    server::{self, Http, Port, oip::Oip, tls::Tls},
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, Door},
    listening::Server,
};

/// What is served.
pub(super) struct Served {
    pub(super) oip: Oip,
    pub(super) grpc: tonic::service::Routes,
    pub(super) http: Router,
    pub(super) access: Option<Access>,
}

/// A gRPC port and an HTTP port.
struct Pair {
    grpc: TcpListener,
    http: TcpListener,
}

/// Where a pair is: gRPC and HTTP.
pub(crate) type Addresses = (SocketAddr, SocketAddr);

/// The ports, bound.
pub(super) struct Ports {
    data: Pair,
    admin: Option<Pair>,
    tls: Option<Arc<Tls>>,
}

/// The ports as they are served: each ends with its name and why.
pub(super) struct Serving {
    ports: JoinSet<(&'static str, io::Result<()>)>,
    certified: Option<JoinHandle<()>>,
}

impl Ports {
    /// Binds what is configured, and reads the certificate.
    pub(super) async fn bind(settings: &Server) -> anyhow::Result<Self> {
        let data = Pair {
            grpc: bind(settings.grpc, "gRPC", "--grpc").await?,
            http: bind(settings.http, "HTTP", "--http").await?,
        };
        let admin = match &settings.admin {
            Some(admin) => Some(Pair {
                grpc: bind(admin.grpc, "the admin's gRPC", "server.admin.grpc").await?,
                http: bind(admin.http, "the admin's HTTP", "server.admin.http").await?,
            }),
            None => None,
        };
        Ok(Self { data, admin, tls: settings.encryption()? })
    }

    /// Where everybody's ports are, and the admin's, where those are others.
    pub(super) fn addresses(&self) -> io::Result<(Addresses, Option<Addresses>)> {
        let of =
            |pair: &Pair| -> io::Result<Addresses> { Ok((pair.grpc.local_addr()?, pair.http.local_addr()?)) };
        Ok((of(&self.data)?, self.admin.as_ref().map(of).transpose()?))
    }

    /// Serves until `closing`.
    pub(super) fn serve(self, served: Served, limits: &Limits, closing: &CancellationToken) -> Serving {
        let Served { oip, grpc, http, access } = served;
        let mut ports = JoinSet::new();
        let tls = self.tls;
        let mut pair = |pair: Pair, door: &Door, names: (&'static str, &'static str)| {
            let (closed, tls) = (|| closing.clone().cancelled_owned(), || tls.clone());
            let spoken = server::serve_grpc(
                Port::new(pair.grpc, tls()),
                oip.clone(),
                grpc.clone(),
                door.guard(),
                closed(),
            );
            ports.spawn(async move { (names.0, spoken.await) });
            let port = Port::new(pair.http, tls());
            let routes = match door.guard() {
                Some(_) => Http::from(door.over(http.clone())),
                None => Http::open(http.clone(), oip.clone()),
            };
            let spoken = server::serve_http(port, routes, limits.clone(), closed());
            ports.spawn(async move { (names.1, spoken.await) });
        };
        match self.admin {
            Some(admin) => {
                pair(admin, &Door::to_all(access.clone()), ("admin gRPC", "admin HTTP"));
                pair(self.data, &Door::to_data(access), ("gRPC", "HTTP"));
            }
            None => pair(self.data, &Door::to_all(access), ("gRPC", "HTTP")),
        }
        Serving { ports, certified: tls.map(|tls| tokio::spawn(tls.follow())) }
    }
}

impl Serving {
    /// Waits for a port that ends although nobody asked it to.
    pub(super) async fn broken(&mut self) -> anyhow::Error {
        match self.ports.join_next().await {
            Some(Ok((name, Ok(())))) => anyhow::anyhow!("the {name} server ended without being asked to"),
            Some(Ok((name, Err(error)))) => {
                anyhow::Error::new(error).context(format!("the {name} server failed"))
            }
            Some(Err(error)) => anyhow::Error::new(error).context("a server failed"),
            None => anyhow::anyhow!("there is no port to serve"),
        }
    }

    /// Waits until every port has finished.
    pub(super) async fn finish(&mut self) {
        while self.ports.join_next().await.is_some() {}
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(certified) = &self.certified {
            certified.abort();
        }
    }
}

async fn bind(address: SocketAddr, name: &str, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for {name}; choose another with {option}"))
}
