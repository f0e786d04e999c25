//! Killed at random points of uploads, promotions and rollbacks, over and over: what was answered is there, what was not
//! is whole or absent, and what nobody names is swept.
//!
//! The registry runs in a child process, which is this test binary started again for the one test `child`. It tells over
//! its output what it begins and what was answered; the parent kills it without warning, opens what is left and holds it
//! against that. One registry goes through all rounds, so damage adds up.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

use ::store::Url;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use rand::Rng;
use registry::{
    Act, Identity, Principal, Registry, State,
    artifacts::{Location, ORPHAN_AGE_MS},
    gates::{Gate, Report},
    versions::NewVersion,
};
use tempfile::TempDir;

use super::{Place, artifacts::now_ms, scientist, store::blobs_named};

/// Tells the child where to work: a folder, and on PostgreSQL a schema.
const FOLDER: &str = "MANPASIK_TEST_CRASH_REGISTRY";
const SCHEMA: &str = "MANPASIK_TEST_CRASH_SCHEMA";
/// Tells how many rounds to play.
const ROUNDS: &str = "MANPASIK_CHAOS_ROUNDS";
const MODEL: &str = "crash";
const WRITERS: usize = 2;
const FILES_PER_WRITER: usize = 4;

/// What should be under a key: what was answered last, and what was begun since and not answered.
#[derive(Debug, Default)]
struct Known {
    answered: Option<String>,
    begun: Option<String>,
    /// Whether nobody has looked since.
    fresh: bool,
}

type Told = BTreeMap<String, Known>;

/// Content of a file: its number over and over; one in eight has several parts.
fn made(number: u64) -> Vec<u8> {
    let large = number.is_multiple_of(8);
    let size = if large { 9 << 20 } else { 1 + number % 100_000 };
    number.to_le_bytes().into_iter().cycle().take(8 + size as usize).collect()
}

fn tell(what: &str, key: &str, value: &str) {
    // The parent may be gone already.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "@{what} {key} {value}").and_then(|()| out.flush());
}

