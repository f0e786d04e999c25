//! Encrypted ports: what clients see of certificates, theirs and the server's.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use proto::inference::{ServerReadyRequest, grpc_inference_service_client::GrpcInferenceServiceClient};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::support::{Server, program, run_with, shipped_bundles};

/// Longest wait for a new certificate to count.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who vouches for others.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key of `name`.
    fn vouches_for(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()]).expect("names");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (format!("{}{}", certificate.pem(), self.pem()), key.serialize_pem())
    }
}

/// Files of a server's certificate.
struct Files(TempDir);

impl Files {
    fn of(authority: &Authority) -> Self {
        let files = Self(TempDir::new().expect("a folder"));
        files.replace(authority);
        files
    }

    fn replace(&self, authority: &Authority) {
        let (certificate, key) = authority.vouches_for("localhost");
        fs::write(self.path("server.pem"), certificate).expect("writes");
        fs::write(self.path("server.key"), key).expect("writes");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("MANPASIK__SERVER__TLS__CERTIFICATE", self.text("server.pem")),
            ("MANPASIK__SERVER__TLS__KEY", self.text("server.key")),
        ]
    }
}

fn started(environment: &[(&'static str, String)]) -> Server {
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(key, value)| (*key, value.as_str())).collect();
    Server::with(&shipped_bundles(), &environment)
}

/// Whether the gRPC port answers who trusts `authority` and shows `identity`.
async fn answers(server: &Server, authority: &str, identity: Option<(&str, &str)>) -> bool {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    if let Some((certificate, key)) = identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Channel::from_shared(format!("https://127.0.0.1:{}", server.grpc.port())).expect("a URI");
    let Ok(channel) = endpoint.tls_config(tls).expect("settings").connect().await else { return false };
    GrpcInferenceServiceClient::new(channel).server_ready(ServerReadyRequest {}).await.is_ok()
}

/// Status of `GET /readyz` over HTTPS.
async fn ready(server: &Server, authority: &str) -> reqwest::Result<u16> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([authority]).build().expect("a client");
    let answer = client.get(format!("https://127.0.0.1:{}/readyz", server.http.port())).send().await?;
    Ok(answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_are_encrypted_and_a_new_certificate_counts_without_a_restart() {
    let (first, second) = (Authority::new(), Authority::new());
    let files = Files::of(&first);
    let server = started(&files.environment());
    assert!(answers(&server, &first.pem(), None).await);
    assert_eq!(ready(&server, &first.pem()).await.expect("answers"), 200);
    assert!(!answers(&server, &second.pem(), None).await, "nobody vouches for it there");
    let plain = Channel::from_shared(format!("http://{}", server.grpc)).expect("a URI").connect().await;
    let plain = match plain {
        Ok(channel) => {
            GrpcInferenceServiceClient::new(channel).server_ready(ServerReadyRequest {}).await.is_ok()
        }
        Err(_) => false,
    };
    assert!(!plain, "nothing is answered in the clear");

    // A certificate without its key, as between the two copies of who replaces both: the old one stays.
    let old = fs::read(files.path("server.key")).expect("reads");
    files.replace(&second);
    fs::write(files.path("server.key"), old).expect("writes");
    assert!(answers(&server, &first.pem(), None).await);
    files.replace(&second);
    let until = Instant::now() + PATIENCE;
    while !answers(&server, &second.pem(), None).await {
        assert!(Instant::now() < until, "the new certificate does not count");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(!answers(&server, &first.pem(), None).await);
    assert_eq!(ready(&server, &second.pem()).await.expect("answers"), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_a_certificate_where_one_is_asked_for() {
    let (ours, theirs, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let files = Files::of(&ours);
    fs::write(files.path("clients.pem"), theirs.pem()).expect("writes");
    let mut environment = files.environment();
    environment.push(("MANPASIK__SERVER__TLS__CLIENT_AUTHORITY", files.text("clients.pem")));
    let server = started(&environment);
    let (certificate, key) = theirs.vouches_for("reader-7");
    assert!(answers(&server, &ours.pem(), Some((&certificate, &key))).await);
    assert!(!answers(&server, &ours.pem(), None).await, "no certificate");
    let (stranger, strange_key) = strangers.vouches_for("reader-7");
    assert!(!answers(&server, &ours.pem(), Some((&stranger, &strange_key))).await, "another authority's");
    assert!(ready(&server, &ours.pem()).await.is_err(), "the other port asks too");

    // A command on this machine takes the same settings, and shows its own certificate.
    fs::write(files.path("client.pem"), format!("{certificate}{key}")).expect("writes");
    let listed = |client: Option<String>| {
        let mut command = program(server.data_dir());
        command.envs(environment.iter().map(|(key, value)| (*key, value.as_str())));
        command.env("MANPASIK__SERVER__GRPC", server.grpc.to_string());
        command.envs(client.map(|client| ("MANPASIK__SERVER__TLS__CLIENT", client)));
        command.args(["foods", "--user", "anna", "--json", "list"]).output().expect("runs")
    };
    let output = listed(Some(files.text("client.pem")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!listed(None).status.success());
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_before_anything_is_served() {
    let files = Files::of(&Authority::new());
    let refused = |certificate: &Path, key: &Path, parts: &[&str]| {
        let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
        let environment =
            [("MANPASIK__SERVER__TLS__CERTIFICATE", &*certificate), ("MANPASIK__SERVER__TLS__KEY", &*key)];
        run_with(&["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"], &environment).refused(parts)
    };
    let (certificate, key) = (files.path("server.pem"), files.path("server.key"));
    refused(&files.path("absent.pem"), &key, &["server.tls", "absent.pem"]);
    refused(&key, &key, &["holds no certificate"]);
    refused(&certificate, &certificate, &["holds no private key"]);
    let other = Files::of(&Authority::new());
    refused(&certificate, &other.path("server.key"), &["does not go with the certificate"]);
    refused(&certificate, Path::new(""), &["go together"]);
}
