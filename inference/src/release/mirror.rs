//! Requests that are run once more on the other version, when there is time, and their answers compared.
//!
//! One task runs them one after another at the lowest priority: a trial takes no more of the machine than one
//! instance, and nobody waits for it. What does not fit into the queue is dropped and counted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use models::{DType, Tensor};
use tokio::sync::mpsc;

use super::{Counts, Stage};
use crate::{ErrorCode, InferError, Priority, Response, Served, Terms};

/// A request that was answered, and whom it is to be asked again.
pub(super) struct Job {
    pub(super) again: Arc<Served>,
    pub(super) tensors: Vec<Tensor>,
    pub(super) answer: Vec<Tensor>,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Mirror {
    sender: mpsc::Sender<Job>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Mirror {
    /// Starts the task, which ends when the mirror is dropped. This must be called on a runtime.
    pub(super) fn start(
        depth_max: usize,
        bytes_max: usize,
        stage: Stage,
        tolerance: f64,
        counts: &Arc<Counts>,
    ) -> Self {
        let (sender, mut jobs) = mpsc::channel::<Job>(depth_max.max(1));
        let (counts, bytes) = (Arc::clone(counts), Arc::new(AtomicUsize::new(0)));
        let held = Arc::clone(&bytes);
        tokio::spawn(async move {
            while let Some(job) = jobs.recv().await {
                let size = job.bytes();
                let outcome = run(&job).await;
                note(&counts, stage, tolerance, &job.answer, outcome);
                held.fetch_sub(size, Relaxed);
            }
        });
        Self { sender, bytes, bytes_max }
    }

    /// Puts a request into the queue; whether it had a place.
    pub(super) fn offer(&self, job: Job) -> bool {
        let size = job.bytes();
        if self.bytes.fetch_add(size, Relaxed) + size <= self.bytes_max && self.sender.try_send(job).is_ok() {
            return true;
        }
        self.bytes.fetch_sub(size, Relaxed);
        false
    }
}

impl Job {
    fn bytes(&self) -> usize {
        self.tensors.iter().chain(&self.answer).map(|tensor| tensor.data().len()).sum()
    }
}

async fn run(job: &Job) -> Result<Response, InferError> {
    let rows = job.again.signature().check_inputs(&job.tensors)?;
    let terms = Terms { priority: Priority::Bulk, ..Terms::default() };
    job.again.infer(job.tensors.clone(), rows, terms).await
}

/// Counts what the other version said. It is the version on trial in shadow, the live one in canary.
fn note(
    counts: &Counts,
    stage: Stage,
    tolerance: f64,
    answer: &[Tensor],
    outcome: Result<Response, InferError>,
) {
    match outcome {
        Ok(again) => {
            let (agreed, differed) = compared(answer, &again.tensors, tolerance);
            counts.agreed.fetch_add(agreed, Relaxed);
            counts.differed.fetch_add(differed, Relaxed);
            match stage {
                Stage::Shadow => {
                    counts.answered.fetch_add(1, Relaxed);
                    counts.ran(again.compute_us);
                }
                Stage::Canary => counts.live_ran(again.compute_us),
            }
        }
        // A busy machine is nobody's fault, and the live version is not on trial.
        Err(error) if stage == Stage::Canary || is_passing(error.code()) => {
            counts.dropped.fetch_add(1, Relaxed);
        }
        Err(_) => {
            counts.failed.fetch_add(1, Relaxed);
        }
    }
}

fn is_passing(code: ErrorCode) -> bool {
    match code {
        ErrorCode::ResourceExhausted | ErrorCode::DeadlineExceeded => true,
        ErrorCode::InvalidArgument
        | ErrorCode::NotFound
        | ErrorCode::PayloadTooLarge
        | ErrorCode::Unavailable
        | ErrorCode::PermissionDenied
        | ErrorCode::Unimplemented
        | ErrorCode::Internal => false,
    }
}

/// Rows that are alike in every output, and rows that are not.
fn compared(one: &[Tensor], other: &[Tensor], tolerance: f64) -> (u64, u64) {
    let rows = one.first().map_or(0, Tensor::rows);
    let mut alike = vec![one.len() == other.len(); rows];
    for (one, other) in one.iter().zip(other) {
        mark(&mut alike, one, other, tolerance);
    }
    let agreed = alike.iter().filter(|alike| **alike).count() as u64;
    (agreed, rows as u64 - agreed)
}

fn mark(alike: &mut [bool], one: &Tensor, other: &Tensor, tolerance: f64) {
    let numbers = |tensor: &Tensor| tensor.to_f64().filter(|_| tensor.dtype() != DType::Bytes);
    match (numbers(one), numbers(other)) {
        _ if one.shape() != other.shape() => alike.fill(false),
        (Some(one), Some(other)) => {
            let width = (one.len() / alike.len().max(1)).max(1);
            let rows = one.chunks(width).zip(other.chunks(width));
            for (alike, (one, other)) in alike.iter_mut().zip(rows) {
                *alike &= one.iter().zip(other).all(|(one, other)| is_close(*one, *other, tolerance));
            }
        }
        _ => alike.iter_mut().for_each(|alike| *alike &= one.data() == other.data()),
    }
}

fn is_close(one: f64, other: f64, tolerance: f64) -> bool {
    (one.is_nan() && other.is_nan()) || (one - other).abs() <= tolerance * one.abs().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_f32(vec![values.len() / 2, 2], values).expect("shape")
    }

    #[test]
    fn rows_agree_within_the_tolerance_of_the_larger_number() {
        let one = [tensor(&[0.5, 100.0, 1.0, 2.0, f32::NAN, 0.0])];
        let other = [tensor(&[0.58, 109.0, 1.2, 2.0, f32::NAN, 0.0])];
        assert_eq!(compared(&one, &other, 0.1), (2, 1));
        assert_eq!(compared(&one, &one, 0.0), (3, 0));
        assert_eq!(compared(&one, &[], 0.1), (0, 3), "outputs that are missing");
        assert_eq!(compared(&one, &[tensor(&[0.5, 100.0])], 0.1), (0, 3), "rows that are missing");
        assert_eq!(compared(&[tensor(&[0.0, 0.0])], &[tensor(&[f32::INFINITY, 0.0])], 0.1), (0, 1));
    }

    #[test]
    fn texts_agree_when_they_are_the_same() {
        let texts = |texts: &[&str]| [Tensor::from_strings(vec![2], texts).expect("texts")];
        assert_eq!(compared(&texts(&["a", "b"]), &texts(&["a", "b"]), 0.1), (2, 0));
        assert_eq!(compared(&texts(&["a", "b"]), &texts(&["a", "c"]), 0.1), (0, 2));
    }
}
