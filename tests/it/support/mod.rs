//! The real program as a child process, and the two ways to talk to it.

pub(crate) mod http;

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use proto::{
    inference::grpc_inference_service_client::GrpcInferenceServiceClient,
    manpasik::v1::{
        ai_inference_service_client::AiInferenceServiceClient,
        measurement_service_client::MeasurementServiceClient, vector_service_client::VectorServiceClient,
    },
};
use tempfile::TempDir;
use tonic::transport::Channel;

/// Names the library that runs the image model.
const LIBRARY: &str = "MANPASIK_ONNXRUNTIME";
/// File of the data folder with the log of a server that keeps it.
const LOG: &str = "log";
/// Longest wait for the program to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server on free loopback ports with a data folder of its own.
pub(crate) struct Server {
    child: Child,
    data: TempDir,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    /// gRPC and HTTP of the admin's ports, where there are any.
    pub(crate) admin: Option<(SocketAddr, SocketAddr)>,
}

impl Server {
    /// The shipped bundles, and whatever ONNX Runtime this machine has.
    pub(crate) fn start() -> Self {
        Self::with(&shipped_bundles(), &[])
    }

    /// Bundles from `bundles`, with extra environment variables.
    pub(crate) fn with(bundles: &Path, environment: &[(&str, &str)]) -> Self {
        Self::over(TempDir::new().expect("a temporary folder"), bundles, environment)
    }

    /// Ends the program in order and starts it again over the same data.
    pub(crate) fn restart(mut self) -> Self {
        assert_eq!(self.terminate(), Some(0));
        let empty = TempDir::new().expect("a temporary folder");
        Self::over(std::mem::replace(&mut self.data, empty), &shipped_bundles(), &[])
    }

    /// The same, and it keeps its log for [`Server::log`].
    pub(crate) fn logging(bundles: &Path, environment: &[(&str, &str)]) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let log = File::create(data.path().join(LOG)).expect("a file");
        Self::spawned(data, bundles, environment, log.into())
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join(LOG)).expect("a log")
    }

    fn over(data: TempDir, bundles: &Path, environment: &[(&str, &str)]) -> Self {
        Self::spawned(data, bundles, environment, Stdio::inherit())
    }

    fn spawned(data: TempDir, bundles: &Path, environment: &[(&str, &str)], log: Stdio) -> Self {
        let mut child = program(data.path())
            .args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--bundles"])
            .arg(bundles)
            .arg("--bundles")
            .arg(installed_bundles())
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let output = child.stdout.take().expect("piped");
        let line = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with("listening "))
            .expect("the program says where it listens");
        let address = |key: &str| -> Option<SocketAddr> {
            let part = line.split(' ').find_map(|part| part.strip_prefix(key));
            part.map(|text| text.parse().expect("an address"))
        };
        let admin = address("admin-grpc=").zip(address("admin-http="));
        let (grpc, http) = address("grpc=").zip(address("http=")).expect("two addresses");
        Self { child, data, grpc, http, admin }
    }

    /// Open Inference Protocol.
    pub(crate) async fn oip(&self) -> GrpcInferenceServiceClient<Channel> {
        GrpcInferenceServiceClient::new(self.channel().await)
    }

    /// Typed inference; requests of any size are sent.
    pub(crate) async fn ai(&self) -> AiInferenceServiceClient<Channel> {
        AiInferenceServiceClient::new(self.channel().await).max_encoding_message_size(usize::MAX)
    }

    /// Measurement sessions.
    pub(crate) async fn measurement(&self) -> MeasurementServiceClient<Channel> {
        MeasurementServiceClient::new(self.channel().await)
    }

    /// Vectors.
    pub(crate) async fn vectors(&self) -> VectorServiceClient<Channel> {
        VectorServiceClient::new(self.channel().await)
    }

    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).expect("an address is a URI");
        endpoint.timeout(PATIENCE).connect().await.expect("the server listens")
    }

    /// Folder of databases.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Asks the program to end and returns its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        assert!(sent.success(), "the signal was not delivered");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status.code();
            }
            std::thread::yield_now();
        }
        panic!("the program did not end within {PATIENCE:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program under test with `data` as its data folder and nothing from the caller's settings.
pub(crate) fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manpasik"));
    command.arg("--data-dir").arg(data).stdin(Stdio::null());
    if let (None, Some(library)) = (std::env::var_os(LIBRARY), installed_library()) {
        command.env(LIBRARY, library);
    }
    command
}

/// What a command that ends by itself left behind.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Ran {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.error))
    }

    /// Fails unless the command succeeded.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.error);
        self
    }

    /// Fails unless the command ended with code 1, answered nothing, and said every part.
    pub(crate) fn refused(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.error);
        assert!(self.out.is_empty(), "an answer beside the error: {}", self.out);
        for part in parts {
            assert!(self.error.contains(part), "`{}` lacks `{part}`", self.error);
        }
        self
    }
}

/// Runs the program to its end with a data folder of its own.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, &[])
}

/// The same with environment variables.
pub(crate) fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let data = TempDir::new().expect("a temporary folder");
    run_over(data.path(), arguments, environment)
}

/// The same over a data folder that stays.
pub(crate) fn run_over(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let output = program(data).args(arguments).envs(environment.iter().copied()).output();
    let output = output.expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
}

/// The bundles of this repository.
pub(crate) fn shipped_bundles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles")
}

/// Where set-up puts models that are too large to ship; it may not exist.
fn installed_bundles() -> PathBuf {
    installed().join("bundles")
}

/// The library that set-up put there.
fn installed_library() -> Option<PathBuf> {
    let files = std::fs::read_dir(installed().join("lib")).ok()?.flatten();
    files.map(|file| file.path()).find(|path| path.to_string_lossy().contains("libonnxruntime"))
}

/// The data folder of whoever runs the tests.
fn installed() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let data = folder("MANPASIK_DATA_DIR")
        .or_else(|| folder("XDG_DATA_HOME").map(|base| base.join("manpasik")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/share/manpasik")));
    data.unwrap_or_default()
}

/// Whether the image model is there; `make test` sees to it.
pub(crate) fn food_is_installed() -> bool {
    installed_bundles().join("food").is_dir()
}

/// Whether the text encoder is there; `make test` sees to it.
pub(crate) fn text_is_installed() -> bool {
    installed_bundles().join("text-encoder").is_dir()
}

/// Says that a test saw nothing of what it is about.
#[allow(clippy::print_stderr)]
pub(crate) fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// A copy of the shipped bundles that a test may damage.
pub(crate) fn copied_bundles() -> TempDir {
    let copy = TempDir::new().expect("a temporary folder");
    copy_folder(&shipped_bundles(), copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// The folder of the only version of `name` below `bundles`.
pub(crate) fn version_dir(bundles: &Path, name: &str) -> PathBuf {
    let mut versions = std::fs::read_dir(bundles.join(name)).expect("the bundle exists");
    versions.next().expect("it has a version").expect("readable").path()
}

/// A corrected synthetic sweep of a glucose cartridge, ohm.
pub(crate) fn sensor_sweep() -> Vec<f32> {
    use clinical::{
        cartridge::Cartridge,
        simulator::{Simulator, SimulatorConfig},
    };
    let cartridge = Cartridge::parse("01:01").expect("glucose");
    let mut simulator = Simulator::new(SimulatorConfig::default(), 7).expect("valid");
    let truth = [(clinical::Biomarker::Glucose, 95.0)];
    simulator.sweep(cartridge, &truth, None).expect("simulates").corrected
}
