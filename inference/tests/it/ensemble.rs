//! Ensembles: steps run as soon as their inputs are there, changes of their models reach them, and what is wrong is said.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;
use inference::{
    Candidate, Ensemble, EnsembleStep, ErrorCode, Handle, Limits, ModelSource, ModelState, Request, Server,
};
use models::{Batch, DType, Model, ModelError, Signature, Tensor};

use crate::support::{Seen, doubler, eventually, rows, spec, values};

/// What is wrong with an ensemble.
type Change<'a> = &'a dyn Fn(&mut Ensemble);

/// Adds its two inputs.
struct Add;

impl Model for Add {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        let (a, b) = (batch.tensors[0].as_f32()?, batch.tensors[1].as_f32()?);
        let sums: Vec<f32> = a.iter().zip(b.iter()).map(|(a, b)| a + b).collect();
        Ok(Batch { tensors: vec![Tensor::from_f32(batch.tensors[0].shape().to_vec(), &sums)?] })
    }
}

fn add() -> Candidate {
    let pair = |name: &str| spec(name, DType::F32, &[-1, 2]);
    let signature = Signature { inputs: vec![pair("a"), pair("b")], outputs: vec![pair("sum")] };
    Candidate {
        source: ModelSource::new("add", "1", signature, 16, Box::new(|| Ok(Box::new(Add)))),
        live: true,
    }
}

fn named(candidate: Candidate, name: &str) -> Candidate {
    Candidate { source: ModelSource { name: name.to_owned(), ..candidate.source }, ..candidate }
}

/// `double` and `triple` over the caller's `raw`, and the sum of both: 5 times what came.
fn five() -> Ensemble {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(own, tensor)| ((*own).to_owned(), (*tensor).to_owned())).collect()
    };
    let step = |model: &str, inputs, outputs| EnsembleStep {
        model: model.into(),
        version: None,
        inputs: map(inputs),
        outputs: map(outputs),
    };
    let steps = vec![
        step("add", &[("a", "twice"), ("b", "thrice")], &[("sum", "five")]),
        step("double", &[("x", "raw")], &[("y", "twice")]),
        step("triple", &[("x", "raw")], &[("y", "thrice")]),
    ];
    Ensemble { name: "five".into(), version: "3".into(), steps, outputs: vec!["five".into(), "twice".into()] }
}