#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = std::path::Path::new(&folder);
    let url = match std::env::var(SCHEMA) {
        Ok(schema) => {
            let server = std::env::var("MANPASIK_TEST_POSTGRES").expect("a server");
            Url::parse(&server).expect("a URL").in_schema(&schema)
        }
        Err(_) => Url::file(&folder.join("registry.sqlite")),
    };
    let location = Location::Folder(folder.join("artifacts"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("starts").block_on(async {
        let registry = Registry::open(&url, &location).await.expect("opens");
        let writers = (0..WRITERS).map(|writer| tokio::spawn(upload(registry.clone(), writer)));
        let writers: Vec<_> = writers.collect();
        release(&registry).await;
        drop(writers);
    });
}

/// Writes files over and over, in parts, until the end.
async fn upload(registry: Registry, writer: usize) {
    for number in now_ms().cast_unsigned().. {
        let file = writer * FILES_PER_WRITER + number as usize % FILES_PER_WRITER;
        let (path, content) = (format!("0/crash/artifacts/{file}"), made(number));
        tell("begin", &path, &number.to_string());
        let parts: Vec<_> = content.chunks(64 << 10).map(Bytes::copy_from_slice).collect();
        let body = futures::stream::iter(parts).map(Ok::<_, std::io::Error>);
        let size = Some(content.len() as u64);
        registry.artifacts().put(&path, body, size, now_ms()).await.expect("written");
        tell("done", &path, &number.to_string());
    }
}

/// Makes versions, passes and approves them, makes them live, and takes every third back, until the end.
async fn release(registry: &Registry) {
    let (ann, bob) = (scientist("ann"), scientist("bob"));
    let act = |by| Act { by, at_ms: now_ms(), why: "" };
    if registry.model(MODEL).await.is_err() {
        registry.model_create(act(&ann), MODEL, "", &BTreeMap::new()).await.expect("a model");
    }
    // A model has one release at a time: what was being released when it was killed is taken back first.
    if let Some(open) = registry.release(MODEL).await.expect("asked") {
        registry.release_back(act(&bob), &open).await.expect("taken back");
    }
    loop {
        let body =
            futures::stream::iter([Ok::<_, std::io::Error>(made(now_ms().cast_unsigned() | 1).into())]);
        registry.artifacts().put("0/made/artifacts/m", body, None, now_ms()).await.expect("written");
        let new = NewVersion {
            model: MODEL.into(),
            source: "runs:/made/m".into(),
            folder: "0/made/artifacts".into(),
            ..NewVersion::default()
        };
        let version = registry.version_create(act(&ann), &new).await.expect("a version");
        let number = version.number;
        tell("done", &format!("created/{number}"), &version.digest);
        registry.gates_begin(act(&bob), MODEL, number).await.expect("begins");
        let bundle = TempDir::new().expect("a folder");
        std::fs::write(bundle.path().join("card.md"), made(number.cast_unsigned() | 1)).expect("written");
        registry.keep_bundle(&version, bundle.path(), now_ms()).await.expect("kept");
        let report =
            Report { digest: version.digest, at_ms: 5, gates: vec![Gate::passed("golden", "1 row")] };
        let identity = Identity { version_id: "MPS-X-v1.0.0-FP32".into(), family: "generic".into() };
        registry.gates_end(act(&bob), MODEL, number, &report, Some(&identity)).await.expect("ends");
        tell("done", &format!("passed/{number}"), "yes");
        registry.approve(act(&bob), MODEL, number).await.expect("approved");
        tell("done", &format!("approved/{number}"), "yes");
        if number % 2 == 0 {
            registry.step(act(&ann), MODEL, number, State::Canary, "").await.expect("canary");
        }
        tell("begin", "live", &number.to_string());
        registry.step(act(&ann), MODEL, number, State::Live, "").await.expect("live");
        tell("done", "live", &number.to_string());
        let versions = registry.versions_of(MODEL).await.expect("listed");
        if number % 3 == 0 && versions.iter().any(|one| one.state == State::Deprecated) {
            tell("begin", "live", "earlier");
            let (_, back) = registry.rollback(act(&bob), MODEL).await.expect("back");
            tell("done", "live", &back.number.to_string());
        }
    }
}

fn hear(line: &str, told: &mut Told) -> Option<()> {
    // The test harness leaves its own words in front of the first line.
    let mut words = line.split_once('@')?.1.split(' ');
    let (what, key, value) = (words.next()?, words.next()?, words.next()?.to_owned());
    let known = told.entry(key.to_owned()).or_default();
    match what {
        "begin" => known.begun = Some(value),
        _ => (known.answered, known.begun) = (Some(value), None),
    }
    known.fresh = true;
    Some(())
}

/// Starts the child, lets it work for a while, kills it, and takes in everything it told.
fn play(place: &Place, lasting: Duration, told: &mut Told) -> usize {
    let mut child = Command::new(std::env::current_exe().expect("this binary"));
    child.args(["suite::crash::child", "--exact", "--nocapture", "--test-threads=1"]);
    child.env(FOLDER, place.folder.path());
    if let Url::Postgres { schema, .. } = &place.url {
        child.env(SCHEMA, schema);
    }
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("starts");
    let out = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(out).split(b'\n').map_while(Result::ok);
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect::<Vec<_>>()
    });
    std::thread::sleep(lasting);
    assert_eq!(child.try_wait().expect("asked"), None, "the child failed by itself");
    child.kill().expect("it ran until now");
    child.wait().expect("ends");
    let lines = reader.join().expect("reads");
    lines.iter().filter_map(|line| hear(line, told)).count()
}

/// The number of the file that is there; it has to be whole.
async fn file(registry: &Registry, path: &str) -> Option<String> {
    let (_, bytes) = registry.artifacts().get(path).await.ok()?;
    let content: Vec<Bytes> = bytes.try_collect().await.expect("readable");
    let content = content.concat();
    let number = u64::from_le_bytes(content[..8].try_into().expect("eight bytes"));
    assert!(content == made(number), "{path} is not whole");
    Some(number.to_string())
}

