//! A version on trial: who is answered by it, what it costs them when it fails, and what is counted.

use std::time::Duration;

use inference::{Caller, Candidate, Figures, Handle, Limits, ModelSource, Server, Stage, Terms, Trial};
use models::{Batch, DType, Model, ModelError, Signature};

use crate::{
    ai::candidate,
    support::{doubler, eventually, rows, serve, signature, spec, values},
};

/// A model that can be loaded and fails every batch.
struct Broken;

impl Model for Broken {
    fn run(&mut self, _: Batch) -> Result<Batch, ModelError> {
        Err(ModelError::Run { model: "double".into(), reason: "was made so".into() })
    }
}

fn broken(version: &str, signature: Signature) -> Candidate {
    let load = || Ok(Box::new(Broken) as Box<dyn Model>);
    Candidate { source: ModelSource::new("double", version, signature, 8, Box::new(load)), live: false }
}

/// Puts on trial for everybody, beside each of `models`, a version 2 that fails.
pub(crate) fn put_broken(server: &Server, models: &[&str]) -> Handle {
    let handle = server.handle();
    for name in models {
        let live = handle.model(name, None).expect("serves");
        let load = || Ok(Box::new(Broken) as Box<dyn Model>);
        let Candidate { source, .. } = candidate(live.bundle().expect("a bundle"), Box::new(load));
        let source = ModelSource { version: "2".into(), ..source };
        server.install(Candidate { source, live: false }).expect("loads");
        handle.set_trial(name, trial(Stage::Canary, 100));
    }
    handle
}

/// A server with version 1, which doubles, and 2, which gives `factor` times its input.
fn two(factor: f32, cost: Duration) -> (Server, Handle) {
    let (server, handle, seen) = serve(Limits::default(), Duration::ZERO, 8);
    let second = Candidate { live: false, ..doubler("2", factor, cost, 8, &seen) };
    server.install(second).expect("loads");
    (server, handle)
}

fn trial(stage: Stage, share: u8) -> Option<Trial> {
    Some(Trial { version: "2".into(), stage, share, compared: 100, tolerance: 0.1 })
}

fn person(name: &str) -> Caller {
    Caller { user: name.to_owned(), ..Caller::default() }
}

/// Which version answers a caller; its answer must be its own.
async fn answered(handle: &Handle, caller: &Caller, id: &str) -> String {
    let route = handle.route("double", None, caller, id).expect("known");
    let answer = handle.infer_by(&route, rows(1.0, 1), Terms::default()).await.expect("never fails");
    let factor = values(&answer.tensors)[0];
    assert_eq!(factor, if &*answer.version == "1" { 2.0 } else { 3.0 });
    answer.version.to_string()
}

async fn on_trial(handle: &Handle, callers: u32) -> Vec<u32> {
    let mut held = Vec::new();
    for caller in 0..callers {
        if answered(handle, &person(&caller.to_string()), "").await == "2" {
            held.push(caller);
        }
    }
    held
}

fn figures(handle: &Handle) -> Figures {
    handle.trial("double").expect("a trial").1
}

#[tokio::test]
async fn callers_stay_with_their_version_and_more_join_them() {
    let (_server, handle) = two(3.0, Duration::ZERO);
    assert!(!handle.is_split() && on_trial(&handle, 50).await.is_empty());
    let mut before = Vec::new();
    for share in [5, 25, 50, 100] {
        handle.set_trial("double", trial(Stage::Canary, share));
        let held = on_trial(&handle, 400).await;
        assert!(before.iter().all(|caller| held.contains(caller)), "at {share} % somebody was moved back");
        assert!(held.len().abs_diff(4 * usize::from(share)) < 30, "{share} %: {}", held.len());
        assert_eq!(held, on_trial(&handle, 400).await, "the same callers again");
        before = held;
    }
    handle.set_trial("double", None);
    assert!(!handle.is_split() && on_trial(&handle, 50).await.is_empty());
}

#[tokio::test]
async fn the_id_stands_for_a_caller_and_without_one_requests_take_turns() {
    let (_server, handle) = two(3.0, Duration::ZERO);
    handle.set_trial("double", trial(Stage::Canary, 25));
    let nobody = Caller::default();
    for id in ["a", "b", "c", "d", "e", "f"] {
        let once = answered(&handle, &nobody, id).await;
        assert_eq!(answered(&handle, &nobody, id).await, once, "what is sent again meets the same version");
    }
    let mut turns = 0;
    for _ in 0..200 {
        turns += u32::from(answered(&handle, &nobody, "").await == "2");
    }
    assert!((48..=52).contains(&turns), "{turns}");
    let named = handle.route("double", Some("2"), &nobody, "").expect("known");
    assert!(!named.is_on_trial(), "who names a version gets it and is not counted");
}

#[tokio::test]
async fn what_it_fails_is_answered_by_the_live_version_and_counted() {
    let (server, handle, _) = serve(Limits::default(), Duration::ZERO, 8);
    server.install(broken("2", signature())).expect("loads");
    handle.set_trial("double", trial(Stage::Canary, 100));
    assert!(on_trial(&handle, 20).await.is_empty(), "every answer is the live version's");
    let seen = figures(&handle);
    assert_eq!((seen.answered, seen.failed), (0, 20));
    let route = handle.route("double", None, &person("a"), "").expect("known");
    let refused = handle.infer_by(&route, rows(-1.0, 1), Terms::default()).await;
    assert!(refused.is_err(), "what the live version refuses too is the caller's fault");
    assert_eq!(figures(&handle).failed, 20);
}

