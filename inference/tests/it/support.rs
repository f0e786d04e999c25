//! Models made up for tests, and servers over them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use inference::{Candidate, Handle, Limits, ModelSource, Server};
use models::{Batch, DType, Model, ModelError, Signature, Tensor, TensorSpec};

/// Makes [`Doubler`] panic.
pub(crate) const PANIC: f32 = 666.0;
/// Makes [`Doubler`] hang for [`HANG`].
pub(crate) const HANGS: f32 = 777.0;
/// Makes [`Doubler`] refuse the batch.
pub(crate) const REFUSED: f32 = -1.0;
/// How long it hangs: far longer than any limit of the tests, short enough to end with them.
pub(crate) const HANG: Duration = Duration::from_secs(3);

/// What a test can see of its models.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Rows of every batch.
    pub(crate) batches: Mutex<Vec<usize>>,
    /// Instances loaded.
    pub(crate) loads: AtomicUsize,
    /// Loads that are still to fail.
    pub(crate) failing_loads: AtomicUsize,
}

impl Seen {
    pub(crate) fn largest_batch(&self) -> usize {
        self.batches.lock().expect("lock").iter().copied().max().unwrap_or(0)
    }
}

/// Gives twice its input, two columns wide, after `cost`.
struct Doubler {
    cost: Duration,
    factor: f32,
    seen: Arc<Seen>,
}

impl Model for Doubler {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        let input = &batch.tensors[0];
        let values = input.as_f32()?;
        self.seen.batches.lock().expect("lock").push(batch.rows());
        assert!(!values.contains(&PANIC), "asked to");
        if values.contains(&REFUSED) {
            return Err(ModelError::input("x", "refused"));
        }
        if values.contains(&HANGS) {
            thread::sleep(HANG);
        }
        if !self.cost.is_zero() {
            thread::sleep(self.cost);
        }
        let doubled: Vec<f32> = values.iter().map(|value| value * self.factor).collect();
        Ok(Batch { tensors: vec![Tensor::from_f32(input.shape().to_vec(), &doubled)?] })
    }
}

pub(crate) fn spec(name: &str, dtype: DType, dims: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), dtype, dims: dims.to_vec(), unit: None, loinc: None }
}

pub(crate) fn signature() -> Signature {
    Signature {
        inputs: vec![spec("x", DType::F32, &[-1, 2])],
        outputs: vec![spec("y", DType::F32, &[-1, 2])],
    }
}

/// A model named `double` that takes `cost` for each batch of up to `rows_max`.
pub(crate) fn doubler(
    version: &str,
    factor: f32,
    cost: Duration,
    rows_max: usize,
    seen: &Arc<Seen>,
) -> Candidate {
    let seen = Arc::clone(seen);
    let load = move || {
        let failing =
            seen.failing_loads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() {
            return Err(ModelError::invalid("weights.safetensors", "was told to fail"));
        }
        seen.loads.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Doubler { cost, factor, seen: Arc::clone(&seen) }) as Box<dyn Model>)
    };
    let source = ModelSource::new("double", version, signature(), rows_max, Box::new(load));
    Candidate { source, live: true }
}

/// A server over one `double`.
pub(crate) fn serve(limits: Limits, cost: Duration, rows_max: usize) -> (Server, Handle, Arc<Seen>) {
    let seen = Arc::default();
    let candidate = doubler("1", 2.0, cost, rows_max, &seen);
    let server = Server::serve(limits, Vec::new(), vec![candidate], Vec::new());
    let handle = server.handle();
    (server, handle, seen)
}

/// A model with one input of each datatype, which gives its inputs back.
pub(crate) fn echo() -> Candidate {
    struct Echo;
    impl Model for Echo {
        fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
            Ok(batch)
        }
    }
    let specs: Vec<TensorSpec> = DType::ALL.map(|dtype| spec(dtype.oip(), dtype, &[-1, 2])).into();
    let signature = Signature { inputs: specs.clone(), outputs: specs };
    let load = || Ok(Box::new(Echo) as Box<dyn Model>);
    Candidate { source: ModelSource::new("echo", "1", signature, 16, Box::new(load)), live: true }
}

/// `rows` rows of `value`.
pub(crate) fn rows(value: f32, rows: usize) -> Vec<Tensor> {
    vec![Tensor::from_f32(vec![rows, 2], &vec![value; rows * 2]).expect("shape")]
}

pub(crate) fn values(tensors: &[Tensor]) -> Vec<f32> {
    tensors[0].as_f32().expect("FP32").into_owned()
}

/// Waits until `done`; fails after ten seconds.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < until, "never happened: {what}");
        tokio::task::yield_now().await;
    }
}