/// What is under a key now.
async fn found(registry: &Registry, key: &str) -> Option<String> {
    let yes = |is: bool| is.then(|| "yes".to_owned());
    let of = |number: &str| number.parse().expect("a number");
    match key.split_once('/') {
        None => Some(registry.alias(MODEL, "live").await.ok()?.number.to_string()),
        Some(("created", number)) => Some(registry.version(MODEL, of(number)).await.ok()?.digest),
        Some(("passed", number)) => yes(registry.report(MODEL, of(number)).await.ok()?.is_some()),
        Some(("approved", number)) => yes(!registry.approvals(MODEL, of(number)).await.ok()?.is_empty()),
        Some(_) => file(registry, key).await,
    }
}

/// Holds what is there against what was told, in full or only lately; afterwards what was begun is settled one way or
/// the other.
async fn judge(registry: &Registry, told: &mut Told, full: bool) {
    for (key, known) in told.iter_mut().filter(|(_, known)| full || known.fresh) {
        let found = found(registry, key).await;
        // An earlier version, or still the one before it.
        let begun =
            known.begun.is_some() && (found == known.begun || known.begun.as_deref() == Some("earlier"));
        assert!(found == known.answered || begun, "{key} is {found:?}, it should be {known:?}");
        *known = Known { answered: found, begun: None, fresh: false };
    }
}

/// Every version stands where it may, with what it needs to stand there.
async fn lawful(registry: &Registry) {
    let versions = registry.versions_of(MODEL).await.expect("listed");
    let live: Vec<i64> =
        versions.iter().filter(|one| one.state == State::Live).map(|one| one.number).collect();
    let named: Vec<i64> =
        registry.alias(MODEL, "live").await.ok().map(|one| one.number).into_iter().collect();
    assert_eq!(live, named, "what is live and what the alias says");
    for version in versions {
        let (number, state) = (version.number, version.state);
        let approved = !registry.approvals(MODEL, number).await.expect("asked").is_empty();
        let passed = registry.report(MODEL, number).await.expect("asked").is_some();
        let released = !matches!(state, State::Draft | State::Validating | State::Staged);
        assert!(passed || !state.is_served(), "{number} is {state:?} without a report");
        assert!(approved || !released, "{number} is {state:?} without approval");
        if state == State::Validating {
            // As a server does when it starts.
            let who = Principal::local();
            let act = Act { by: &who, at_ms: now_ms(), why: "" };
            registry.step(act, MODEL, number, State::Draft, "again").await.expect("put back");
        }
    }
}

/// Nothing is kept but what a path names.
async fn swept(place: &Place) {
    let artifacts = place.registry.artifacts();
    artifacts.sweep(now_ms() + ORPHAN_AGE_MS + 60_000).await.expect("sweeps");
    let blobs = walk(&place.folder.path().join("artifacts"));
    assert_eq!(blobs, blobs_named(place).await);
    for folder in ["0", "registry"] {
        assert_eq!(artifacts.verify(folder).await.expect("verified"), Vec::<String>::new());
    }
}

fn walk(folder: &std::path::Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[tokio::test]
async fn chaos_killed_at_random_points_it_keeps_what_it_answered_on_sqlite() {
    killed(Place::sqlite().await).await;
}

#[tokio::test]
async fn chaos_killed_at_random_points_it_keeps_what_it_answered_on_postgresql() {
    if let Some(place) = Place::postgres().await {
        killed(place).await;
    }
}

async fn killed(mut place: Place) {
    let rounds = std::env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    let (mut told, mut lines) = (Told::new(), 0);
    for round in 1..=rounds {
        let lasting = Duration::from_millis(rand::rng().random_range(100..700));
        lines += play(&place, lasting, &mut told);
        place = place.reopen().await;
        let (_, head) = place.registry.audit_verify().await.expect("asked").expect("whole");
        assert!(!head.is_empty());
        let full = round % 5 == 0 || round == rounds;
        judge(&place.registry, &mut told, full).await;
        lawful(&place.registry).await;
        if full {
            swept(&place).await;
        }
    }
    assert!(lines > rounds * 10, "the child hardly ran: {lines} lines in {rounds} rounds");
    assert!(told.contains_key("live"), "nothing was released");
}
