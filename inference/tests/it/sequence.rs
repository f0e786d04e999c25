//! Models that remember: sequences begin, go on in order beside each other, keep their version, and end.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use futures::future::join_all;
use inference::{
    Candidate, ErrorCode, Handle, InferError, Limits, ModelSource, Request, SequenceId, SequenceStep, Server,
};
use models::{
    Batch, DType, Model, ModelError, Signature, Tensor,
    bundle::{SequenceConfig, StateConfig},
};

use crate::support::{REFUSED, eventually, spec};

/// Rows of the batches that ran.
type Ran = Arc<Mutex<Vec<usize>>>;

/// Adds its input to what it remembers, weighted with its version's factor.
struct Sum {
    factor: f32,
    cost: Duration,
    ran: Ran,
}

impl Model for Sum {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        let [before, x] = &batch.tensors[..] else { return Err(ModelError::input("inputs", "two")) };
        self.ran.lock().expect("lock").push(x.rows());
        thread::sleep(self.cost);
        let (before, x) = (before.as_f32()?, x.as_f32()?);
        if x.contains(&REFUSED) {
            return Err(ModelError::input("x", "refused"));
        }
        let sums: Vec<f32> =
            before.iter().zip(x.iter()).map(|(before, x)| before + self.factor * x).collect();
        let sums = Tensor::from_f32(vec![sums.len(), 1], &sums)?;
        Ok(Batch { tensors: vec![sums.clone(), sums] })
    }
}

fn candidate(version: &str, factor: f32, cost: Duration, ran: &Ran) -> Candidate {
    let one = |name: &str| spec(name, DType::F32, &[-1, 1]);
    let signature =
        Signature { inputs: vec![one("before"), one("x")], outputs: vec![one("sum"), one("after")] };
    let ran = Arc::clone(ran);
    let load = move || Ok(Box::new(Sum { factor, cost, ran: Arc::clone(&ran) }) as Box<dyn Model>);
    let mut source = ModelSource::new("sum", version, signature, 16, Box::new(load));
    let state = StateConfig { input: "before".into(), output: "after".into() };
    source.batching.sequence =
        Some(SequenceConfig { idle_ms_max: 300, sequences_max: 4, ..SequenceConfig::new(vec![state]) });
    Candidate { source, live: true }
}

fn serve(cost: Duration) -> (Server, Handle, Ran) {
    let ran = Ran::default();
    let limits = Limits { queue_wait_us_min: 60_000_000, ..Limits::default() };
    let server = Server::serve(limits, Vec::new(), vec![candidate("1", 1.0, cost, &ran)], Vec::new());
    let handle = server.handle();
    ran.lock().expect("lock").clear();
    (server, handle, ran)
}

fn step(id: u64, x: f32, start: bool, end: bool) -> Request {
    let mut request = Request::new("sum", vec![Tensor::from_f32(vec![1, 1], &[x]).expect("shape")]);
    request.terms.sequence = Some(SequenceStep { id: SequenceId::Number(id), start, end });
    request
}

async fn sum(handle: &Handle, request: Request) -> Result<(String, f32), InferError> {
    let answer = handle.infer(request).await?;
    assert_eq!(answer.tensors.len(), 1, "what is remembered is not told");
    Ok((answer.version.to_string(), answer.tensors[0].as_f32().expect("f32")[0]))
}

