//! Warming up a fresh instance: the first batches of an engine are slow, and the scheduler
//! wants to know what a batch costs before the first caller comes. The answers are thrown away.

use std::time::{Duration, Instant};

use bytes::Bytes;
use models::{Batch, DType, Model, Signature, Tensor, TensorSpec};

use crate::cost::Cost;

const ROUNDS: usize = 3;
/// A model slower than this is not worth a full batch at start.
const SLOW: Duration = Duration::from_millis(5);

/// Runs a few batches of zeros and seeds `cost` with the quickest of each size.
pub(crate) fn up(model: &mut dyn Model, signature: &Signature, rows_max: usize, cost: &Cost) {
    for rows in [1, rows_max] {
        let Some(best) = time(model, signature, rows) else { return };
        cost.observe(rows, best);
        if best > SLOW || rows_max == 1 {
            return;
        }
    }
}

/// The shortest of some runs; `None` when the model refuses zeros, which is its right.
fn time(model: &mut dyn Model, signature: &Signature, rows: usize) -> Option<Duration> {
    let zeros = signature.inputs.iter().map(|spec| zeros(spec, rows)).collect::<Option<Vec<_>>>()?;
    let mut best: Option<Duration> = None;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        model.run(Batch { tensors: zeros.clone() }).ok()?;
        let took = started.elapsed();
        best = Some(best.map_or(took, |best| best.min(took)));
        if took > SLOW {
            break;
        }
    }
    best
}

fn zeros(spec: &TensorSpec, rows: usize) -> Option<Tensor> {
    let inner = spec.dims.get(1..)?.iter().map(|dim| usize::try_from(*dim).unwrap_or(1));
    let shape: Vec<usize> = std::iter::once(rows).chain(inner).collect();
    let count = shape.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim))?;
    // An empty byte string is its length, four zero bytes.
    let size = spec.dtype.size().unwrap_or_else(|| DType::U32.size().unwrap_or(4));
    Tensor::new(spec.dtype, shape, Bytes::from(vec![0; count.checked_mul(size)?])).ok()
}
