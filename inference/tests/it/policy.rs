//! What a model, a tenant and a request may say about waiting, and answers that are kept.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;
use inference::{Candidate, ErrorCode, Handle, InferError, Limits, Request, Server};
use models::bundle::{BatchingConfig, QueueConfig, TimeoutAction};

use crate::support::{Seen, doubler, eventually, rows, values};

const SLOW: Duration = Duration::from_millis(120);

/// A server over one `double` that takes [`SLOW`] for one row, with changed hints.
fn serve(limits: Limits, change: impl FnOnce(&mut BatchingConfig)) -> (Server, Handle, Arc<Seen>) {
    let seen = Arc::default();
    let candidate = changed(doubler("1", 2.0, SLOW, 1, &seen), change);
    let server = Server::serve(limits, Vec::new(), vec![candidate], Vec::new());
    let handle = server.handle();
    (server, handle, seen)
}

fn changed(mut candidate: Candidate, change: impl FnOnce(&mut BatchingConfig)) -> Candidate {
    change(&mut candidate.source.batching);
    candidate
}

fn double(value: f32) -> Request {
    Request::new("double", rows(value, 1))
}

fn with_timeout(timeout: Duration) -> Request {
    let mut request = double(2.0);
    request.terms.timeout = Some(timeout);
    request
}

fn for_tenant(tenant: &str) -> Request {
    let mut request = double(1.0);
    request.terms.tenant = Some(tenant.into());
    request
}

/// Runs one request, and `request` behind it.
async fn behind(handle: &Handle, seen: &Seen, request: Request) -> Result<Duration, InferError> {
    let before = seen.batches.lock().expect("lock").len();
    let first = tokio::spawn({
        let handle = handle.clone();
        async move { handle.infer(double(1.0)).await }
    });
    eventually("the first request runs", || seen.batches.lock().expect("lock").len() > before).await;
    let started = Instant::now();
    let answer = handle.infer(request).await;
    let took = started.elapsed();
    first.await.expect("no panic").expect("answer");
    answer.map(|_| took)
}

#[tokio::test]
async fn who_has_waited_long_enough_is_refused_and_never_runs() {
    let (_server, handle, seen) = serve(Limits::default(), |hints| hints.queue.timeout_us = 30_000);
    let before = seen.batches.lock().expect("lock").len();
    let error = behind(&handle, &seen, double(2.0)).await.expect_err("waited too long");
    assert_eq!(error, InferError::DeadlineExceeded { model: "double".into() });
    handle.infer(double(3.0)).await.expect("the time in the queue is meant, not the time it runs");
    assert_eq!(seen.batches.lock().expect("lock").len(), before + 2);
}

#[tokio::test]
async fn a_request_may_wait_shorter_than_the_model_says_where_it_may_say_so() {
    let (short, long) = (Duration::from_millis(30), Duration::from_secs(20));
    for (timeout_us, timeout_override, asked, refused) in [
        (0, true, short, true),
        (0, false, short, false),
        (30_000, true, long, true),
        (20_000_000, true, short, true),
        (20_000_000, false, short, false),
    ] {
        let queue = QueueConfig { timeout_us, timeout_override, ..QueueConfig::default() };
        let (_server, handle, seen) = serve(Limits::default(), |hints| hints.queue = queue.clone());
        let answer = behind(&handle, &seen, with_timeout(asked)).await;
        assert_eq!(answer.is_err(), refused, "{queue:?}, asked for {asked:?}: {answer:?}");
    }
}

#[tokio::test]
async fn where_the_late_are_delayed_all_are_answered() {
    let limits = Limits { queue_wait_us_min: 60_000_000, ..Limits::default() };
    let (_server, handle, _) = serve(limits, |hints| {
        hints.queue.timeout_us = 1;
        hints.queue.timeout_action = TimeoutAction::Delay;
    });
    for answer in join_all((0..4u8).map(|value| handle.infer(double(f32::from(value))))).await {
        answer.expect("late, but answered");
    }
}

#[tokio::test]
async fn a_model_may_let_fewer_wait_than_the_server() {
    let limits = Limits { queue_wait_us_min: 60_000_000, ..Limits::default() };
    let (_server, handle, _) = serve(limits, |hints| hints.queue.depth_max = 2);
    let answers = join_all((0..6u8).map(|value| handle.infer(double(f32::from(value))))).await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|error| error.code() == ErrorCode::ResourceExhausted));
    // One may have begun to run before the last arrived.
    assert!((3..=4).contains(&refused.count()));
}

