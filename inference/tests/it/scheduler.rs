//! Batching, deadlines, faults: what a caller sees of the scheduler.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures::future::join_all;
use inference::{ErrorCode, InferError, Limits, ModelState, Priority, Request};

use crate::support::{HANGS, PANIC, REFUSED, eventually, rows, serve, values};

const QUICK: Duration = Duration::ZERO;
const SLOW: Duration = Duration::from_millis(20);

fn double(value: f32) -> Request {
    Request::new("double", rows(value, 1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_their_own_answer() {
    for cost in [QUICK, Duration::from_millis(1)] {
        let limits = Limits { queue_wait_us_min: 10_000_000, ..Limits::default() };
        let (_server, handle, _) = serve(limits, cost, 8);
        let calls = (0..200u16).map(|id| {
            let handle = handle.clone();
            tokio::spawn(async move {
                let count = usize::from(id) % 3 + 1;
                let answer = handle.infer(Request::new("double", rows(f32::from(id), count))).await;
                (f32::from(id), count, answer.expect("answer"))
            })
        });
        for call in join_all(calls).await {
            let (id, count, answer) = call.expect("no panic");
            assert_eq!(values(&answer.tensors), vec![id * 2.0; count * 2]);
            assert_eq!((&*answer.model, &*answer.version), ("double", "1"));
        }
    }
}

#[tokio::test]
async fn requests_that_wait_run_together() {
    let limits = Limits { queue_wait_us_min: 10_000_000, ..Limits::default() };
    let (_server, handle, seen) = serve(limits, SLOW, 8);
    let before = seen.batches.lock().expect("lock").len();
    let calls = (0..17u8).map(|id| handle.infer(double(f32::from(id))));
    for answer in join_all(calls).await {
        answer.expect("answer");
    }
    let batches = seen.batches.lock().expect("lock")[before..].to_vec();
    assert_eq!(batches.iter().sum::<usize>(), 17);
    assert!(batches.len() <= 5, "17 requests took {} batches: {batches:?}", batches.len());
    assert!(batches.iter().all(|rows| *rows <= 8));
}

#[tokio::test]
async fn a_linger_waits_for_company() {
    let seen = std::sync::Arc::default();
    let mut candidate = crate::support::doubler("1", 2.0, QUICK, 4, &seen);
    candidate.source.batching.linger_us = 5_000_000;
    let server = inference::Server::serve(Limits::default(), vec![], vec![candidate], vec![]);
    let handle = server.handle();
    let before = seen.batches.lock().expect("lock").len();
    let started = Instant::now();
    for answer in join_all((0..4u8).map(|id| handle.infer(double(f32::from(id))))).await {
        answer.expect("answer");
    }
    assert!(started.elapsed() < Duration::from_secs(4), "a full batch does not linger");
    assert_eq!(seen.batches.lock().expect("lock")[before..], [4]);
}

#[tokio::test]
async fn mistakes_name_what_is_wrong() {
    let (_server, handle, _) = serve(Limits::default(), QUICK, 8);
    let refuse = async |request| handle.infer(request).await.expect_err("must be refused");
    let unknown = refuse(Request::new("nope", rows(1.0, 1))).await;
    assert_eq!(unknown.to_string(), "Request for unknown model: 'nope' is not found");
    let version = refuse(Request { version: Some("9".into()), ..double(1.0) }).await;
    assert_eq!(version.to_string(), "Request for unknown model: 'double' version 9 is not found");
    let oversized = refuse(Request::new("double", rows(1.0, 9))).await;
    assert_eq!(oversized.to_string(), "inputs: model takes at most 8 rows at once, got 9");
    let late = refuse(double(1.0).with_deadline(Instant::now())).await;
    assert_eq!(late.code(), ErrorCode::DeadlineExceeded);
    let empty = refuse(Request::new("double", rows(1.0, 0))).await;
    assert_eq!(empty.code(), ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn an_expired_request_never_runs() {
    let (_server, handle, seen) = serve(Limits::default(), SLOW * 10, 1);
    let running = tokio::spawn({
        let handle = handle.clone();
        async move { handle.infer(double(1.0)).await }
    });
    let before = seen.batches.lock().expect("lock").len();
    eventually("the first request runs", || seen.batches.lock().expect("lock").len() > before).await;
    let late = double(2.0).with_deadline(Instant::now() + SLOW);
    let started = Instant::now();
    let error = handle.infer(late).await.expect_err("too late");
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    assert!(started.elapsed() < SLOW * 9, "the caller does not wait for the batch");
    running.await.expect("no panic").expect("answer");
    handle.infer(double(3.0)).await.expect("answer");
    assert_eq!(seen.batches.lock().expect("lock").len(), before + 2);
}

#[tokio::test]
async fn urgent_requests_overtake() {
    let limits = Limits { queue_wait_us_min: 60_000_000, ..Limits::default() };
    let (_server, handle, seen) = serve(limits, SLOW, 1);
    let before = seen.batches.lock().expect("lock").len();
    let call = |priority| {
        let handle = handle.clone();
        tokio::spawn(async move {
            handle.infer(double(1.0).with_priority(priority)).await.expect("answer");
            Instant::now()
        })
    };
    let first = call(Priority::Interactive);
    eventually("the first request runs", || seen.batches.lock().expect("lock").len() > before).await;
    let bulk = call(Priority::Bulk);
    tokio::task::yield_now().await;
    let critical = call(Priority::Critical);
    let (_, bulk, critical) = tokio::join!(first, bulk, critical);
    assert!(critical.expect("no panic") < bulk.expect("no panic"));
}

#[tokio::test]
async fn a_neighbours_bad_input_harms_nobody() {
    let limits = Limits { queue_wait_us_min: 10_000_000, ..Limits::default() };
    let (_server, handle, seen) = serve(limits, SLOW, 8);
    let before = seen.batches.lock().expect("lock").len();
    let first = tokio::spawn({
        let handle = handle.clone();
        async move { handle.infer(double(0.0)).await }
    });
    eventually("the instance is busy", || seen.batches.lock().expect("lock").len() > before).await;
    let inputs = [1.0, 2.0, REFUSED, 3.0, 4.0];
    let answers = join_all(inputs.map(|value| handle.infer(double(value)))).await;
    first.await.expect("no panic").expect("answer");
    assert!(seen.largest_batch() >= 4, "they ran together first");
    for (value, answer) in inputs.into_iter().zip(answers) {
        match answer {
            Ok(answer) => assert_eq!(values(&answer.tensors), [value * 2.0; 2]),
            Err(error) => assert_eq!((value, error), (REFUSED, InferError::input("x", "refused"))),
        }
    }
}

#[tokio::test]
async fn a_panic_costs_one_batch_and_the_instance() {
    for cost in [QUICK, Duration::from_millis(1)] {
        let (_server, handle, seen) = serve(Limits::default(), cost, 8);
        let error = handle.infer(double(PANIC)).await.expect_err("panics");
        assert_eq!(error, InferError::Failed { model: "double".into() });
        let answer = handle.infer(double(1.0)).await.expect("a new instance answers");
        assert_eq!(values(&answer.tensors), [2.0; 2]);
        assert_eq!(seen.loads.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_lost_instance_that_cannot_be_replaced_is_reported_and_tried_again() {
    let limits = Limits { reload_pause_ms: 20, ..Limits::default() };
    let (_server, handle, seen) = serve(limits, QUICK, 8);
    seen.failing_loads.store(3, Ordering::SeqCst);
    handle.infer(double(PANIC)).await.expect_err("panics");
    let reason = "`weights.safetensors` of the bundle is invalid: was told to fail";
    let state = || handle.models()[0].state.clone();
    eventually("the fault shows", || state() == ModelState::Unavailable { reason: reason.into() }).await;
    eventually("the third attempt succeeds", || state() == ModelState::Ready).await;
    handle.infer(double(1.0)).await.expect("answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_batch_is_given_up_and_the_model_goes_on() {
    let limits = Limits { run_ms_max: 100, ..Limits::default() };
    let (_server, handle, _) = serve(limits, Duration::from_millis(1), 1);
    let started = Instant::now();
    let error = handle.infer(double(HANGS)).await.expect_err("hangs");
    assert_eq!(error.code(), ErrorCode::Internal);
    handle.infer(double(1.0)).await.expect("a new instance answers");
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_caller_that_left_is_not_served() {
    let (_server, handle, seen) = serve(Limits::default(), SLOW, 1);
    let before = seen.batches.lock().expect("lock").len();
    let first = handle.infer(double(1.0));
    let left = tokio::time::timeout(Duration::from_millis(2), handle.infer(double(2.0)));
    let (first, left) = tokio::join!(first, left);
    first.expect("answer");
    left.expect_err("left before its turn");
    handle.infer(double(3.0)).await.expect("answer");
    assert_eq!(seen.batches.lock().expect("lock").len(), before + 2);
}