#[tokio::test]
async fn a_slow_version_leaves_time_for_the_live_one() {
    let (_server, handle) = two(3.0, Duration::from_millis(400));
    handle.set_trial("double", trial(Stage::Canary, 100));
    let route = handle.route("double", None, &person("a"), "").expect("known");
    let deadline = std::time::Instant::now() + Duration::from_millis(300);
    let answer =
        handle.infer_by(&route, rows(1.0, 1), Terms { deadline: Some(deadline), ..Terms::default() }).await;
    assert_eq!(&*answer.expect("in time").version, "1");
    assert_eq!(figures(&handle).failed, 1);
}

#[tokio::test]
async fn answers_of_a_canary_are_compared_with_the_live_version() {
    for (factor, alike) in [(2.1, true), (3.0, false)] {
        let (_server, handle) = two(factor, Duration::ZERO);
        handle.set_trial("double", trial(Stage::Canary, 100));
        let route = handle.route("double", None, &person("a"), "").expect("known");
        for _ in 0..10 {
            handle.infer_by(&route, rows(1.0, 2), Terms::default()).await.expect("answers");
        }
        eventually("20 rows compared", || {
            let seen = figures(&handle);
            seen.agreed + seen.differed + 2 * seen.dropped == 20
        })
        .await;
        let seen = figures(&handle);
        assert_eq!((seen.agreed > 0, seen.differed > 0), (alike, !alike), "{seen:?}");
        assert_eq!((seen.answered, seen.p95_us().1), (10, 10));
        assert_eq!(seen.live_p95_us().1, (seen.agreed + seen.differed) / 2);
    }
}

#[tokio::test]
async fn a_shadow_sees_everything_and_answers_nothing() {
    let (_server, handle) = two(3.0, Duration::ZERO);
    handle.set_trial("double", trial(Stage::Shadow, 100));
    assert!(on_trial(&handle, 30).await.is_empty());
    let all = |seen: Figures| seen.differed + seen.dropped == 30;
    eventually("30 rows differ", || all(figures(&handle))).await;
    let seen = figures(&handle);
    assert_eq!((seen.agreed, seen.live_p95_us().1), (0, 30));
    assert_eq!(seen.answered, seen.differed);
}

#[tokio::test]
async fn a_full_queue_drops_copies_and_holds_up_nobody() {
    let limits = Limits { mirror_depth_max: 2, ..Limits::default() };
    let (server, handle, seen) = serve(limits, Duration::ZERO, 8);
    let slow = Candidate { live: false, ..doubler("2", 3.0, Duration::from_millis(200), 8, &seen) };
    server.install(slow).expect("loads");
    handle.set_trial("double", trial(Stage::Shadow, 100));
    assert!(on_trial(&handle, 40).await.is_empty());
    let dropped = figures(&handle).dropped;
    assert!((30..40).contains(&dropped), "{dropped} of 40 dropped, with places for 2 and one under way");
}

#[tokio::test]
async fn versions_with_other_tensors_do_not_stand_for_each_other() {
    let (server, handle, _) = serve(Limits::default(), Duration::ZERO, 8);
    let wider = Signature { outputs: vec![spec("y", DType::F32, &[-1, 3])], ..signature() };
    server.install(broken("2", wider)).expect("loads");
    handle.set_trial("double", trial(Stage::Canary, 100));
    assert!(on_trial(&handle, 10).await.is_empty());
    assert_eq!(figures(&handle).failed, 0, "it was not asked");
}

#[tokio::test]
async fn a_pinned_version_answers_for_its_cartridge_whatever_is_live() {
    let (_server, handle) = two(3.0, Duration::ZERO);
    handle.set_trial("double", trial(Stage::Canary, 100));
    handle.set_pins("double", [("01:01".to_owned(), "1".to_owned())].into());
    let with = |cartridge: &str| Caller { user: "a".into(), cartridge: cartridge.to_owned() };
    assert_eq!(answered(&handle, &with("01:01"), "").await, "1");
    assert_eq!(answered(&handle, &with("01:02"), "").await, "2");
    handle.forget("double", "1");
    let missing = handle.route("double", None, &with("01:01"), "").expect_err("not another version");
    assert!(missing.to_string().contains("pinned to cartridge 01:01"), "{missing}");
    handle.set_pins("double", [].into());
    handle.set_trial("double", None);
    assert!(!handle.is_split());
}

#[tokio::test]
async fn a_loaded_version_is_made_live_at_once_and_one_is_forgotten() {
    let (_server, handle) = two(3.0, Duration::ZERO);
    assert!(handle.flip("double", "2") && !handle.flip("double", "9") && !handle.flip("nobody", "1"));
    assert_eq!(answered(&handle, &Caller::default(), "").await, "2");
    handle.forget("double", "1");
    assert_eq!(handle.versions("double"), ["2"]);
    assert!(handle.model("double", Some("1")).is_err());
    assert_eq!(answered(&handle, &Caller::default(), "").await, "2");
}

#[tokio::test]
async fn a_trial_begins_with_new_figures_and_the_same_again_changes_nothing() {
    let (_server, handle) = two(3.0, Duration::ZERO);
    handle.set_trial("double", trial(Stage::Canary, 100));
    on_trial(&handle, 5).await;
    handle.set_trial("double", trial(Stage::Canary, 100));
    assert_eq!(figures(&handle).answered, 5);
    assert!(handle.drifts("double", "2", "tsh is 9 times what it was") && !handle.drifts("double", "1", ""));
    assert!(figures(&handle).drift.is_some_and(|reason| reason.contains("tsh")));
    handle.set_trial("double", trial(Stage::Canary, 50));
    let seen = figures(&handle);
    assert_eq!((seen.answered, seen.drift), (0, None));
}