fn serve(limits: Limits, cost: Duration) -> (Server, Handle, Arc<Seen>) {
    let seen: Arc<Seen> = Arc::default();
    let models = vec![
        doubler("1", 2.0, cost, 16, &seen),
        named(doubler("1", 3.0, cost, 16, &Arc::default()), "triple"),
        add(),
    ];
    let server = Server::serve(limits, Vec::new(), models, Vec::new());
    let handle = server.handle();
    handle.declare(five()).expect("can be run");
    (server, handle, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_side_by_side_and_hand_on_what_they_made() {
    let cost = Duration::from_millis(60);
    let (_server, handle, _) = serve(Limits::default(), cost);
    let started = Instant::now();
    let answer = handle.infer(Request::new("five", rows(1.5, 2))).await.expect("answer");
    assert!(started.elapsed() < 2 * cost, "the first two steps have nothing to do with each other");
    assert_eq!((&*answer.model, &*answer.version), ("five", "3"));
    assert_eq!((values(&answer.tensors), values(&answer.tensors[1..])), (vec![7.5; 4], vec![3.0; 4]));
    let served = handle.model("five", None).expect("there");
    let names = |specs: &[models::TensorSpec]| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&served.signature().inputs), ["raw"]);
    assert_eq!(names(&served.signature().outputs), ["five", "twice"]);
    assert_eq!((served.platform(), served.rows_max()), ("ensemble", 16));
    assert_eq!(served.statistics().success.count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_an_ensemble_share_batches_of_its_models() {
    let (_server, handle, seen) = serve(Limits::default(), Duration::from_millis(5));
    let answers =
        join_all((0..12u8).map(|value| handle.infer(Request::new("five", rows(f32::from(value), 1))))).await;
    for (value, answer) in (0u8..).zip(answers) {
        assert_eq!(values(&answer.expect("answer").tensors), [f32::from(value) * 5.0; 2]);
    }
    assert!(seen.largest_batch() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_model_is_a_change_of_the_ensemble() {
    let (server, handle, _) = serve(Limits::default(), Duration::ZERO);
    server.install(doubler("2", 20.0, Duration::ZERO, 16, &Arc::default())).expect("installed");
    let five = || handle.infer(Request::new("five", rows(1.0, 1)));
    assert_eq!(values(&five().await.expect("answer").tensors), [23.0; 2]);
    handle.unload("triple");
    let error = five().await.expect_err("a model is gone");
    assert_eq!((error.code(), error.to_string().contains("triple")), (ErrorCode::Unavailable, true));
    let state = handle.model("five", None).expect("there").state();
    assert!(matches!(state, ModelState::Unavailable { reason } if reason.contains("triple")));
    server
        .install(named(doubler("2", 3.0, Duration::ZERO, 16, &Arc::default()), "triple"))
        .expect("installed");
    assert_eq!(values(&five().await.expect("answer again").tensors), [23.0; 2]);
    handle.unload("five");
    assert_eq!(five().await.expect_err("unloaded").code(), ErrorCode::Unavailable);
    assert!(handle.revive("five") && !handle.revive("six"));
    five().await.expect("loaded again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ensemble_takes_and_gives_what_its_models_come_to() {
    let (server, handle, _) = serve(Limits::default(), Duration::ZERO);
    let wide = |name: &str, factor: f32| {
        let mut candidate = named(doubler("2", factor, Duration::ZERO, 16, &Arc::default()), name);
        let signature = &mut candidate.source.signature;
        signature.inputs.iter_mut().chain(&mut signature.outputs).for_each(|spec| spec.dims[1] = -1);
        candidate
    };
    let width = || handle.model("five", None).expect("there").signature().outputs[1].dims[1];
    assert_eq!(width(), 2);
    let alone = Ensemble { outputs: vec!["twice".into()], steps: five().steps[1..2].to_vec(), ..five() };
    handle.declare(alone).expect("can be run");
    server.install(wide("double", 20.0)).expect("installed");
    let taken = || handle.model("five", None).expect("there").signature().outputs[0].dims[1];
    eventually("it takes any width", || taken() == -1).await;
    let three = vec![Tensor::from_f32(vec![1, 3], &[1.0; 3]).expect("shape")];
    assert_eq!(values(&handle.infer(Request::new("five", three)).await.expect("answer").tensors), [20.0; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ensemble_serves_when_the_last_of_its_models_does() {
    let server = Server::serve(Limits::default(), Vec::new(), vec![add()], Vec::new());
    let handle = server.handle();
    handle.declare(five()).expect("can be run");
    let error = handle.infer(Request::new("five", rows(1.0, 1))).await.expect_err("not yet").to_string();
    assert!(error.contains("unavailable") && error.contains("'double'"), "{error}");
    server.install(doubler("1", 2.0, Duration::ZERO, 16, &Arc::default())).expect("installed");
    server
        .install(named(doubler("1", 3.0, Duration::ZERO, 16, &Arc::default()), "triple"))
        .expect("installed");
    eventually("it serves by itself", || !handle.versions("five").is_empty()).await;
    handle.infer(Request::new("five", rows(1.0, 1))).await.expect("answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_together_is_told_where() {
    let (_server, handle, _) = serve(Limits::default(), Duration::ZERO);
    let reason = |change: Change<'_>| {
        let mut ensemble = Ensemble { name: "other".into(), ..five() };
        change(&mut ensemble);
        let declared = handle.declare(ensemble).map_err(|error| error.to_string());
        declared.and_then(|()| handle.model("other", None).map(drop).map_err(|error| error.to_string()))
    };
    assert_eq!(reason(&|_| ()), Ok(()));
    let steps: [(Change<'_>, &str); 6] = [
        (&|e| e.outputs = vec!["six".into()], "`six` comes from no step"),
        (&|e| e.steps[0].model = "nope".into(), "'nope'"),
        (&|e| e.steps[0].model = "five".into(), "is an ensemble itself"),
        (&|e| drop(e.steps[0].inputs.remove("b")), "says nothing of the input `b`"),
        (&|e| drop(e.steps[1].outputs.insert("z".into(), "more".into())), "no tensor `z`"),
        (&|e| e.name = "double".into(), "is a model's already"),
    ];
    for (change, word) in steps {
        let text = reason(change).expect_err(word);
        assert!(text.contains(word), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_on_the_way_is_refused_and_nothing_of_it_is_left() {
    let limits = Limits { ensemble_bytes_max: 48, ..Limits::default() };
    let (_server, handle, seen) = serve(limits, Duration::ZERO);
    let error = handle.infer(Request::new("five", rows(1.0, 7))).await.expect_err("56 bytes at once");
    assert_eq!(error.code(), ErrorCode::ResourceExhausted);
    for _ in 0..20 {
        handle.infer(Request::new("five", rows(1.0, 1))).await.expect("each holds 40 at most");
    }
    let gone = tokio::time::timeout(Duration::ZERO, handle.infer(Request::new("five", rows(1.0, 2)))).await;
    drop(gone);
    handle.infer(Request::new("five", rows(1.0, 2))).await.expect("who left holds nothing");
    assert_eq!(seen.loads.load(Ordering::SeqCst), 1);
}
