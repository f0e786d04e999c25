//! Encryption of a port: its certificate, the key of that, and, where clients must show one too, whose certificates of
//! theirs count. The files are read anew when they change, so that a certificate is replaced without a restart.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use metrics::counter;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Time for a client to agree on the encryption.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What is spoken inside; a client of gRPC offers the first, one of HTTP any.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Connections that ended before they were encrypted.
const FAILURES: &str = "manpasik_tls_handshake_failures_total";

/// Where the certificates are, each file in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// Certificates of the authorities whose clients are let in; without it no client is asked for one.
    pub client_authority: Option<PathBuf>,
}

/// Why a port cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{}` {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the files held.
#[derive(PartialEq, Eq)]
struct Held {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authority: Option<Vec<u8>>,
}

/// The encryption of a port. Connections that are open keep the certificate they began with.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<(Held, TlsAcceptor)>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold what it should, by its path.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let held = Held::read(&files)?;
        let acceptor = acceptor(&files, &held)?;
        Ok(Self { files, current: RwLock::new((held, acceptor)) })
    }

    /// Takes what the files hold now, if that is something else; whether it was.
    ///
    /// # Errors
    /// As [`Tls::open`]; what was read before then goes on counting.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let held = Held::read(&self.files)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == held {
            return Ok(false);
        }
        let acceptor = acceptor(&self.files, &held)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (held, acceptor);
        Ok(true)
    }

    /// Looks at the files for ever.
    pub async fn follow(self: Arc<Self>) {
        let mut told = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let this = Arc::clone(&self);
            let Ok(refreshed) = tokio::task::spawn_blocking(move || this.refresh()).await else { continue };
            match refreshed {
                Ok(true) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "certificate replaced");
                }
                Ok(false) => told = None,
                Err(error) => {
                    // Certificate and key are seldom replaced in the same instant; and once is enough.
                    let text = error.to_string();
                    if told.as_ref() != Some(&text) {
                        tracing::warn!(%error, "the certificate stays as it was");
                        told = Some(text);
                    }
                }
            }
        }
    }

    /// Agrees with a client on the encryption.
    pub(super) async fn greet(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone();
        let greeted = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(greeted) => greeted,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        greeted.inspect_err(|_| counter!(FAILURES).increment(1))
    }
}

impl Held {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| TlsError::File { path: path.to_path_buf(), source })
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_authority: files.client_authority.as_deref().map(read).transpose()?,
        })
    }
}

fn acceptor(files: &TlsFiles, held: &Held) -> Result<TlsAcceptor, TlsError> {
    let wrong = |path: &Path, reason: String| TlsError::Content { path: path.to_path_buf(), reason };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&files.certificate, error.to_string()))?;
    let builder = match (&files.client_authority, &held.client_authority) {
        (Some(path), Some(pem)) => {
            let mut authorities = RootCertStore::empty();
            for certificate in certificates(path, pem)? {
                authorities
                    .add(certificate)
                    .map_err(|error| wrong(path, format!("is no authority: {error}")))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, error.to_string()))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_slice(&held.key)
        .map_err(|error| wrong(&files.key, format!("holds no private key in PEM: {error}")))?;
    let mut config = builder
        .with_single_cert(certificates(&files.certificate, &held.certificate)?, key)
        .map_err(|error| wrong(&files.key, format!("does not go with the certificate: {error}")))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: String| TlsError::Content { path: path.to_path_buf(), reason };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| wrong(format!("is not PEM: {error}")))?;
    if read.is_empty() { Err(wrong("holds no certificate in PEM".to_owned())) } else { Ok(read) }
}
