//! Killed at random points, over and over: what was answered is there, nothing is there twice, deletions stay.
//!
//! The store runs in a child process, which is this test binary started again for the one test `child`. It tells over
//! its output what it begins and what was answered; the parent kills it without warning, opens what is left and holds
//! it against that. One folder goes through all rounds, so damage adds up.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use embeddings::{EmbeddedStore, Filter, Limits, Point, PointId, Query, Value, VectorStore};
use rand::Rng;

use crate::support::{collection, id, indexed, name, open, point, query, random, tenant, vector};

/// Tells the child where to work.
const CHILD: &str = "MANPASIK_TEST_CRASH_CHILD";
/// Tells how many rounds to play.
const ROUNDS: &str = "MANPASIK_CHAOS_ROUNDS";
const WRITERS: usize = 4;
const IDS_PER_WRITER: usize = 150;
const DIMENSION: usize = 8;

/// So small that indexing, snapshots and rebuilds happen all the time.
fn limits() -> Limits {
    Limits { exact_below_points: 50, snapshot_every_points: 60, ..Limits::default() }
}

fn made(number: usize, version: u64) -> Point {
    // Versions are below 2^40: no two points have the same numbers.
    let seed = ((number as u64) << 40) | version;
    let mut point = point(number, vector(&mut random(seed), DIMENSION));
    point.payload.insert("count".to_owned(), Value::Integer(version.cast_signed()));
    point
}

/// What a point should be: a version, or not there.
type State = Option<u64>;

/// What is known of a point: the last answered state, and one that was begun and not answered.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    answered: State,
    begun: Option<State>,
}

#[test]
fn child() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("starts").block_on(work(Path::new(&folder)));
}

async fn work(folder: &Path) {
    let store = Arc::new(open(folder, limits()).await);
    store.create(collection("crash", DIMENSION)).await.expect("creates");
    // Versions go on rising over restarts.
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let start = start.as_millis() as u64 % 1_000_000 * 1_000;
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&store), writer, start)));
    let writers: Vec<_> = writers.collect();
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        store.rebuild(&name("crash"), &|_| {}).await.expect("rebuilds");
        assert!(!writers.iter().any(tokio::task::JoinHandle::is_finished), "a writer failed");
    }
}

async fn write(store: Arc<EmbeddedStore>, writer: usize, start: u64) {
    let (me, there) = (tenant("me"), name("crash"));
    let mut random = random(start + writer as u64);
    for version in start.. {
        let first = writer * IDS_PER_WRITER + random.random_range(0..IDS_PER_WRITER - 5);
        let numbers: Vec<usize> = (first..first + random.random_range(1..6)).collect();
        if random.random_range(0..5) == 0 {
            tell("begin", &numbers, None);
            let ids: Vec<PointId> = numbers.iter().copied().map(id).collect();
            store.delete(&me, &there, &ids).await.expect("deletes");
            tell("done", &numbers, None);
        } else {
            tell("begin", &numbers, Some(version));
            let points = numbers.iter().map(|number| made(*number, version)).collect();
            store.upsert(&me, &there, points).await.expect("writes");
            tell("done", &numbers, Some(version));
        }
    }
}

fn tell(what: &str, numbers: &[usize], state: State) {
    let state = state.map_or("gone".to_owned(), |version| version.to_string());
    let lines: String = numbers.iter().map(|number| format!("@{what} {number} {state}\n")).collect();
    let mut out = std::io::stdout().lock();
    // The parent may be gone already.
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
}

fn hear(line: &str, known: &mut BTreeMap<usize, Known>) -> Option<()> {
    // The test harness leaves its own words in front of the first line.
    let mut words = line.split_once('@')?.1.split(' ');
    let (what, number, state) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    let state: State = if state == "gone" { None } else { Some(state.parse().ok()?) };
    let point = known.entry(number).or_default();
    match what {
        "begin" => point.begun = Some(state),
        _ => *point = Known { answered: state, begun: None },
    }
    Some(())
}

/// Starts the child, lets it work for a while, kills it, and takes in everything it told.
fn play(folder: &Path, lasting: Duration, known: &mut BTreeMap<usize, Known>) -> usize {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["embedded::crash::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let out = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(out).split(b'\n').map_while(Result::ok);
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect::<Vec<_>>()
    });
    std::thread::sleep(lasting);
    child.kill().expect("it ran until now");
    child.wait().expect("ends");
    let told = reader.join().expect("reads");
    told.iter().filter_map(|line| hear(line, known)).count()
}

async fn all(store: &dyn VectorStore) -> HashMap<PointId, Point> {
    let (mut found, mut cursor) = (HashMap::new(), None);
    loop {
        let page = store.scroll(&tenant("me"), &name("crash"), Filter::default(), cursor, 500).await;
        let page = page.expect("pages");
        for point in page.points {
            let before = found.insert(point.id.clone(), point);
            assert!(before.is_none(), "{before:?} is there twice");
        }
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

/// Holds what is there against what was told; afterwards what was begun is settled one way or the other.
async fn judge(store: &dyn VectorStore, known: &mut BTreeMap<usize, Known>, full: bool) {
    let found = all(store).await;
    assert_eq!(
        store.count(&tenant("me"), &name("crash"), Filter::default()).await.expect("counts"),
        found.len() as u64
    );
    for (number, known) in known.iter_mut() {
        let point = found.get(&id(*number));
        let state = point.map(|point| match point.payload["count"] {
            Value::Integer(version) => version.cast_unsigned(),
            Value::Keyword(_) | Value::Real(_) | Value::Time(_) => panic!("not a number"),
        });
        let allowed = state == known.answered || known.begun == Some(state);
        assert!(allowed, "point {number} is {state:?}, it should be {known:?}");
        if let (Some(point), Some(version)) = (point, state) {
            assert_eq!(point.vector, made(*number, version).vector, "point {number} is not whole");
        }
        *known = Known { answered: state, begun: None };
    }
    for point in found.values().step_by(if full { 1 } else { 20 }) {
        for exact in [true, false] {
            let ask = Query { exact, ..query(point.vector.clone(), 1) };
            let hits = store.search(&tenant("me"), &name("crash"), ask).await.expect("answers");
            assert_eq!(hits[0].id, point.id, "found by its own vector (exact: {exact})");
        }
    }
}

fn settled(folder: &Path, known: &mut BTreeMap<usize, Known>, full: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("starts").block_on(async {
        let store = open(folder, limits()).await;
        if store.collections().await.expect("lists").is_empty() {
            assert!(known.is_empty(), "the collection is gone");
            return;
        }
        judge(&store, known, full).await;
        let report = store.verify(&name("crash")).await.expect("checks");
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        if full {
            indexed(&store, &name("crash")).await;
            judge(&store, known, true).await;
        }
        // Half of the time it is not closed either.
        if known.len().is_multiple_of(2) {
            store.close().await.expect("closes");
        }
    });
}

#[test]
fn chaos_killed_at_random_points_it_keeps_what_it_answered() {
    let rounds = std::env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().expect("a folder");
    let (mut known, mut random, mut told) = (BTreeMap::new(), rand::rng(), 0);
    for round in 1..=rounds {
        told += play(folder.path(), Duration::from_millis(random.random_range(30..400)), &mut known);
        settled(folder.path(), &mut known, round == rounds);
    }
    assert!(told > rounds * 10, "the child hardly ran: {told} lines in {rounds} rounds");
}
