//! Replacing a version under load, and models that cannot be loaded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use inference::{Limits, ModelState, ModelStatus, Request, Server};

use crate::support::{doubler, rows, serve, values};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_versions_change() {
    for cost in [Duration::ZERO, Duration::from_millis(1)] {
        let (server, handle, seen) = serve(Limits::default(), cost, 8);
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (handle, stop) = (handle.clone(), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut last = 2.0;
                    while !stop.load(Ordering::Relaxed) {
                        let answer = handle.infer(Request::new("double", rows(1.0, 1))).await;
                        let factor = values(&answer.expect("never fails").tensors)[0];
                        assert!(factor >= last, "the version never goes back");
                        last = factor;
                    }
                    last
                })
            })
            .collect();
        let last = 30u8;
        tokio::task::spawn_blocking(move || {
            for version in 3..=last {
                let candidate = doubler(&version.to_string(), f32::from(version), cost, 8, &seen);
                server.install(candidate).expect("loads");
            }
            server
        })
        .await
        .expect("no panic");
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.expect("no failure");
        }
        let answer = handle.infer(Request::new("double", rows(1.0, 1))).await.expect("answer");
        assert_eq!(values(&answer.tensors)[0], f32::from(last));
        let old = Request { version: Some("3".into()), ..Request::new("double", rows(1.0, 1)) };
        assert_eq!(values(&handle.infer(old).await.expect("older versions answer").tensors)[0], 3.0);
    }
}

#[tokio::test]
async fn a_version_that_cannot_be_loaded_leaves_the_old_one() {
    let (server, handle, seen) = serve(Limits::default(), Duration::ZERO, 8);
    seen.failing_loads.store(1, Ordering::SeqCst);
    server.install(doubler("2", 3.0, Duration::ZERO, 8, &seen)).expect_err("does not load");
    let answer = handle.infer(Request::new("double", rows(1.0, 1))).await.expect("answer");
    assert_eq!(&*answer.version, "1");
    let states: Vec<_> =
        handle.models().into_iter().map(|status| (status.version, status.live, status.state)).collect();
    let reason = "`weights.safetensors` of the bundle is invalid: was told to fail".to_owned();
    assert_eq!(
        states,
        [
            ("1".into(), true, ModelState::Ready),
            ("2".into(), false, ModelState::Unavailable { reason: reason.clone() })
        ]
    );
    let named = Request { version: Some("2".into()), ..Request::new("double", rows(1.0, 1)) };
    let error = handle.infer(named).await.expect_err("unavailable");
    assert_eq!(error.to_string(), format!("model 'double' is unavailable: {reason}"));
}

#[tokio::test]
async fn readiness_needs_every_required_model_and_hides_no_fault() {
    let seen = Arc::default();
    let broken = ModelStatus {
        name: "food".into(),
        version: "1".into(),
        family: "food".into(),
        task: "food".into(),
        platform: "onnx".into(),
        live: false,
        state: ModelState::Unavailable { reason: "libonnxruntime.so is missing".into() },
    };
    let start = |required: &[&str]| {
        let required = required.iter().map(|name| (*name).to_owned()).collect();
        let candidate = doubler("1", 2.0, Duration::ZERO, 8, &seen);
        Server::serve(Limits::default(), required, vec![candidate], vec![broken.clone()])
    };
    let readiness = start(&["double"]).handle().readiness();
    assert!(readiness.ready);
    assert!(readiness.models.contains(&broken));
    let readiness = start(&["food"]).handle().readiness();
    assert_eq!(readiness.reason.as_deref(), Some("required model 'food' does not serve"));
    let empty = Server::serve(Limits::default(), Vec::new(), Vec::new(), Vec::new());
    assert_eq!(empty.handle().readiness().reason.as_deref(), Some("no model serves"));
}
