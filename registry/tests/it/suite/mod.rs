//! One suite over every database: SQLite in a file always, PostgreSQL where `MANPASIK_TEST_POSTGRES` names a server
//! (`make test` starts one). What touches artifacts runs over a bucket too, where `MANPASIK_TEST_S3` names a server of
//! S3 with a bucket `manpasik` (`make test` starts that as well, where there is Node.js).

mod artifacts;
mod audit;
mod changes;
mod crash;
mod find;
mod keeping;
mod life;
mod logged;
mod names;
mod predictions;
mod release;
mod store;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use ::store::Url;
use bytes::Bytes;
use registry::{
    Act, Principal, Registry, Role,
    artifacts::Location,
    gates::{Gate, Report},
    versions::{NewVersion, Version},
};
use tempfile::TempDir;

/// Runs a test on every database there is.
macro_rules! on_every_database {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(crate::suite::Place::sqlite().await).await; })+
        }
        mod postgres {
            $(#[tokio::test] async fn $name() {
                if let Some(place) = crate::suite::Place::postgres().await { super::$name(place).await; }
            })+
        }
    };
}
pub(crate) use on_every_database;

/// The same, and with artifacts in a bucket.
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        crate::suite::on_every_database!($($name),+);
        mod s3 {
            $(#[tokio::test] async fn $name() {
                if let Some(place) = crate::suite::Place::s3().await { super::$name(place).await; }
            })+
        }
    };
}
pub(crate) use on_every_store;

/// A registry of its own for one test, and the folder it lives in.
pub(crate) struct Place {
    pub(crate) registry: Registry,
    pub(crate) url: Url,
    pub(crate) artifacts: Location,
    pub(crate) folder: TempDir,
}

impl Place {
    pub(crate) async fn sqlite() -> Self {
        let folder = TempDir::new().expect("a folder");
        Self::open(sqlite_in(&folder), artifacts_in(&folder), folder).await
    }

    pub(crate) async fn postgres() -> Option<Self> {
        let server = std::env::var("MANPASIK_TEST_POSTGRES").ok()?;
        let folder = TempDir::new().expect("a folder");
        let schema = format!("t{}", uuid::Uuid::new_v4().simple());
        let url = Url::parse(&server).expect("MANPASIK_TEST_POSTGRES is a URL").in_schema(&schema);
        Some(Self::open(url, artifacts_in(&folder), folder).await)
    }

    /// Rows on SQLite, artifacts in a bucket.
    pub(crate) async fn s3() -> Option<Self> {
        let server = std::env::var("MANPASIK_TEST_S3").ok()?;
        let folder = TempDir::new().expect("a folder");
        let place = format!("s3://manpasik/{}", uuid::Uuid::new_v4().simple());
        let artifacts = Location::read(&place, &server).expect("MANPASIK_TEST_S3 is a URL");
        Some(Self::open(sqlite_in(&folder), artifacts, folder).await)
    }

    async fn open(url: Url, artifacts: Location, folder: TempDir) -> Self {
        let registry = Registry::open(&url, &artifacts).await.expect("opens");
        Self { registry, url, artifacts, folder }
    }

    /// The same place, opened again.
    pub(crate) async fn reopen(self) -> Self {
        self.registry.close().await.expect("closes");
        Self::open(self.url, self.artifacts, self.folder).await
    }

    /// Writes a file of the artifact tree.
    pub(crate) async fn put(&self, path: &str, bytes: &[u8]) {
        let body = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(bytes))]);
        self.registry.artifacts().put(path, body, None, 1).await.expect("written");
    }

    /// A model with one version made by `maker`.
    pub(crate) async fn version(&self, maker: &Principal, model: &str) -> Version {
        let act = act(maker);
        if self.registry.model(model).await.is_err() {
            self.registry.model_create(act, model, "", &BTreeMap::new()).await.expect("a model");
        }
        self.put(&format!("0/run-{model}/artifacts/model.onnx"), b"onnx").await;
        let new = NewVersion {
            model: model.into(),
            source: format!("runs:/run-{model}/model"),
            folder: format!("0/run-{model}/artifacts"),
            ..NewVersion::default()
        };
        self.registry.version_create(act, &new).await.expect("a version")
    }

    /// A version that passed its gates.
    pub(crate) async fn staged(&self, maker: &Principal, model: &str) -> Version {
        let version = self.version(maker, model).await;
        self.pass(&version).await
    }

    pub(crate) async fn pass(&self, version: &Version) -> Version {
        let gates = act(&GATES);
        self.registry.gates_begin(gates, &version.model, version.number).await.expect("begins");
        let report = Report {
            digest: version.digest.clone(),
            at_ms: 5,
            gates: vec![Gate::passed("golden", "8 rows")],
        };
        let identity =
            registry::Identity { version_id: "MPS-X-v1.0.0-FP32".into(), family: "generic".into() };
        let (model, number) = (&version.model, version.number);
        self.registry.gates_end(gates, model, number, &report, Some(&identity)).await.expect("ends")
    }
}

fn sqlite_in(folder: &TempDir) -> Url {
    Url::file(&folder.path().join("registry.sqlite"))
}

fn artifacts_in(folder: &TempDir) -> Location {
    Location::Folder(folder.path().join("artifacts"))
}

pub(crate) static GATES: std::sync::LazyLock<Principal> =
    std::sync::LazyLock::new(|| person("gates", &[Role::Admin]));

pub(crate) fn person(name: &str, roles: &[Role]) -> Principal {
    Principal::of_token(name, BTreeSet::from_iter(roles.iter().copied()))
}

pub(crate) fn scientist(name: &str) -> Principal {
    person(name, &[Role::DataScientist])
}

pub(crate) fn act(by: &Principal) -> Act<'_> {
    Act { by, at_ms: 1_000, why: "" }
}
