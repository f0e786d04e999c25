//! Section of the configuration about the ports: where they are, who is let in by which certificate, and how a command
//! on this machine reaches them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use inference::server::tls::{Tls, TlsFiles};
use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Addresses and patience of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// Address of the gRPC port.
    pub(crate) grpc: SocketAddr,
    /// Address of the HTTP port.
    pub(crate) http: SocketAddr,
    /// Longest wait for running requests at shutdown.
    pub(crate) shutdown_grace_ms: u64,
    /// Whether clients on this machine may hand over tensors in shared memory (`/dev/shm`). They then choose which
    /// objects there are read and written.
    pub(crate) shared_memory: bool,
    /// Bytes of a model that clients of the Open Inference Protocol may send along when they ask for it to be loaded;
    /// 0: none, and no configuration either.
    pub(crate) load_override_bytes_max: usize,
    /// Requests that one tenant (`x-tenant-id`) may have under way at once.
    pub(crate) tenant_requests_max: usize,
    /// Requests that one tenant may ask a second, after a burst of as many; 0: no limit.
    pub(crate) tenant_requests_per_s_max: u32,
    /// Ports of their own for what changes or watches the server: then the others refuse that.
    pub(crate) admin: Option<Admin>,
    pub(crate) tls: Encryption,
}

/// Addresses that only those who run the server should reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    /// Address of the gRPC port.
    pub(crate) grpc: SocketAddr,
    /// Address of the HTTP port.
    pub(crate) http: SocketAddr,
}

/// Encryption of every port. The files are read anew when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encryption {
    /// The server's certificate in PEM, followed by those that vouch for it; empty: connections are not encrypted.
    pub(crate) certificate: PathBuf,
    /// The certificate's key in PEM.
    pub(crate) key: PathBuf,
    /// Certificates of authorities in PEM: only clients with a certificate by one of them are let in; empty: all are.
    pub(crate) client_authority: PathBuf,
    /// The name in the certificate, by which commands on this machine check it; empty: the address.
    pub(crate) name: String,
    /// Certificate and key, in one file, by which commands on this machine show who they are where clients must.
    pub(crate) client: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        let limits = inference::Limits::default();
        Self {
            grpc: SocketAddr::from(([127, 0, 0, 1], 50051)),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            shutdown_grace_ms: 10_000,
            shared_memory: false,
            load_override_bytes_max: 0,
            tenant_requests_max: limits.tenant_requests_max,
            tenant_requests_per_s_max: limits.tenant_requests_per_s_max,
            admin: None,
            tls: Encryption::default(),
        }
    }
}

impl Server {
    /// Adds what is wrong with this section.
    pub(crate) fn check(&self, faults: &mut Vec<String>) {
        if self.shutdown_grace_ms == 0 {
            faults.push("server.shutdown_grace_ms: must be at least 1".into());
        }
        let Encryption { certificate, key, client_authority, name: _, client: _ } = &self.tls;
        if given(certificate).is_some() != given(key).is_some() {
            faults.push("server.tls: certificate and key go together, one of them is missing".into());
        }
        if given(client_authority).is_some() && given(certificate).is_none() {
            faults.push("server.tls.client_authority: takes server.tls.certificate and key too".into());
        }
    }

    /// Whether any port is reachable from other machines.
    pub(crate) fn is_open(&self) -> bool {
        let admin = self.admin.iter().flat_map(|admin| [admin.grpc, admin.http]);
        [self.grpc, self.http].into_iter().chain(admin).any(|address| !address.ip().is_loopback())
    }

    /// The encryption of the ports, if they are to have any.
    pub(crate) fn encryption(&self) -> anyhow::Result<Option<Arc<Tls>>> {
        let Some(certificate) = given(&self.tls.certificate) else { return Ok(None) };
        let files = TlsFiles {
            certificate: certificate.to_path_buf(),
            key: self.tls.key.clone(),
            client_authority: given(&self.tls.client_authority).map(Path::to_path_buf),
        };
        Ok(Some(Arc::new(Tls::open(files).context("server.tls")?)))
    }

    /// The gRPC port at `address`, as a command on this machine reaches it.
    pub(crate) fn reached(&self, address: SocketAddr) -> anyhow::Result<Endpoint> {
        let Some(certificate) = given(&self.tls.certificate) else {
            return Ok(Channel::from_shared(format!("http://{address}"))?);
        };
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(certificate)?));
        if !self.tls.name.is_empty() {
            tls = tls.domain_name(&self.tls.name);
        }
        if let Some(client) = given(&self.tls.client) {
            let both = read(client)?;
            tls = tls.identity(Identity::from_pem(&both, &both));
        }
        let endpoint = Channel::from_shared(format!("https://{address}"))?;
        endpoint.tls_config(tls).context("server.tls: the certificate cannot be used to reach the server")
    }
}

/// A path that was configured.
fn given(path: &Path) -> Option<&Path> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}
