//! The measurement service started as the binary starts it, over a database in a folder that a test can start again.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clinical::Biomarker;
use clinical::cartridge::Cartridge;
use clinical::simulator::{Simulator, SimulatorConfig};
use proto::manpasik::v1::measurement_service_client::MeasurementServiceClient;
use proto::manpasik::v1::*;
use services::kernel::{GrpcService, Limits, ManualClock, in_process, remote};
use services::measurement::{Config, MeasurementModule};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Status, Streaming};

use crate::ai::TestAi;
use crate::vectors::TestVectors;

/// How the services reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    InProcess,
    Network,
}

pub(crate) struct Harness {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ai: TestAi,
    pub(crate) vectors: TestVectors,
    pub(crate) module: MeasurementModule,
    pub(crate) client: MeasurementServiceClient<GrpcService>,
    pub(crate) reach: Reach,
    pub(crate) limits: Limits,
}

/// Limits under which a test need not wait, yet none that a busy machine would run into.
pub(crate) fn quick() -> Limits {
    Limits {
        ai_call_ms_max: 10_000,
        stream_packet_ms_max: 10_000,
        stream_retry_ms: 20,
        sweep_ms: 5,
        checkpoint_packets_max: 10,
        ..Limits::default()
    }
}

impl Harness {
    pub(crate) async fn start(reach: Reach, limits: Limits) -> Self {
        let peers = (TestAi::default(), TestVectors::default());
        Self::over(tempfile::tempdir().expect("a folder"), peers, reach, limits).await
    }

    pub(crate) async fn quick() -> Self {
        Self::start(Reach::InProcess, quick()).await
    }

    async fn over(folder: TempDir, peers: (TestAi, TestVectors), reach: Reach, limits: Limits) -> Self {
        let (ai, vectors) = peers;
        let clock = Arc::new(ManualClock::at(1_800_000_000_000));
        let url = store::Url::file(&folder.path().join("measurement.db"));
        let database_limits = store::Limits { outbox_poll_ms: 5, ..store::Limits::default() };
        let config = Config { limits, database_limits, ..Config::new(url) };
        let (to_ai, to_vectors) = (reached(reach, ai.server()).await, reached(reach, vectors.server()).await);
        let module = MeasurementModule::start_with_clock(&config, to_ai, to_vectors, clock.clone()).await;
        let module = module.expect("starts");
        let client = MeasurementServiceClient::new(reached(reach, module.service()).await);
        Self { folder, clock, ai, vectors, module, client, reach, limits }
    }

    /// Stops the service in order and starts it again over the same database.
    pub(crate) async fn restart(self) -> Self {
        let Self { folder, ai, vectors, module, reach, limits, .. } = self;
        module.stop().await;
        Self::over(folder, (ai, vectors), reach, limits).await
    }

    /// Starts a second service over what a crash at this moment would leave on disk.
    pub(crate) async fn after_crash(&self) -> Self {
        let image = tempfile::tempdir().expect("a folder");
        copy(self.folder.path(), image.path());
        let peers = (self.ai.clone(), self.vectors.clone());
        Self::over(image, peers, self.reach, self.limits).await
    }

    pub(crate) async fn begin(&mut self, user: &str, cartridge: &str) -> String {
        let request = StartSessionRequest {
            user_id: user.to_owned(),
            device_id: "reader-1".to_owned(),
            cartridge_code: cartridge.to_owned(),
            subject: Some(Subject { age_years: Some(40.0), sex: Sex::Female.into() }),
        };
        self.client.start_session(request).await.expect("starts").into_inner().session_id
    }

    pub(crate) async fn end(&mut self, id: &str) -> Result<EndSessionResponse, Status> {
        Ok(self.client.end_session(EndSessionRequest { session_id: id.to_owned() }).await?.into_inner())
    }

    pub(crate) async fn get(&mut self, id: &str) -> Result<Measurement, Status> {
        let answer = self.client.get_measurement(GetMeasurementRequest { id: id.to_owned() }).await?;
        Ok(answer.into_inner().measurement.expect("a measurement"))
    }

    /// Sends packets on a new stream, closes it, and takes every answer; the status that ended it comes last.
    pub(crate) async fn stream(
        &mut self,
        id: &str,
        packets: &[RawPacket],
    ) -> (Vec<StreamMeasurementResponse>, Option<Status>) {
        let stream = self.open(id).await;
        let sender = stream.sender.clone();
        let packets = packets.to_vec();
        tokio::spawn(async move {
            for packet in packets {
                let packet = Some(packet);
                if sender.send(StreamMeasurementRequest { session_id: String::new(), packet }).await.is_err()
                {
                    return;
                }
            }
        });
        stream.rest().await
    }