#[tokio::test]
async fn what_cannot_be_answered_in_time_is_refused_at_once() {
    let (_server, handle, seen) = serve(Limits::default(), |_| {});
    let before = seen.batches.lock().expect("lock").len();
    let late = double(2.0).with_deadline(Instant::now() + SLOW / 2);
    let started = Instant::now();
    let error = handle.infer(late).await.expect_err("a batch takes longer");
    assert!(started.elapsed() < SLOW / 2, "before the deadline");
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    assert!(error.retry_after().is_some(), "{error}");
    assert_eq!(seen.batches.lock().expect("lock").len(), before, "nothing ran for it");
}

#[tokio::test]
async fn a_preferred_number_of_rows_ends_the_linger() {
    let seen = Arc::default();
    let candidate = changed(doubler("1", 2.0, Duration::ZERO, 8, &seen), |hints| {
        hints.linger_us = 1_000_000;
        hints.preferred_rows = vec![2, 4];
    });
    let server = Server::serve(Limits::default(), Vec::new(), vec![candidate], Vec::new());
    let handle = server.handle();
    let before = seen.batches.lock().expect("lock").len();
    let started = Instant::now();
    for answer in join_all((0..6u8).map(|value| handle.infer(double(f32::from(value))))).await {
        answer.expect("answer");
    }
    assert!(started.elapsed() < Duration::from_millis(900), "nobody lingered");
    let batches = seen.batches.lock().expect("lock")[before..].to_vec();
    assert!(batches.iter().all(|rows| [2, 4].contains(rows)), "{batches:?}");
}

#[tokio::test]
async fn a_tenant_has_so_many_requests_under_way_and_others_their_own() {
    let limits = Limits { tenant_requests_max: 2, queue_wait_us_min: 60_000_000, ..Limits::default() };
    let (_server, handle, _) = serve(limits, |_| {});
    let requests = ["a", "a", "a", "b", "b"].map(for_tenant).into_iter().chain([double(1.0), double(1.0)]);
    let answers = join_all(requests.map(|request| handle.infer(request))).await;
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].code(), ErrorCode::ResourceExhausted);
    assert!(refused[0].retry_after().is_some() && refused[0].to_string().starts_with("tenant 'a' has 2"));
    handle.infer(for_tenant("a")).await.expect("room again");
}

#[tokio::test]
async fn a_tenant_is_told_when_it_asks_too_fast_and_others_are_not() {
    let (_server, handle, _) = serve(Limits { tenant_requests_per_s_max: 2, ..Limits::default() }, |_| {});
    for _ in 0..2 {
        handle.infer(for_tenant("a")).await.expect("a burst");
    }
    let refused = handle.infer(for_tenant("a")).await.expect_err("the third in a second");
    assert_eq!(refused.code(), ErrorCode::ResourceExhausted);
    assert!(refused.to_string().starts_with("tenant 'a' asks more than 2 times a second"), "{refused}");
    let wait = refused.retry_after().expect("a time");
    assert!(wait <= Duration::from_millis(501), "{wait:?}");
    handle.infer(for_tenant("b")).await.expect("another tenant");
    handle.infer(double(1.0)).await.expect("nobody's");
    tokio::time::sleep(wait).await;
    handle.infer(for_tenant("a")).await.expect("as told");
}

#[tokio::test]
async fn an_answer_that_is_kept_is_given_again_by_the_same_version_only() {
    let (server, handle, seen) = serve(Limits::default(), |hints| hints.cache_bytes_max = 1 << 20);
    let before = seen.batches.lock().expect("lock").len();
    for value in [1.0, 1.0, 2.0, 1.0] {
        let answer = handle.infer(double(value)).await.expect("answer");
        assert_eq!(values(&answer.tensors), [value * 2.0; 2]);
    }
    assert_eq!(seen.batches.lock().expect("lock").len(), before + 2, "two different inputs");
    let statistics = handle.model("double", None).expect("there").statistics();
    let counts = (statistics.cache_hit.count, statistics.cache_miss.count, statistics.success.count);
    assert_eq!((counts, statistics.queue.count), ((2, 2, 4), 2));
    let next = changed(doubler("2", 3.0, SLOW, 1, &seen), |hints| hints.cache_bytes_max = 1 << 20);
    server.install(next).expect("installed");
    let answer = handle.infer(double(1.0)).await.expect("answer");
    assert_eq!((values(&answer.tensors), &*answer.version), (vec![3.0; 2], "2"));
}

#[tokio::test]
async fn refusals_are_not_kept() {
    let (_server, handle, seen) = serve(Limits::default(), |hints| hints.cache_bytes_max = 1 << 20);
    let before = seen.loads.load(Ordering::SeqCst);
    for _ in 0..2 {
        handle.infer(double(crate::support::PANIC)).await.expect_err("panics");
        handle.infer(double(1.0)).await.expect("answer");
    }
    eventually("each asked the model", || seen.loads.load(Ordering::SeqCst) == before + 2).await;
}
