//! The outbox as a module uses it: events in transactions, consumers that fail in every way, and crashes between any
//! two steps, played by dropping the dispatcher or by opening the same file again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use sea_orm_migration::prelude::*;
use store::outbox::{self, Backlog, Consumer, Dispatcher, Event, Failure, NewEvent, Outbox};
use store::{Database, Limits, StoreError, Url};

struct Tables;

impl MigratorTrait for Tables {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![outbox::migration()]
    }
}

/// How a consumer answers an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    Retries,
    Rejects,
    Panics,
    Silent,
}

/// Writes down what it is given, and answers by the key.
#[derive(Default)]
struct Recorder {
    name: &'static str,
    seen: Mutex<Vec<Event>>,
    moods: Mutex<HashMap<String, Mood>>,
}

impl Recorder {
    fn named(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, ..Self::default() })
    }

    fn set(&self, key: &str, mood: Mood) {
        self.moods.lock().expect("sound").insert(key.to_owned(), mood);
    }

    /// Payloads seen of a key, as numbers.
    fn of(&self, key: &str) -> Vec<u8> {
        let seen = self.seen.lock().expect("sound");
        seen.iter().filter(|event| event.key == key).map(|event| event.payload[0]).collect()
    }
}

#[async_trait]
impl Consumer for Recorder {
    fn name(&self) -> &'static str {
        self.name
    }

    fn topics(&self) -> &'static [&'static str] {
        &["done"]
    }

    async fn handle(&self, event: &Event) -> Result<(), Failure> {
        self.seen.lock().expect("sound").push(event.clone());
        let mood = self.moods.lock().expect("sound").get(&event.key).copied();
        match mood.unwrap_or(Mood::Takes) {
            Mood::Takes => Ok(()),
            Mood::Retries => Err(Failure::Retry("down".to_owned())),
            Mood::Rejects => Err(Failure::Reject("nonsense".to_owned())),
            Mood::Panics => panic!("a fault of the consumer"),
            Mood::Silent => std::future::pending().await,
        }
    }
}

/// A database with an outbox and a clock that stands.
struct Shop {
    database: Database,
    outbox: Outbox,
    clock: Arc<AtomicI64>,
}

/// Nothing is looked for but what was told of, so that a test sees what wakes the dispatcher.
const LIMITS: Limits = Limits {
    connections_max: 4,
    busy_ms_max: 2_000,
    call_ms_max: 3_000,
    outbox_batch_max: 3,
    outbox_payload_bytes_max: 8,
    outbox_handle_ms_max: 2_000,
    outbox_attempts_max: 3,
    outbox_retry_ms_min: 10,
    outbox_retry_ms_max: 1_000,
    outbox_poll_ms: 3_600_000,
};

const POLLING: Limits = Limits { outbox_poll_ms: 2, ..LIMITS };

impl Shop {
    async fn open(url: &Url, limits: Limits) -> Self {
        let database = Database::open::<Tables>(url, limits).await.expect("opens");
        let clock = Arc::new(AtomicI64::new(1_000));
        let now = Arc::clone(&clock);
        let outbox = Outbox::new(database.clone(), Arc::new(move || now.load(Ordering::SeqCst)));
        Self { database, outbox, clock }
    }

    async fn memory(limits: Limits) -> Self {
        Self::open(&Url::SqliteMemory, limits).await
    }

    /// Appends events in one transaction that is committed or not.
    async fn append(&self, events: &[(&str, u8)], commit: bool) -> Result<(), StoreError> {
        let events: Vec<_> = events.iter().map(|&(key, number)| event(key, number)).collect();
        let outbox = self.outbox.clone();
        let woken = self.database.transaction(move |open| {
            Box::pin(async move {
                let mut wakes = Vec::new();
                for event in events {
                    wakes.push(outbox.append(open, event).await?);
                }
                if commit { Ok(wakes) } else { Err(StoreError::NotFound) }
            })
        });
        woken.await.map(drop)
    }

    async fn start(&self, consumers: &[&Arc<Recorder>]) -> Dispatcher {
        let consumers = consumers.iter().map(|&consumer| Arc::clone(consumer) as Arc<dyn Consumer>);
        Dispatcher::start(&self.outbox, consumers.collect()).await.expect("starts")
    }