    /// Opens a stream and binds it to a session.
    pub(crate) async fn open(&mut self, id: &str) -> OpenStream {
        let (sender, requests) = mpsc::channel(4);
        let hello = StreamMeasurementRequest { session_id: id.to_owned(), packet: None };
        sender.send(hello).await.expect("room");
        let answers =
            self.client.stream_measurement(ReceiverStream::new(requests)).await.expect("opens").into_inner();
        OpenStream { sender, answers }
    }

    /// A whole session of `count` packets, ended.
    pub(crate) async fn measure(&mut self, user: &str, cartridge: &str, count: usize) -> Measurement {
        let id = self.begin(user, cartridge).await;
        let (_, status) = self.stream(&id, &packets(cartridge, count)).await;
        assert!(status.is_none(), "{status:?}");
        self.end(&id).await.expect("ends").measurement.expect("a measurement")
    }
}

pub(crate) struct OpenStream {
    pub(crate) sender: mpsc::Sender<StreamMeasurementRequest>,
    pub(crate) answers: Streaming<StreamMeasurementResponse>,
}

impl OpenStream {
    pub(crate) async fn send(&mut self, packet: &RawPacket) {
        let packet = Some(packet.clone());
        let request = StreamMeasurementRequest { session_id: String::new(), packet };
        self.sender.send(request).await.expect("open");
    }

    pub(crate) async fn next(&mut self) -> Result<Option<StreamMeasurementResponse>, Status> {
        tokio::time::timeout(Duration::from_secs(10), self.answers.message())
            .await
            .expect("an answer in time")
    }

    /// Sends a packet and takes its answer.
    pub(crate) async fn exchange(&mut self, packet: &RawPacket) -> StreamMeasurementResponse {
        self.send(packet).await;
        let answer = self.next().await.expect("no error").expect("an answer");
        if answer.sequence != packet.sequence {
            // The answer to the first message, which carried no packet.
            return self.next().await.expect("no error").expect("an answer");
        }
        answer
    }

    /// Closes the sending side and takes what is left; the answer to the first message is not among it.
    pub(crate) async fn rest(mut self) -> (Vec<StreamMeasurementResponse>, Option<Status>) {
        drop(self.sender);
        let (mut answers, mut first) = (Vec::new(), true);
        loop {
            match tokio::time::timeout(Duration::from_secs(10), self.answers.message())
                .await
                .expect("in time")
            {
                Ok(Some(_)) if first => first = false,
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => return (answers, None),
                Err(status) => return (answers, Some(status)),
            }
        }
    }
}

/// A generated server, reached one way or the other.
async fn reached<S>(reach: Reach, server: S) -> GrpcService
where
    S: tonic::codegen::Service<
            tonic::codegen::http::Request<tonic::body::Body>,
            Response = tonic::codegen::http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
        > + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    match reach {
        Reach::InProcess => in_process(server),
        Reach::Network => {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound");
            let serving =
                Server::builder().add_service(server).serve_with_incoming(TcpListenerStream::new(listener));
            tokio::spawn(serving);
            let channel =
                Channel::from_shared(format!("http://{address}")).expect("an address").connect().await;
            remote(channel.expect("connects"))
        }
    }
}

/// Synthetic packets of a sound session.
pub(crate) fn packets(cartridge: &str, count: usize) -> Vec<RawPacket> {
    let cartridge = Cartridge::parse(cartridge).expect("registered");
    let mut simulator = Simulator::new(SimulatorConfig::default(), 11).expect("valid settings");
    let truth: &[_] =
        if cartridge.analytes.contains(&Biomarker::Glucose) { &[(Biomarker::Glucose, 95.0)] } else { &[] };
    let session = simulator.session(cartridge, truth, count).expect("valid session");
    let packet = |packet: clinical::simulator::SyntheticPacket| RawPacket {
        sequence: packet.sequence,
        time_ms: packet.timestamp_ms,
        detection: packet.detection,
        reference: packet.reference,
        environment: Some(Environment {
            temperature_celsius: f64::from(packet.temperature_c),
            humidity_percent: f64::from(packet.humidity_percent),
            pressure_kilopascal: 101.3,
            battery_percent: f64::from(packet.battery_percent),
        }),
        self_test_passed: true,
    };
    session.packets.into_iter().map(packet).collect()
}

/// Asks until the answer is the wanted one, for at most ten seconds.
pub(crate) async fn eventually<T, F>(mut ask: impl FnMut() -> F, wanted: impl Fn(&T) -> bool) -> T
where
    F: Future<Output = T>,
{
    let asked = async {
        loop {
            let answer = ask().await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.expect("the wanted answer in time")
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}
