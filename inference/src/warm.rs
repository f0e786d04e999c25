//! Warming up a fresh instance: the first batches of an engine are slow, and the scheduler
//! wants to know what a batch costs before the first caller comes. The answers are thrown away.

use std::time::{Duration, Instant};

use bytes::Bytes;
use models::{Batch, DType, Model, Tensor, TensorSpec, bundle::LengthConfig};

use crate::{
    ModelSource,
    cost::{Cost, Costs},
};

const ROUNDS: usize = 3;
/// A model slower than this is not worth a full batch at start.
const SLOW: Duration = Duration::from_millis(5);

/// Runs a few batches of each length that requests are filled up to, and seeds `costs` with the quickest of each size.
/// The rows are the golden ones, again and again; zeros for a model that has none.
pub(crate) fn up(model: &mut dyn Model, source: &ModelSource, rows_max: usize, costs: &Costs) {
    let golden = source.bundle.as_ref().and_then(|bundle| bundle.golden().ok());
    let golden = golden.as_ref().map(|golden| golden.inputs());
    match &source.batching.lengths {
        None => up_to(model, rows_max, costs.of(0), |rows| sample(source, golden, rows)),
        Some(LengthConfig { buckets, .. }) => {
            for (length, cost) in buckets.iter().zip(costs.iter()) {
                up_to(model, rows_max, cost, |rows| {
                    let tensors = sample(source, golden, rows)?;
                    source.batching.lengths.as_ref()?.at(&source.signature, tensors, *length).ok()
                });
            }
        }
    }
}

fn up_to(model: &mut dyn Model, rows_max: usize, cost: &Cost, sample: impl Fn(usize) -> Option<Vec<Tensor>>) {
    for rows in [1, rows_max] {
        let Some(best) = sample(rows).and_then(|tensors| time(model, &tensors)) else { return };
        cost.observe(rows, best);
        if best > SLOW || rows_max == 1 {
            return;
        }
    }
}

/// The shortest of some runs; `None` when the model refuses such rows, which is its right.
fn time(model: &mut dyn Model, tensors: &[Tensor]) -> Option<Duration> {
    let mut best: Option<Duration> = None;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        model.run(Batch { tensors: tensors.to_vec() }).ok()?;
        let took = started.elapsed();
        best = Some(best.map_or(took, |best| best.min(took)));
        if took > SLOW {
            break;
        }
    }
    best
}

/// So many rows.
fn sample(source: &ModelSource, golden: Option<&[Tensor]>, rows: usize) -> Option<Vec<Tensor>> {
    match golden {
        Some(golden) => golden.iter().map(|tensor| again(tensor, rows)).collect(),
        None => source.signature.inputs.iter().map(|spec| zeros(spec, rows)).collect(),
    }
}

/// The rows of `tensor`, from the first on again where they do not suffice.
fn again(tensor: &Tensor, rows: usize) -> Option<Tensor> {
    let own = tensor.rows();
    let whole = std::iter::repeat_n(tensor.clone(), rows.checked_div(own)?);
    let parts: Vec<Tensor> = whole.chain(tensor.slice_rows(0, rows % own)).collect();
    let parts: Vec<&Tensor> = parts.iter().filter(|part| part.rows() > 0).collect();
    Tensor::concat_rows(&parts).ok()
}

fn zeros(spec: &TensorSpec, rows: usize) -> Option<Tensor> {
    let inner = spec.dims.get(1..)?.iter().map(|dim| usize::try_from(*dim).unwrap_or(1));
    let shape: Vec<usize> = std::iter::once(rows).chain(inner).collect();
    let count = shape.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim))?;
    // An empty byte string is its length, four zero bytes.
    let size = spec.dtype.size().unwrap_or_else(|| DType::U32.size().unwrap_or(4));
    Tensor::new(spec.dtype, shape, Bytes::from(vec![0; count.checked_mul(size)?])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_rows_come_again_until_there_are_enough() {
        let golden = Tensor::from_f32(vec![3, 1], &[1.0, 2.0, 3.0]).expect("shape");
        let rows = |count| again(&golden, count).expect("rows").as_f32().expect("f32").to_vec();
        assert_eq!(rows(1), [1.0]);
        assert_eq!(rows(3), [1.0, 2.0, 3.0]);
        assert_eq!(rows(7), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
        assert_eq!(again(&Tensor::from_f32(vec![0, 1], &[]).expect("shape"), 2), None);
    }
}