    /// Waits until the backlog is as wanted.
    async fn until(&self, consumer: &str, wanted: impl Fn(Backlog) -> bool) -> Backlog {
        let waiting = async {
            loop {
                let backlog = self.outbox.backlog(consumer).await.expect("counts");
                if wanted(backlog) {
                    return backlog;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("in time")
    }

    async fn drained(&self, consumer: &str) {
        self.until(consumer, |backlog| backlog.pending == 0).await;
    }
}

fn event(key: &str, number: u8) -> NewEvent {
    NewEvent { topic: "done".to_owned(), key: key.to_owned(), payload: vec![number] }
}

#[tokio::test]
async fn an_append_wakes_the_dispatcher_at_once() {
    let shop = Shop::memory(LIMITS).await;
    let recorder = Recorder::named("r");
    let dispatcher = shop.start(&[&recorder]).await;
    for number in 0..20 {
        shop.append(&[("a", number)], true).await.expect("commits");
    }
    shop.drained("r").await;
    dispatcher.stop().await;
    assert_eq!(recorder.of("a"), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_in_hand_in_a_crash_is_handed_out_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Url::file(&folder.path().join("shop.db"));
    let shop = Shop::open(&url, LIMITS).await;
    shop.append(&[("a", 1), ("a", 2), ("b", 3)], true).await.expect("commits");
    let recorder = Recorder::named("r");
    // What it does is done, the process dies before anybody writes that down.
    recorder.set("a", Mood::Silent);
    let dispatcher = shop.start(&[&recorder]).await;
    let seen = async {
        while recorder.of("a").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.expect("handed out");
    drop(dispatcher);
    shop.database.close().await.expect("closes");

    let shop = Shop::open(&url, LIMITS).await;
    recorder.set("a", Mood::Takes);
    let dispatcher = shop.start(&[&recorder]).await;
    shop.drained("r").await;
    dispatcher.stop().await;
    assert_eq!(recorder.of("a"), [1, 1, 2], "again, in order, and then no more");
    let seen = recorder.seen.lock().expect("sound");
    let ids: Vec<_> = seen.iter().filter(|event| event.payload == [1]).map(|event| event.id).collect();
    assert_eq!(ids[0], ids[1], "the consumer can tell that it is the same");
}

#[tokio::test]
async fn a_poisoned_event_holds_back_its_key_only_and_is_parked_not_lost() {
    let shop = Shop::memory(POLLING).await;
    let recorder = Recorder::named("r");
    recorder.set("bad", Mood::Retries);
    let dispatcher = shop.start(&[&recorder]).await;
    shop.append(&[("bad", 1), ("bad", 2), ("good", 3), ("good", 4)], true).await.expect("commits");
    shop.until("r", |backlog| backlog.pending == 2).await;
    assert_eq!((recorder.of("good"), recorder.of("bad")), (vec![3, 4], vec![1]));
    for tries in 2..=3 {
        shop.clock.fetch_add(100, Ordering::SeqCst);
        let tried = async {
            while recorder.of("bad").len() < tries {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), tried).await.expect("tried again");
        assert!(recorder.of("bad").iter().take(3).all(|&number| number == 1), "its followers wait");
    }
    shop.until("r", |backlog| backlog.parked == 1).await;
    recorder.set("bad", Mood::Takes);
    shop.clock.fetch_add(100, Ordering::SeqCst);
    shop.drained("r").await;
    dispatcher.stop().await;
    assert_eq!(recorder.of("bad").last(), Some(&2), "parked, it no longer holds back its key");

    let dispatcher = shop.start(&[&recorder]).await;
    let backlog = shop.until("r", |backlog| backlog.pending == 0).await;
    dispatcher.stop().await;
    assert_eq!((backlog.parked, recorder.of("bad").last()), (0, Some(&1)), "a restart tries it again");
}

#[tokio::test]
async fn a_rejected_event_is_kept_and_not_tried_again() {
    let shop = Shop::memory(POLLING).await;
    let recorder = Recorder::named("r");
    recorder.set("a", Mood::Rejects);
    for _ in 0..2 {
        let dispatcher = shop.start(&[&recorder]).await;
        shop.append(&[("a", 1)], true).await.expect("commits");
        shop.drained("r").await;
        dispatcher.stop().await;
    }
    assert_eq!(recorder.of("a"), [1, 1], "each once");
    assert_eq!(shop.outbox.backlog("r").await.expect("counts").rejected, 2);
}

#[tokio::test]
async fn a_consumer_that_panics_or_is_silent_is_asked_again() {
    let shop = Shop::memory(Limits { outbox_handle_ms_max: 20, ..POLLING }).await;
    let recorder = Recorder::named("r");
    recorder.set("a", Mood::Panics);
    recorder.set("b", Mood::Silent);
    let dispatcher = shop.start(&[&recorder]).await;
    shop.append(&[("a", 1), ("b", 2), ("c", 3)], true).await.expect("commits");
    shop.until("r", |backlog| backlog.pending == 2).await;
    recorder.set("a", Mood::Takes);
    recorder.set("b", Mood::Takes);
    shop.clock.fetch_add(100, Ordering::SeqCst);
    shop.drained("r").await;
    dispatcher.stop().await;
    assert_eq!((recorder.of("a"), recorder.of("b"), recorder.of("c")), (vec![1, 1], vec![2, 2], vec![3]));
    let last = recorder.seen.lock().expect("sound").last().map(|event| event.attempt);
    assert_eq!(last, Some(2));
}

#[tokio::test]
async fn every_consumer_sees_an_event_once_and_a_late_one_what_is_still_there() {
    let shop = Shop::memory(POLLING).await;
    let (first, slow, late) = (Recorder::named("first"), Recorder::named("slow"), Recorder::named("late"));
    shop.append(&[("a", 0)], true).await.expect("commits before anybody listens");
    slow.set("b", Mood::Retries);
    let dispatcher = shop.start(&[&first, &slow]).await;
    shop.append(&[("a", 1), ("b", 2)], true).await.expect("commits");
    shop.drained("first").await;
    shop.until("slow", |backlog| backlog.pending == 1).await;
    dispatcher.stop().await;
    assert_eq!((first.of("a"), first.of("b")), (vec![0, 1], vec![2]));

    slow.set("b", Mood::Takes);
    shop.clock.fetch_add(100, Ordering::SeqCst);
    let dispatcher = shop.start(&[&first, &slow, &late]).await;
    shop.drained("slow").await;
    shop.drained("late").await;
    dispatcher.stop().await;
    assert_eq!((first.of("b"), slow.of("a")), (vec![2], vec![0, 1]), "not again after a restart");
    assert_eq!((late.of("a"), late.of("b")), (vec![], vec![2]), "what others have taken is gone");
}

#[tokio::test]
async fn stopping_waits_for_what_is_in_hand() {
    struct Slow(Mutex<u32>);
    #[async_trait]
    impl Consumer for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }
        fn topics(&self) -> &'static [&'static str] {
            &["done"]
        }
        async fn handle(&self, _: &Event) -> Result<(), Failure> {
            *self.0.lock().expect("sound") += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        }
    }
    let shop = Shop::memory(LIMITS).await;
    let slow = Arc::new(Slow(Mutex::new(0)));
    let consumers: Vec<Arc<dyn Consumer>> = vec![Arc::clone(&slow) as _];
    let dispatcher = Dispatcher::start(&shop.outbox, consumers).await.expect("starts");
    shop.append(&[("a", 1), ("a", 2)], true).await.expect("commits");
    while *slow.0.lock().expect("sound") == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    dispatcher.stop().await;
    assert_eq!(*slow.0.lock().expect("sound"), 1, "the second was not taken up");
    assert_eq!(shop.outbox.backlog("slow").await.expect("counts").pending, 1, "the first is settled");
}

#[tokio::test]
async fn an_event_nobody_could_use_is_refused_and_so_is_its_transaction() {
    let shop = Shop::memory(LIMITS).await;
    let refused = shop.append(&[("a", 1), ("", 2)], true).await.expect_err("no key");
    assert!(refused.to_string().contains("its key is empty"), "{refused}");
    let large = NewEvent { payload: vec![0; 9], ..event("a", 0) };
    let nameless = NewEvent { topic: String::new(), ..event("a", 0) };
    for (event, reason) in [(large, "9 bytes: at most 8"), (nameless, "topic is empty")] {
        let outbox = shop.outbox.clone();
        let appended =
            shop.database.transaction(move |open| Box::pin(async move { outbox.append(open, event).await }));
        let refused = appended.await.map(drop).expect_err(reason);
        assert!(refused.to_string().contains(reason), "{refused}");
        assert!(!refused.is_transient());
    }
    let recorder = Recorder::named("r");
    shop.start(&[&recorder]).await.stop().await;
    assert_eq!(shop.outbox.backlog("r").await.expect("counts"), Backlog::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_event_is_seen_exactly_when_its_transaction_was_committed_and_keys_stay_in_order(
        transactions in prop::collection::vec(
            (prop::collection::vec((0_usize..3, 0_u8..), 0..4), prop::bool::ANY), 0..12),
        restarts in prop::collection::vec(0_usize..12, 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let keys = ["a", "b", "c"];
            let shop = Shop::memory(POLLING).await;
            let recorder = Recorder::named("r");
            let mut dispatcher = shop.start(&[&recorder]).await;
            let mut wanted: HashMap<&str, Vec<u8>> = HashMap::new();
            for (number, (events, commit)) in transactions.into_iter().enumerate() {
                let events: Vec<_> = events.into_iter().map(|(key, number)| (keys[key], number)).collect();
                prop_assert_eq!(shop.append(&events, commit).await.is_ok(), commit);
                for (key, number) in events.into_iter().filter(|_| commit) {
                    wanted.entry(key).or_default().push(number);
                }
                if restarts.contains(&number) {
                    dispatcher.stop().await;
                    dispatcher = shop.start(&[&recorder]).await;
                }
            }
            shop.drained("r").await;
            dispatcher.stop().await;
            for key in keys {
                prop_assert_eq!(recorder.of(key), wanted.remove(key).unwrap_or_default());
            }
            Ok(())
        })?;
    }
}
