//! Requests of unlike length: they share batches, and nobody's answer depends on who stands beside it.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use futures::future::join_all;
use inference::{Candidate, Limits, ModelSource, Request, Server};
use models::{Batch, DType, Model, ModelError, Signature, Tensor, bundle::LengthConfig};
use proptest::prelude::*;

use crate::support::{eventually, spec};

/// Shapes of the batches that ran.
type Ran = Arc<Mutex<Vec<Vec<usize>>>>;

/// Gives the mean of what is real and, for each place, twice its value plus one: nonsense for the filling.
struct Mean {
    cost: Duration,
    ran: Ran,
}

impl Model for Mean {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        let [x, mask] = &batch.tensors[..] else { return Err(ModelError::input("inputs", "two")) };
        self.ran.lock().expect("lock").push(x.shape().to_vec());
        thread::sleep(self.cost);
        let (values, mask, length) = (x.as_f32()?, mask.as_f32()?, x.shape()[1]);
        let mean = |(values, mask): (&[f32], &[f32])| {
            let sum: f32 = values.iter().zip(mask).map(|(value, real)| value * real).sum();
            sum / mask.iter().sum::<f32>()
        };
        let means: Vec<f32> = values.chunks(length).zip(mask.chunks(length)).map(mean).collect();
        let each: Vec<f32> = values.iter().map(|value| value * 2.0 + 1.0).collect();
        let rows = x.rows();
        Ok(Batch {
            tensors: vec![
                Tensor::from_f32(vec![rows, 1], &means)?,
                Tensor::from_f32(vec![rows, length], &each)?,
            ],
        })
    }
}

fn signature() -> Signature {
    let f32 = |name: &str, dims: &[i64]| spec(name, DType::F32, dims);
    Signature {
        inputs: vec![f32("x", &[-1, -1]), f32("mask", &[-1, -1])],
        outputs: vec![f32("mean", &[-1, 1]), f32("each", &[-1, -1])],
    }
}

fn serve(cost: Duration) -> (Server, Ran) {
    let ran = Ran::default();
    let shared = Arc::clone(&ran);
    let load = move || Ok(Box::new(Mean { cost, ran: Arc::clone(&shared) }) as Box<dyn Model>);
    let mut source = ModelSource::new("mean", "1", signature(), 16, Box::new(load));
    source.batching.lengths = Some(LengthConfig { buckets: vec![4, 8], mask: "mask".into() });
    let candidate = Candidate { source, live: true };
    let limits = Limits { queue_wait_us_min: 60_000_000, ..Limits::default() };
    let server = Server::serve(limits, Vec::new(), vec![candidate], Vec::new());
    ran.lock().expect("lock").clear();
    (server, ran)
}

/// A row of so many values that are all real.
fn request(values: &[f32]) -> Request {
    let tensor = |values: &[f32]| Tensor::from_f32(vec![1, values.len()], values).expect("shape");
    Request::new("mean", vec![tensor(values), tensor(&vec![1.0; values.len()])])
}

fn numbers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    tensors.iter().map(|tensor| tensor.as_f32().expect("f32").into_owned()).collect()
}

fn wanted(values: &[f32]) -> Vec<Vec<f32>> {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    vec![vec![mean], values.iter().map(|value| value * 2.0 + 1.0).collect()]
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_unlike_length_run_together_and_lengths_do_not_wait_behind_each_other() {
    let (server, ran) = serve(Duration::from_millis(20));
    let handle = server.handle();
    let first = tokio::spawn({
        let handle = handle.clone();
        async move { handle.infer(request(&[1.0; 9])).await }
    });
    eventually("the first request runs", || !ran.lock().expect("lock").is_empty()).await;
    // Short and long in turn: in one line each would run alone.
    let rows: Vec<Vec<f32>> =
        (0..8).map(|at| vec![at as f32; if at % 2 == 0 { 1 + at / 2 } else { 5 + at / 3 }]).collect();
    let answers = join_all(rows.iter().map(|row| handle.infer(request(row)))).await;
    for (row, answer) in rows.iter().zip(answers) {
        assert_eq!(numbers(&answer.expect("answer").tensors), wanted(row));
    }
    first.await.expect("no panic").expect("answer");
    let ran = ran.lock().expect("lock");
    assert_eq!(*ran, [vec![1, 9], vec![4, 4], vec![4, 8]], "one batch for each length, the oldest first");
}

#[tokio::test]
async fn inputs_of_one_request_must_agree_in_length() {
    let (server, _) = serve(Duration::ZERO);
    let mut uneven = request(&[1.0; 3]);
    uneven.tensors[1] = Tensor::from_f32(vec![1, 2], &[1.0; 2]).expect("shape");
    let error = server.handle().infer(uneven).await.expect_err("refused").to_string();
    assert_eq!(error, "mask: has length 2, others have 3");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Together as alone, to the bit.
    #[test]
    fn a_neighbour_never_changes_an_answer(rows in prop::collection::vec(prop::collection::vec(-9i8..9, 1..11), 1..12)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        let rows: Vec<Vec<f32>> = rows.into_iter().map(|row| row.into_iter().map(f32::from).collect()).collect();
        let answers = runtime.block_on(async {
            let (server, _) = serve(Duration::from_micros(300));
            let handle = server.handle();
            let together = join_all(rows.iter().map(|row| handle.infer(request(row)))).await;
            let mut alone = Vec::new();
            for row in &rows {
                alone.push(handle.infer(request(row)).await);
            }
            together.into_iter().zip(alone).collect::<Vec<_>>()
        });
        for (row, (together, alone)) in rows.iter().zip(answers) {
            let (together, alone) = (together.expect("answer"), alone.expect("answer"));
            prop_assert_eq!(numbers(&together.tensors), numbers(&alone.tensors));
            prop_assert_eq!(numbers(&alone.tensors), wanted(row));
        }
    }
}
