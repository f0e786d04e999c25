//! The thread beside each collection that keeps its index in step and compares sampled searches with exact search.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::shelf::{Ears, Shelf};
use crate::EmbeddingError;

/// The threads of all collections.
#[derive(Default)]
pub(super) struct Workers(Mutex<Vec<JoinHandle<()>>>);

impl Workers {
    /// Starts the thread of a collection.
    pub(super) fn start(
        &self,
        shelf: Arc<Shelf>,
        ears: Ears,
        sample_ms_max: u64,
    ) -> Result<(), EmbeddingError> {
        shelf.ring();
        let thread = std::thread::Builder::new().name("vector-index".to_owned());
        let started = thread.spawn(move || run(&shelf, &ears, sample_ms_max));
        let started = started.map_err(|error| EmbeddingError::Unavailable { reason: error.to_string() })?;
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(started);
        Ok(())
    }

    /// Gives out the threads, to wait for their end.
    pub(super) fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits for threads that were told to end.
pub(super) fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("the thread of a vector index panicked");
        }
    }
}

fn run(shelf: &Shelf, ears: &Ears, sample_ms_max: u64) {
    while ears.bell.recv().is_ok() && !shelf.is_stopped() {
        while let Ok(sample) = ears.samples.try_recv() {
            let until = Instant::now() + Duration::from_millis(sample_ms_max);
            note(shelf, shelf.judge(sample, until));
        }
        note(shelf, shelf.catch_up());
    }
}

/// What went wrong here is no caller's: searches go on, comparing one by one what the index lacks.
fn note(shelf: &Shelf, result: Result<(), EmbeddingError>) {
    if let Err(error) = result
        && !shelf.is_stopped()
    {
        tracing::error!(collection = %shelf.collection.name, %error, "work on a vector index failed");
    }
}