async fn sums(handle: &Handle, id: u64, xs: [f32; 3]) -> Vec<f32> {
    let last = xs.len() - 1;
    let mut got = Vec::new();
    for (at, x) in xs.iter().enumerate() {
        got.push(sum(handle, step(id, *x, at == 0, at == last)).await.expect("answer").1);
    }
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sequence_goes_on_from_its_own_last_answer_and_sequences_share_batches() {
    let (_server, handle, ran) = serve(Duration::from_millis(5));
    let all = join_all((1..=4).map(|id| sums(&handle, id, [1.0, 2.0, id as f32]))).await;
    for (id, got) in (1u8..).zip(all) {
        assert_eq!(got, [1.0, 3.0, 3.0 + f32::from(id)]);
    }
    assert!(ran.lock().expect("lock").iter().any(|rows| *rows > 1), "four at once share instances");
    assert_eq!(handle.sequences("sum"), 0, "those that ended are forgotten");
    assert_eq!(handle.model("sum", None).expect("there").signature().inputs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_sequence_run_in_the_order_they_came() {
    let (_server, handle, _) = serve(Duration::from_millis(2));
    sum(&handle, step(1, 0.0, true, false)).await.expect("begins");
    let xs: Vec<f32> = (1..=20u8).map(f32::from).collect();
    let got = join_all(xs.iter().map(|x| sum(&handle, step(1, *x, false, false)))).await;
    let got: Vec<f32> = got.into_iter().map(|answer| answer.expect("answer").1).collect();
    let want: Vec<f32> = xs
        .iter()
        .scan(0.0, |sum, x| {
            *sum += x;
            Some(*sum)
        })
        .collect();
    assert_eq!(got, want);
}

#[tokio::test]
async fn what_does_not_begin_or_has_ended_is_told_in_known_words() {
    let (_server, handle, _) = serve(Duration::ZERO);
    let begun = "inference request for sequence 7 to model 'sum' must specify the START flag on the first request of the sequence";
    let refused = async |request: Request| sum(&handle, request).await.expect_err("refused").to_string();
    assert_eq!(refused(step(7, 1.0, false, false)).await, begun);
    sum(&handle, step(7, 1.0, true, true)).await.expect("begins and ends");
    assert_eq!(refused(step(7, 1.0, false, false)).await, begun);
    let unnamed = "inference request to model 'sum' must specify a non-zero or non-empty correlation ID";
    assert_eq!(refused(step(0, 1.0, true, false)).await, unnamed);
    let mut without = step(7, 1.0, true, false);
    without.terms.sequence = None;
    assert_eq!(refused(without).await, unnamed);
    sum(&handle, step(8, 1.0, true, false)).await.expect("begins");
    let mut wide = step(8, 1.0, false, false);
    wide.tensors = vec![Tensor::from_f32(vec![2, 1], &[1.0, 1.0]).expect("shape")];
    assert!(refused(wide).await.contains("began with 1 rows"));
}

#[tokio::test]
async fn a_request_that_fails_or_is_given_up_changes_nothing() {
    let (_server, handle, _) = serve(Duration::from_millis(50));
    sum(&handle, step(1, 5.0, true, false)).await.expect("begins");
    sum(&handle, step(1, REFUSED, false, true)).await.expect_err("the model refuses it");
    let left =
        tokio::time::timeout(Duration::from_millis(10), sum(&handle, step(1, 9.0, false, false))).await;
    assert!(left.is_err(), "the caller leaves");
    assert_eq!(sum(&handle, step(1, 1.0, false, false)).await.expect("goes on").1, 6.0);
    // A sequence of the same name begins anew.
    assert_eq!(sum(&handle, step(1, 2.0, true, false)).await.expect("begins").1, 2.0);
}

#[tokio::test]
async fn tenants_do_not_meet_in_a_sequence() {
    let (_server, handle, _) = serve(Duration::ZERO);
    let of = |tenant: &str, request: Request| {
        let mut request = request;
        request.terms.tenant = Some(tenant.into());
        request
    };
    sum(&handle, of("a", step(1, 5.0, true, false))).await.expect("begins");
    let error = sum(&handle, of("b", step(1, 1.0, false, false))).await.expect_err("another's");
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert_eq!(sum(&handle, of("a", step(1, 1.0, false, false))).await.expect("its own").1, 6.0);
}

#[tokio::test]
async fn a_sequence_ends_on_the_version_it_began_with() {
    let (server, handle, ran) = serve(Duration::ZERO);
    sum(&handle, step(1, 1.0, true, false)).await.expect("begins");
    server.install(candidate("2", 10.0, Duration::ZERO, &ran)).expect("installed");
    assert_eq!(sum(&handle, step(2, 1.0, true, false)).await.expect("begins"), ("2".into(), 10.0));
    assert_eq!(sum(&handle, step(1, 1.0, false, true)).await.expect("goes on"), ("1".into(), 2.0));
    handle.unload("sum");
    assert_eq!(handle.sequences("sum"), 0);
    assert_eq!(
        sum(&handle, step(2, 1.0, false, false)).await.expect_err("unloaded").code(),
        ErrorCode::Unavailable
    );
}

#[tokio::test]
async fn what_is_remembered_is_bounded_in_bytes() {
    let limits = Limits { sequence_bytes_max: 8, ..Limits::default() };
    let models = vec![candidate("1", 1.0, Duration::ZERO, &Ran::default())];
    let server = Server::serve(limits, Vec::new(), models, Vec::new());
    let handle = server.handle();
    for id in 1..=2 {
        sum(&handle, step(id, 1.0, true, false)).await.expect("four bytes each");
    }
    let error = sum(&handle, step(3, 1.0, true, false)).await.expect_err("twelve bytes");
    assert_eq!(error.code(), ErrorCode::ResourceExhausted);
    sum(&handle, step(2, 1.0, true, true)).await.expect("in place of the one before");
    sum(&handle, step(3, 1.0, true, false)).await.expect("there is room");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_sequences_at_most_and_idle_ones_are_forgotten() {
    let (_server, handle, _) = serve(Duration::ZERO);
    for id in 1..=4 {
        sum(&handle, step(id, 1.0, true, false)).await.expect("begins");
    }
    let error = sum(&handle, step(5, 1.0, true, false)).await.expect_err("one too many");
    assert_eq!(error.code(), ErrorCode::ResourceExhausted);
    assert_eq!(sum(&handle, step(4, 1.0, false, false)).await.expect("goes on").1, 2.0);
    eventually("nobody asks, so all are forgotten", || handle.sequences("sum") == 0).await;
    sum(&handle, step(5, 1.0, true, true)).await.expect("there is room");
}
